"""What cones save, in multiplications."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

TRAFFIC = 30  # multiplications in the time that it takes to read and write one number


@dataclass
class Work:
    """Multiplications, and numbers moved as so many of them: with cones, and without."""

    done: int = 0
    full: int = 0
    sizes: list[int] = field(default_factory=list)  # bytes of each result

    @property
    def gain(self) -> float:
        """How many times quicker the cones are, roughly."""
        return self.full / max(1, self.done)

    def add(self, crop: Tensor, shape: torch.Size, products: int, moved: int = 0) -> None:
        """A result inside boxes instead of pictures (C, H, W): products for each number, numbers moved."""
        cost = products + TRAFFIC
        self.done += crop.numel() * cost + moved * TRAFFIC
        self.full += len(crop) * shape.numel() * cost
        self.sizes.append(max(crop.numel(), moved) * crop.element_size())

    def add_whole(self, results: Iterable[Any], products: int) -> None:
        for result in results:
            if isinstance(result, Tensor):
                self.done += result.numel() * (products + TRAFFIC)
                self.full += result.numel() * (products + TRAFFIC)
                self.sizes.append(result.numel() * result.element_size())

    def move(self, pictures: Tensor) -> None:
        self.done += pictures.numel() * TRAFFIC
        self.sizes.append(pictures.numel() * pictures.element_size())
