"""A pigmented lesion: its outline, and the pigment, blood and structures inside."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from underhood.demo.canvas import Field, Grid, Mask, as_field, smooth_noise, spots, step
from underhood.demo.factors import Factors
from underhood.demo.skin import Tissue

_DIRECTIONS = 2048  # entries of an outline's table of radii
_REACH = 0.33  # no lesion reaches further from its centre: the sides stay free


@dataclass(frozen=True)
class Outline:
    """Where a lesion lies. Lengths are in units of the picture's side."""

    depth: Field  # (H, W), distance to the border, positive inside
    angle: Field  # (H, W), direction seen from the centre, -pi to pi
    cover: Field  # (H, W), 1 inside, 0 outside, soft at the border
    radius: float
    centre: tuple[float, float]
    leaning: float  # the direction in which an asymmetric lesion bulges, in radians

    @property
    def mask(self) -> Mask:
        return self.depth > 0


def outline(factors: Factors, rng: np.random.Generator, grid: Grid) -> Outline:
    """The lesion's border: an ellipse, with lobes for irregularity and a bulge for asymmetry."""
    centre = (float(rng.uniform(0.47, 0.53)), float(rng.uniform(0.47, 0.53)))
    leaning = float(rng.uniform(-np.pi, np.pi))
    x, y = grid.x - centre[0], grid.y - centre[1]
    angle, distance = np.arctan2(y, x), np.hypot(x, y)

    radii = _radii(factors, leaning, rng)
    entry = ((angle + math.pi) * (_DIRECTIONS / (2 * np.pi))).astype(np.int32) % _DIRECTIONS
    fringe = smooth_noise(rng, grid.size, finest=0.035, coarsest=0.12)
    depth = radii[entry] - distance + (0.004 + 0.009 * factors.irregularity) * fringe
    softness = rng.uniform(0.006, 0.016) * (0.6 if factors.pattern == "keratosis" else 1.0)
    return Outline(
        depth=as_field(depth),
        angle=angle,
        cover=step(depth, softness),
        radius=factors.radius,
        centre=centre,
        leaning=leaning,
    )


def _radii(factors: Factors, leaning: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """The border's distance from the centre in each direction, from -pi to pi."""
    angles = np.linspace(-np.pi, np.pi, _DIRECTIONS, endpoint=False)
    ellipse = rng.uniform(0.02, 0.13) * np.cos(2 * (angles - rng.uniform(0, np.pi)))
    waves = np.arange(3, 10)[:, None]  # (7, 1)
    phases = rng.uniform(0, 2 * np.pi, waves.shape)
    heights = rng.uniform(0.5, 1.2, waves.shape) / waves**1.1
    lobes = (heights * np.cos(waves * angles + phases)).sum(axis=0)
    bulge = np.exp(3.0 * (np.cos(angles - leaning) - 1)) - 0.25
    radii = np.exp(ellipse + 0.40 * factors.irregularity * lobes + 0.55 * factors.asymmetry * bulge)
    radii *= factors.radius / np.sqrt(np.mean(radii**2))
    return as_field(radii * min(1.0, _REACH / radii.max()))


def grow(skin: Tissue, shape: Outline, factors: Factors, rng: np.random.Generator, grid: Grid) -> Tissue:
    """The skin with the lesion in it."""
    inner = _pigmented(shape, factors, rng, grid)
    cover = shape.cover
    halo = 0.05 * np.exp(-((shape.depth / 0.05) ** 2))
    return Tissue(
        melanin=skin.melanin * (1 - 0.5 * cover) + cover * inner.melanin,
        blood=skin.blood * (1 - 0.5 * cover) + cover * inner.blood + halo,
        veil=cover * inner.veil,
    )


def _pigmented(shape: Outline, factors: Factors, rng: np.random.Generator, grid: Grid) -> Tissue:
    """What the lesion adds to the skin, as if it filled the picture."""
    size, variegation = grid.size, factors.variegation
    zones = [smooth_noise(rng, size, finest=0.13, coarsest=0.6) for _ in range(4)]
    cloud = smooth_noise(rng, size, finest=0.035, coarsest=0.15)
    dark = 0.65 + 1.45 * factors.pigment

    melanin = dark * (_profile(shape, factors, grid) + 0.13 * cloud)
    melanin += dark * _STRUCTURES[factors.pattern](shape, rng, grid)
    melanin += 0.7 * factors.irregularity * dark * _streaks(shape, rng)
    melanin += variegation * (0.30 * dark * zones[0] + 1.7 * step(zones[1] - 0.7, 0.22))
    pale = variegation * step(zones[2] - 1.3, 0.2)
    veil = 0.85 * variegation * step(zones[3] - 0.8, 0.22) * step(shape.depth - 0.03, 0.015)
    blood = 0.08 + 0.05 * cloud + variegation * (0.75 * step(-zones[3] - 0.8, 0.25) + 0.1 * pale)
    return Tissue(
        melanin=as_field(np.maximum(melanin * (1 - 0.8 * pale), 0.05)),
        blood=as_field(np.maximum(blood, 0)),
        veil=as_field(veil),
    )


def _profile(shape: Outline, factors: Factors, grid: Grid) -> Field:
    """Pigment from the middle to the border; it gathers on one side where asymmetric."""
    away = 0.55 * factors.asymmetry * shape.radius
    x = grid.x - (shape.centre[0] + away * math.cos(shape.leaning))
    y = grid.y - (shape.centre[1] + away * math.sin(shape.leaning))
    hump = np.exp(-(x**2 + y**2) / (1.1 * shape.radius**2))
    slope = (x * math.cos(shape.leaning) + y * math.sin(shape.leaning)) / shape.radius
    one_sided = 0.55 * factors.asymmetry * np.tanh(1.5 * slope)
    return as_field(0.62 + 0.38 * hump + one_sided)


def _streaks(shape: Outline, rng: np.random.Generator) -> Field:
    """Dark radial streaks in a band just inside the border, over part of it."""
    rays = np.cos(int(rng.integers(17, 26)) * shape.angle + 8 * shape.depth)
    sector = step(np.cos(2 * shape.angle - rng.uniform(-np.pi, np.pi)) - 0.1, 0.2)
    band = np.exp(-(((shape.depth - 0.02) / 0.025) ** 2))
    return as_field(sector * band * np.maximum(rays, 0))


def _honeycomb(rng: np.random.Generator, grid: Grid, pitch: float) -> Field:
    """A bent hexagonal lattice: 1 at the middle of the cells, about -0.5 on the lines between."""
    bend = [pitch * 0.9 * smooth_noise(rng, grid.size, finest=0.07) for _ in range(2)]
    x, y = grid.x + bend[0], grid.y + bend[1]
    turn, wave = rng.uniform(0, math.pi), 2 * math.pi / pitch
    cells = [
        np.cos(wave * math.cos(a) * x + wave * math.sin(a) * y)
        for a in (turn, turn + math.pi / 3, turn + 2 * math.pi / 3)
    ]
    return as_field((cells[0] + cells[1] + cells[2]) / 3)


def _network(shape: Outline, rng: np.random.Generator, grid: Grid) -> Field:
    lines = -_honeycomb(rng, grid, rng.uniform(0.036, 0.050))
    return as_field(0.34 * np.tanh(2.5 * lines) * np.exp(-shape.depth / 0.25))


def _globules(_shape: Outline, rng: np.random.Generator, grid: Grid) -> Field:
    dots = _honeycomb(rng, grid, rng.uniform(0.045, 0.065))
    gaps = smooth_noise(rng, grid.size, finest=0.06, coarsest=0.3)
    return as_field(0.6 * step(dots - 0.35 - 0.15 * gaps, 0.06) - 0.12)


def _homogeneous(_shape: Outline, rng: np.random.Generator, grid: Grid) -> Field:
    return 0.05 * smooth_noise(rng, grid.size, finest=0.02, coarsest=0.1)


def _keratosis(shape: Outline, rng: np.random.Generator, grid: Grid) -> Field:
    """Waxy ridges, dark plugs (comedo-like openings) and pale dots (milia-like cysts)."""
    ridges = np.abs(smooth_noise(rng, grid.size, finest=0.03, coarsest=0.10))
    where = shape.centre + rng.uniform(-0.9, 0.9, (18, 2)) * shape.radius
    plugs = spots(grid, where[:8], 0.010, np.full(8, 0.9))
    cysts = spots(grid, where[8:], 0.007, np.full(10, 0.8))
    return as_field(0.28 * np.minimum(ridges, 1.5) - 0.28 + plugs - cysts)


_STRUCTURES = {
    "network": _network,
    "globules": _globules,
    "homogeneous": _homogeneous,
    "keratosis": _keratosis,
}
