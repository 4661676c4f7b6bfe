"""The few pictures of the page: small, as WebP; a region outlined; where the model looked."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from underhood.reports import colours, encode
from underhood.reports.figure import overlay

SIDE = 192  # pixels, of the longer one
INSIDE, CASING = (255, 214, 10), (20, 23, 26)  # of the outline: seen on light and on dark

RGB = NDArray[np.uint8]


def plain(pixels: RGB) -> str:
    return _uri(_sized(pixels))


def outlined(pixels: RGB, mask: NDArray[np.bool_]) -> str:
    """The picture with a line along the inner edge of the region."""
    picture = _sized(pixels)
    region = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).resize(picture.size)
    region = region.point(lambda value: 255 if value > 127 else 0)
    thinner = [_eroded(region, by) for by in (0, 1, 3, 4)]
    out = np.asarray(picture).copy()
    for colour, outer, inner in ((CASING, 0, 3), (INSIDE, 1, 2)):
        line = (np.asarray(thinner[outer]) > 0) & (np.asarray(thinner[inner]) == 0)
        out[line] = colour
    return _uri(Image.fromarray(out))


def looked(pixels: RGB, values: NDArray[Any]) -> str:
    """The map in colours over the dimmed picture."""
    picture = _sized(pixels)
    fine = Image.fromarray(np.asarray(values, dtype=np.float32)).resize(
        picture.size, Image.Resampling.BILINEAR
    )
    heat = np.asarray(fine)
    return _uri(
        Image.fromarray(overlay(heat, encode.scale(heat).limit, signed=False, pixels=np.asarray(picture)))
    )


def painted(values: NDArray[Any]) -> str:
    """An array (H, W) from 0 to its largest value, in colours."""
    part = np.clip(values / (values.max() or 1.0), 0, 1)
    return _uri(_sized(np.rint(colours.colour("viridis", part)).astype(np.uint8)))


def _sized(pixels: RGB) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    scale = SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC)


def _eroded(region: Image.Image, by: int) -> Image.Image:
    """What is beyond the picture's edge counts as outside, so that the line is seen there too."""
    if not by:
        return region
    framed = Image.new("L", (region.width + 2 * by, region.height + 2 * by))
    framed.paste(region, (by, by))
    thin = framed.filter(ImageFilter.MinFilter(2 * by + 1))
    return thin.crop((by, by, by + region.width, by + region.height))


def _uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
