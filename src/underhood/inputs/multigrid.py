"""Conjugate gradients with a multigrid V-cycle as the preconditioner (Briggs, Henson & McCormick 2000, "A
multigrid tutorial"), for systems on grids: some five steps, however large the grid is.

A coarse grid has every other place of the finer one, along both axes, and one more where their number is
even, so that every place between lies between two of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = 40  # of conjugate gradients, at most; some five are needed
SMALL = 4096  # places, of the first coarse grid that is gone through twice: it is cheap, and saves steps
DIRECT = 64  # unknowns, of which a system is solved by its inverse
CENTRE = 4  # of the nine places from above left to below right


def solve(system: "System", b: Tensor, tolerance: float) -> Tensor:
    """x (m, C, h, w) of A x = b, to a tolerance of its error, relative to x, in the energy of A.

    Every picture's channel stops by itself, so that a batch equals its inputs.
    """
    x, left, direction = torch.zeros_like(b), b.clone(), torch.zeros_like(b)
    size = gain = found = torch.zeros_like(b[..., :1, :1])
    goes_on = torch.ones_like(size, dtype=torch.bool)
    for _ in range(STEPS):
        z = system.corrected(left)
        before, size = size, _dot(left, z)
        goes_on &= size > 0
        direction.mul_(torch.where(goes_on & (before > 0), size / before, 0)).add_(z)
        image = system(direction)
        length = torch.where(goes_on, size / _dot(direction, image), 0)
        x.addcmul_(length, direction)
        left.addcmul_(length, image, value=-1)
        # The error's energy falls by what a step gains; the rest should shrink as the gains do.
        last, gain = gain, length * size
        found = found + gain
        goes_on &= gain / found * (gain / last) > tolerance**2
        if not goes_on.any():
            break
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1), keepdim=True)


@dataclass(frozen=True)
class System:
    """A x = b of a symmetric A on a grid where each place knows its eight neighbours.

    weights: A, of the nine neighbours in each place's equation, (m, 9, h, w); 0 where nothing is unknown.
    cycles:  through it and the coarser grids, in each cycle of the finest.
    """

    weights: Tensor
    cycles: int = 1

    @cached_property
    def diagonal(self) -> Tensor:
        return self.weights[:, CENTRE, None]

    @cached_property
    def step(self) -> Tensor:
        """Jacobi's, for a residual of 1; undamped it leaves but a third of what is not smooth.

        Around small holes coarse neighbours may weigh more than a place itself, and what they add could grow.
        """
        own = torch.maximum(self.diagonal, self.weights.abs().sum(1, keepdim=True) / 2)
        return torch.where(own > 0, 1 / own, 0)

    def near(self, x: Tensor) -> Tensor:
        """What neighbours add to each place's equation, of x (m, C, h, w)."""
        total = torch.zeros_like(x)
        for d, (weight, neighbour) in enumerate(zip(self._each, windows(x), strict=True)):
            if d != CENTRE:
                total.addcmul_(weight, neighbour, value=-1)
        return total

    @cached_property
    def _each(self) -> Sequence[Tensor]:
        return self.weights[:, None].unbind(2)

    def __call__(self, x: Tensor) -> Tensor:
        return self.near(x).neg_().addcmul_(self.diagonal, x)

    def corrected(self, b: Tensor) -> Tensor:
        """About the solution: one sweep of Jacobi from 0, what coarser grids find, and one more sweep."""
        x = self.step * b
        x += _refined(self.coarse.solved(_coarsened(self.near(x))), x.shape[-2:])
        return self.near(x).add_(b).mul_(self.step)

    def solved(self, b: Tensor) -> Tensor:
        x = self.corrected(b)
        for _ in range(1, self.cycles):
            x += self.corrected(b - self(x))
        return x

    @cached_property
    def coarse(self) -> "System":
        """Pᵀ A P, where P has every other place, and the means of two of them between (Galerkin)."""
        each, kernel = F.pad(self.weights, (1, 2, 1, 2)).split(1), _galerkin().to(self.weights)
        # One by one, as a convolution of several may differ from theirs in the last bit.
        weights = torch.cat([F.conv2d(one, kernel, stride=2) for one in each])
        size = weights[0, 0].numel()
        if size <= DIRECT:
            return Coarsest(weights)
        return System(weights, 2 if size <= SMALL < self.weights[0, 0].numel() else 1)


@dataclass(frozen=True)
class Coarsest(System):
    """Small enough to be solved at once."""

    @cached_property
    def inverse(self) -> Tensor:
        """Of A over its diagonal, (m, h w, h w)."""
        height, width = self.weights.shape[-2:]
        units = torch.eye(height * width).to(self.weights)
        every = units.reshape(1, -1, height, width).expand(len(self.weights), -1, -1, -1)
        matrix = (self(every) * self.step).flatten(2)
        # What is added stands where nothing is unknown, and helps where a picture is hidden whole.
        return torch.linalg.inv(matrix.double() + 1e-5 * units).to(self.weights)

    def corrected(self, b: Tensor) -> Tensor:
        x = (self.step * b).flatten(2)
        return (x[..., None] * self.inverse[:, None]).sum(-2).view_as(b)


def _coarsened(x: Tensor) -> Tensor:
    return _halved(_halved(x, -2), -1)


def _refined(x: Tensor, size: torch.Size) -> Tensor:
    return _doubled(_doubled(x, -1, size[1]), -2, size[0])


def _every_other(x: Tensor, dim: int, first: int) -> Tensor:
    return x[..., first::2] if dim == -1 else x[..., first::2, :]


def _halved(x: Tensor, dim: int) -> Tensor:
    """Every other place, with half of each of its two neighbours; the adjoint of `_doubled`."""
    even, odd = _every_other(x, dim, 0), _every_other(x, dim, 1)
    size = x.shape[dim] // 2
    coarse = even.new_zeros([*x.shape[:dim], size + 1, *x.shape[dim:][1:]])
    coarse.narrow(dim, 0, even.shape[dim]).copy_(even)
    coarse.narrow(dim, 0, size).add_(odd, alpha=0.5)
    coarse.narrow(dim, 1, size).add_(odd, alpha=0.5)
    return coarse


def _doubled(x: Tensor, dim: int, size: int) -> Tensor:
    """`size` places: those of x, and between them their means."""
    fine = x.new_empty([*x.shape[:dim], size, *x.shape[dim:][1:]])
    between = x.shape[dim] - 1
    _every_other(fine, dim, 0).copy_(x.narrow(dim, 0, (size + 1) // 2))
    means = _every_other(fine, dim, 1)
    torch.add(x.narrow(dim, 0, between), x.narrow(dim, 1, between), out=means)
    means.mul_(0.5)
    return fine


def _galerkin() -> Tensor:
    """What a fine weight adds to a coarse one: (9 coarse, 9 fine, 3 rows, 3 columns).

    Along one axis the fine neighbour d of the fine place 2 i + a counts to the coarse neighbour D of i by
    what P puts on both, p(a) p(a + d - 2 D), with p = ½, 1, ½ at -1, 0, 1.
    """
    coarse, fine, at = torch.meshgrid(*[torch.arange(-1, 2)] * 3, indexing="ij")
    line = _hat(at) * _hat(at + fine - 2 * coarse)
    return torch.einsum("xyz,uvw->xuyvzw", line, line).reshape(9, 9, 3, 3)


def _hat(at: Tensor) -> Tensor:
    return (1 - at.abs() / 2).clamp(min=0)


def windows(x: Tensor) -> list[Tensor]:
    """The nine neighbours of all places, from above left to below right; 0 outside."""
    height, width = x.shape[-2:]
    rows = F.pad(x, (1, 1, 1, 1)).unfold(-2, height, 1).unfold(-2, width, 1).unbind(2)
    return [window for row in rows for window in row.unbind(2)]
