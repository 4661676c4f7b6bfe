"""Rulers and ink cut out of real dermoscopy, to be planted into other pictures.

Both are dark on skin, so what is cut out is how much light they let through: the picture divided by the skin
around it, per colour. Planting multiplies another picture by it, and keeps that picture's own texture.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from scipy import ndimage

from benchmarks.shortcuts.paint import FAINTEST, Draw, Field, Mask, Picture, Planted, filled

Artefact = Literal["ruler", "marking"]
COARSE = 6  # the skin's own colour is looked for at a sixth of the size
ZOOM = (1.4, 1.9)  # cut-outs are planted larger than they are, so that ticks show in small pictures
GAPS = 8  # the gaps between ticks are part of a ruler up to an eighth of the picture's width
RULERS = {  # where they lie (left, top, right, bottom), found by eye: hairs are as dark and as thin
    "ISIC_0025400": (120, 262, 440, 335),
    "ISIC_0025769": (150, 365, 475, 435),
    "ISIC_0026154": (25, 335, 570, 435),
    "ISIC_0027179": (520, 0, 600, 450),
    "ISIC_0028410": (145, 380, 550, 450),
    "ISIC_0029606": (150, 380, 460, 450),
}


@dataclass(frozen=True, eq=False)
class Cut:
    """passes: (h, w, 3), the share of light that passes, 1 outside; centre: (x, y) in its picture, 0 to 1.

    width: of the picture that it is from, in pixels.
    """

    passes: Field
    centre: tuple[float, float]
    width: int


def cuts(folder: Path, artefact: Artefact) -> list[Cut]:
    """From each picture of the artefact on which the rule finds enough of it."""
    with (folder / "metadata.csv").open() as file:
        names = [row["image_id"] for row in csv.DictReader(file) if row["artefact_classes"] == artefact]
    found = [_cut(folder / "artefacts", name, artefact) for name in names]
    return [cut for cut in found if cut is not None]


def _cut(folder: Path, name: str, artefact: Artefact) -> Cut | None:
    if artefact == "ruler" and name not in RULERS:
        return None
    picture = np.asarray(Image.open(folder / f"{name}.jpg").convert("RGB"))
    lesion = (
        np.asarray(Image.open(folder / f"{name}_mask.png").convert("L").resize(picture.shape[1::-1])) > 127
    )
    passes = transmission(picture)
    if artefact == "ruler":
        seen = ticks(passes) & within(RULERS[name], lesion.shape)
    else:
        seen = ink(passes, picture) & ~ndimage.binary_dilation(lesion, iterations=12)
    return cut_out(passes, seen)


def transmission(picture: Picture) -> Field:
    """How much of the surrounding skin's light each pixel lets through, (H, W, 3), at most 1."""
    height, width = picture.shape[:2]
    small = Image.fromarray(picture).resize((width // COARSE, height // COARSE), Image.Resampling.BOX)
    skin = ndimage.median_filter(np.asarray(small), (15, 15, 1))
    around = np.asarray(Image.fromarray(skin).resize((width, height), Image.Resampling.BICUBIC), dtype=float)
    return np.minimum((picture + 1.0) / (around + 1.0), 1)


def ticks(passes: Field) -> Mask:
    return large(passes.max(2) < 0.8, 12)


def ink(passes: Field, picture: Picture) -> Mask:
    """Violet and blue let blue pass and stop red; black corners are left out."""
    lit = ndimage.gaussian_filter(picture.mean(2), 10) > 90
    blue = ndimage.gaussian_filter(passes[..., 2] - passes[..., 0], 1.5) > 0.06
    return large(ndimage.binary_closing(blue & lit, iterations=3), 300)


def large(mask: Mask, least: int) -> Mask:
    """Without the connected parts of fewer pixels."""
    parts, _ = ndimage.label(mask, np.ones((3, 3)))
    keep = np.bincount(parts.ravel()) >= least
    keep[0] = False
    found: Mask = keep[parts]
    return found


def within(box: Sequence[int], shape: tuple[int, int]) -> Mask:
    left, top, right, bottom = box
    mask = np.zeros(shape, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def cut_out(passes: Field, seen: Mask) -> Cut | None:
    """What is seen of it, with a soft edge, cropped; None where that is too little or too faint."""
    if seen.mean() < 0.003 or passes[seen, 0].mean() > 0.8:
        return None
    soft = ndimage.gaussian_filter(ndimage.binary_dilation(seen, iterations=2).astype(float), 1)[..., None]
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    height, width = seen.shape
    centre = ((left + right) / 2 / width, (top + bottom) / 2 / height)
    return Cut((1 - soft * (1 - passes))[top:bottom, left:right], centre, width)


def planter(folder: Path, artefact: Artefact) -> Draw:
    """Plants one of the cut-outs, near where it was in its picture or mirrored."""

    @cache
    def all_of_them() -> list[Cut]:
        return cuts(folder, artefact)

    def draw(picture: Picture, random: np.random.Generator) -> Planted:
        found = all_of_them()
        return planted(picture, found[random.integers(len(found))], random)

    return draw


def planted(picture: Picture, cut: Cut, random: np.random.Generator) -> Planted:
    height, width = picture.shape[:2]
    scale = width / cut.width * random.uniform(*ZOOM)
    passes, centre = resized(cut.passes, scale), list(cut.centre)
    for axis in range(2):  # x, y
        if random.uniform() < 0.5:
            passes, centre[axis] = np.flip(passes, 1 - axis), 1 - centre[axis]
    passes = passes[:height, :width]
    tall, wide = passes.shape[:2]
    top = int(np.clip(centre[1] * height - tall / 2, 0, height - tall))
    left = int(np.clip(centre[0] * width - wide / 2, 0, width - wide))
    light = np.ones(picture.shape)
    light[top : top + tall, left : left + wide] = passes
    mask = light.min(2) < 1 - FAINTEST
    light[~mask] = 1
    return Planted(np.rint(picture * light).astype(np.uint8), filled(mask, width // GAPS))


def resized(passes: Field, scale: float) -> Field:
    """(h, w, 3), each channel averaged over the pixels that it takes the place of."""
    height, width = (max(1, round(side * scale)) for side in passes.shape[:2])
    channels = [
        Image.fromarray(passes[..., c].astype(np.float32)).resize((width, height), Image.Resampling.BOX)
        for c in range(3)
    ]
    return np.stack([np.asarray(channel) for channel in channels], 2)
