"""Multipliers of the largest of several, which may be another one for the input than for the reference."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from underhood.engine import Back, Op

Best = tuple[Tensor, Tensor]  # the largest, and where it was


def max_pool(op: Op, inputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> tuple[Any, Back]:
    (x,), (x0,), places = inputs, reference, int(op.name[-2])
    (y, winner), (y0, winner0) = _pooled(op, x), _pooled(op, x0)

    def flat(tensor: Tensor) -> Tensor:
        return tensor.flatten(-places)

    back = _to_winners(flat(x), flat(x0), (flat(y), flat(winner)), (flat(y0), flat(winner0)), -1)
    shape = x.shape
    return y, lambda signal: (back(flat(signal)).view(shape),)


def maximum(op: Op, inputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> tuple[Any, Back]:
    """The largest along one dimension."""
    (x,), (x0,), dim = inputs, reference, op.argument(1, "dim")
    (y, winner), (y0, winner0) = x.max(dim, keepdim=True), x0.max(dim, keepdim=True)
    back, shape = _to_winners(x, x0, (y, winner), (y0, winner0), dim), y.shape
    return op(x), lambda signal: (back(signal.reshape(shape)),)


def larger(op: Op, inputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> tuple[Any, Back]:
    """Of two: (a + b ± |a - b|)/2, the magnitude by the Rescale rule."""
    (a, b), (a0, b0) = inputs, reference
    d, d0 = a - b, a0 - b0
    slope = torch.where(d == d0, d.sign(), (d.abs() - d0.abs()) / (d - d0)) / 2
    slope = slope if op.name.startswith("max") else -slope

    def back(signal: Tensor) -> Sequence[Tensor]:
        return (signal * (0.5 + slope)).sum_to_size(a.shape), (signal * (0.5 - slope)).sum_to_size(b.shape)

    return op(a, b), back


def _to_winners(x: Tensor, x0: Tensor, best: Best, best0: Best, dim: int) -> Callable[[Tensor], Tensor]:
    """The rise to max(y, y') goes to x's winner, the fall from it to the winner of x'."""
    (y, winner), (y0, winner0) = best, best0
    same, shape = winner == winner0, x.shape
    rise = torch.where(same, 1, torch.where(y > y0, (y - y0) / (y - x0.gather(dim, winner)), 0))
    fall = torch.where(same, 0, torch.where(y < y0, (y - y0) / (x.gather(dim, winner0) - y0), 0))

    def back(signal: Tensor) -> Tensor:
        total = signal.new_zeros(shape)
        total.scatter_add_(dim, winner, signal * rise)
        return total.scatter_add_(dim, winner0, signal * fall)

    return back


def _pooled(op: Op, x: Tensor) -> tuple[Tensor, Tensor]:
    args, kwargs = op.arguments(x)
    pool = getattr(F, op.name + "_with_indices")
    y, index = pool(*args, **{**kwargs, "return_indices": True} if len(args) < 7 else kwargs)
    return y, index
