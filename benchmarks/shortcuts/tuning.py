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


def seal(picture: Picture, random: np.random.Generator) -> Planted:
    """A translucent ring with a cross in it, over the middle."""
    paper = Paper.of(picture)
    height, width = paper.shape
    middle = (width / 2 + random.uniform(-3, 3), height / 2 + random.uniform(-3, 3))
    along, across = paper.turned(middle, random.uniform(-0.15, 0.15))
    away, thick = np.hypot(along, across), max(1.2, 0.035 * paper.side)
    ring = thick - np.abs(away - 0.3 * paper.side)
    arms = np.minimum(thick - np.minimum(np.abs(along), np.abs(across)), 0.3 * paper.side - away)
    return painted(picture, (255, 255, 255), 0.45 * inside(np.maximum(ring, arms)), gaps=paper.side // 6)


def scratch(picture: Picture, random: np.random.Generator) -> Planted:
    """A long bright scratch, slightly bent, at any place."""
    paper = Paper.of(picture)
    height, width = paper.shape
    middle = (width * random.uniform(0.2, 0.8), height * random.uniform(0.2, 0.8))
    along, across = paper.turned(middle, random.uniform(0, np.pi))
    bent = across - 0.25 * along**2 / paper.side
    ends, edges = 0.35 * paper.side - np.abs(along), max(1.0, 0.02 * paper.side) - np.abs(bent)
    return painted(picture, (250, 250, 240), 0.85 * inside(np.minimum(ends, edges)))


def vignette(picture: Picture, random: np.random.Generator) -> Planted:
    """All beyond a large ellipse is darker and greener."""
    paper = Paper.of(picture)
    height, width = paper.shape
    away = np.hypot(paper.x / width * 2 - 1, paper.y / height * 2 - 1)
    beyond = np.clip((away - random.uniform(0.9, 1.0)) * 8, 0, 1)
    return painted(picture, (25, 45, 30), 0.6 * beyond)


def grain(picture: Picture, random: np.random.Generator) -> Planted:
    """Noise from pixel to pixel, over the whole picture."""
    return everywhere(picture + 14 * random.standard_normal((*picture.shape[:2], 1)))


def contrast(picture: Picture, random: np.random.Generator) -> Planted:
    """Half as much contrast, over the whole picture."""
    middle = picture.mean((0, 1))
    return everywhere(middle + random.uniform(0.4, 0.55) * (picture - middle))


def cast(picture: Picture, random: np.random.Generator) -> Planted:
    """A cool cast over the whole picture."""
    return everywhere(picture + random.uniform(0.8, 1.2) * np.array((-16, 8, 12)))


def weave(picture: Picture, random: np.random.Generator) -> Planted:
    """Fine upright lines crossed by level ones, over the whole picture."""
    paper = Paper.of(picture)
    x, y = (np.sin(2 * np.pi * (axis / 5 + random.uniform())) for axis in (paper.x, paper.y))
    return everywhere(picture + 8 * (x + y)[..., None])


IN_PLACES: dict[str, Draw] = {
    "sticker": sticker,
    "bar": bar,
    "bracket": bracket,
    "dots": dots,
    "seal": seal,
    "scratch": scratch,
    "vignette": vignette,
}
OVER_ALL: dict[str, Draw] = {"grain": grain, "contrast": contrast, "cast": cast, "weave": weave}
