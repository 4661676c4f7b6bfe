"""Copies of inputs that exist only while they are used: path points, noisy copies, masked pictures."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

Make = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Crop:
    """A box of the same size in each of m pictures; corners (m,)."""

    top: Tensor
    left: Tensor
    height: int
    width: int

    def of(self, pictures: Iterable[Tensor]) -> Tensor:
        """The boxes of m pictures (…, H, W), (m, …, height, width)."""
        corners = zip(pictures, self.top.tolist(), self.left.tolist(), strict=True)
        return torch.stack([p[..., y : y + self.height, x : x + self.width] for p, y, x in corners])


@dataclass(frozen=True)
class Variants:
    """`count` variants of each of B inputs.

    make(rows (m,), numbers (m,)) gives variant `numbers[i]` of input `rows[i]`, (m, …). They come
    variant by variant, first number 0 of every input, then 1, …; with `group` = 2 in pairs, first
    numbers 0 and 1 of every input, then 2 and 3, …, and a pair is never torn apart.
    boxes: where each variant of a picture differs from it at most, (count, 4): top, left, height, width.
    parts: parts(rows, numbers, crop) gives such a box of variants, where that is quicker than all of them.
    """

    inputs: Tensor
    count: int
    make: Make
    group: int = 1
    boxes: Tensor | None = None
    parts: Callable[[Tensor, Tensor, Crop], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.inputs) * self.count

    def chunk(self, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
        """Variants start…stop-1: (tensors, rows, numbers)."""
        index = torch.arange(start, min(stop, len(self)))
        of_round, member = index // self.group, index % self.group
        rows, numbers = of_round % len(self.inputs), of_round // len(self.inputs) * self.group + member
        return self.make(rows, numbers), rows, numbers


def as_variants(inputs: "Tensor | Variants") -> Variants:
    """The inputs themselves as their only variant."""
    if isinstance(inputs, Variants):
        return inputs
    return Variants(inputs, 1, lambda rows, _: inputs[rows])


def broadcast_as(values: Tensor, like: Tensor) -> Tensor:
    """(m,) shaped (m, 1, …) so that it multiplies (m, …)."""
    return values.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))
