"""Two real architectures, seeded and small enough to run often."""

from functools import cache

import timm
import torch
import torchvision
from torch import Tensor, nn

from tests.engine.nets import explained, pictures
from tests.support import torchvision_ops  # noqa: F401 - before torchvision
from tests.support.toys import Linear

__all__ = ["NETS", "Linear", "explained", "gradient", "pictures", "resnet18", "vit"]


@cache
def resnet18() -> nn.Module:
    """torchvision's, 10 classes, with batch statistics that differ from layer to layer."""
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=10)
    for norm in [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]:
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.7, 1.4)
    return net.eval()


@cache
def vit() -> nn.Module:
    """timm's tiny ViT at 64², two blocks deep, 10 classes."""
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2, num_classes=10).eval()


NETS = {"resnet18": resnet18, "vit": vit}


def gradient(net: nn.Module, x: Tensor, classes: Tensor) -> Tensor:
    """∂S/∂x by plain torch."""
    leaf = x.clone().requires_grad_()
    scores = net(leaf).gather(1, classes[:, None])
    return torch.autograd.grad(scores.sum(), leaf)[0]
