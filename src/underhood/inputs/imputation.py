"""Noisy linear imputation without the noise (Rong et al. 2022, "A consistent and efficient evaluation
strategy for attribution methods", section 4): each hidden pixel is the weighted mean of its neighbours,

    x_p = Σ_n w_n x_n / Σ_n w_n,     w = 1/6 beside, above and below, 1/12 diagonally, 0 outside the picture,

a linear system over the hidden pixels. It is symmetric and positive definite, and is solved by conjugate
gradients with a multigrid V-cycle as the preconditioner (Briggs, Henson & McCormick 2000, "A multigrid
tutorial"), for all pictures and channels at once: some eight steps, however large the holes are.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

TOLERANCE = 3e-6  # of the error, relative to that of filling with zeros
SWEEPS = 40  # conjugate gradient steps at most; some eight are needed
TOGETHER = 4  # pictures, so that many take no more memory than these


def impute(pictures: Tensor, hidden: Tensor) -> Tensor:
    """Pictures (m, C, H, W) with what is hidden, (m, 1 or C, H, W) bool, filled from its surroundings.

    A channel that is hidden whole is filled with its own mean.
    """
    parts = zip(pictures.split(TOGETHER), hidden.split(TOGETHER), strict=True)
    return torch.cat([_imputed(some, under) for some, under in parts])


def _imputed(pictures: Tensor, hidden: Tensor) -> Tensor:
    mask = hidden.to(pictures.dtype)
    known = pictures * (1 - mask)
    whole = hidden.flatten(2).all(2)[..., None, None]
    # Around the mean of what is known, so that a picture of one colour is met without a step.
    count = (1 - mask).sum((2, 3), keepdim=True).clamp(min=1)
    mean = torch.where(whole, pictures.mean((2, 3), keepdim=True), known.sum((2, 3), keepdim=True) / count)
    around = _weighted((pictures - mean) * (1 - mask)) * mask
    return torch.where(hidden, mean + _solved(Pixels(mask), around), pictures)


def _weighted(x: Tensor) -> Tensor:
    """Each pixel's neighbours times their weights, summed."""
    return _spread(x) / 12 - x / 3


def _spread(x: Tensor) -> Tensor:
    """[1, 2, 1] along both axes, zero outside."""
    for dim in (-1, -2):
        size = x.shape[dim]
        wide = 2 * x
        if size > 1:
            wide.narrow(dim, 1, size - 1).add_(x.narrow(dim, 0, size - 1))
            wide.narrow(dim, 0, size - 1).add_(x.narrow(dim, 1, size - 1))
        x = wide
    return x


@dataclass(frozen=True)
class System(ABC):
    """A symmetric system on a grid where each place knows its eight neighbours.

    mask: (m, 1 or C, h, w): 1 where there is an unknown; everything is 0 elsewhere.
    """

    mask: Tensor

    @property
    @abstractmethod
    def diagonal(self) -> Tensor:
        """Each unknown's weight in its own equation, (m, 1 or C, h, w)."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor: ...

    @cached_property
    def step(self) -> Tensor:
        """Jacobi's step for a residual of 1, which smooths what is left; undamped it does so best here."""
        return torch.where(self.diagonal > 0, 1 / self.diagonal, 0)

    def coarsened(self, x: Tensor) -> Tensor:
        return _spread(x * self.share)[..., ::2, ::2]

    def refined(self, x: Tensor) -> Tensor:
        fine = x.new_zeros(*x.shape[:-2], *self.mask.shape[-2:])
        fine[..., ::2, ::2] = x
        return _spread(fine) * self.share

    @cached_property
    def share(self) -> Tensor:
        """The mask over the weights that a place's coarse neighbours have, fewer at an edge."""
        ones = torch.zeros_like(self.mask)
        ones[..., ::2, ::2] = 1
        return self.mask / _spread(ones)

    @cached_property
    def coarse(self) -> "Coarse | None":
        """The same system for what is smooth: every other place, those between them its means (Galerkin)."""
        if max(self.mask.shape[-2:]) < 2:
            return None
        rows, columns = (torch.arange((n + 1) // 2) for n in self.mask.shape[-2:])
        thirds = rows[:, None] % 3 * 3 + columns % 3
        # Asked about every third place along each axis, a place answers with one neighbour's weight.
        answers = []
        for third in range(9):
            asked = (thirds == third).to(self.mask).expand(*self.mask.shape[:-2], -1, -1)
            answers.append(self.coarsened(self(self.refined(asked))))
        answer, weights = torch.stack(answers), []
        for d in range(9):
            neighbour = (rows[:, None] + d // 3 - 1) % 3 * 3 + (columns + d % 3 - 1) % 3  # (h, w)
            weights.append(answer.gather(0, neighbour.expand(1, *answer.shape[1:])))
        return Coarse((weights[4][0] > 0).to(self.mask), torch.cat(weights))

    def corrected(self, residual: Tensor) -> Tensor:
        """One V-cycle: about the error behind a residual."""
        x = self.step * residual
        if self.coarse is not None:
            left = self.coarsened(residual - self(x))
            x = x + self.refined(self.coarse.corrected(left))
            x = x + self.step * (residual - self(x))
        return x


@dataclass(frozen=True)
class Pixels(System):
    """Each hidden pixel times its neighbours' weights, less its hidden neighbours."""

    @cached_property
    def diagonal(self) -> Tensor:
        return self.mask * _weighted(torch.ones_like(self.mask))

    @cached_property
    def _shares(self) -> tuple[Tensor, Tensor]:
        """Of a pixel itself, and of what `_spread` gathers, which holds a third of the pixel."""
        return self.diagonal + self.mask / 3, self.mask / 12

    def __call__(self, x: Tensor) -> Tensor:
        own, near = self._shares
        return (own * x).addcmul_(near, _spread(x), value=-1)


@dataclass(frozen=True)
class Coarse(System):
    """weights: (9, m, 1 or C, h, w), of neighbour (d // 3 - 1, d % 3 - 1) in each place's equation."""

    weights: Tensor

    @property
    def diagonal(self) -> Tensor:
        return self.weights[4]

    def __call__(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        padded = F.pad(x, (1, 1, 1, 1))
        total = self.weights[0] * padded[..., :height, :width]
        for d in range(1, 9):
            top, left = d // 3, d % 3
            total.addcmul_(self.weights[d], padded[..., top : top + height, left : left + width])
        return total


def _solved(system: System, b: Tensor) -> Tensor:
    """Conjugate gradients; every picture's channel stops by itself, so that a batch equals its inputs."""
    x, residual = torch.zeros_like(b), b.clone()
    z = system.corrected(residual)
    direction, size = z, _dot(residual, z)
    enough = TOLERANCE**2 * size
    for _ in range(SWEEPS):
        open_ = size > enough
        if not open_.any():
            break
        image = system(direction)
        length = torch.where(open_, size / _dot(direction, image), 0)
        x = x + length * direction
        residual = residual - length * image
        z = system.corrected(residual)
        before, size = size, torch.where(open_, _dot(residual, z), size)
        direction = z + torch.where(open_, size / before, 0) * direction
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1), keepdim=True)
