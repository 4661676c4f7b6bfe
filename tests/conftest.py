"""What all tests share."""

import os

import hypothesis
import torch

from tests.support import torchvision_ops  # noqa: F401 - before anything imports torchvision

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before huggingface_hub is imported: nothing is downloaded
torch.set_num_threads(1)  # networks this small gain nothing from a second, and lose on a busy machine
hypothesis.settings.register_profile("busy machine", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("busy machine")
