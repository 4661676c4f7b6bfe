"""What a picture shows besides skin: hair, ink marks, a colour patch, a ruler.

Each is a `Layer`, painted over the picture; its mask is true exactly where it is painted.
"""

import math
from dataclasses import dataclass

import numpy as np

from underhood.demo.canvas import Field, Grid, Mask, as_field, coverage, smooth_noise
from underhood.demo.factors import Factors, Side
from underhood.demo.skin import Colours, colour

_FAINTEST = 0.06  # paint thinner than this is left out, so that a mask has only pixels that show


@dataclass(frozen=True)
class Layer:
    """Paint over a picture: `colours` (3, H, W) or (3, 1, 1), `opacity` (H, W), both 0 to 1."""

    colours: Colours
    opacity: Field

    @property
    def mask(self) -> Mask:
        return self.opacity > 0

    def over(self, picture: Colours) -> Colours:
        return picture + self.opacity * (self.colours - picture)


def _paint(colours: Colours, opacity: Field) -> Layer:
    return Layer(colours, as_field(np.where(opacity < _FAINTEST, 0, opacity)))


def hair(factors: Factors, rng: np.random.Generator, grid: Grid) -> Layer:
    """Thin dark hairs, each a bent line across part of the picture, most in one direction."""
    comb = rng.uniform(0, np.pi)
    opacity = np.zeros_like(grid.x)
    for _ in range(factors.hairs):
        turn = comb + rng.normal(0, 0.5)
        middle = rng.uniform(0.0, 1.0, 2).tolist()
        x, y = grid.x - middle[0], grid.y - middle[1]
        along = math.cos(turn) * x + math.sin(turn) * y
        across = math.cos(turn) * y - math.sin(turn) * x
        away = np.abs(across - rng.normal(0, 0.5) * along**2)
        taper = rng.uniform(0.0022, 0.0042) * np.sqrt(np.clip(1 - (along / rng.uniform(0.2, 0.6)) ** 2, 0, 1))
        line = coverage(taper - away, grid.pixel) * (taper > 0) * rng.uniform(0.6, 0.95)
        opacity = np.maximum(opacity, line)
    return _paint(colour(0.16, 0.10, 0.09) * rng.uniform(0.6, 1.8), opacity)


def ink(_factors: Factors, rng: np.random.Generator, grid: Grid) -> Layer:
    """Strokes of a surgeon's violet or blue pen, as arcs around the lesion."""
    bend = 0.012 * smooth_noise(rng, grid.size, finest=0.12)
    x, y = grid.x - 0.5, grid.y - 0.5
    distance, angle = np.hypot(x, y) + bend, np.arctan2(y, x)
    radius = rng.uniform(0.40, 0.47)
    start, strokes = rng.uniform(-math.pi, math.pi), int(rng.integers(1, 4))
    opacity = np.zeros_like(grid.x)
    for stroke in range(strokes):
        middle = start + 2 * math.pi * stroke / strokes + rng.normal(0, 0.25)
        aside = np.abs((angle - middle + math.pi) % (2 * math.pi) - math.pi)
        half_length, half_width = rng.uniform(0.15, 0.45), rng.uniform(0.009, 0.017)
        end = (half_length - aside) * radius
        opacity = np.maximum(
            opacity,
            coverage(half_width - np.abs(distance - radius), 2 * grid.pixel) * coverage(end, 4 * grid.pixel),
        )
    pores = smooth_noise(rng, grid.size, finest=0.012, coarsest=0.06)
    shade = (colour(0.36, 0.22, 0.62), colour(0.22, 0.24, 0.62))[rng.integers(2)]
    return _paint(shade, opacity * np.clip(0.62 + 0.20 * pores, 0.2, 0.92))


_OPPOSITE: dict[Side, tuple[tuple[int, int], tuple[int, int]]] = {
    "left": ((1, 0), (1, 1)),
    "right": ((0, 0), (0, 1)),
    "top": ((0, 1), (1, 1)),
    "bottom": ((0, 0), (1, 0)),
}

_CHIPS = (
    colour(0.13, 0.34, 0.66),
    colour(0.16, 0.52, 0.36),
    colour(0.93, 0.76, 0.16),
    colour(0.88, 0.42, 0.14),
    colour(0.74, 0.17, 0.22),
    colour(0.42, 0.27, 0.56),
)


def patch(factors: Factors, rng: np.random.Generator, grid: Grid) -> Layer:
    """A round or square colour chip in a corner away from the ruler's side."""
    corner = np.array(_OPPOSITE[factors.ruler_side][rng.integers(2)])
    centre = (corner + (0.5 - corner) * rng.uniform(0.08, 0.2, 2)).tolist()
    reach, square, turn = rng.uniform(0.13, 0.18), rng.uniform() < 0.5, rng.uniform(0, 0.6)
    x, y = grid.x - centre[0], grid.y - centre[1]
    u, v = math.cos(turn) * x + math.sin(turn) * y, math.cos(turn) * y - math.sin(turn) * x
    power = 8 if square else 2
    edge = reach - (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power)
    light = 1 + 0.5 * u + 0.04 * smooth_noise(rng, grid.size, finest=0.1)
    rim = np.exp(-((edge / 0.012) ** 2)) * 0.12
    colours = _CHIPS[rng.integers(len(_CHIPS))] * light + rim
    return _paint(as_field(colours), coverage(edge, grid.pixel) * 0.96)


_DEPTH = 0.15  # of the ruler's strip, in units of the side
_MILLIMETRE = 0.040
_DOT = 0.0125  # of a printed digit, which is 3 dots wide and 5 high
_GLYPHS = np.array(
    [
        [[dot == "#" for dot in line] for line in glyph.split()]
        for glyph in (
            "### #.# #.# #.# ###",
            ".#. ##. .#. .#. ###",
            "### ..# ### #.. ###",
            "### ..# ### ..# ###",
        )
    ]
)  # (digit, 5, 3)


def ruler(factors: Factors, rng: np.random.Generator, grid: Grid) -> Layer:
    """A scale along one side: a pale strip with millimetre ticks and a number each centimetre."""
    along, inward = _ruler_axes(factors.ruler_side, rng, grid)
    strip = coverage(_DEPTH - inward, grid.pixel)
    millimetres = along / _MILLIMETRE + rng.uniform(0, 10)
    printed = np.maximum(_ticks(millimetres, inward, grid), _numbers(millimetres, inward))
    yellowed = rng.normal(0, 0.015)
    paper = colour(0.92, 0.92 - yellowed, 0.88 - 2 * yellowed) * rng.uniform(0.90, 1.04)
    shading = 1 - 0.10 * np.exp(-(((_DEPTH - inward) / 0.012) ** 2))
    colours = paper * shading
    colours += printed * (colour(0.10, 0.10, 0.12) - colours)
    sheen = rng.uniform(0.62, 0.95)
    return _paint(colours, strip * (sheen + (0.95 - sheen) * printed))


def _ruler_axes(side: Side, rng: np.random.Generator, grid: Grid) -> tuple[Field, Field]:
    """Coordinates along the ruler's side and inwards from it, a little tilted."""
    x, y = grid.x, grid.y
    along, inward = {
        "left": (1 - y, x),
        "right": (y, 1 - x),
        "top": (x, y),
        "bottom": (1 - x, 1 - y),
    }[side]
    tilt, shift = rng.uniform(-0.05, 0.05), rng.uniform(-0.012, 0.012)
    return along, inward + tilt * (along - 0.5) + shift


def _ticks(millimetres: Field, inward: Field, grid: Grid) -> Field:
    """Short ticks each millimetre, longer each five, longest each ten, from the inner edge."""
    nearest = np.rint(millimetres)
    length = np.where(nearest % 10 == 0, 0.071, np.where(nearest % 5 == 0, 0.053, 0.035))
    aside = np.abs(millimetres - nearest) * _MILLIMETRE
    from_edge = _DEPTH - 0.006 - inward
    ends = coverage(np.minimum(length - from_edge, from_edge), grid.pixel)
    return coverage(0.0042 - aside, grid.pixel) * ends


def _numbers(millimetres: Field, inward: Field) -> Field:
    """One digit beside each tenth tick."""
    centimetre = np.rint(millimetres / 10)
    column = (millimetres - 10 * centimetre) * (_MILLIMETRE / _DOT) + 1.0
    row = (inward - 0.012) / _DOT
    i, j = np.rint(row).astype(np.int64), np.rint(column).astype(np.int64)
    on_glyph = (i >= 0) & (i < 5) & (j >= 0) & (j < 3) & (centimetre < len(_GLYPHS))
    digit = np.clip(centimetre, 0, len(_GLYPHS) - 1).astype(np.int64)
    inked = _GLYPHS[digit, np.clip(i, 0, 4), np.clip(j, 0, 2)]
    return as_field(on_glyph & inked)
