"""An operation that runs forward as it is, and takes relevance back by a rule."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from underhood.engine import Op
from underhood.errors import NotDifferentiable

Back = Callable[[Tensor, Sequence[Tensor], Any], Sequence[Tensor | None]]  # of R, inputs and `Kept` output


def carried(op: Op, back: Back, keeps: str = "") -> Any:
    """The operation's result, going back by `back(R, inputs, output)`; keeps: which of the two it reads."""
    return _Carried.apply(op, back, keeps, *op.inputs)


class _Carried(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, op: Op, back: Back, keeps: str, *inputs: Tensor) -> Any:
        result = op(*inputs)
        ctx.back = back
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*(inputs if "inputs" in keeps else ()))
        ctx.output = Kept(result) if "output" in keeps else None
        return result

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> Any:
        if relevance[0] is None:
            return (None,) * len(ctx.needs_input_grad)
        return (None, None, None, *ctx.back(relevance[0], ctx.saved_tensors, ctx.output))


class Kept:
    """An operation's result, kept without holding on to its graph."""

    def __init__(self, result: Tensor):
        self._tensor, self._version = result.detach(), result._version

    @property
    def intact(self) -> bool:
        return self._tensor._version == self._version

    def __call__(self) -> Tensor:
        if not self.intact:
            raise NotDifferentiable(
                "The model writes into a tensor that relevance propagation needs; use a method without "
                "rules, such as integrated gradients."
            )
        return self._tensor
