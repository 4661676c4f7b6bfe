"""Architectures of the libraries with random weights: nothing is downloaded."""

import torch
from torch import nn

from underhood.models import Model
from underhood.models.schemes import SCHEMES


def untrained(source: str, *, seed: int = 0) -> Model:
    """The model of "torchvision:NAME" or "timm:NAME"; weights that start at zero are made random too,
    as nothing is learned of a network whose head is zero."""
    torch.manual_seed(seed)
    scheme, _, name = source.partition(":")
    model = SCHEMES[scheme](name, False)
    for module in model.module.modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.Linear | nn.Conv2d) and weight is not None and not weight.any():
            nn.init.trunc_normal_(weight, std=0.02)
    return model
