"""What groups do three at a time, learned from the very coalitions that a sample has scored.

With s = 2z - 1, half the difference of a pair of coalitions is an odd function of s: what each group does by
itself, and then

    f(z) = Σ_{i<j<k} b_ijk s_i s_j s_k.

Any f may be taken off before the regression and its own Shapley values be added after it; the closer it is,
the less the sample errs (Witter, Liu & Musco 2025, arXiv:2506.11849; polynomials: Fumagalli et al. 2026,
PolySHAP). Here all b are normal with one variance, which makes f a Gaussian process: there are far more b
than coalitions, but f needs only as many numbers as there are coalitions. A product of three s adds 2 from
none to all groups, and its three groups share that equally.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

RATIOS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)  # of f's variance to what it leaves
MOST = 1500  # pairs that f is learned from: its time grows with their cube
FEW = 3  # pairs more than what is fitted along, at least
SPANNED = 0.01  # of the freest pair's freedom: with less a pair is fitted by terms of its own


@dataclass(frozen=True)
class Triples:
    """f, as α in f(z) = Σ_m α_m k(z, z_m).

    spins:  s of the pairs it was learned from, (n, M); pull: α (n,).
    missed: by how much each pair is missed where all others alone are learned from, (n,).
    """

    spins: Tensor
    pull: Tensor
    missed: Tensor

    @classmethod
    def learned(cls, kept: Tensor, halves: Tensor, along: Tensor) -> "Triples":
        """From pairs (n, M), half their differences (n,), and terms (n, k) that explain what they can first.

        How much f varies is what makes what the terms leave most likely (restricted likelihood; Rasmussen &
        Williams 2006, "Gaussian Processes for Machine Learning", section 2.7).
        """
        spins, beyond = 2 * kept[:MOST].double() - 1, _beyond(along[:MOST])
        if beyond.shape[1] < FEW:
            nothing = halves.new_zeros(0)
            return cls(spins[:0], nothing, nothing)
        own, turn = torch.linalg.eigh(beyond.T @ _covariance(spins, spins) @ beyond)
        basis = beyond @ turn  # in which both f and what it leaves are independent
        seen = basis.T @ halves[:MOST]
        ratios = torch.tensor(RATIOS, dtype=torch.float64)[:, None]
        spread = 1 + ratios * own.clamp(min=0)  # (ratios, basis)
        unlikely = len(own) * (seen.square() / spread).sum(1).log() + spread.log().sum(1)
        best = int(unlikely.argmin())
        left = basis @ (seen / spread[best])
        free = basis.square() @ (1 / spread[best])
        return cls(spins, ratios[best] * left, left / free.clamp(min=SPANNED * float(free.max())))

    def at(self, kept: Tensor) -> Tensor:
        """f of coalitions (m, M): (m,)."""
        return _covariance(2 * kept.double() - 1, self.spins) @ self.pull

    @property
    def shapley(self) -> Tensor:
        """Of f, (M,)."""
        M = self.spins.shape[1]
        others = self.spins.sum(1, keepdim=True) - self.spins
        pairs = (others.square() - (M - 1)) / 2  # Σ s_j s_k over the pairs of the other groups
        return 2 / 3 * self.pull @ (self.spins * pairs) / _count(M)


def _covariance(some: Tensor, others: Tensor) -> Tensor:
    """k(z, z') = Σ_{i<j<k} of the products of s∘s', by its sum alone, over their number: (m, n)."""
    M, total = some.shape[1], some @ others.T
    return (total**3 - (3 * M - 2) * total) / 6 / _count(M)


def _count(M: int) -> int:
    return max(math.comb(M, 3), 1)


def _beyond(along: Tensor) -> Tensor:
    """An orthonormal basis of all that terms (n, k) cannot explain."""
    left, size, _ = torch.linalg.svd(along, full_matrices=True)
    return left[:, int((size > 1e-9 * size[:1]).sum()) :]
