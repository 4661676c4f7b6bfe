"""Inputs nearby: noisy copies that keep the predicted class, and how far a map moves there.

Noise is drawn once for a seed, the same for all inputs but for its size, so that every check of stability and
every method meets the same copies. A copy whose predicted class differs is left out and counted: there
another explanation is right.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.controls import edges
from underhood.checks.moves import Compared, Moves, guarded, length
from underhood.engine import Run
from underhood.errors import InvalidArgument, Unfit
from underhood.inputs import Variants
from underhood.inputs.random import PROBES, normal, uniform

Noise = Literal["uniform", "gaussian"]
Unit = Literal["std", "input"]


@dataclass(frozen=True)
class Nearby:
    """Where noisy copies lie: x + spread · u.

    radius: of the ball |δ| ≤ r of each element, or the noise's standard deviation.
    noise:  "uniform" in the ball, or "gaussian".
    unit:   of the radius: "std", the standard deviation of each input's elements, or "input", its own unit.
    """

    radius: float = 0.1
    noise: Noise = "uniform"
    unit: Unit = "std"

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise InvalidArgument(f"The radius of the noise must be above 0, not {self.radius}.")
        if self.noise not in ("uniform", "gaussian"):
            raise InvalidArgument(f"The noise is 'uniform' or 'gaussian', not {self.noise!r}.")
        if self.unit not in ("std", "input"):
            raise InvalidArgument(f"The radius is in units of 'std' or 'input', not {self.unit!r}.")

    def spread(self, inputs: Tensor) -> Tensor:
        """(B,) in units of the inputs; 0 where there is none."""
        if self.unit == "input":
            return torch.full((len(inputs),), self.radius)
        return self.radius * inputs.flatten(1).std(1, correction=0)

    def unit_noise(self, shape: tuple[int, ...], seed: int, number: int) -> Tensor:
        if self.noise == "gaussian":
            return normal(shape, seed, PROBES, number)
        return 2 * uniform(shape, seed, PROBES, number) - 1

    def variants(self, inputs: Tensor, seed: int, first: int, count: int) -> Variants:
        """Copies number `first` and the following ones."""
        if not inputs.is_floating_point():
            raise Unfit("the inputs are whole numbers, such as token ids, to which no noise can be added")
        spread, shape = self.spread(inputs), tuple(inputs.shape[1:])

        def make(rows: Tensor, numbers: Tensor) -> Tensor:
            noise = {number: self.unit_noise(shape, seed, first + number) for number in set(numbers.tolist())}
            copies = inputs[rows]
            for copy, row, number in zip(copies, rows.tolist(), numbers.tolist(), strict=True):
                copy.add_(noise[number], alpha=float(spread[row]))
            return copies

        return Variants(inputs, count, make)

    def words(self) -> str:
        size = f"{self.radius:g} " + ("standard deviations of the input" if self.unit == "std" else "units")
        return f"uniform within ± {size}" if self.noise == "uniform" else f"gaussian, of {size}"


@dataclass(frozen=True)
class Told:
    """What a method says of noisy copies: how far its maps move, the model's scores there (n, B, C)."""

    moves: Moves
    outputs: Tensor

    @property
    def count(self) -> int:
        return len(self.outputs)

    @property
    def ranked(self) -> bool:
        return len(self.moves.order) > 0

    def kept(self, batch: Batch) -> Tensor:
        """(n, B): which copies keep the predicted class; all, where there are no classes."""
        return same_class(batch, self.outputs)


def told(batch: Batch, near: Nearby, count: int, *, ranked: bool = False) -> Told:
    """What the batch's method says of `count` noisy copies; only of those nobody has asked about yet."""
    key = ("nearby", near, id(batch.method))
    # The method is kept with what it said, so that its identity stays its own.
    known: Told | None = batch.memory.get(key, (None, None))[1]
    if known is None or (ranked and not known.ranked):
        known = _ask(batch, near, 0, count, ranked=ranked)
    elif known.count < count:
        new = _ask(batch, near, known.count, count - known.count, ranked=known.ranked)
        known = Told(known.moves.joined(new.moves), torch.cat([known.outputs, new.outputs]))
    batch.memory[key] = batch.method, known
    return Told(known.moves.first(count), known.outputs[:count])


def _ask(batch: Batch, near: Nearby, first: int, count: int, *, ranked: bool) -> Told:
    compared = Compared(batch.maps, count, ranked=ranked)

    def attribute(run: Run) -> Tensor:
        maps = batch.explained(run)
        return torch.cat([maps.flatten(1), run.outputs], 1)  # most methods know the scores by now

    run = batch.run
    run.map(near.variants(run.inputs, run.seed, first, count), attribute, compared)
    return Told(compared.moves, compared.further)


def edges_nearby(batch: Batch, near: Nearby, count: int, *, ranked: bool = False) -> Moves | None:
    """How far maps of edges move where the maps that are checked do; None for what is no picture."""
    inputs = batch.run.inputs
    if inputs.ndim != 4:
        return None
    key = ("edges nearby", near, count, ranked)
    if key not in batch.memory:
        compared = Compared(edges(inputs), count, ranked=ranked)
        for _, x, rows, numbers in _copies(batch, near, count):
            compared.update(edges(x).flatten(1), rows, numbers)
        batch.memory[key] = compared.moves
    found: Moves = batch.memory[key]
    return found


def steps(batch: Batch, near: Nearby, count: int) -> tuple[Tensor, Tensor]:
    """(n, B) each: ‖δ‖, and ‖δ / x‖ element by element."""
    key = ("steps", near, count)
    if key not in batch.memory:
        plain, relative = torch.zeros(2, count, len(batch), dtype=torch.float64)
        divisor = guarded(batch.run.inputs.flatten(1))
        for number, x, _, _ in _copies(batch, near, count):
            off = (x - batch.run.inputs).flatten(1)
            plain[number], relative[number] = length(off), length(off / divisor)
        batch.memory[key] = plain, relative
    found: tuple[Tensor, Tensor] = batch.memory[key]
    return found


def _copies(batch: Batch, near: Nearby, count: int) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """Copy number by copy number: (number, copies, rows, numbers)."""
    run = batch.run
    variants, B = near.variants(run.inputs, run.seed, 0, count), len(batch)
    for number in range(count):
        yield number, *variants.chunk(number * B, (number + 1) * B)


def same_class(batch: Batch, outputs: Tensor) -> Tensor:
    """(…, B): where scores (…, B, C) of the batch's inputs, changed in some way, predict the same class."""
    if not batch.explanations[0].prediction.has_classes:
        return torch.ones(outputs.shape[:-1], dtype=torch.bool)
    return outputs.argmax(-1) == batch.run.outputs.argmax(-1)
