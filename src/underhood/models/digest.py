"""A model's fingerprint: the same digest means the same weights in the same architecture."""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


def digest(module: nn.Module) -> str:
    """sha256 (hex) over the modules' types and settings, and every parameter's and buffer's name, shape,
    dtype and bytes.

    The training flag, the device and the memory format do not enter it.
    """
    sha = hashlib.sha256()
    for name, child in module.named_modules():
        sha.update(f"{name}:{type(child).__qualname__}:{_settings(child)};".encode())
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        sha.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype};".encode())
        sha.update(_bytes(tensor).data)
    return sha.hexdigest()


def _settings(module: nn.Module) -> list[tuple[str, object]]:
    """Plain public attributes, such as a convolution's stride: weights alone do not make a network."""
    plain = (bool, int, float, str, tuple, type(None))
    found = {n: v for n, v in vars(module).items() if isinstance(v, plain) and not n.startswith("_")}
    found.pop("training", None)
    return sorted((n, v) for n, v in found.items() if " at 0x" not in repr(v))


def _bytes(tensor: torch.Tensor) -> NDArray[np.uint8]:
    if tensor.layout is not torch.strided or tensor.is_quantized:
        tensor = tensor.dequantize() if tensor.is_quantized else tensor.to_dense()
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return np.asarray(flat.view(torch.uint8))
