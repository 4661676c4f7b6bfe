"""A layer with weights, y = w ∗ x + b, that rules may run with other weights, forwards and transposed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from underhood.engine.ops import CONVOLUTIONS, Op


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
        return (_transposed if "transpose" in op.name else _convolution)(getattr(F, op.name), *args, **kwargs)
    if op.name == "matmul" and args[0] is op.inputs[0]:
        other = args[1] if len(args) > 1 else next(iter(kwargs.values()))
        return _linear(args[0], other.T) if other.ndim == 2 else None
    return None


def _linear(_input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Affine:
    return Affine(weight, bias, F.linear, lambda s, w, _: s @ w)


def _convolution(  # noqa: PLR0917 - torch's own order
    function: Callable[..., Tensor],
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Affine:
    def run(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return function(x, w, b, stride, padding, dilation, groups)

    if isinstance(padding, str) or input.ndim != weight.ndim:
        return Affine(weight, bias, run, _by_autograd(run), groups=groups)
    settings = (*_each(weight.ndim - 2, stride, padding, dilation), False, [0] * (weight.ndim - 2), groups)
    return Affine(weight, bias, run, _input_gradient(settings), groups=groups)


def _transposed(  # noqa: PLR0917
    function: Callable[..., Tensor],
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Affine:
    def run(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return function(x, w, b, stride, padding, output_padding, groups, dilation)

    if input.ndim != weight.ndim:
        return Affine(weight, bias, run, _by_autograd(run), 1, groups)
    step, pad, out, dilate = _each(weight.ndim - 2, stride, padding, output_padding, dilation)
    return Affine(weight, bias, run, _input_gradient((step, pad, dilate, True, out, groups)), 1, groups)


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
