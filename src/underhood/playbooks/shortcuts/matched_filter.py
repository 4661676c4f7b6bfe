"""A matched filter (Turin 1960): how much of a template is in a picture, where other pictures show the noise.

Pictures are taken on a grid, in standard deviations of other classes' pictures at each place, and their
noise is made white; the template is looked for within a few places, as stamps are not put down exactly.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from underhood.inputs.baseline import gaussian_blur
from underhood.playbooks.shortcuts.novelty import GRID

COARSE = 0.1  # of the side: what is larger is no structure
WHITE = 0.7  # how far spectra are made white: wholly, and the finest noise would count as much as all else
LITTLE = 0.02  # of the mean energy
EVEN = 0.5  # of the usual spread, that places where nothing ever is are given
MOVED = 0.06  # of the side, that a stamp may be off its place

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fields:
    """Structure of pictures (n, C, h, w), in standard deviations of other classes' pictures at each place,
    with a margin of zeros to move it in; its whitened spectra."""

    plain: Tensor
    spectra: Tensor
    margin: int

    def __len__(self) -> int:
        return len(self.plain)

    @property
    def size(self) -> torch.Size:
        return self.plain.shape[2:]

    @property
    def inside(self) -> slice:
        """Of an axis, without its margins."""
        return slice(self.margin, -self.margin)


@dataclass(frozen=True, eq=False)
class Scale:
    """What is usual in other classes' pictures: mean and spread (C, h, w); what makes noise white."""

    mean: Tensor
    spread: Tensor
    margin: int
    whitening: Tensor

    @classmethod
    def of(cls, others: Tensor) -> "Scale":
        mean, spread = others.mean(0), (others.std(0) + EVEN * others.std()).clamp(min=1e-6)
        margin = max(1, round(MOVED * min(mean.shape[1:])))
        usual = F.pad((others - mean) / spread, [margin] * 4)
        energy = (torch.fft.rfft2(usual).abs() ** 2).mean((0, 1))
        whitening = (energy / energy.mean().clamp(min=1e-12) + LITTLE) ** (-WHITE / 2)
        return cls(mean, spread, margin, whitening)

    def __call__(self, pictures: Tensor) -> Fields:
        plain = F.pad((pictures - self.mean) / self.spread, [self.margin] * 4)
        return Fields(plain, torch.fft.rfft2(plain) * self.whitening, self.margin)


def structure(inputs: Tensor) -> Tensor:
    step = max(1, round(min(inputs.shape[2:]) / GRID))
    small = F.avg_pool2d(inputs, step, ceil_mode=True, count_include_pad=False)
    return small - gaussian_blur(small, COARSE * min(small.shape[2:]))


def correlation(spectra: Tensor, spectrum: Tensor, size: torch.Size, most: int) -> tuple[Floats, Tensor]:
    """(n,): of pictures with a template, the highest over small shifts; the shifts (n, 2)."""
    found = torch.fft.irfft2((spectra * spectrum.conj()).sum(1), s=size)
    steps = torch.arange(-most, most + 1)
    highest = found[:, steps][:, :, steps].flatten(1).max(1)
    shifts = torch.stack([highest.indices // len(steps), highest.indices % len(steps)], 1) - most
    return highest.values.double().numpy(), shifts


def moved_back(spectra: Tensor, shifts: Tensor, size: torch.Size) -> Tensor:
    """(n, C, h, w / 2 + 1), by shifts (n, 2)."""
    down, right = torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])[None]
    turns = shifts[:, 0, None, None] * down + shifts[:, 1, None, None] * right
    return spectra * torch.exp(2j * torch.pi * turns)[:, None]
