"""What is done to a picture before the network sees it."""

import ast
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from underhood.errors import BadInput, InvalidArgument, UnknownName

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
LONGEST = 200  # times its shorter side: resizing a longer picture takes more memory than it is worth


@dataclass(frozen=True)
class Preprocess:
    """Resize the shorter side, crop the centre, scale to 0…1, normalise by mean and std per channel.

    size:  pixels of the shorter side after resizing; (height, width) resizes to just that, regardless
           of the proportions, and "squash" so to the crop; None leaves the picture as it is.
    crop:  (height, width) of the centre crop in pixels, one number for a square, or None.
    mean, std: per channel, in 0…1 units; one value for a grey-scale network, three for RGB.
    """

    size: int | tuple[int, int] | Literal["squash"] | None = 256
    crop: tuple[int, int] | int | None = (224, 224)
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3):
            raise InvalidArgument(
                f"Preprocess needs one or three means and as many stds, got {self.mean}, {self.std}."
            )
        if any(s <= 0 for s in self.std):
            raise InvalidArgument(f"Preprocess needs stds above 0, got {self.std}.")
        if self.size == "squash" and self.crop is None:
            raise InvalidArgument("Preprocess size='squash' needs a crop to squash the picture to.")

    @property
    def channels(self) -> int:
        return len(self.mean)

    @property
    def cropped(self) -> tuple[int, int] | None:
        """(height, width) of the network's input, where the crop fixes it."""
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop

    def __call__(self, picture: Image.Image) -> Tensor:
        """The network's input (C, H, W), float32."""
        mean, std = np.array((self.mean, self.std), dtype=np.float32)[..., None, None]
        found = self._scaled(picture)
        found -= mean
        found /= std
        return torch.from_numpy(found)

    def pixels(self, picture: Image.Image) -> Tensor:
        """The picture as the network sees it: resized and cropped, (C, H, W) in 0…1."""
        return torch.from_numpy(self._scaled(picture))

    def _scaled(self, picture: Image.Image) -> NDArray[np.float32]:
        """`pixels`, in NumPy and in place: pictures are read in threads, and torch would start more."""
        picture = self._resized(picture.convert("L" if self.channels == 1 else "RGB"))
        if self.cropped is not None:
            picture = _centre_crop(picture, *self.cropped)
        levels = np.asarray(picture).reshape(picture.height, picture.width, -1)
        scaled: NDArray[np.float32] = levels.transpose(2, 0, 1).astype(np.float32, order="C")
        scaled /= np.float32(255)
        return scaled

    def normalise(self, pixels: Tensor) -> Tensor:
        mean, std = self._statistics(pixels)
        return (pixels - mean) / std

    def denormalise(self, inputs: Tensor) -> Tensor:
        """Back from network inputs (…, C, H, W) to pixels in 0…1 units."""
        mean, std = self._statistics(inputs)
        return inputs * std + mean

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return like.new_tensor(self.mean)[:, None, None], like.new_tensor(self.std)[:, None, None]

    def _resized(self, picture: Image.Image) -> Image.Image:
        filter_ = Image.Resampling[self.interpolation.upper()]
        if self.size is None:
            return picture
        size = self.cropped if self.size == "squash" else self.size
        if isinstance(size, tuple):
            wanted = (size[1], size[0])
        else:
            assert size is not None  # "squash" has a crop
            short = min(picture.size)
            wanted = (max(1, size * picture.width // short), max(1, size * picture.height // short))
            if wanted[0] * wanted[1] > LONGEST * size**2:
                raise BadInput(
                    f"A picture of {picture.width} × {picture.height} pixels is too long to resize its "
                    f"shorter side to {size}; cut it first."
                )
        return picture if wanted == picture.size else picture.resize(wanted, filter_)


def _centre_crop(picture: Image.Image, height: int, width: int) -> Image.Image:
    left, top = round((picture.width - width) / 2), round((picture.height - height) / 2)
    return picture.crop((left, top, left + width, top + height))


PRESETS = {
    "imagenet": Preprocess(),
    "half": Preprocess(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    "unit": Preprocess(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
}


def read_preprocess(text: str | None) -> Preprocess | None:
    """From a record, where it is written as its repr; None where there is none, or another kind."""
    try:
        call = ast.parse(text or "", mode="eval").body
        assert isinstance(call, ast.Call)
        return Preprocess(**{str(part.arg): ast.literal_eval(part.value) for part in call.keywords})
    except (SyntaxError, ValueError, AssertionError, TypeError, InvalidArgument):
        return None


def parse_preprocess(text: str) -> Preprocess:
    """A preset, with changes if wanted: "imagenet", "half,size=224,crop=224", "unit,size=none".

    Presets: imagenet (resize 256, crop 224, ImageNet mean and std), half (the same with mean = std
    = 0.5) and unit (the same, pixels left in 0…1). Keys: size, crop, interpolation.
    """
    name, *changes = (part.strip() for part in text.split(","))
    if name not in PRESETS:
        raise UnknownName("preprocessing preset", name, PRESETS)
    parsed: dict[str, Any] = {}
    for change in changes:
        key, _, value = change.partition("=")
        parsed[key] = _parse_value(key, value)
    return replace(PRESETS[name], **parsed)


def _parse_value(key: str, value: str) -> Any:
    if key in ("size", "crop"):
        if value in ("none", ""):
            return None
        if value == "squash" and key == "size":
            return value
        if value.isdigit() and int(value) > 0:
            return int(value)
        raise InvalidArgument(f"Preprocessing {key}={value!r} is not a number of pixels or 'none'.")
    if key == "interpolation":
        known = ("nearest", "bilinear", "bicubic", "lanczos")
        if value not in known:
            raise UnknownName("interpolation", value, known)
        return value
    raise UnknownName("preprocessing key", key, ("size", "crop", "interpolation"))
