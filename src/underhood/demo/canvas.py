"""What every part of a synthetic picture is drawn on: a pixel grid, random streams, noise."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]  # (H, W), one real value per pixel
Mask = NDArray[np.bool_]  # (H, W)


def as_field(values: Any) -> Field:
    """The values in single precision: twice as fast, and plenty for pictures of 8 bits."""
    return np.asarray(values, dtype=np.float32)


@dataclass(frozen=True)
class Grid:
    """Pixel centres of a square picture, in units of its side: x to the right, y down, 0 to 1."""

    x: Field  # (H, W)
    y: Field  # (H, W)
    pixel: float  # width of one pixel, in units of the side

    @property
    def size(self) -> int:
        return len(self.x)


@cache
def grid(size: int) -> Grid:
    """The grid of a picture of `size` by `size` pixels."""
    centres = ((np.arange(size) + 0.5) / size).astype(np.float32)
    x, y = np.meshgrid(centres, centres)
    return Grid(x, y, 1.0 / size)


# Each part of a picture draws from a stream of its own, so that adding or leaving out one part
# changes no other. Appending to this list changes no picture; reordering it changes all of them.
STREAMS = ("factors", "skin", "shape", "pigment", "hair", "ink", "patch", "ruler", "camera")


def stream(seed: int, part: str) -> np.random.Generator:
    """The random stream of one part of the picture with this seed (0 to 2**64 - 1)."""
    key = np.array([seed, STREAMS.index(part)], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


@cache
def _cosines(size: int, modes: int) -> Field:
    centres = (np.arange(size) + 0.5) / size
    return as_field(np.cos(np.pi * np.outer(centres, np.arange(modes))))  # (size, modes)


@cache
def _spectrum(coarsest: float, finest: float) -> Field:
    """Amplitude of each pair of cosine modes, for unit variance and features of the given sizes."""
    modes = int(np.ceil(1.6 / finest))
    waves = np.hypot(*np.meshgrid(np.arange(modes), np.arange(modes))) / 2  # per picture side
    band = np.exp(-0.5 * (waves * finest) ** 2) * (1 - np.exp(-0.5 * (waves * coarsest) ** 2))
    power = np.full((modes, modes), 0.25)  # mean square of cos(.)cos(.)
    power[0], power[:, 0] = 0.5, 0.5
    return as_field(band / np.sqrt((band**2 * power).sum()))


def smooth_noise(rng: np.random.Generator, size: int, *, finest: float, coarsest: float = 1.0) -> Field:
    """A Gaussian random field (H, W) of mean 0 and variance 1 over draws.

    Its bumps are between `finest` and `coarsest` wide, in units of the side; the same stream gives
    the same field at every `size`.
    """
    amplitude = _spectrum(coarsest, finest)
    waves = amplitude * rng.standard_normal(amplitude.shape, dtype=np.float32)
    basis = _cosines(size, len(amplitude))
    return _product(_product(basis, waves), basis.T)


def _product(left: Field, right: Field) -> Field:
    """left @ right, by blocks of rows too small for BLAS to start threads for.

    On a busy machine threads take many times longer over so little work.
    """
    rows = max(1, 2**18 // right.size)
    return np.concatenate([left[i : i + rows] @ right for i in range(0, len(left), rows)])


def spots(grid: Grid, centres: NDArray[np.float64], width: float, weights: Field) -> Field:
    """The sum of round Gaussian spots, (H, W).

    centres: (n, 2), x and y;  width: the standard deviation;  weights: (n,), the heights.
    """
    across = np.exp(-0.5 * ((grid.x[0][None] - centres[:, :1]) / width) ** 2)  # (n, W)
    down = np.exp(-0.5 * ((grid.y[:, 0][None] - centres[:, 1:]) / width) ** 2)  # (n, H)
    return as_field((down * weights[:, None]).T @ across)


def step(value: Field, softness: float) -> Field:
    """0 below zero, 1 above, with a smooth rise about 4 `softness` wide."""
    return as_field(0.5 + 0.5 * np.tanh(value * (0.5 / softness)))


def coverage(signed_distance: Field, pixel: float) -> Field:
    """The share of each pixel inside a shape, from the distance to its edge (positive inside)."""
    return as_field(np.clip(signed_distance / pixel + 0.5, 0, 1))
