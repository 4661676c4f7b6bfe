"""Controls: what meaningless maps would score.

A map shifted on a torus and mirrored keeps everything about a map but its place: its smoothness, its
peaks, its share of negative values. All shifts and mirrorings form a group: it without the identity, or
different elements drawn from that, gives an exact test of "it does not matter where this map lies" (Hemerik &
Goeman 2018).
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from underhood.inputs.random import CONTROLS, generator, normal

COUNT = 39  # so that the smallest p-value is 1/40 = 0.025
FEWEST = 19  # copies with which p can be 0.05

Element = tuple[tuple[int, bool], ...]  # for each axis its offset, and whether it is mirrored


def shifts(maps: Tensor, count: int = COUNT, seed: int = 0) -> Tensor:
    """Copies (count, B, *places) of maps (B, *places), each moved on a torus and mirrored, see `moves`.

    Every copy moves all maps of the batch alike, so that a batch equals its inputs one by one.
    """
    return torch.stack([move(maps) for move in moves(maps.ndim - 1, tuple(maps.shape[1:]), count, seed)])


def moves(
    axes: int, shape: tuple[int, ...], count: int = COUNT, seed: int = 0
) -> list[Callable[[Tensor], Tensor]]:
    """`count` movements of the last axes, of that shape, of any tensor: masks move as maps do.

    No two are alike and none leaves all where it is; where there are no more than `count` of them, all.
    """
    dims = tuple(range(-axes, 0))
    return [
        partial(
            _moved,
            offsets=[offset for offset, _ in element],
            mirrored=[dim for dim, (_, mirrored) in zip(dims, element, strict=True) if mirrored],
            dims=dims,
        )
        for element in _elements(shape, count, seed)
    ]


def _elements(shape: tuple[int, ...], count: int, seed: int) -> list[Element]:
    """`count` of the group's elements but the identity, which is the map itself and counted as such."""
    stay = tuple((0, False) for _ in shape)
    # An axis of one place has no mirror image, and that of one of two is its shift.
    along = [list(product(range(n), (False, True) if n > 2 else (False,))) for n in shape]
    others = prod(map(len, along)) - 1
    if not others:
        return [stay] * min(count, 1)  # a single place: its only copy does as well as the map
    if others <= count:
        return [element for element in product(*along) if element != stay]
    random, drawn = generator(seed, CONTROLS), dict[Element, None]()
    while len(drawn) < count:
        offsets = [int(n) for n in random.integers(0, shape)]
        mirrored = [random.random() < 0.5 and n > 2 for n in shape]
        element = tuple(zip(offsets, mirrored, strict=True))
        if element != stay:
            drawn[element] = None
    return list(drawn)


def unclear(copies: int) -> str:
    """What is said of a map that is ahead of that many moved copies, but not by enough."""
    if copies < FEWEST:
        return "too few ways to move the map to tell"
    return "not clearly better than moved copies"


def _moved(tensor: Tensor, offsets: list[int], mirrored: list[int], dims: tuple[int, ...]) -> Tensor:
    return tensor.flip(mirrored).roll(offsets, dims)


def controls(maps: Tensor, inputs: Tensor, seed: int = 0) -> Mapping[str, Tensor]:
    """Maps (B, *places) that know nothing of the model, by name."""
    found = {"random": normal((1, *maps.shape[1:]), seed, CONTROLS, 1).expand_as(maps)}
    if inputs.ndim == 4:
        found |= {"edges": edges(inputs), "centre": centre(tuple(maps.shape[1:])).expand_as(maps)}
    return {**found, "constant": torch.ones_like(maps)}


def edges(pictures: Tensor) -> Tensor:
    """The strength of edges by Sobel's filter, summed over channels; (B, H, W) of (B, C, H, W)."""
    # By differences of slices: four times as fast as a convolution of so few channels.
    padded = F.pad(pictures.float(), (1, 1, 1, 1), mode="replicate")
    down, right = _smoothed(padded, 3), _smoothed(padded, 2)  # each along the other axis
    return torch.hypot(
        down[..., 2:, :] - down[..., :-2, :], right[..., 2:] - right[..., :-2]
    ).sum(1).div_(8)  # fmt: skip


def _smoothed(padded: Tensor, axis: int) -> Tensor:
    """(1, 2, 1) along the axis, which loses its padding."""
    inner = padded.shape[axis] - 2
    first, middle, last = (padded.narrow(axis, start, inner) for start in range(3))
    return (first + last).add_(middle, alpha=2)


def centre(shape: tuple[int, ...]) -> Tensor:
    """A Gaussian blob in the middle, its standard deviation a sixth of each side."""
    rows, columns = (torch.linspace(-3, 3, n) if n > 1 else torch.zeros(1) for n in shape)
    return torch.exp(-(rows[:, None] ** 2 + columns**2) / 2)
