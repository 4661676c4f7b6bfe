"""Normalisations as linear functions of their input: what they divide by is taken as it is."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from underhood.engine import Op
from underhood.errors import NotDifferentiable


def scale_and_shift(op: Op) -> tuple[Tensor, Tensor]:
    """Of batch normalisation in evaluation mode, y = scale · x + shift, (C,) each."""
    order = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    if op.function is not F.batch_norm:  # torch.batch_norm
        order = ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps")
    given = {"eps": 1e-5, "weight": None, "bias": None, "training": False, **op.named(*order)}
    mean, variance = given["running_mean"], given["running_var"]
    if given["training"] or mean is None:
        raise NotDifferentiable(
            f"Layer '{op.layer}' normalises by the statistics of the batch, so that inputs depend on each "
            "other and relevance cannot be told apart."
        )
    scale = (variance + given["eps"]).rsqrt()
    scale = scale if given["weight"] is None else scale * given["weight"]
    shift = -mean * scale
    return scale, shift if given["bias"] is None else shift + given["bias"]


def with_fixed_spread(op: Op) -> Callable[[Tensor], Tensor] | None:
    """A normalisation as a linear function of its input, its standard deviation (or norm) taken as it is."""
    args, kwargs = op.arguments(*op.inputs)
    if len(op.inputs) != 1 or not args or args[0] is not op.inputs[0]:
        return None

    def fixed(x: Tensor) -> Tensor:
        normal, weight, bias = _PARTS[op.name](x, *args[1:], **kwargs)
        normal = normal if weight is None else normal * weight
        return normal if bias is None else normal + bias

    return fixed


def _layer_norm(
    x: Tensor, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Any:
    dims = list(range(-len(shape), 0))
    return _standardised(x, dims, eps), weight, bias


def _group_norm(
    x: Tensor, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Any:
    grouped = x.unflatten(1, (groups, -1))
    normal = _standardised(grouped, list(range(2, grouped.ndim)), eps).flatten(1, 2)
    return normal, *(None if p is None else p.reshape(1, -1, *[1] * (x.ndim - 2)) for p in (weight, bias))


def _instance_norm(  # noqa: PLR0917 - torch's own order
    x: Tensor,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,  # noqa: ARG001
    eps: float = 1e-5,
) -> Any:
    if use_input_stats:
        return _group_norm(x, x.shape[1], weight, bias, eps)
    channels = (1, -1, *[1] * (x.ndim - 2))
    normal = (x - running_mean.reshape(channels)) * (running_var + eps).rsqrt().reshape(channels)
    return normal, *(None if p is None else p.reshape(channels) for p in (weight, bias))


def _rms_norm(x: Tensor, shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    spread = x.detach().pow(2).mean(list(range(-len(shape), 0)), keepdim=True)
    return x * (spread + (torch.finfo(x.dtype).eps if eps is None else eps)).rsqrt(), weight, None


def _normalize(x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None) -> Any:  # noqa: ARG001
    return x / x.detach().norm(p, dim, keepdim=True).clamp(min=eps), None, None


def _standardised(x: Tensor, dims: list[int], eps: float) -> Tensor:
    spread = x.detach().var(dims, unbiased=False, keepdim=True)
    return (x - x.mean(dims, keepdim=True)) * (spread + eps).rsqrt()


_PARTS: dict[str, Callable[..., Any]] = {
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "rms_norm": _rms_norm,
    "normalize": _normalize,
}
