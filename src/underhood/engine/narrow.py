"""Gradient passes that go back only where something comes back.

A transformer's head reads the class token: in the last block nothing comes back to any other token, and a
plain backward pass multiplies their zeros. Here linear layers and attention look at the signal first, and go
back for those rows (tokens, queries) alone that it reaches. See docs/decisions/0018-narrow-passes.md.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from underhood.engine.attached import attached

FEWEST = 8  # rows; fewer are rounded in another way, and a batch would differ from its inputs one by one


class Narrow(TorchFunctionMode):
    """Within, operations that are recorded go back only where something comes back."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        ours = _OURS.get(function)
        # What torch.func transforms takes no backward pass of our own.
        if ours and torch.is_grad_enabled() and not torch._C._are_functorch_transforms_active():
            result = ours(*args, **kwargs)
            if result is not None:
                return result
        return function(*args, **kwargs)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    """None where there is nothing to narrow."""
    trained = weight.requires_grad or (bias is not None and bias.requires_grad)
    if trained or not x.requires_grad or not _has_rows(x):
        return None
    result: Tensor = _Linear.apply(x, weight, bias)
    return result


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # As torch's own does: what is checkpointed runs again without us, and compares what is kept.
        ctx.save_for_backward(weight.t())
        return F.linear(x, weight, bias).detach()  # no view, so that it can be written into

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor | None, ...]:
        (signal,), (turned,) = signals, ctx.saved_tensors
        rows = reached(signal)
        if rows is None:
            return signal @ turned.t(), None, None
        return _spread(signal.index_select(-2, rows) @ turned.t(), rows, signal), None, None


def _attention(query: Tensor, key: Tensor, value: Tensor, *args: Any, **options: Any) -> Tensor | None:
    """None where there is nothing to narrow."""
    inputs = query, key, value
    masked = args or any(options.get(name) for name in ("dropout_p", "is_causal"))
    if masked or options.get("attn_mask") is not None or not _has_rows(query):
        return None
    if not all(tensor.requires_grad for tensor in inputs):
        return None
    attend: Callable[..., Tensor] = partial(F.scaled_dot_product_attention, **options)
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    result = attend(*leaves)

    def back(signal: Tensor) -> Sequence[Tensor]:
        rows = reached(signal)
        if rows is None:
            return torch.autograd.grad(result, leaves, signal, retain_graph=True)
        few = leaves[0].detach().index_select(-2, rows).requires_grad_(), *leaves[1:]
        with torch.enable_grad(), torch._C.DisableTorchFunction():
            part = attend(*few)
        of_few, *others = torch.autograd.grad(part, few, signal.index_select(-2, rows))
        return [_spread(of_few, rows, leaves[0]), *others]

    attended: Tensor = attached(result.detach(), inputs, back)
    return attended


_OURS: Mapping[Callable[..., Any], Callable[..., Tensor | None]] = {
    F.linear: _linear,
    F.scaled_dot_product_attention: _attention,
}


def reached(signal: Tensor) -> Tensor | None:
    """The rows, along the last dimension but one, where a signal is not zero; None where these are most."""
    column = signal[..., 0]
    if 2 * int(column.count_nonzero()) > column.numel():  # most signals are dense, which is quickly seen
        return None
    peaks = signal.abs().amax(-1).flatten(0, -2).amax(0)  # (rows,)
    count = int(peaks.count_nonzero())
    wanted = max(count, FEWEST)
    return peaks.topk(wanted).indices if count and 2 * wanted <= len(peaks) else None


def _has_rows(x: Tensor) -> bool:
    """Whether it has rows worth looking at; on a GPU, looking would make the processor wait."""
    return x.ndim > 2 and x.is_cpu


def _spread(values: Tensor, rows: Tensor, like: Tensor) -> Tensor:
    """The rows' values, and zeros in all others."""
    spread = values.new_zeros(*like.shape[:-1], values.shape[-1])
    return spread.index_copy_(-2, rows, values)
