"""The floor: nothing but the passes that the maths needs, at the best batch and memory format, float32."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

BATCHES = (1, 2, 4, 8, 16)


def forward(module: nn.Module, x: Tensor) -> None:
    with torch.inference_mode():
        module(x)


def forward_backward(module: nn.Module, x: Tensor) -> None:
    x = x.detach().requires_grad_()
    torch.autograd.grad(module(x)[:, 0].sum(), x)


def prepared(module: nn.Module, channels_last: bool) -> nn.Module:
    """Frozen, so that no weight gradients are made."""
    import copy

    ours = copy.deepcopy(module).requires_grad_(False)
    return ours.to(memory_format=torch.channels_last) if channels_last else ours


def floor(
    module: nn.Module, x: Tensor, count: int, step: Callable[[nn.Module, Tensor], None]
) -> tuple[Callable[[], None], str]:
    """A run of `count` passes over copies of one input x, in the best setting, and the setting."""
    trials = []
    for channels_last in (False, True):
        candidate = prepared(module, channels_last)
        for batch in BATCHES:
            if batch <= count:
                trials.append((_cost(candidate, x, batch, step), batch, channels_last, candidate))
    _, batch, channels_last, best = min(trials, key=lambda trial: trial[0])

    def run() -> None:
        left = count
        while left > 0:
            step(best, _batch(x, min(batch, left)))
            left -= batch

    return run, f"batch {batch}{', channels-last' if channels_last else ''}"


def _batch(x: Tensor, size: int) -> Tensor:
    return x.expand(size, *x.shape[1:]).contiguous()


def _cost(module: nn.Module, x: Tensor, batch: int, step: Callable[[nn.Module, Tensor], None]) -> float:
    """CPU seconds per input: the least of three."""
    inputs, spent = _batch(x, batch), []
    for _ in range(3):
        start = time.process_time()
        step(module, inputs)
        spent.append(time.process_time() - start)
    return min(spent) / batch
