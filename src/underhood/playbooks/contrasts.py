"""What speaks for one class and what for another, of the same inputs, on the survey's layer."""

from dataclasses import dataclass

import torch
from torch import Tensor

from underhood.engine import Engine, grad_cam_layer
from underhood.methods.cam import grids, weighted
from underhood.models import PerInput, Several


@dataclass(frozen=True)
class Contrasts:
    """Of k inputs, each asked about two classes of its own.

    of, against:             (k, h, w) Grad-CAM of each, before its ReLU.
    units_of, units_against: (k, K) what each unit adds to that map, summed over its places.
    """

    of: Tensor
    against: Tensor
    units_of: Tensor
    units_against: Tensor

    @property
    def maps(self) -> Tensor:
        """(k, h, w) Grad-CAM of "the one rather than the other": above 0 speaks for it, below 0 against.

        A difference of scores has the difference of their gradients, and Grad-CAM before its ReLU is linear
        in the gradient.
        """
        return self.of - self.against


def contrasted(engine: Engine, inputs: Tensor, of: Tensor, against: Tensor) -> Contrasts:
    """Why each of the inputs (k, C, H, W) is its class in `of` (k,) rather than that in `against` (k,).

    Both classes of an input share its forward pass.
    """
    layer = grad_cam_layer(engine, inputs[0]).name
    target = Several(PerInput(of), PerInput(against)).each(len(inputs))
    found = engine.asking(2).gradients(inputs.repeat_interleave(2, 0), target, at=[layer])
    assert found is not None  # nothing reduces it
    a, g = grids(layer, inputs, found.activations[0], found.gradients[0])  # (2 k, K, h, w)
    weights = g.mean((2, 3))
    maps, units = weighted(weights, a), weights * a.sum((2, 3))
    return Contrasts(maps[::2], maps[1::2], units[::2], units[1::2])


def joined(parts: list[Contrasts]) -> Contrasts:
    """Those of all inputs, from those of some at a time."""
    names = ("of", "against", "units_of", "units_against")
    return Contrasts(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
