"""Multipliers of pointwise operations, products, softmax and whatever has no rule of its own.

A `Rule` gives an operation's result for its inputs, and what takes signals back by its multipliers, which
compare the inputs with those of the reference pass; `multipliers` has the table of rules.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from underhood.engine import Back, Op
from underhood.engine.ops import tensors_in

Rule = Callable[[Op, tuple[Tensor, ...], tuple[Tensor, ...]], tuple[Any, Back]]  # of inputs and references
PIECEWISE_LINEAR = frozenset(
    {"abs", "clamp", "clamp_max", "clamp_min", "hardshrink", "hardsigmoid", "hardtanh", "leaky_relu"}
    | {"prelu", "relu", "relu6", "rrelu", "softshrink", "threshold"}
)
POINTS = 16  # of the quadrature for operations without a rule of their own


def rescale(op: Op, inputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> tuple[Any, Back]:
    """Δy/Δx; where the two inputs are too close for it, the derivative between them."""
    (x,), (x0,) = inputs, reference
    y = op(x)
    slope = slope_of(op, x, x0, y, op(x0))
    return y, lambda signal: (signal * slope,)


def slope_of(op: Op, x: Tensor, x0: Tensor, y: Tensor, y0: Tensor) -> Tensor:
    """(y - y0) / (x - x0) of a pointwise operation."""
    step = x - x0
    if op.name in PIECEWISE_LINEAR:  # exact for steps of any size
        near = step == 0
    else:  # where the ratio's rounding would exceed the error of the derivative between
        middle = (x + x0) / 2
        near = step.abs() <= torch.finfo(x.dtype).eps ** (1 / 3) * middle.abs().clamp(max=1)
    slope = (y - y0).div_(step)
    if near.any():
        torch.where(near, derivative(op, (x + x0) / 2), slope, out=slope)
    return slope


def product(op: Op, inputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> tuple[Any, Back]:
    """Of anything bilinear: each factor's multiplier is its gradient between input and reference."""
    middle = tuple((a + b) / 2 for a, b in zip(inputs, reference, strict=True))
    return op(*inputs), lambda *signals: jacobian(op, middle, signals)


def quotient(op: Op, inputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> tuple[Any, Back]:
    """a · (1/b), with Δ(1/b) = -Δb / (b b')."""
    b, b0 = inputs[-1], reference[-1]
    top = op.argument(0, "input")
    constant = len(inputs) == 1
    middle = top if constant else (inputs[0] + reference[0]) / 2
    inverse, slope = (1 / b + 1 / b0) / 2, -1 / (b * b0)

    def back(signal: Tensor) -> Sequence[Tensor | None]:
        to_b = (signal * middle * slope).sum_to_size(b.shape)
        return (to_b,) if constant else ((signal * inverse).sum_to_size(inputs[0].shape), to_b)

    return op(*inputs), back


def softmax(op: Op, inputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> tuple[Any, Back]:
    """Softmax or its logarithm: Σ p = Σ p' makes ΣℓΔx/Σℓ the change of its normaliser, exactly."""
    (x,), (x0,) = inputs, reference
    dim, logarithm = op.argument(1, "dim"), op.name == "log_softmax"
    logs, logs0 = (F.log_softmax(each, dim) for each in (x, x0))
    mean = logarithmic_mean(logs, logs0)
    total = mean.sum(dim, keepdim=True)

    def back(signal: Tensor) -> Sequence[Tensor]:
        if logarithm:
            return (signal - mean / total * signal.sum(dim, keepdim=True),)
        return (mean * (signal - (mean * signal).sum(dim, keepdim=True) / total),)

    return op(x), back


def logarithmic_mean(logs: Tensor, logs0: Tensor) -> Tensor:
    """(p - p') / (log p - log p') from the logarithms; 0 where either is 0."""
    p, p0, step = logs.exp(), logs0.exp(), logs - logs0
    near = step.abs() <= torch.finfo(p.dtype).eps ** (1 / 3)
    mean = torch.where(near, (p * p0).sqrt(), (p - p0) / step)
    return mean.nan_to_num_(0, 0, 0)


def mean_jacobian(op: Op, inputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> tuple[Any, Back]:
    """The Jacobian's mean on the line from reference to input, by Gauss-Legendre quadrature."""
    points, weights = np.polynomial.legendre.leggauss(POINTS)

    def back(*signals: Tensor) -> Sequence[Tensor | None]:
        total = [torch.zeros_like(x) for x in inputs]
        for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
            between = tuple(torch.lerp(b, a, float(point)) for a, b in zip(inputs, reference, strict=True))
            for sum_, found in zip(total, jacobian(op, between, signals), strict=True):
                sum_.add_(found, alpha=float(weight))
        return total

    return op(*inputs), back


def derivative(op: Op, at: Tensor) -> Tensor:
    (found,) = jacobian(op, (at,), (torch.ones_like(at),))
    return found


def jacobian(op: Op, at: Sequence[Tensor], signals: Sequence[Tensor]) -> Sequence[Tensor]:
    """Signals times the operation's Jacobian at some inputs."""
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in at]
        outputs = [y for y in tensors_in(op(*leaves)) if y.is_floating_point()]
        pairs = [(y, signal) for y, signal in zip(outputs, signals, strict=True) if y.requires_grad]
        if not pairs:
            return [torch.zeros_like(x) for x in at]
        ys, signals = zip(*pairs, strict=True)
        return torch.autograd.grad(ys, leaves, signals, materialize_grads=True)
