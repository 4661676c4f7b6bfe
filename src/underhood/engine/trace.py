"""What each layer of a model gives, found by running it once."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from underhood.engine.engine import Engine
from underhood.engine.passes import forward
from underhood.errors import InvalidArgument
from underhood.models.layers import (
    DefaultLayer,
    LayerRecord,
    default_layer,
    find_layer,
    first_tensor,
    kind_of,
)


def trace(engine: Engine, example: Tensor | None = None) -> list[LayerRecord]:
    """One record per layer that ran, in the order in which they finished, for one input (C, H, W)."""
    x = (_example(engine) if example is None else example)[None]
    records: dict[str, LayerRecord] = {}
    kept: list[Tensor] = []  # alive until the end, so that no two outputs can share an identity

    def hook(name: str) -> Any:
        def note(module: nn.Module, _args: object, output: object) -> None:
            tensor = first_tensor(output)
            if tensor is None:
                return
            number = next((i for i, other in enumerate(kept) if other is tensor), len(kept))
            kept.append(tensor)
            shape = tuple(tensor.shape)
            kind = kind_of(tensor, x.shape)
            calls = records.pop(name).calls + 1 if name in records else 1
            bare = isinstance(output, Tensor)
            records[name] = LayerRecord(name, type(module).__name__, shape, kind, number, calls, bare)

        return note

    with engine.borrowed(engine.form) as module:
        handles = [m.register_forward_hook(hook(n)) for n, m in module.named_modules() if n]
        with torch.inference_mode():
            forward(module, engine.form.ready(x), engine.log)
        for handle in handles:
            handle.remove()
    return list(records.values())


def grad_cam_layer(engine: Engine, example: Tensor) -> DefaultLayer:
    """The layer Grad-CAM looks at: the model's own choice, or one by architecture; found once."""
    if engine.model.layer:
        find_layer(engine.model.module, engine.model.layer)
        return DefaultLayer(engine.model.layer, "chosen by the user")
    key = tuple(example.shape)
    known: dict[Any, DefaultLayer] = engine.model.scratch.setdefault("default layer", {})
    if key not in known:
        records = trace(engine, example)
        known[key] = _last_run(default_layer(records), records)
    return known[key]


def _last_run(chosen: DefaultLayer, records: Sequence[LayerRecord]) -> DefaultLayer:
    """A layer that runs several times in a pass is named with its last run."""
    calls = next(r.calls for r in records if r.name == chosen.name)
    return replace(chosen, name=f"{chosen.name}#{calls}") if calls > 1 else chosen


def _example(engine: Engine) -> Tensor:
    if engine.model.input_shape is None:
        raise InvalidArgument(
            "The size of the model's input is not known; give it a preprocessing with a crop."
        )
    return torch.zeros(engine.model.input_shape)
