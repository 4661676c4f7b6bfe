"""Noticing that a module has changed, without reading all its weights."""

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Seen:
    """A module's parts as they were, to compare with what they are now.

    Objects are compared by identity (keeping them alive keeps their identity theirs), tensors also by
    address, version and a few values, since writing through `.data` leaves no other trace.
    """

    objects: tuple[Any, ...]
    tensors: tuple[tuple[int, int], ...]
    sample: Tensor

    @staticmethod
    def of(module: nn.Module) -> "Seen":
        objects: list[Any] = []
        for child in module.modules():
            objects.append(child)
            for value in vars(child).values():
                objects.append(value)
                if isinstance(value, dict) and value:  # parameters, buffers, children, hooks
                    objects.extend(value.values())
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


def _sample(tensors: list[Tensor]) -> Tensor:
    """The first, middle and last value of each tensor."""
    picked = [
        t.as_strided((3,), ((t.numel() - 1) // 2,), t.storage_offset()) if _is_dense(t) else _few(t)
        for t in tensors
        if t.numel() and t.layout is torch.strided and not t.is_quantized and not t.is_complex()
    ]
    return torch.cat([p.cpu() for p in picked]) if picked else torch.zeros(0)


def _is_dense(tensor: Tensor) -> bool:
    return tensor.is_contiguous() and tensor.numel() > 2


def _few(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1)[:: max(1, tensor.numel() // 3)]
