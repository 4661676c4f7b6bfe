"""Marks that are reported on; the playbook is never run on them before it is settled."""

from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.shortcuts.paint import Draw, Field, Paper, Picture, Planted, everywhere, inside, painted

CHIPS = ((30, 85, 170), (40, 135, 90), (240, 195, 40), (225, 105, 35), (190, 45, 55), (105, 70, 145))
INKS = ((90, 55, 160), (55, 60, 160))
WORDS = ("07:42", "L 12", "R 03", "A-17", "10/98")


def ruler(picture: Picture, random: np.random.Generator) -> Planted:
    """A pale strip with ticks along one side."""
    paper = Paper.of(picture)
    x, y = paper.from_corner(bool(random.integers(2)), bool(random.integers(2)))
    along, inward = (x, y) if random.uniform() < 0.5 else (y, x)
    depth, step = 0.14 * paper.side, max(3.0, 0.055 * paper.side)
    ticks = along / step + random.uniform()
    long_one = np.rint(ticks) % 5 == 0
    printed = inside(0.18 * step - np.abs(ticks - np.rint(ticks)) * step) * (
        inward > depth * np.where(long_one, 0.25, 0.55)
    )
    shade = random.uniform(215, 240)
    colours = shade - (shade - 35) * printed[..., None] * np.ones(3)
    return painted(picture, colours, 0.9 * inside(depth - inward))


def patch(picture: Picture, random: np.random.Generator) -> Planted:
    """A colour chip, round or square, in one of the corners."""
    paper = Paper.of(picture)
    x, y = paper.from_corner(bool(random.integers(2)), bool(random.integers(2)))
    reach = paper.side * random.uniform(0.13, 0.17)
    away = paper.side * random.uniform(0.1, 0.2, 2)
    u, v = np.abs(x - away[0]), np.abs(y - away[1])
    distance = np.hypot(u, v) if random.uniform() < 0.5 else np.maximum(u, v)
    return painted(picture, CHIPS[random.integers(len(CHIPS))], 0.95 * inside(reach - distance))


def ink(picture: Picture, random: np.random.Generator) -> Planted:
    """One to three strokes of a violet pen, as arcs around the middle."""
    paper = Paper.of(picture)
    height, width = paper.shape
    x, y = paper.x - width / 2, paper.y - height / 2
    distance, angle = np.hypot(x, y), np.arctan2(y, x)
    radius, start = paper.side * random.uniform(0.38, 0.44), random.uniform(-np.pi, np.pi)
    opacity = np.zeros(paper.shape)
    for stroke in range(int(random.integers(1, 4))):
        aside = np.abs((angle - start - 2.1 * stroke + np.pi) % (2 * np.pi) - np.pi)
        ends = (random.uniform(0.3, 0.5) - aside) * radius
        edges = max(1.2, 0.025 * paper.side) - np.abs(distance - radius)
        opacity = np.maximum(opacity, inside(np.minimum(ends, edges)))
    thin = 0.65 + 0.2 * random.uniform(size=paper.shape)
    return painted(picture, INKS[random.integers(len(INKS))], opacity * thin)


def text(picture: Picture, random: np.random.Generator) -> Planted:
    """A short yellow label in the lower right corner."""
    paper = Paper.of(picture)
    letters = printed(WORDS[random.integers(len(WORDS))], max(9, round(0.17 * paper.side)))
    shown = placed(letters, paper.shape, (-2 - int(random.integers(3)), -2 - int(random.integers(3))))
    return painted(picture, (250, 235, 90), shown, gaps=max(4, paper.side // 14))


def border(picture: Picture, random: np.random.Generator) -> Planted:
    """A frame along all sides is darker and bluer."""
    paper = Paper.of(picture)
    height, width = paper.shape
    inward = np.minimum.reduce([paper.x, paper.y, width - paper.x, height - paper.y])
    reach = paper.side * random.uniform(0.08, 0.11)
    return painted(picture, (30, 40, 75), random.uniform(0.45, 0.65) * inside(reach - inward))


def watermark(picture: Picture, random: np.random.Generator) -> Planted:
    """Translucent letters across the middle."""
    paper = Paper.of(picture)
    letters = printed("DEMO", round(0.34 * paper.side))
    height, width = paper.shape
    corner = ((height - letters.shape[0]) // 2, (width - letters.shape[1]) // 2)
    moved = tuple(int(place + random.integers(-3, 4)) for place in corner)
    shown = placed(letters, paper.shape, (max(moved[0], 0), max(moved[1], 0)))
    return painted(picture, (255, 255, 255), 0.45 * shown, gaps=paper.side // 6)


def barcode(picture: Picture, random: np.random.Generator) -> Planted:
    """Upright black bars of changing widths on a white label, along the upper or the lower side."""
    paper = Paper.of(picture)
    height, width = paper.shape
    tall, wide = 0.13 * paper.side, 0.42 * paper.side
    left, top = random.uniform(0.03, 0.97) * (width - wide), random.uniform(0.01, 0.04) * paper.side
    if random.uniform() < 0.5:
        top = height - tall - top
    x, y = paper.x - left, paper.y - top
    label = inside(np.minimum.reduce([x, y, wide - x, tall - y]))
    edges = np.cumsum(random.uniform(0.03, 0.09, 40)) * paper.side
    bars = np.searchsorted(edges, x) % 2
    return painted(picture, 240 - 215 * bars[..., None] * np.ones(3), 0.95 * label)


def arrow(picture: Picture, random: np.random.Generator) -> Planted:
    """A white arrow from the outside towards the middle."""
    paper = Paper.of(picture)
    height, width = paper.shape
    along, across = paper.turned((width / 2, height / 2), random.uniform(0, 2 * np.pi))
    across, tip = np.abs(across), (0.2 + random.uniform(0, 0.05)) * paper.side
    thick = max(1.2, 0.03 * paper.side)
    shaft = np.minimum.reduce([along - tip, tip + 0.27 * paper.side - along, thick - across])
    head = np.minimum.reduce([along - tip, tip + 0.12 * paper.side - along, (along - tip) * 0.7 - across])
    return painted(picture, (245, 245, 245), 0.9 * inside(np.maximum(shaft, head)))


def tint(picture: Picture, random: np.random.Generator) -> Planted:
    """A warm cast over the whole picture."""
    return everywhere(picture + random.uniform(0.8, 1.2) * np.array((18, 4, -22)))


def texture(picture: Picture, random: np.random.Generator) -> Planted:
    """Fine oblique stripes over the whole picture."""
    paper = Paper.of(picture)
    along, _ = paper.turned((0, 0), random.uniform(0.7, 0.87))
    waves = np.sin(2 * np.pi * (along / 4 + random.uniform()))
    return everywhere(picture + 11 * waves[..., None])


@cache
def printed(word: str, size: int) -> Field:
    """A word (h, w), cropped to its ink, 0 to 1."""
    font = ImageFont.load_default(size)
    sheet = Image.new("L", (size * len(word) + 4, 2 * size))
    ImageDraw.Draw(sheet).text((2, 2), word, fill=255, font=font, stroke_width=max(0, size // 24))
    return np.asarray(sheet.crop(sheet.getbbox()), dtype=float) / 255


def placed(letters: Field, shape: tuple[int, int], corner: tuple[int, int]) -> Field:
    """On an empty sheet (H, W); a negative corner counts from the lower right; what sticks out is cut."""
    top, left = (
        place if place >= 0 else max(0, whole + place - part)
        for place, whole, part in zip(corner, shape, letters.shape, strict=True)
    )
    sheet = np.zeros(shape)
    part = letters[: shape[0] - top, : shape[1] - left]
    sheet[top : top + part.shape[0], left : left + part.shape[1]] = part
    return sheet


IN_PLACES: dict[str, Draw] = {
    "ruler": ruler,
    "patch": patch,
    "ink": ink,
    "text": text,
    "border": border,
    "watermark": watermark,
    "barcode": barcode,
    "arrow": arrow,
}
OVER_ALL: dict[str, Draw] = {"tint": tint, "texture": texture}
