"""Noticing that a module has changed, without reading all its weights."""

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

PLAIN = {bool, int, float, str, tuple, type(None), Tensor, nn.Parameter}


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
        contents = [item for value in attributes if type(value) not in PLAIN for item in _inside(value)]
        objects = [*children, *attributes, *contents]
        tensors = [item for item in objects if isinstance(item, Tensor)]
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


def _inside(value: Any) -> Iterable[Any]:
    """What can change in an attribute without its identity changing: parameters, hooks, settings, …"""
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list | set):
        return value
    if isinstance(value, Tensor | nn.Module | type | FunctionType):
        return ()
    return getattr(value, "__dict__", {}).values()


def _sample(tensors: list[Tensor]) -> Tensor:
    """Up to some 4,000 values of each tensor, spread over it."""
    picked = [_spread(t).cpu() for t in tensors if t.layout is torch.strided and not t.is_quantized]
    return torch.cat(picked) if picked else torch.zeros(0)


def _spread(tensor: Tensor) -> Tensor:
    step = max(1, tensor.numel() // 4096)
    if tensor.is_contiguous():
        return tensor.as_strided((-(-tensor.numel() // step),), (step,))
    return tensor.reshape(-1)[::step]
