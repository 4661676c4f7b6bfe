"""A layer with weights, y = w ∗ x + b, that rules may run with other weights, forwards and transposed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from underhood.engine.ops import CONVOLUTIONS, Op

ORDER = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")  # torch's arguments
ORDER_TRANSPOSED = (*ORDER[:5], "output_padding", "groups", "dilation")
DEFAULTS = {"bias": None, "stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}


@dataclass(frozen=True)
class Affine:
    """run:     y from (x, w, b).
    transposed: wᵀ s, shaped like x, from (s, w, x).
    channel:    the dimension of w that counts the output's channels.
    nonnegative: whether no x is known to be below 0.
    """

    weight: Tensor
    bias: Tensor | None
    run: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    transposed: Callable[[Tensor, Tensor, Tensor], Tensor]
    channel: int = 0
    groups: int = 1
    nonnegative: bool = False

    def without_bias(self) -> "Affine":
        return replace(self, bias=None)

    def then(self, scale: Tensor, shift: Tensor) -> "Affine":
        """This layer and after it y → scale · y + shift, as one."""
        weight = self.weight
        if self.channel == 0:
            weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        else:  # (in, out / groups, …)
            grouped = weight.unflatten(0, (self.groups, -1))
            weight = (grouped * scale.reshape(self.groups, 1, -1, *[1] * (weight.ndim - 2))).flatten(0, 1)
        return replace(self, weight=weight, bias=shift if self.bias is None else self.bias * scale + shift)


def affine(op: Op) -> Affine | None:
    """The operation as a layer with weights; None where it is none, or its weights depend on the input."""
    args, kwargs = op.arguments(*op.inputs)
    if len(op.inputs) != 1:
        return None
    if op.name == "linear":
        return _linear(*args, **kwargs)
    if op.name in CONVOLUTIONS:
        return _convolution(op)
    if op.name == "matmul" and args[0] is op.inputs[0]:
        other = args[1] if len(args) > 1 else next(iter(kwargs.values()))
        return _linear(args[0], other.T) if other.ndim == 2 else None
    return None


def _linear(_input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Affine:
    return Affine(weight, bias, F.linear, lambda s, w, _: s @ w)


def _convolution(op: Op) -> Affine:
    transposed = "transpose" in op.name
    order = ORDER_TRANSPOSED if transposed else ORDER
    given = {**DEFAULTS, **op.named(*order)}
    weight, groups, padding = given["weight"], given["groups"], given["padding"]
    function, others = getattr(F, op.name), [given[key] for key in order[3:]]

    def run(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return function(x, w, b, *others)

    if isinstance(padding, str) or given["input"].ndim != weight.ndim:
        back = _by_autograd(run)
    else:
        each = (given["stride"], padding, given["dilation"], given["output_padding"])
        step, pad, dilate, out = _each(weight.ndim - 2, *each)
        back = _input_gradient((step, pad, dilate, transposed, out, groups))
    return Affine(weight, given["bias"], run, back, int(transposed), groups)


def _each(dimensions: int, *values: Any) -> list[list[int]]:
    return [
        [value] * dimensions if isinstance(value, int) else list(value) * (dimensions // len(value))
        for value in values
    ]


def _input_gradient(settings: tuple[Any, ...]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Torch's own, without the forward pass that autograd would need."""
    backward = torch.ops.aten.convolution_backward.default
    return lambda s, w, x: backward(s, x, w, None, *settings, [True, False, False])[0]


def _by_autograd(run: Callable[..., Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda s, w, x: vjp(lambda leaf: run(leaf, w, None), x, s)


def vjp(function: Callable[[Tensor], Tensor], x: Tensor, s: Tensor) -> Tensor:
    """sᵀ ∂function/∂x."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(function(leaf), leaf, s)[0]
