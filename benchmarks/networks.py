"""The networks that are measured, at 224²: seeded random weights, trained ones of the ViT where they are.

`UNDERHOOD_DATA` names a folder with `models/vit_tiny_patch16_224.pth` and `imagenet/images`; without it, the
ViT's weights are random too, and pictures are smooth noise.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.support import torchvision_ops  # noqa: F401 - before torchvision
from tests.support.data import DATA

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
TRAINED = {"vit_tiny": DATA / "models" / "vit_tiny_patch16_224.pth"}


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    module = BUILDERS[name]().eval()
    if name in TRAINED and TRAINED[name].is_file():
        module.load_state_dict(torch.load(TRAINED[name], map_location="cpu", weights_only=True))
    return module


def pictures(count: int = 1) -> Tensor:
    """(count, 3, 224, 224): photos, or smooth random pictures, as noise alone would be unlike any picture."""
    from underhood.inputs.images import read_picture
    from underhood.models.preprocess import PRESETS

    photos = sorted((DATA / "imagenet" / "images").glob("*"))[:count]
    if len(photos) == count:
        return torch.stack([PRESETS["imagenet"](read_picture(photo)) for photo in photos])
    torch.manual_seed(1)
    coarse = torch.randn(count, 3, 14, 14)
    return torch.nn.functional.interpolate(coarse, size=(224, 224), mode="bicubic")
