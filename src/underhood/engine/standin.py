"""Stand-ins: copies of a module's structure that share its weights.

Everything the engine does to a network (hooks, evaluation mode, frozen weights, another precision,
device or memory format) is done to a stand-in, so the user's module cannot be changed, not even by an
exception or by another thread. See docs/decisions/0003-stand-ins.md.
"""

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from underhood.errors import BadModel
from underhood.models import Model
from underhood.models.seen import Seen


@dataclass(frozen=True)
class Form:
    """How a stand-in holds its weights."""

    device: torch.device
    dtype: torch.dtype = torch.float32
    channels_last: bool = False

    def of(self, tensor: Tensor) -> Tensor:
        """The tensor in this form; shares memory where it already has it."""
        dtype = self.dtype if tensor.is_floating_point() else tensor.dtype
        if self.channels_last and tensor.ndim == 4:
            return tensor.to(self.device, dtype, memory_format=torch.channels_last)
        return tensor.to(self.device, dtype)

    def ready(self, x: Tensor) -> Tensor:
        """An input in this form and in memory of our own, never the caller's."""
        with torch.inference_mode(False), torch.no_grad():
            ready = self.of(x)
            shares = ready.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
            return ready.clone() if shares or x.is_inference() else ready.detach()


@dataclass(frozen=True)
class StandIn:
    module: nn.Module
    form: Form
    seen: Seen


@contextmanager
def stand_in(model: Model, form: Form) -> Iterator[StandIn]:
    """A stand-in for this thread alone; kept for the next call unless something went wrong."""
    pool: list[StandIn] = model.scratch.setdefault("stand-ins", [])
    lock: threading.Lock = model.scratch.setdefault("lock", threading.Lock())
    with torch.inference_mode(False), torch.no_grad():
        seen = model.seen()
        with lock:
            pool[:] = [spare for spare in pool if spare.seen is seen]
            fitting = [spare for spare in pool if spare.form == form]
            chosen = fitting[0] if fitting else None
            if chosen:
                pool.remove(chosen)
        if chosen is None:
            chosen = StandIn(_build(model.module, form), form, seen)
    yield chosen
    with lock:  # reached only without an exception: a stand-in that failed is dropped, hooks and all
        pool.append(chosen)


def _build(module: nn.Module, form: Form) -> nn.Module:
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(form.of(_usable(parameter)), requires_grad=False)
    for buffer in module.buffers():
        memo[id(buffer)] = form.of(buffer.detach().clone())
    for child in module.modules():
        for value in vars(child).values():  # such as the weight that weight_norm computes
            if isinstance(value, Tensor) and id(value) not in memo:
                memo[id(value)] = form.of(value.detach().clone())
    try:
        built = copy.deepcopy(module, memo)
    except Exception as error:
        raise BadModel(
            f"The model cannot be copied, and Underhood runs a copy so as not to change yours: "
            f"{type(error).__name__}: {error}. Give it a __deepcopy__, or remove the attribute."
        ) from error
    for child in built.modules():
        if isinstance(child, nn.RNNBase):
            child.flatten_parameters()
    return built.eval()


def _usable(parameter: Tensor) -> Tensor:
    """The weights themselves; a copy of those made in inference mode, which autograd cannot use."""
    return parameter.clone() if parameter.is_inference() else parameter.detach()
