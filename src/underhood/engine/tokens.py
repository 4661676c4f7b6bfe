"""Which of a network's tokens stand for places of the picture."""

from typing import Any

import torch
from torch import Tensor

from underhood.engine.attention import Watch
from underhood.engine.engine import Engine
from underhood.engine.hooks import StopForward
from underhood.engine.intercept import Interceptor
from underhood.engine.passes import Log, forward
from underhood.models.layers import token_grid


def patch_tokens(engine: Engine, example: Tensor, keys: int) -> tuple[Tensor, tuple[int, int]]:
    """Which of the tokens that are looked at are patches of a picture (C, H, W), and their grid (h, w).

    Class, distillation and register tokens do not depend on the picture when the first attention looks at
    them; patches do. Found once for a size.
    """
    key = (tuple(example.shape), keys)
    known: dict[Any, tuple[Tensor, tuple[int, int]]] = engine.model.scratch.setdefault("patch tokens", {})
    if key not in known:
        changed = _changed_tokens(engine, example, keys)
        height, width = example.shape[-2:]
        if changed is None:
            h, w = token_grid(keys, height, width)
            known[key] = torch.arange(keys - h * w, keys), (h, w)
        else:
            h, w = token_grid(len(changed), height, width)
            known[key] = changed[len(changed) - h * w :], (h, w)
    return known[key]


def _changed_tokens(engine: Engine, example: Tensor, keys: int) -> Tensor | None:
    noise = torch.randn(example.shape, generator=torch.Generator().manual_seed(0))
    two = torch.stack([example, example + noise])
    with engine.borrowed(engine.form) as module, torch.inference_mode(False), torch.enable_grad():
        watch = Watch(type(module).__name__, 2, first=True)
        x = engine.form.ready(two).requires_grad_()
        try:
            with Interceptor(watch).on(module, x):
                forward(module, x.clone(), Log())
        except StopForward:
            pass
        values = watch.found[0].values.detach()
    if values.ndim < 3 or values.shape[-2] != keys:
        return None
    values = values.unflatten(0, (2, -1)).flatten(1, -3)  # (2, heads, keys, width)
    change = (values[0] - values[1]).abs().amax((0, 2))  # (keys,)
    changed = (change > 1e-3 * change.max()).nonzero().flatten().cpu()
    return changed if len(changed) else None
