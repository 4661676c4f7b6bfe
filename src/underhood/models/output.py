"""From whatever a network returns to its scores."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from underhood.errors import BadModel

SCORE_KEYS = ("logits", "scores", "output", "out", "prediction")


def scores_of(output: Any, count: int) -> Tensor:
    """The scores (B, C), one row for each of `count` inputs, in a network's output.

    Accepts a tensor, a tuple or list (its first tensor), a dict or a transformers `ModelOutput`
    (its `logits`, `scores`, …, or only tensor). A network with one output per input gives (B, 1).
    """
    tensor = _tensor(output)
    if tensor is None:
        raise BadModel(
            f"The model returned {_describe(output)}; Underhood needs a tensor of scores, or a "
            f"tuple or dict that holds one (under one of {', '.join(SCORE_KEYS)})."
        )
    if not tensor.is_floating_point():
        raise BadModel(f"The model's scores are {tensor.dtype}, not floating-point numbers.")
    if count == 1 and tensor.ndim < 2:  # a network that ends in .squeeze() drops a batch of one
        return tensor.reshape(1, -1)
    if tensor.ndim == 0:
        raise BadModel("The model returned a single number for the whole batch, not one per input.")
    if tensor.ndim == 1:
        return tensor.unsqueeze(1)
    if tensor.ndim > 2 and tensor.shape[2:].numel() > 1:
        raise BadModel(
            f"The model's output has shape {tuple(tensor.shape)}; scores must have shape "
            "(inputs, classes). Wrap the model, or give a callable target that picks a number."
        )
    return tensor.flatten(1)


def _tensor(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        for key in SCORE_KEYS:
            if isinstance(output.get(key), Tensor):
                return output[key]
        tensors = [item for item in output.values() if isinstance(item, Tensor)]
        return tensors[0] if len(tensors) == 1 else None
    if isinstance(output, tuple | list):
        return next((item for item in output if isinstance(item, Tensor)), None)
    logits = getattr(output, "logits", None)
    return logits if isinstance(logits, torch.Tensor) else None


def _describe(output: Any) -> str:
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} with keys {list(output)}"
    return f"an object of type {type(output).__name__}"
