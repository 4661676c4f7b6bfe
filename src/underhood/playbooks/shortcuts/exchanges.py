"""What one picture can take from another: the pixels of a place, or a property of the whole picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from underhood.inputs.baseline import gaussian_blur
from underhood.inputs.random import CLUSTERS, generator
from underhood.playbooks.shortcuts.wholes import Whole

PARTS = 6  # of a side; windows are two parts wide, strips one
SAMPLED = 48  # pixels along a side, that quartiles are taken of
BLOCK = 0.2  # of a side: a block in a corner, clear of the middle


@dataclass(frozen=True, eq=False)
class Pictures:
    """Network inputs (B, C, H, W), their subjects (B, H, W), and what in them is novel (B, H, W), where that
    was looked for."""

    inputs: Tensor
    subject: Tensor
    novel: Tensor

    @classmethod
    def plain(cls, inputs: Tensor, subject: Tensor) -> "Pictures":
        """With nothing novel."""
        return cls(inputs, subject, torch.zeros_like(subject))

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, rows: Tensor | slice) -> "Pictures":
        return Pictures(self.inputs[rows], self.subject[rows], self.novel[rows])


class Exchange(Protocol):
    """`onto` with something taken from `of`, picture by picture.

    replaces: whether it loses its own by that.
    """

    @property
    def name(self) -> str: ...
    @property
    def replaces(self) -> bool: ...
    def __call__(self, onto: Pictures, of: Pictures) -> Tensor: ...


class Property(Exchange, Protocol):
    """Something of the whole picture."""

    def replaced(self, onto: Pictures, of: Pictures) -> Tensor:
        """`onto` with that of `of` instead of its own."""


@dataclass(frozen=True, eq=False)
class Place:
    """The pixels of a place (H, W), save where either picture has its subject."""

    name: str
    mask: Tensor
    replaces: bool = True

    def __call__(self, onto: Pictures, of: Pictures) -> Tensor:
        taken = self.mask & ~onto.subject & ~of.subject
        return torch.where(taken[:, None], of.inputs, onto.inputs)


@dataclass(frozen=True)
class Novel:
    """What has no like in pictures of other classes, in either picture."""

    name: str = "novel"
    replaces: bool = True

    def __call__(self, onto: Pictures, of: Pictures) -> Tensor:
        taken = onto.novel | of.novel
        return torch.where(taken[:, None], of.inputs, onto.inputs)


@dataclass(frozen=True)
class Background:
    """All that is around the subject, in either picture."""

    name: str = "background"
    replaces: bool = True

    def __call__(self, onto: Pictures, of: Pictures) -> Tensor:
        taken = ~onto.subject & ~of.subject
        return torch.where(taken[:, None], of.inputs, onto.inputs)

    def replaced(self, onto: Pictures, of: Pictures) -> Tensor:
        return self(onto, of)


@dataclass(frozen=True)
class Subject:
    """All that a background leaves: the subjects of both pictures."""

    name: str = "subject"
    replaces: bool = True

    def __call__(self, onto: Pictures, of: Pictures) -> Tensor:
        taken = onto.subject | of.subject
        return torch.where(taken[:, None], of.inputs, onto.inputs)


@dataclass(frozen=True)
class Colour:
    """The mean colour of what surrounds the subject: the whole picture is shifted by the difference."""

    name: str = "colour"
    replaces: bool = True

    def __call__(self, onto: Pictures, of: Pictures) -> Tensor:
        return onto.inputs + (_mean(of) - _mean(onto))

    def replaced(self, onto: Pictures, of: Pictures) -> Tensor:
        return self(onto, of)

    def measure(self, pictures: Pictures) -> Tensor:
        """(B, C)"""
        return _mean(pictures)[:, :, 0, 0]


@dataclass(frozen=True)
class Contrast:
    """How much the surroundings of the subject vary: the whole picture is stretched as much."""

    name: str = "contrast"
    most: float = 3.0
    replaces: bool = True

    def __call__(self, onto: Pictures, of: Pictures) -> Tensor:
        times = (_spread(of) / _spread(onto).clamp(min=1e-6)).clamp(1 / self.most, self.most)
        centre = _mean(onto)
        return centre + (onto.inputs - centre) * times

    def replaced(self, onto: Pictures, of: Pictures) -> Tensor:
        return self(onto, of)

    def measure(self, pictures: Pictures) -> Tensor:
        """(B, 1), a logarithm."""
        return _spread(pictures)[:, 0, 0].clamp(min=1e-6).log()


@dataclass(frozen=True)
class Texture:
    """What is finer than about a fifth of the side, added all over the picture.

    Around both subjects that is the other picture's own, without what is novel in it, as a thing is no
    texture; on the subjects it is noise with the spectrum of a block in its upper left corner.
    It is added to the picture's own, so that only a texture that is there can do something, and not the want
    of one.
    """

    name: str = "texture"
    sigma: float = 0.04
    replaces: bool = False

    def __call__(self, onto: Pictures, of: Pictures) -> Tensor:
        fine = self._fine(of.inputs)
        own = fine * ~of.novel[:, None]
        subject = (onto.subject | of.subject)[:, None]
        return onto.inputs + torch.where(subject, self._repeated(fine), own)

    def replaced(self, onto: Pictures, of: Pictures) -> Tensor:
        return self(onto, of) - self._fine(onto.inputs)

    def _fine(self, inputs: Tensor) -> Tensor:
        return inputs - gaussian_blur(inputs, max(0.8, self.sigma * min(inputs.shape[2:])))

    def _repeated(self, fine: Tensor) -> Tensor:
        """As large as the picture: noise with the block's spectrum (Galerne et al. 2011), without seams."""
        height, width = fine.shape[2:]
        tall, wide = max(2, round(BLOCK * height)), max(2, round(BLOCK * width))
        block = fine[..., :tall, :wide]
        block = block - block.mean((2, 3), keepdim=True)
        noise = torch.from_numpy(generator(0, CLUSTERS, 5).standard_normal((height, width))).float()
        phases = torch.fft.rfft2(noise)
        spectrum = torch.fft.rfft2(block, s=(height, width)) * (phases / phases.abs().clamp(min=1e-12))
        return torch.fft.irfft2(spectrum, s=(height, width)) * (height * width / (tall * wide)) ** 0.5


WHOLES: Mapping[Whole, Property] = {"colour": Colour(), "contrast": Contrast(), "texture": Texture()}


@dataclass(frozen=True, eq=False)
class Within:
    """An exchange that is kept to where the picture that takes has its subject."""

    exchange: Exchange

    @property
    def name(self) -> str:
        return f"{self.exchange.name} in the middle"

    @property
    def replaces(self) -> bool:
        return self.exchange.replaces

    def __call__(self, onto: Pictures, of: Pictures) -> Tensor:
        return torch.where(onto.subject[:, None], self.exchange(onto, of), onto.inputs)


def _outside(pictures: Pictures) -> Tensor:
    weights = (~pictures.subject).float()
    return weights / weights.sum((1, 2), keepdim=True).clamp(min=1)


def _mean(pictures: Pictures) -> Tensor:
    """(B, C, 1, 1)"""
    return (pictures.inputs * _outside(pictures)[:, None]).sum((2, 3), keepdim=True)


def _spread(pictures: Pictures) -> Tensor:
    """(B, 1, 1, 1): from the first to the third quartile around the subject, which no small mark changes."""
    step = max(1, min(pictures.inputs.shape[2:]) // SAMPLED)
    sampled = (pictures.inputs - _mean(pictures))[..., ::step, ::step]
    there = ~pictures.subject[:, None, ::step, ::step].expand_as(sampled)
    values = torch.where(there, sampled, torch.nan).flatten(1)
    low, high = torch.nanquantile(values, torch.tensor([0.25, 0.75]), dim=1)
    return (high - low).nan_to_num()[:, None, None, None]


def places(height: int, width: int) -> list[Place]:
    """Windows around the picture's border, strips along its sides, and all that surrounds the middle."""
    found = []
    last = PARTS - 2
    for i in range(last + 1):
        for j in range(last + 1):
            if i in (0, last) or j in (0, last):
                found.append(Place(f"window {i} {j}", _box(height, width, (i, i + 2), (j, j + 2))))
    found += [
        Place("top", _box(height, width, (0, 1), (0, PARTS))),
        Place("bottom", _box(height, width, (PARTS - 1, PARTS), (0, PARTS))),
        Place("left", _box(height, width, (0, PARTS), (0, 1))),
        Place("right", _box(height, width, (0, PARTS), (PARTS - 1, PARTS))),
        surroundings(height, width),
    ]
    return found


def surroundings(height: int, width: int) -> Place:
    return Place("surroundings", torch.ones(height, width, dtype=torch.bool))


def _box(height: int, width: int, down: tuple[int, int], across: tuple[int, int]) -> Tensor:
    """(H, W) bool, from and to in parts of the sides."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    rows = slice(*(round(part * height / PARTS) for part in down))
    mask[rows, slice(*(round(part * width / PARTS) for part in across))] = True
    return mask


def widened(masks: Tensor, pixels: int) -> Tensor:
    """Masks (B, H, W) grown by so many pixels."""
    if pixels < 1:
        return masks
    return F.max_pool2d(masks.float()[:, None], 2 * pixels + 1, 1, pixels)[:, 0] > 0.5


def stacked(parts: Sequence[Pictures]) -> Pictures:
    return Pictures(
        torch.cat([part.inputs for part in parts]),
        torch.cat([part.subject for part in parts]),
        torch.cat([part.novel for part in parts]),
    )
