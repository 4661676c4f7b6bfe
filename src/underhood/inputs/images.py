"""Reading a picture file of any make, in bounded memory."""

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from glob import glob, has_magic
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from underhood.errors import BadInput
from underhood.inputs.names import printable

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm")
LARGE = 24_000_000  # pixels; a picture beyond that is read at a fraction of its size
LARGEST = 64_000_000  # pixels; beyond that only a baseline JPEG can be read in bounded memory
DRAFT = (2048, 2048)
ORIENTATION, LYING = 0x0112, 5  # the tag of EXIF; from this value on, width and height change places


def read_picture(path: str | Path) -> Image.Image:
    """The picture as RGB or L (8 bit): upright by EXIF, first frame, transparency over white.

    Raises BadInput where the file is missing, empty, broken, no picture, or too large to decode.
    """
    path = there(path)
    with _in_words(f"'{printable(path.name)}'"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's size warning; the size is handled here
        return _upright(_opened(path))


def there(path: str | Path) -> Path:
    """The path of a file, read or not; raises BadInput where it leads to none."""
    path = Path(path)
    if os.path.isdir(path):
        raise BadInput(f"The folder '{printable(str(path))}' holds no pictures ({', '.join(SUFFIXES)}).")
    if not os.path.isfile(path):  # which, unlike Path's, takes any name
        raise BadInput(f"There is no file '{printable(str(path))}'.")
    return path


def picture_size(path: str | Path) -> tuple[int, int]:
    """(H, W), upright by EXIF, of a picture that can be read; its pixels are not decoded."""
    with _in_words(f"'{printable(Path(path).name)}'"), Image.open(path) as picture:
        width, height = picture.size
        return (width, height) if picture.getexif().get(ORIENTATION, 1) >= LYING else (height, width)


def given_picture(picture: Image.Image) -> Image.Image:
    """A picture that the user opened, as `read_picture` would have read it."""
    with _in_words("The picture"):
        return _upright(picture)


def as_picture(array: np.ndarray) -> Image.Image:
    """A picture from an array (H, W), (H, W, 3) or (H, W, 4) of uint8."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise BadInput(f"An array of shape {array.shape} is no picture; it needs (H, W) or (H, W, 3).")
    return _eight_bit(Image.fromarray(array.squeeze(2) if array.shape[2:] == (1,) else array))


def find_pictures(names: Iterable[str | Path]) -> Iterator[Path]:
    """Files from files, folders and globs, each once; folders are searched for pictures, sorted.

    A name that leads nowhere is passed on as it is, so that its absence is reported where it is read.
    """
    seen: set[Path] = set()
    for name in names:
        for path in _expanded(Path(name).expanduser()):
            if path not in seen:
                seen.add(path)
                yield path


def _expanded(path: Path) -> list[Path]:
    if os.path.isdir(path):
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        return found or [path]
    if has_magic(str(path)) and not os.path.exists(path):
        return [Path(match) for match in sorted(glob(str(path), recursive=True))] or [path]
    return [path]


@contextmanager
def _in_words(name: str) -> Iterator[None]:
    """Pillow's errors as ours."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise BadInput(f"{name} is not a picture in a format that can be read.") from error
    except Image.DecompressionBombError as error:
        raise BadInput(
            f"{name} has too many pixels to decode in bounded memory; shrink it first "
            "(a baseline JPEG of that size can be read)."
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise BadInput(f"{name} is broken and cannot be decoded ({error}).") from error


def _opened(path: Path) -> Image.Image:
    try:
        picture: Image.Image = Image.open(path)
    except Image.DecompressionBombError:
        with path.open("rb") as file:
            if file.read(2) != b"\xff\xd8":
                raise
        picture = JpegImageFile(path)
    pixels = picture.width * picture.height
    if pixels > LARGEST and (picture.format != "JPEG" or "progressive" in picture.info):
        raise Image.DecompressionBombError
    if pixels > LARGE:
        picture.thumbnail(DRAFT, Image.Resampling.BOX, reducing_gap=1.0)
    return picture


def _upright(picture: Image.Image) -> Image.Image:
    picture.load()
    return _eight_bit(ImageOps.exif_transpose(picture))


def _eight_bit(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(("I", "F")):  # 16 or 32 bit per pixel
        return _scaled_down(picture)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        opaque = Image.new("RGBA", picture.size, "white")
        opaque.alpha_composite(picture.convert("RGBA"))
        return opaque.convert("RGB")
    return picture if picture.mode in ("RGB", "L") else picture.convert("RGB")


def _scaled_down(picture: Image.Image) -> Image.Image:
    """16-bit values 0…65535 to 0…255; others by their own range."""
    values = np.asarray(picture, dtype=np.float32)
    if not np.isfinite(values).all():
        raise ValueError("it holds NaN or infinite values")
    if values.min() < 0 or values.max() > 65535 or picture.mode == "F":
        span = values.max() - values.min()
        values = (values - values.min()) / (span or 1) * 65535
    return Image.fromarray((values / 257).round().astype(np.uint8))
