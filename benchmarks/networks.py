"""The networks that are measured, with seeded random weights at 224²."""

from collections.abc import Callable

import torch
from torch import nn

from tests.support import torchvision_ops  # noqa: F401 - before torchvision

import timm  # isort: skip
import torchvision  # isort: skip

BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": torchvision.models.resnet18,
    "resnet50": torchvision.models.resnet50,
    "vgg16": torchvision.models.vgg16,
    "vit_tiny": lambda: timm.create_model("vit_tiny_patch16_224"),
}

CAM_LAYERS = {
    "resnet18": "layer4",
    "resnet50": "layer4",
    "vgg16": "features.29",
    "vit_tiny": "blocks.11.norm1",
}


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return BUILDERS[name]().eval()


def pictures(count: int = 1) -> torch.Tensor:
    """Smooth random pictures (count, 3, 224, 224): noise alone would be unlike any picture."""
    torch.manual_seed(1)
    coarse = torch.randn(count, 3, 14, 14)
    return torch.nn.functional.interpolate(coarse, size=(224, 224), mode="bicubic")
