"""Healthy skin, and the optics that turn pigment and blood into colour.

Light passes the melanin of the epidermis and the blood of the dermis on its way in and out; each
weakens red, green and blue by the Beer-Lambert law.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from underhood.demo.canvas import Field, Grid, as_field, smooth_noise, spots
from underhood.demo.factors import Factors

Colours = NDArray[np.floating[Any]]  # (3, H, W), or (3, 1, 1): red, green, blue, 0 to 1


def colour(red: float, green: float, blue: float) -> Colours:
    """One colour (3, 1, 1), to be laid over a picture."""
    return np.array([red, green, blue], dtype=np.float32).reshape(3, 1, 1)


_LAMP = colour(0.97, 0.91, 0.91)
_MELANIN = colour(0.52, 1.00, 1.46)  # optical density per unit
_BLOOD = colour(0.10, 1.00, 0.80)
_VEIL = colour(0.36, 0.38, 0.47)  # melanin seen through the dermis
_GLARE = colour(0.050, 0.030, 0.030)


@dataclass
class Tissue:
    """What the skin holds at each pixel, all (H, W): optical densities, and a share from 0 to 1."""

    melanin: Field
    blood: Field
    veil: Field  # how much of the colour is the blue-white veil

    def colours(self, tint: Colours) -> Colours:
        """The tissue under a lamp of colour `tint`."""
        light = np.exp(-(self.melanin * _MELANIN + self.blood * _BLOOD))
        light += self.veil * (_VEIL - light)
        return (_LAMP * tint) * (_GLARE + (1 - _GLARE) * light)


def healthy(factors: Factors, rng: np.random.Generator, grid: Grid) -> Tissue:
    """Skin without a lesion: tone, mottled blood, a weave of skin lines, pores and freckles."""
    size = grid.size
    mottling = smooth_noise(rng, size, finest=0.05, coarsest=0.4)
    weave = _skin_lines(rng, grid)
    shade = smooth_noise(rng, size, finest=0.3)
    melanin = (
        0.08
        + 0.75 * factors.tone**1.3
        + (0.015 + 0.06 * factors.tone) * (shade + 0.8 * weave)
        + _freckles(rng, grid)
    )
    blood = (0.07 + 0.28 * factors.flush) * (1 + 0.13 * mottling + 0.07 * shade) + 0.022 * weave
    return Tissue(
        melanin=as_field(np.maximum(melanin, 0)),
        blood=as_field(np.maximum(blood, 0)),
        veil=np.zeros((size, size), dtype=np.float32),
    )


def _skin_lines(rng: np.random.Generator, grid: Grid) -> Field:
    """The fine criss-cross relief of skin, mean about 0."""
    bend = 0.10 * smooth_noise(rng, grid.size, finest=0.2)
    angle = rng.uniform(0, math.pi)
    u = math.cos(angle) * grid.x + math.sin(angle) * grid.y + bend
    v = math.cos(angle + 1.1) * grid.x + math.sin(angle + 1.1) * grid.y - bend
    pitch = 2 * math.pi * rng.uniform(16, 26)
    grain = smooth_noise(rng, grid.size, finest=0.018, coarsest=0.08)
    return as_field(0.35 * (np.sin(pitch * u) + np.sin(1.13 * pitch * v)) + 0.7 * grain)


def _freckles(rng: np.random.Generator, grid: Grid) -> Field:
    count = int(rng.choice([0, 4, 14]))
    if count == 0:
        return np.zeros_like(grid.x)
    strength = rng.uniform(0.04, 0.16, count).astype(np.float32)
    return spots(grid, rng.uniform(0, 1, (count, 2)), rng.uniform(0.008, 0.018), strength)
