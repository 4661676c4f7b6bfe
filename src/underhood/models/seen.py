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
    address, version and sum, since writing through `.data` leaves no other trace.
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
    """The sum of each tensor; of a very large one, of some 4,000 values spread over it."""
    sums = [_few(t).sum() for t in tensors if t.layout is torch.strided and not t.is_quantized]
    return torch.stack([s.cpu().to(torch.complex128) for s in sums]) if sums else torch.zeros(0)


def _few(tensor: Tensor) -> Tensor:
    flat = tensor.detach()
    return flat if flat.numel() < 2**22 else flat.reshape(-1)[:: flat.numel() // 4096]
