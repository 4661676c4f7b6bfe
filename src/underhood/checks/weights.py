"""A model's weights drawn anew, part by part; the user's model keeps its own.

A part is what one module owns, such as a convolution's weight and bias, or raw parameters such as a class
token. Parts come from the top, nearest the output, down, in the order in which a forward pass last uses
them. Every parameter belongs to one: attention's projections, tokens, position embeddings, layer scales and
norms too.

How a tensor is drawn, each from a stream of its own:
normal: every element from a normal distribution with the tensor's own mean and standard deviation. A
        constant tensor c has no spread, so |c| takes its place, and 0.02 where c = 0.
reset:  by the module's own `reset_parameters`, as before training; what has none is drawn as `normal`. What
        training starts from as a constant (biases of 0, norms of 1) then becomes that constant.

Buffers, such as the running mean and variance of batch normalisation, stay as they are.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

import torch
from torch import Tensor, nn

from underhood.engine import Engine
from underhood.engine.order import parameter_order
from underhood.inputs.random import WEIGHTS, generator, normal
from underhood.models import Model

Draw = Literal["normal", "reset"]
DRAWS: tuple[Draw, ...] = ("normal", "reset")
SPREAD_OF_ZEROS = 0.02  # the usual spread of tokens and embeddings before training


@dataclass(frozen=True)
class Part:
    """Parameters that are drawn together, by name. used: whether a forward pass was seen to use any."""

    name: str
    parameters: tuple[str, ...]
    used: bool = True


def parts(engine: Engine, example: Tensor) -> list[Part]:
    """Every parameter of the engine's model, part by part from the top, for an input (C, H, W)."""
    order, unseen = parameter_order(engine, example)
    grouped = [tuple(names) for _, names in groupby(order, key=_owner)]
    layers = dict(engine.model.module.named_modules())
    return [
        Part(_name(names, layers[_owner(names[0])]), names, not unseen.issuperset(names))
        for names in reversed(grouped)
    ]


def _owner(parameter: str) -> str:
    return parameter.rpartition(".")[0]


def _name(names: Sequence[str], owner: nn.Module) -> str:
    """The owner's, where these are all there is in it."""
    whole = len(names) == len(list(owner.parameters())) and _owner(names[0])
    return whole or ", ".join(names)


@dataclass
class Redrawn:
    """Models that differ from one in some of their parameters; number `draw` says which random weights.

    Tensors are drawn once; only they take memory, as all others are shared with the model.
    """

    model: Model
    how: Draw
    seed: int
    draw: int = 0
    _drawn: dict[str, Tensor] = field(default_factory=dict)

    def of(self, names: Iterable[str]) -> Model:
        """The model with these parameters drawn anew."""
        module, chosen = self.model.module, set(names)
        memo: dict[int, object] = {id(buffer): buffer for buffer in module.buffers()}
        for child in module.modules():
            memo |= {id(value): value for value in vars(child).values() if isinstance(value, Tensor)}
        for number, (name, parameter) in enumerate(module.named_parameters()):
            if name in chosen:
                memo[id(parameter)] = self._parameter(name, parameter, number)
            else:
                memo[id(parameter)] = parameter
        built = Model(
            copy.deepcopy(module, memo), self.model.preprocess, self.model.labels, self.model.name,
            self.model.layer,
        )  # fmt: skip
        for known in ("default layer", "footprints"):  # the same for every model of this architecture
            built.scratch[known] = self.model.scratch.setdefault(known, {})
        return built

    def _parameter(self, name: str, parameter: Tensor, number: int) -> nn.Parameter:
        if name not in self._drawn:
            self._drawn[name] = self._new(name, parameter.detach(), number)
        return nn.Parameter(self._drawn[name], requires_grad=False)

    def _new(self, name: str, old: Tensor, number: int) -> Tensor:
        if not old.is_floating_point() or not old.numel():
            return old
        stream = (self.seed, WEIGHTS, self.draw, number)
        new = _reset(self.model.module, name, stream) if self.how == "reset" else None
        return _normal(old, stream) if new is None else new.to(old)


def _normal(old: Tensor, stream: tuple[int, ...]) -> Tensor:
    values = old.double()
    mean, spread = float(values.mean()), float(values.std(correction=0))
    if not spread > 1e-6 * abs(mean):
        spread = abs(mean) or SPREAD_OF_ZEROS
    seed, *rest = stream
    return normal(tuple(old.shape), seed, *rest).mul_(spread).add_(mean).to(old)


def _reset(module: nn.Module, name: str, stream: tuple[int, ...]) -> Tensor | None:
    """The parameter as its module's own initialisation draws it; None where the module has none."""
    owner, _, own = name.rpartition(".")
    layer = module.get_submodule(owner)
    how = next((h for h in ("reset_parameters", "_reset_parameters") if hasattr(layer, h)), None)
    if how is None:
        return None
    fresh = copy.deepcopy(layer).cpu()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(*stream).integers(2**63)))
        getattr(fresh, how)()
    return getattr(fresh, own).detach()
