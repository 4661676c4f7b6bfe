"""Real photos to try things on: those that come with scikit-image."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from underhood.errors import MissingExtra, UnknownName

PHOTOS = ("astronaut", "cat", "coffee", "motorcycle", "rocket")


def photo(name: str) -> Image.Image:
    """One of `PHOTOS`, in RGB; needs the extra `demo`."""
    if name not in PHOTOS:
        raise UnknownName("sample photo", name, PHOTOS)
    try:
        from skimage import data
    except ImportError as error:
        raise MissingExtra("scikit-image", "demo") from error
    pixels: Any = data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)()
    return Image.fromarray(np.asarray(pixels)).convert("RGB")


@dataclass(frozen=True)
class Collage:
    """Two photos side by side: the left and the right half of one square picture."""

    image: Image.Image
    left: str
    right: str


def collage(left: str, right: str, size: int = 128) -> Collage:
    """The middles of two of `PHOTOS` in one picture of `size` by `size` pixels."""
    halves = [_upright_middle(photo(name), size) for name in (left, right)]
    image = Image.new("RGB", (size, size))
    image.paste(halves[0], (0, 0))
    image.paste(halves[1], (size // 2, 0))
    return Collage(image, left, right)


def _upright_middle(image: Image.Image, size: int) -> Image.Image:
    """The largest crop of the middle that is half as wide as high, as half a collage."""
    height = min(image.height, 2 * image.width)
    left, top = (image.width - height // 2) // 2, (image.height - height) // 2
    box = (left, top, left + height // 2, top + height)
    return image.crop(box).resize((size // 2, size), Image.Resampling.BILINEAR)
