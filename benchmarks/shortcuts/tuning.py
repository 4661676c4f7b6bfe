"""Marks on which the playbook is tuned; none of them is among those that are reported."""

import numpy as np

from benchmarks.shortcuts.paint import Draw, Paper, Picture, Planted, everywhere, inside, painted

COLOURS = ((35, 90, 190), (40, 150, 80), (225, 180, 40), (200, 50, 60))


def sticker(picture: Picture, random: np.random.Generator) -> Planted:
    """A round or square dot of one colour, anywhere."""
    paper = Paper.of(picture)
    height, width = paper.shape
    reach = paper.side * random.uniform(0.09, 0.12)
    x, y = random.uniform(reach, width - reach), random.uniform(reach, height - reach)
    round_one = random.uniform() < 0.5
    along, across = np.abs(paper.x - x), np.abs(paper.y - y)
    away = np.hypot(along, across) if round_one else np.maximum(along, across)
    return painted(picture, COLOURS[random.integers(len(COLOURS))], 0.95 * inside(reach - away))


def bar(picture: Picture, random: np.random.Generator) -> Planted:
    """A dark bar, at any angle and any place."""
    paper = Paper.of(picture)
    height, width = paper.shape
    middle = (width * random.uniform(0.25, 0.75), height * random.uniform(0.25, 0.75))
    along, across = paper.turned(middle, random.uniform(0, np.pi))
    ends, edges = 0.3 * paper.side - np.abs(along), 0.045 * paper.side - np.abs(across)
    return painted(picture, (25, 30, 40), 0.9 * inside(np.minimum(ends, edges)))


def bracket(picture: Picture, random: np.random.Generator) -> Planted:
    """A pale angle in the upper left corner."""
    paper = Paper.of(picture)
    x, y = (axis - paper.side * random.uniform(0.04, 0.08) for axis in (paper.x, paper.y))
    arm, thick = 0.3 * paper.side, 0.07 * paper.side
    square = np.minimum.reduce([x, y, arm - x, arm - y])
    hole = np.minimum(x - thick, y - thick)
    return painted(picture, (240, 240, 225), 0.9 * inside(np.minimum(square, -hole)))


def dots(picture: Picture, random: np.random.Generator) -> Planted:
    """A row of green dots along the lower side."""
    paper = Paper.of(picture)
    height, width = paper.shape
    step, reach = 0.11 * paper.side, 0.04 * paper.side
    start = random.uniform(0.1, 0.35) * width
    centres = start + step * np.arange(5)
    y = height - paper.side * random.uniform(0.07, 0.12)
    away = np.min([np.hypot(paper.x - x, paper.y - y) for x in centres], axis=0)
    return painted(picture, (30, 140, 60), 0.95 * inside(reach - away), gaps=int(step - reach) + 1)


def grain(picture: Picture, random: np.random.Generator) -> Planted:
    """Noise from pixel to pixel, over the whole picture."""
    return everywhere(picture + 14 * random.standard_normal((*picture.shape[:2], 1)))


def contrast(picture: Picture, random: np.random.Generator) -> Planted:
    """Half as much contrast, over the whole picture."""
    middle = picture.mean((0, 1))
    return everywhere(middle + random.uniform(0.4, 0.55) * (picture - middle))


IN_PLACES: dict[str, Draw] = {"sticker": sticker, "bar": bar, "bracket": bracket, "dots": dots}
OVER_ALL: dict[str, Draw] = {"grain": grain, "contrast": contrast}
