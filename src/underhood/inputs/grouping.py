"""Groupings: which elements of an input are hidden and credited together."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from underhood.errors import InvalidArgument, MissingExtra


class Grouping(ABC):
    """`count` groups over an input's places: (H, W) of a picture, (F,) of a row or a sequence."""

    shape: tuple[int, ...]

    @property
    @abstractmethod
    def count(self) -> int: ...

    @abstractmethod
    def masks(self, groups: Tensor) -> Tensor:
        """Which places belong to each of these groups (m,): (m, *shape), bool."""

    @cached_property
    def boxes(self) -> Tensor:
        """The box around each group of a picture's places, (count, 4): top, left, height, width."""
        found = []
        for groups in torch.arange(self.count).split(64):
            masks = self.masks(groups)
            spans = [_span(masks.any(other)) for other in (2, 1)]  # along the other axis
            found.append(torch.stack([*(first for first, _ in spans), *(length for _, length in spans)], 1))
        return torch.cat(found)

    def spread(self, values: Tensor) -> Tensor:
        """One value per group (n, B) back on the places, (B, *shape).

        A group's value belongs to the whole group and is repeated over its places, not divided; a place
        in several groups takes their mean.
        """
        total = torch.zeros(values.shape[1], *self.shape)
        covered = torch.zeros(self.shape)
        for groups in torch.arange(self.count).split(64):
            masks = self.masks(groups).float()
            total += torch.tensordot(values[groups].T, masks, dims=1)
            covered += masks.sum(0)
        return total / covered.clamp(min=1)


@dataclass(frozen=True, eq=False)
class Labels(Grouping):
    """Each place belongs to one group: whole numbers of any kind, one per place, (*shape)."""

    labels: Tensor

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return tuple(self.labels.shape)

    @cached_property
    def _numbered(self) -> tuple[Tensor, Tensor]:
        """Distinct labels, and each place's group number from 0 on."""
        return torch.unique(self.labels, return_inverse=True)

    @property
    def count(self) -> int:
        return len(self._numbered[0])

    @property
    def numbers(self) -> Tensor:
        """Each place's group, numbered from 0 on."""
        return self._numbered[1]

    def masks(self, groups: Tensor) -> Tensor:
        return self.numbers == groups.reshape(-1, *[1] * self.labels.ndim)

    def spread(self, values: Tensor) -> Tensor:
        return values.T[:, self.numbers]


@dataclass(frozen=True)
class Windows(Grouping):
    """Overlapping squares of `size`, every `stride` places, up to and including the far edges."""

    shape: tuple[int, ...]
    size: int
    stride: int

    def __post_init__(self) -> None:
        if self.size < 1 or self.stride < 1:
            raise InvalidArgument(
                f"A window needs size and stride of at least 1, got {self.size} and {self.stride}."
            )
        if self.stride > self.size:
            raise InvalidArgument(
                f"With stride {self.stride} beyond the window's size {self.size}, places would be "
                "skipped; use a stride of at most the size."
            )

    @cached_property
    def corners(self) -> Tensor:
        """First place of each window, (n, d)."""
        starts = [_starts(length, self.size, self.stride) for length in self.shape]
        return torch.cartesian_prod(*starts).reshape(-1, len(self.shape))

    @property
    def count(self) -> int:
        return len(self.corners)

    def masks(self, groups: Tensor) -> Tensor:
        first = self.corners[groups]  # (m, d)
        mask = torch.ones(len(groups), *[1] * len(self.shape), dtype=torch.bool)
        for axis, length in enumerate(self.shape):
            at = first[:, axis, None]
            inside = (torch.arange(length) >= at) & (torch.arange(length) < at + self.size)  # (m, L)
            mask = mask & inside.reshape(len(groups), *_only(axis, len(self.shape), length))
        return mask


def _starts(length: int, size: int, stride: int) -> Tensor:
    last = max(length - size, 0)
    starts = list(range(0, last + 1, stride))
    return torch.tensor(starts if starts[-1] == last else [*starts, last])


def _span(covered: Tensor) -> tuple[Tensor, Tensor]:
    """First place and length of what is covered, (m, L) bool, from its first to its last place."""
    first, last = covered.int().argmax(1), covered.shape[1] - 1 - covered.flip(1).int().argmax(1)
    return first, last + 1 - first


def _only(axis: int, axes: int, length: int) -> list[int]:
    return [length if i == axis else 1 for i in range(axes)]


def elements(shape: tuple[int, ...]) -> Labels:
    """Every place a group of its own: pixels, tokens or columns."""
    return Labels(torch.arange(torch.Size(shape).numel()).reshape(shape))


def patches(shape: tuple[int, int], size: int) -> Labels:
    """Squares side by side; those at the right and bottom edge may be smaller."""
    rows, columns = (torch.arange(n) // size for n in shape)
    return Labels(rows[:, None] * (int(columns[-1]) + 1) + columns)


def superpixels(picture: Any, count: int = 75) -> Labels:
    """SLIC superpixels of a picture (H, W, 3), uint8 (Achanta et al. 2012); needs scikit-image."""
    try:
        from skimage.segmentation import slic
    except ImportError as error:
        raise MissingExtra("scikit-image", "demo") from error
    return Labels(torch.from_numpy(slic(picture, n_segments=count, start_label=0)))


def as_grouping(value: Grouping | Tensor, shape: tuple[int, ...]) -> Grouping:
    """A grouping, or labels as a tensor, checked against the places of an input."""
    grouping = Labels(value) if isinstance(value, Tensor) else value
    if tuple(grouping.shape) != tuple(shape):
        raise InvalidArgument(
            f"The grouping is made for places {tuple(grouping.shape)}, the input has {tuple(shape)}."
        )
    return grouping


def places(inputs: Tensor) -> tuple[int, ...]:
    """The places of an input: (H, W) of pictures (B, C, H, W), (F,) of rows (B, F)."""
    return tuple(inputs.shape[2:] if inputs.ndim > 2 else inputs.shape[1:])
