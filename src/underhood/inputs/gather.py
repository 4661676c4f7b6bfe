"""From whatever the user gives to the network's input."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from underhood.errors import BadInput, InvalidArgument
from underhood.inputs.images import as_picture, given_picture, read_picture
from underhood.models import Model

NO_INPUT = "An input must be a path, a PIL picture, an array or a tensor, not {}."


@dataclass(frozen=True)
class Gathered:
    """Network inputs (B, …), float32, with a name each; `single` where the user gave one input."""

    tensor: Tensor
    names: tuple[str, ...]
    single: bool


def gather(model: Model, inputs: Any) -> Gathered:
    """The network's inputs from a path, picture, array or tensor, or from a list of these.

    Tensors and float arrays are taken as preprocessed: (C, H, W) or (F,) is one input, (B, C, H, W) or
    (B, F) several. Whole numbers are token ids where the model has an embedding. Pictures, paths and uint8
    arrays (H, W, 3) go through the model's preprocessing.
    """
    if isinstance(inputs, Gathered):
        return inputs
    if isinstance(inputs, np.ndarray) and inputs.dtype != np.uint8:
        inputs = torch.from_numpy(inputs)
    if isinstance(inputs, Tensor):
        single = inputs.ndim in (1, 3)
        batch = inputs[None] if single else inputs
        return Gathered(_checked(model, batch), _numbered(len(batch)), single)
    if isinstance(inputs, str | Path | Image.Image | np.ndarray):
        name, tensor = _one(model, inputs, 0)
        return Gathered(_checked(model, tensor[None]), (name,), single=True)
    if not isinstance(inputs, Iterable):
        raise InvalidArgument(NO_INPUT.format(type(inputs).__name__))
    inputs = list(inputs)
    if not inputs:
        raise InvalidArgument("There are no inputs.")
    pairs = [_one(model, item, i) for i, item in enumerate(inputs)]
    shapes = {tuple(tensor.shape) for _, tensor in pairs}
    if len(shapes) > 1:
        raise BadInput(
            f"The inputs differ in shape ({', '.join(map(str, sorted(shapes)))}); give them one by "
            "one, or a preprocessing with a crop."
        )
    tensors = torch.stack([tensor for _, tensor in pairs])
    return Gathered(_checked(model, tensors), tuple(name for name, _ in pairs), single=False)


def digest(x: Tensor) -> str:
    """sha256 (hex) of one of the network's inputs (…), over its bytes."""
    return hashlib.sha256(x.contiguous().numpy().tobytes()).hexdigest()


def displayed(model: Model, tensor: Tensor) -> NDArray[np.uint8] | None:
    """The picture (H, W, 3) as the network sees it, back from its input (C, H, W); None if it is none."""
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3) or min(tensor.shape[1:]) < 2:
        return None
    if model.preprocess is not None and model.preprocess.channels == tensor.shape[0]:
        pixels = model.preprocess.denormalise(tensor)
    else:
        low, high = tensor.aminmax()
        pixels = (tensor - low).div_((high - low).clamp(min=1e-12))
    rounded = pixels.clamp_(0, 1).mul_(255).round_().to(torch.uint8)
    return rounded.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()


def mask_as_seen(model: Model, source: Any, mask: NDArray[np.bool_], size: tuple[int, int]) -> Tensor:
    """A mask (H, W) of an input as the network sees it: resized and cropped as the input is."""
    is_input = isinstance(source, Tensor) or (isinstance(source, np.ndarray) and source.dtype != np.uint8)
    if model.preprocess is None or is_input:
        seen = torch.from_numpy(mask).float()
    else:
        seen = model.preprocess.pixels(Image.fromarray(mask.astype(np.uint8) * 255))[0]
    if seen.shape != size:
        seen = F.interpolate(seen[None, None], size, mode="area")[0, 0]
    return seen > 0.5


def _one(model: Model, item: Any, number: int) -> tuple[str, Tensor]:
    if isinstance(item, str | Path):
        return str(item), _preprocessed(model, read_picture(item))
    if isinstance(item, Image.Image):
        return getattr(item, "filename", "") or f"input {number}", _preprocessed(model, given_picture(item))
    if isinstance(item, np.ndarray) and item.dtype == np.uint8:
        return f"input {number}", _preprocessed(model, as_picture(item))
    if isinstance(item, Tensor | np.ndarray):
        return f"input {number}", torch.as_tensor(item)
    raise InvalidArgument(NO_INPUT.format(type(item).__name__))


def _preprocessed(model: Model, picture: Image.Image) -> Tensor:
    if model.preprocess is None:
        raise InvalidArgument(
            f"The model {model.name} has no preprocessing, so it cannot take pictures; give it one "
            "(preprocess='imagenet'), or give tensors."
        )
    return model.preprocess(picture)


def _checked(model: Model, tensor: Tensor) -> Tensor:
    if tensor.numel() == 0:
        raise BadInput(f"The input is empty: shape {tuple(tensor.shape)}.")
    if not tensor.is_floating_point() and _looks_up(model.module):
        return tensor.detach().to("cpu", torch.int64)
    if not tensor.is_floating_point():
        raise InvalidArgument(
            f"A tensor of {tensor.dtype} holds pixels or numbers, not network inputs; give a picture as a "
            "uint8 array (H, W, 3), or preprocess it to floats."
        )
    values = tensor.detach().to("cpu", torch.float32)
    # In NumPy, which starts no threads beside those that pictures are read in.
    if not np.isfinite(values.numpy()).all():
        raise BadInput("The input holds NaN or infinite values.")
    with torch.inference_mode(False):
        return values.clone() if values.is_inference() else values


def _looks_up(module: nn.Module) -> bool:
    """Whether the network looks its inputs up in a table: then they are whole numbers, such as token ids."""
    return any(isinstance(child, nn.Embedding | nn.EmbeddingBag) for child in module.modules())


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"input {i}" for i in range(count))
