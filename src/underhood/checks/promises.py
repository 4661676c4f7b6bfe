"""What maps promise of perturbations, beside what these do to the score; see `infidelity`."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Asked:
    """N perturbations of B inputs: the score's falls and their squares (B, N), means over fills.

    promise: of maps (B, …): Iᵀ Φ of each perturbation, (B, N). complete: nothing was left to chance.
    """

    falls: Tensor
    squares: Tensor
    promise: Callable[[Tensor], Tensor]
    complete: bool
    calls: float

    def fit(self, values: Tensor) -> "Fit":
        """Of maps (B, …)."""
        promised = self.promise(values)
        beta = (promised * self.falls).sum(1) / promised.square().sum(1)
        beta = torch.where(promised.square().sum(1) > 0, beta, 0.0)
        return Fit(beta, self._left(promised), self._left(promised * beta[:, None]))

    def _left(self, promised: Tensor) -> Tensor:
        """(promised - fall)², the mean over fills, (B, N)."""
        return promised.square() - 2 * promised * self.falls + self.squares


@dataclass(frozen=True)
class Fit:
    """How maps fit: β (B,), and the squares left over without and with it, (B, N)."""

    beta: Tensor
    left: Tensor
    left_scaled: Tensor

    @property
    def plain(self) -> Tensor:
        return self.left.mean(1).clamp(min=0)

    @property
    def scaled(self) -> Tensor:
        return self.left_scaled.mean(1).clamp(min=0)

    def figure(self, row: int, *, scaled: bool) -> float:
        return float((self.scaled if scaled else self.plain)[row])

    def error(self, row: int, *, scaled: bool) -> float | None:
        """Monte-Carlo standard error; β, one number of so many perturbations, is taken as known."""
        left = (self.left_scaled if scaled else self.left)[row]
        return float(left.std() / len(left) ** 0.5) if len(left) > 1 else None
