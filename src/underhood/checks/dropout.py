"""Monte-Carlo dropout (Gal & Ghahramani 2016, "Dropout as a Bayesian approximation").

A draw is a network in which every dropout layer has dropped the same units for all inputs and passes: so each
draw is one model, that any method can explain, and a batch equals its inputs one by one.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from underhood.inputs.random import WEIGHTS, uniform
from underhood.models import Model

DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class Dropped(nn.Module):
    """A dropout layer that has dropped the same units ever since; also in evaluation."""

    def __init__(self, p: float, *, channels: bool, stream: tuple[int, ...]):
        """channels: whole channels are dropped."""
        super().__init__()
        self.p, self.channels, self.stream = p, channels, stream

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask(x).to(x)

    def mask(self, x: Tensor) -> Tensor:
        """(1, …): 0 for units that are dropped; the others make up for them."""
        shape = (x.shape[1], *[1] * (x.ndim - 2)) if self.channels else tuple(x.shape[1:])
        seed, *stream = self.stream
        kept = uniform(shape, seed, *stream)[None] >= self.p
        return kept.float() / (1 - self.p) if self.p < 1 else torch.zeros(1)


def dropouts(module: nn.Module) -> list[str]:
    """The layers that drop something."""
    return [name for name, child in module.named_modules() if type(child) in DROPOUT and child.p > 0]


def dropped(model: Model, seed: int, draw: int) -> Model:
    """The model, its weights shared, with dropout at work: draw number `draw`."""
    module, names = model.module, dropouts(model.module)
    memo: dict[int, object] = {id(t): t for t in (*module.parameters(), *module.buffers())}
    for child in module.modules():
        memo |= {id(value): value for value in vars(child).values() if isinstance(value, Tensor)}
    for number, name in enumerate(names):
        layer: Any = module.get_submodule(name)
        stream = (seed, WEIGHTS, draw, number)
        memo[id(layer)] = Dropped(layer.p, channels=type(layer) is not nn.Dropout, stream=stream)
    built = Model(copy.deepcopy(module, memo), model.preprocess, model.labels, model.name, model.layer)
    for known in ("default layer", "footprints"):  # the same for every draw
        built.scratch[known] = model.scratch.setdefault(known, {})
    return built
