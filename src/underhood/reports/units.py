"""The sheet of a layer's units: reconstructions on the left, the pictures they are of on the right."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from underhood.methods.deconvnet_sheet import DeconvnetSheet, Top
from underhood.methods.guided import FAILS
from underhood.reports.figure import INK, PAPER, SOFT, _font, typeable

TILE, THIN, GAP, LINE, MARGIN = 72, 2, 26, 24, 24
ACROSS = 3  # units in one row of the sheet


def render_units(sheet: DeconvnetSheet) -> Image.Image:
    """One block per unit, in rows."""
    units = list(sheet.units.items())
    side = math.ceil(math.sqrt(max(len(tops) for _, tops in units)))
    grid = side * TILE + (side - 1) * THIN
    width, height = 2 * grid + 2 * THIN + 4, grid + LINE
    across = min(ACROSS, len(units))
    down = math.ceil(len(units) / across)
    page = Image.new(
        "RGB",
        (
            max(2 * MARGIN + across * width + (across - 1) * GAP, 560),
            2 * MARGIN + 2 * LINE + down * (height + GAP),
        ),
        PAPER,
    )
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN), typeable(f"{sheet.layer}: what excites its units most"), INK, font=_font(18))
    told = f"of {sheet.inputs} inputs; left: deconvnet reconstructions, right: receptive fields"
    draw.text((MARGIN, MARGIN + LINE), typeable(told), SOFT, font=_font(13))
    for number, (unit, tops) in enumerate(units):
        left = MARGIN + number % across * (width + GAP)
        top = MARGIN + 2 * LINE + 6 + number // across * (height + GAP)
        strongest = f", strongest {tops[0].activation:.3g}" if tops else ", silent"
        draw.text((left, top), f"unit {unit}{strongest}", INK, font=_font(13))
        scale = max((float(abs(each.reconstruction).max()) for each in tops), default=0.0)
        for place, each in enumerate(tops):
            x, y = left + place % side * (TILE + THIN), top + LINE + place // side * (TILE + THIN)
            page.paste(_tile(_painted(each.reconstruction, scale)), (x, y))
            page.paste(_tile(_seen(each)), (x + grid + THIN + 4, y))
    draw.text((MARGIN, page.height - MARGIN), typeable(FAILS), SOFT, font=_font(11))
    return page


def _painted(values: NDArray[np.float32], scale: float) -> NDArray[np.uint8]:
    """Grey where nothing was projected; one scale for a unit's tiles."""
    part = np.clip(values / scale if scale else values, -1, 1)
    shown = np.moveaxis(part if len(part) == 3 else part.mean(0, keepdims=True).repeat(3, 0), 0, -1)
    painted: NDArray[np.uint8] = np.rint(127.5 * (1 + np.sign(shown) * np.abs(shown) ** 0.7)).astype(np.uint8)
    return painted


def _seen(top: Top) -> NDArray[np.uint8]:
    if top.picture.dtype == np.uint8:
        return np.asarray(top.picture)
    return _painted(top.picture, float(abs(top.picture).max()))


def _tile(pixels: NDArray[np.uint8]) -> Image.Image:
    """As large as a tile allows, its shape kept."""
    height, width = pixels.shape[:2]
    larger = TILE / max(height, width)
    size = (max(1, round(width * larger)), max(1, round(height * larger)))
    tile = Image.new("RGB", (TILE, TILE), "#eceae4")
    picture = Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.BICUBIC)
    tile.paste(picture, ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return tile
