"""Noticing that a module has changed, without reading all its weights."""

import operator
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

CONTAINERS = {dict, OrderedDict, list, set}
SEALED = (bool, int, float, str, tuple, type(None), Tensor, nn.Module, type, FunctionType, *CONTAINERS)


@dataclass(frozen=True, eq=False)
class Seen:
    """A module's parts as they were, to compare with what they are now.

    Objects are compared by identity (keeping them alive keeps their identity theirs), tensors also by
    address, version and some of their values, since writing through `.data` leaves no other trace.
    """

    objects: tuple[Any, ...]
    tensors: tuple[tuple[int, int], ...]
    sample: Tensor

    @staticmethod
    def of(module: nn.Module) -> "Seen":
        children = list(module.modules())
        attributes = [value for child in children for value in child.__dict__.values()]
        filled = [value for value in attributes if type(value) in CONTAINERS and value]
        contents = [item for value in filled for item in _items(value)]  # parameters, hooks, …
        others = _of_types(attributes, lambda kind: not issubclass(kind, SEALED))
        settings = [item for value in others for item in getattr(value, "__dict__", {}).values()]
        objects = [*children, *attributes, *contents, *settings]
        tensors = _of_types(objects, lambda kind: issubclass(kind, Tensor))
        versions = tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)
        with torch.inference_mode(False), torch.no_grad():
            return Seen(tuple(objects), versions, _sample(tensors))

    def same_as(self, other: "Seen") -> bool:
        return (
            self.tensors == other.tensors
            and len(self.objects) == len(other.objects)
            and all(map(operator.is_, self.objects, other.objects))
            and torch.equal(self.sample, other.sample)
        )


def _items(container: Any) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _of_types(values: list[Any], chosen: Callable[[type], bool]) -> list[Any]:
    """Values whose type is chosen; asked once for each type, as there are thousands of values."""
    kinds = {kind for kind in set(map(type, values)) if chosen(kind)}
    return [value for value in values if type(value) in kinds]


def _sample(tensors: list[Tensor]) -> Tensor:
    """Up to some 4,000 values of each tensor, spread over it."""
    picked = [_spread(t).cpu() for t in tensors if t.layout is torch.strided and not t.is_quantized]
    return torch.cat(picked) if picked else torch.zeros(0)


def _spread(tensor: Tensor) -> Tensor:
    step = max(1, tensor.numel() // 4096)
    if tensor.is_contiguous():
        return tensor.as_strided((-(-tensor.numel() // step),), (step,))
    return tensor.reshape(-1)[::step]
