"""The floor: nothing but the passes that the maths needs, at the best batch and memory format, float32."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchmarks.contest import Base
from benchmarks.measure import cost_of

Step = Callable[[nn.Module, Tensor], None]
BATCHES = {"cpu": (1, 2, 4, 8, 16), "cuda": (1, 4, 16, 64)}
MOST = 64  # passes that are measured; of more, the rest is taken to cost the same


def forward(module: nn.Module, x: Tensor) -> None:
    with torch.inference_mode():
        module(x)


def forward_backward(module: nn.Module, x: Tensor) -> None:
    x = x.detach().requires_grad_()
    torch.autograd.grad(module(x)[:, 0].sum(), x)


def floor(module: nn.Module, x: Tensor, count: int, step: Step, batches: Sequence[int] = ()) -> Base:
    """`count` passes over copies of one input x (1, …), in the best setting."""
    count, x, trials = min(count, MOST), x.to(next(module.parameters()).device), []
    for channels_last in (False, True):
        candidate = _prepared(module, channels_last)
        for batch in batches or BATCHES[x.device.type]:
            if batch <= count:
                trials.append((_cost(candidate, x, batch, step), batch, channels_last, candidate))
    _, batch, channels_last, best = min(trials, key=lambda trial: trial[0])

    def run() -> None:
        left = count
        while left > 0:
            step(best, _batch(x, min(batch, left)))
            left -= batch

    return Base(run, count, f"batch {batch}{', channels-last' if channels_last else ''}")


def _prepared(module: nn.Module, channels_last: bool) -> nn.Module:
    """Frozen, so that no weight gradients are made."""
    ours = copy.deepcopy(module).requires_grad_(False)
    return ours.to(memory_format=torch.channels_last) if channels_last else ours


def _batch(x: Tensor, size: int) -> Tensor:
    return x.expand(size, *x.shape[1:]).contiguous()


def _cost(module: nn.Module, x: Tensor, batch: int, step: Step) -> float:
    """Seconds per input: the least of three."""
    inputs = _batch(x, batch)
    return min(cost_of(lambda: step(module, inputs)).on(x.device) for _ in range(3)) / batch
