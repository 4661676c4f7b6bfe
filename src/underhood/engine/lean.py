"""Gradient passes that keep less: normalisation by stored statistics is a scale and a shift.

torch's batch normalisation keeps its input for the backward pass, also where neither its statistics nor its
weights have a gradient. x ∘ scale + shift needs only the scale: a ResNet-50's pass then takes half the
memory, and is some 5 % faster.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)  # not their subclasses, which may do more


@contextmanager
def lean(module: nn.Module) -> Iterator[None]:
    """Within, a stand-in's normalisations are scales and shifts."""
    norms = _norms(module)
    for norm, forward in norms:
        norm.__dict__["forward"] = forward
    try:
        yield
    finally:
        for norm, _ in norms:
            del norm.__dict__["forward"]


def _norms(module: nn.Module) -> Sequence[tuple[nn.Module, Callable[[Tensor], Tensor]]]:
    """With what runs in their place. Found once: a stand-in does not change, and may have many layers."""
    known = module.__dict__.get("_leaned")
    if known is None:
        known = [(child, _affine(child)) for child in module.modules() if is_lean(child)]
        module.__dict__["_leaned"] = known
    found: Sequence[tuple[nn.Module, Callable[[Tensor], Tensor]]] = known
    return found


def is_lean(layer: nn.Module) -> bool:
    """Whether the layer is such a normalisation: evaluated, with stored statistics."""
    return type(layer) in NORMS and not layer.training and layer.running_mean is not None


def _affine(norm: Any) -> Callable[[Tensor], Tensor]:
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach()
    shift = -norm.running_mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach()
    return partial(_normalised, scale, shift)


def _normalised(scale: Tensor, shift: Tensor, x: Tensor) -> Tensor:
    places = (-1, *[1] * (x.ndim - 2))
    return torch.addcmul(shift.view(places), x, scale.view(places))
