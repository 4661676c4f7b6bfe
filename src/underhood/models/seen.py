"""Noticing that a module has changed, without reading all its weights."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Seen:
    """A module's parts as they were, to compare with what they are now."""

    objects: tuple[Any, ...]
    numbers: tuple[int, ...]
    sample: Tensor

    @staticmethod
    def of(module: nn.Module) -> "Seen":
        objects: list[Any] = []
        numbers: list[int] = []
        for child in module.modules():
            objects.append(child)
            for key, value in child.__dict__.items():
                if isinstance(value, dict):
                    objects.extend(value.values())
                    numbers.append(len(value))
                elif key != "training":
                    objects.append(value)
        tensors = [item for item in objects if isinstance(item, Tensor)]
        for tensor in tensors:
            numbers += (tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version)
        return Seen(tuple(objects), tuple(numbers), _sample(tensors))

    def same_as(self, other: "Seen") -> bool:
        return (
            self.numbers == other.numbers
            and len(self.objects) == len(other.objects)
            and all(a is b for a, b in zip(self.objects, other.objects, strict=True))
            and torch.equal(self.sample, other.sample)
        )


def _sample(tensors: list[Tensor]) -> Tensor:
    """A few values of each tensor: writing through `.data` leaves no other trace."""
    picked = [t.detach().reshape(-1)[:: max(1, t.numel() // 4)] for t in tensors if t.numel()]
    by_kind = [p.to("cpu", torch.float64) for p in picked if not p.is_complex()]
    return torch.cat(by_kind) if by_kind else torch.zeros(0)
