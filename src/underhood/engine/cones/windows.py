"""Windows that slide over a picture: which places their results see, and which results see a place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from underhood.engine.cones.patches import common


@dataclass(frozen=True)
class Axis:
    """How a window slides along one axis."""

    size: int
    stride: int
    padding: int
    dilation: int

    def reached(self, start: Tensor, length: int, limit: int) -> tuple[Tensor, int]:
        """Starts and common length of the results, of `limit`, that see a place from `start` (m,) on."""
        low = -((self.dilation * (self.size - 1) - self.padding - start) // self.stride)
        high = (start + length - 1 + self.padding) // self.stride
        return common(low, high + 1, limit)

    def origin(self, start: Tensor) -> Tensor:
        """The first place that results from `start` on see."""
        return start * self.stride - self.padding

    def extent(self, length: int) -> int:
        """How many places so many results see."""
        return (length - 1) * self.stride + self.dilation * (self.size - 1) + 1


@dataclass(frozen=True)
class Window:
    axes: tuple[Axis, Axis]
    beyond: float  # what lies beyond the edges
    products: int  # for each result
    unpadded: dict[str, Any]  # arguments for a picture that has its padding


def window_of(name: str, named: Mapping[str, Any], picture: torch.Size) -> Window | None:
    """The window of a convolution or a pooling of pictures; None where its edges take more than padding."""
    if name in ("conv2d", "convolution"):
        return _convolution(named)
    if name == "max_pool2d":
        return _pool(named, -torch.inf)
    if name == "avg_pool2d":
        return _pool(named, 0.0) if _divides_by_its_size(named, picture) else None
    return None


def _convolution(named: Mapping[str, Any]) -> Window | None:
    weight, padding = named["weight"], named["padding"]
    if weight.ndim != 4 or named.get("transposed"):
        return None
    size, stride, dilation = weight.shape[2:], _pair(named["stride"]), _pair(named["dilation"])
    around = [d * (k - 1) for d, k in zip(dilation, size, strict=True)]
    if isinstance(padding, str):
        if padding == "same" and any(length % 2 for length in around):
            return None
        pads = tuple(length // 2 if padding == "same" else 0 for length in around)
        unpadded: dict[str, Any] = {"padding": "valid"}
    else:
        pads, unpadded = _pair(padding), {"padding": [0, 0]}
    vertical, horizontal = (Axis(*along) for along in zip(size, stride, pads, dilation, strict=True))
    return Window((vertical, horizontal), 0.0, weight[0].numel(), unpadded)


def _pool(named: Mapping[str, Any], beyond: float) -> Window:
    size = _pair(named["kernel_size"])
    stride, padding = _pair(named["stride"] or size), _pair(named["padding"])
    dilation = _pair(named.get("dilation", 1))
    vertical, horizontal = (Axis(*along) for along in zip(size, stride, padding, dilation, strict=True))
    return Window((vertical, horizontal), beyond, size[0] * size[1], {"padding": [0, 0], "ceil_mode": False})


def _divides_by_its_size(named: Mapping[str, Any], picture: torch.Size) -> bool:
    """Whether a mean is over the whole window, padding included, at the edges too."""
    size, padding = _pair(named["kernel_size"]), _pair(named["padding"])
    stride = _pair(named["stride"] or size)
    sides = zip(picture[2:], size, stride, padding, strict=True)
    complete = all((length + 2 * p - k) % s == 0 for length, k, s, p in sides)
    return (not any(padding) or named["count_include_pad"]) and (complete or not named["ceil_mode"])


def _pair(value: Any) -> tuple[int, int]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * 2 if len(values) == 1 else values
