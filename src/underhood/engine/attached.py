"""Results of operations with a backward pass of our own, for rules that need one."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils import _pytree as tree

Back = Callable[..., Sequence[Tensor | None]]  # from signals at the outputs to those at the inputs


def attached(result: Any, inputs: Sequence[Tensor], back: Back) -> Any:
    """An operation's result, going back to its inputs by `back`; what is not of real numbers stays."""
    leaves, form = tree.tree_flatten(result)
    real = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    if not real:
        return result
    # A view could not be written into by an in-place operation further on.
    ours = [leaves[i].clone() if leaves[i]._base is not None else leaves[i] for i in real]
    with torch.enable_grad():
        for i, leaf in zip(real, _Attached.apply(ours, back, *inputs), strict=True):
            leaves[i] = leaf
    return tree.tree_unflatten(leaves, form)


class _Attached(torch.autograd.Function):
    """Results with a backward pass of our own."""

    @staticmethod
    def forward(ctx: Any, results: Sequence[Tensor], back: Back, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.back, ctx.inputs = back, len(inputs)
        ctx.set_materialize_grads(True)
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *signals: Tensor) -> tuple[Any, ...]:
        return None, None, *ctx.back(*signals)
