"""How far maps lie from each other: by distance, element by element, and in their order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from underhood.checks import controls
from underhood.checks.batch import Batch
from underhood.checks.similarity import pearson, ranks

FLOOR = 1e-6  # least divisor of an element, as a share of the largest element


Change = Literal["share", "relative"]


@dataclass(frozen=True)
class Moves:
    """How far maps Φ' lie from maps Φ, (n, B) each.

    share:     ‖Φ' - Φ‖ / ‖Φ‖ (Euclidean).
    relative:  ‖(Φ' - Φ) / Φ‖, element by element.
    order:     rank correlation of Φ' and Φ; magnitude: of |Φ'| and |Φ|. Empty where nobody asked.
    """

    share: Tensor
    relative: Tensor
    order: Tensor
    magnitude: Tensor

    def joined(self, other: "Moves") -> "Moves":
        pairs = ((getattr(self, n), getattr(other, n)) for n in Moves.__dataclass_fields__)
        return Moves(*(torch.cat(pair) for pair in pairs))

    def first(self, count: int) -> "Moves":
        return Moves(*(getattr(self, n)[:count] for n in Moves.__dataclass_fields__))


class Compared:
    """Reduces maps of variants, (m, places + further), to how far they lie from the inputs' own maps."""

    done = False

    def __init__(self, maps: Tensor, count: int, *, ranked: bool):
        """maps (B, *places); ranked: whether rank correlations are wanted."""
        self.flat = maps.flatten(1)
        self.size = torch.linalg.vector_norm(self.flat, dim=1, dtype=torch.float64)
        self.divisor = guarded(self.flat)
        self.ranks = [ranks(self.flat), ranks(self.flat.abs())] if ranked else []
        self.signed = bool((self.flat < 0).any())
        shape = (count, len(maps))
        self.share, self.relative = torch.zeros(2, *shape, dtype=torch.float64)
        self.order, self.magnitude = torch.zeros(2, count if ranked else 0, len(maps), dtype=torch.float64)
        self.further = torch.empty(0)

    def update(self, values: Tensor, rows: Tensor, numbers: Tensor) -> None:
        places = self.flat.shape[1]
        found, further = values[:, :places], values[:, places:]
        if not self.further.numel():
            self.further = torch.zeros(*self.share.shape, further.shape[1])
        self.further[numbers, rows] = further
        off = found - self.flat[rows]
        self.share[numbers, rows] = length(off) / self.size[rows]
        self.relative[numbers, rows] = length(off.div_(self.divisor[rows]))
        if self.ranks:
            self.order[numbers, rows] = pearson(ranks(found), self.ranks[0][rows])
            self.magnitude[numbers, rows] = (
                pearson(ranks(found.abs()), self.ranks[1][rows]) if self.signed else self.order[numbers, rows]
            )

    @property
    def moves(self) -> Moves:
        return Moves(self.share, self.relative, self.order, self.magnitude)


def length(rows: Tensor) -> Tensor:
    """Euclidean, of rows (m, n); float64."""
    return torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)


def guarded(values: Tensor, floor: float = FLOOR) -> Tensor:
    """(B, n) to divide by: no element nearer to 0 than `floor` times the input's largest."""
    least = floor * values.abs().amax(1, keepdim=True)
    return torch.where(values.abs() < least, least.copysign(values), values)


def elsewhere(batch: Batch, change: Change) -> Tensor:
    """How far the maps lie from copies of themselves, shifted and mirrored: from maps that mean nothing.

    (39, B), see `Moves`; of one kind alone, as so many copies of large maps take time.
    """
    key = ("elsewhere", change, id(batch.method))
    if key not in batch.memory:
        flat = batch.maps.flatten(1)
        divisor = guarded(flat) if change == "relative" else length(flat)[:, None]
        off = (move(batch.maps).flatten(1) - flat for move in _moves(batch))
        if change == "relative":
            found = torch.stack([length(each.div_(divisor)) for each in off])
        else:
            found = torch.stack([length(each) for each in off]) / divisor.T
        batch.memory[key] = batch.method, found
    known: Tensor = batch.memory[key][1]
    return known


def order_elsewhere(batch: Batch) -> Tensor:
    """Rank correlation (39, B) of the maps with their copies, shifted and mirrored; NaN of flat maps."""
    key = ("order elsewhere", id(batch.method))
    if key not in batch.memory:
        order = ranks(batch.maps.flatten(1))
        off = order - order.mean(1, keepdim=True)
        off = (off / off.norm(dim=1, keepdim=True)).view_as(batch.maps)  # the ranks move as the map does
        found = torch.stack([(move(off) * off).flatten(1).sum(1) for move in _moves(batch)])
        batch.memory[key] = batch.method, found
    known: Tensor = batch.memory[key][1]
    return known


def _moves(batch: Batch) -> list[Callable[[Tensor], Tensor]]:
    return controls.moves(batch.maps.ndim - 1, tuple(batch.maps.shape[1:]), seed=batch.run.seed)
