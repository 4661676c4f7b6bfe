"""Maps and pictures as text inside the page: values travel, not pictures of values."""

import base64
import gzip
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STEPS = 127  # int8 without −128: the scale is symmetric
QUANTILE = 0.995  # of |values|; the colour scale ends there


@dataclass(frozen=True)
class Scale:
    """Where the colours end, and the share of values beyond."""

    limit: float
    clipped: float


def scale(values: NDArray[Any]) -> Scale:
    """Limits at the 99.5th percentile of |values|; at the largest where nearly all are zero."""
    magnitude = np.abs(values.astype(np.float64))
    limit = float(np.quantile(magnitude, QUANTILE)) or float(magnitude.max(initial=0.0))
    return Scale(limit, float((magnitude > limit).mean()))


def quantise(values: NDArray[Any], limit: float) -> NDArray[np.int8]:
    """Whole steps of limit/127, clipped at ±limit."""
    if limit == 0:
        return np.zeros(values.shape, dtype=np.int8)
    steps = np.clip(values.astype(np.float64) / limit, -1, 1) * STEPS
    return np.rint(steps).astype(np.int8)


def pack(quantised: NDArray[np.int8]) -> str:
    """gzip and base64; equal values give equal text."""
    return base64.b64encode(gzip.compress(quantised.tobytes(), 9, mtime=0)).decode("ascii")


def unpack(text: str, shape: tuple[int, ...]) -> NDArray[np.int8]:
    """What the page's script does with a packed map."""
    return np.frombuffer(gzip.decompress(base64.b64decode(text)), dtype=np.int8).reshape(shape)


def png_uri(pixels: NDArray[np.uint8]) -> str:
    """The picture without loss: what the model saw, not an impression of it."""
    return _uri(Image.fromarray(pixels), "PNG", optimize=True)


def thumbnail_uri(pixels: NDArray[np.uint8], size: int = 96) -> str:
    """A small likeness for the index."""
    image = Image.fromarray(pixels)
    image.thumbnail((size, size))
    return _uri(image, "JPEG", quality=80)


def _uri(image: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
