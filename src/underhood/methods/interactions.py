"""What groups do two or three at a time, learned from the very coalitions that a sample has scored.

With s = 2z - 1 and T the sets of k groups, the part of a game that is of degree k is

    f(z) = Σ_T b_T Π_{i in T} s_i.

Any f may be taken off before a regression and what the regression would make of f, over all coalitions, be
added after it; the closer f is, the less the sample errs (Witter, Liu & Musco 2025, arXiv:2506.11849;
polynomials: Fumagalli et al. 2026, PolySHAP). Here all b are normal with one variance, which makes f a
Gaussian process: there are far more b than coalitions, but f needs only as many numbers as coalitions.

Sums over all T need no T: the elementary symmetric polynomial e_k of M signs follows from their sum.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

RATIOS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)  # of f's variance to what it leaves
MOST = 1000  # coalitions that f is learned from: its time grows with their cube
FEW = 3  # coalitions more than what explains them first, at least
SPANNED = 0.01  # of the usual freedom: with less a coalition is fitted by terms of its own


@dataclass(frozen=True)
class Interactions:
    """f, as α in f(z) = Σ_m α_m c(z, z_m), where c is the mean over T of Π s_i s_mi.

    spins:  s of the coalitions it was learned from, (n, M); pull: α (n,).
    missed: by how much each is missed where all others alone are learned from, (n,).
    """

    degree: int
    spins: Tensor
    pull: Tensor
    missed: Tensor

    @classmethod
    def learned(cls, degree: int, kept: Tensor, worth: Tensor, along: Tensor) -> "Interactions":
        """From coalitions (n, M), their worths (n,), and terms (n, k) that explain what they can first.

        How much f varies is what makes what the terms leave most likely (restricted likelihood; Rasmussen &
        Williams 2006, "Gaussian Processes for Machine Learning", section 2.7).
        """
        spins, beyond = 2 * kept[:MOST].double() - 1, _beyond(along[:MOST])
        if beyond.shape[1] < FEW:
            nothing = worth.new_zeros(0)
            return cls(degree, spins[:0], nothing, nothing)
        own, turn = torch.linalg.eigh(beyond.T @ _covariance(degree, spins, spins) @ beyond)
        basis = beyond @ turn  # in which f and what it leaves are both independent
        seen = basis.T @ worth[:MOST]
        ratios = torch.tensor(RATIOS, dtype=torch.float64)[:, None]
        spread = 1 + ratios * own.clamp(min=0)  # (ratios, basis)
        unlikely = len(own) * (seen.square() / spread).sum(1).log() + spread.log().sum(1)
        best = int(unlikely.argmin())
        left = basis @ (seen / spread[best])
        free = basis.square() @ (1 / spread[best])
        missed = left / free.clamp(min=SPANNED * float(free.median()))
        return cls(degree, spins, ratios[best] * left, missed)

    def at(self, kept: Tensor) -> Tensor:
        """f of coalitions (m, M): (m,)."""
        return _covariance(self.degree, 2 * kept.double() - 1, self.spins) @ self.pull

    @property
    def shapley(self) -> Tensor:
        """Of f, (M,): Π s_i over an odd T adds 2 from none to all groups, which its groups share equally."""
        M, k = self.spins.shape[1], self.degree
        return 2 / k * (k % 2) * (self.pull @ (self.spins * self._others(k - 1))) / _count(M, k)

    def slopes(self, chance: Tensor) -> Tensor:
        """The weights (M,) of the linear fit to f over all coalitions, those of a size having this chance.

        chance: of the sizes 0…M, (M + 1,). Coalitions of a size are alike, so that products of signs have the
        same mean for all sets of groups of a size: E s_i Π_T s_j is the one for T without i, or with it.
        """
        M, k = self.spins.shape[1], self.degree
        sums = 2 * torch.arange(M + 1, dtype=torch.float64) - M
        mean = [float(chance @ _elementary(r, sums, M)) / _count(M, r) for r in range(k + 2)]
        whole = float(self.pull @ _elementary(k, self.spins.sum(1), M)) * mean[k]
        with_i = mean[k - 1] * self.spins * self._others(k - 1)
        moment = self.pull @ (with_i + mean[k + 1] * self._others(k)) - mean[1] * whole
        covariance = (1 - mean[2]) * torch.eye(M, dtype=torch.float64) + (mean[2] - mean[1] ** 2)
        return 2 * torch.linalg.pinv(covariance, hermitian=True) @ moment / _count(M, k)

    def _others(self, degree: int) -> Tensor:
        """e of all groups but each, (n, M)."""
        return _elementary(degree, self.spins.sum(1, keepdim=True) - self.spins, self.spins.shape[1] - 1)


def _covariance(degree: int, some: Tensor, others: Tensor) -> Tensor:
    """c, (m, n)."""
    M = some.shape[1]
    return _elementary(degree, some @ others.T, M) / _count(M, degree)


def _elementary(degree: int, total: Tensor, count: int) -> Tensor:
    """e of so many signs with this sum: (k + 1) e_{k+1} = total e_k - (count - k + 1) e_{k-1}."""
    before, found = torch.zeros_like(total), torch.ones_like(total)
    for k in range(degree):
        before, found = found, (total * found - (count - k + 1) * before) / (k + 1)
    return found


def _count(M: int, degree: int) -> int:
    return max(math.comb(M, degree), 1)


def _beyond(along: Tensor) -> Tensor:
    """An orthonormal basis of all that terms (n, k) cannot explain."""
    left, size, _ = torch.linalg.svd(along, full_matrices=True)
    return left[:, int((size > 1e-9 * size[:1]).sum()) :]
