"""The local linear fit that LIME's weights are read off, and its standard error."""

from dataclasses import dataclass

import torch
from torch import Tensor

from underhood.methods.interactions import Interactions

DEGREE = 3  # of what coalitions' sizes alone explain; few groups have too few sizes for it


def cosine_kernel(size: Tensor, M: int, width: float) -> Tensor:
    """π of coalitions of these sizes."""
    distance = 1 - (size.double() / M).sqrt()
    return (-(distance**2) / (2 * width**2)).exp()


def chances(kernel: Tensor) -> Tensor:
    """Of the sizes 0…M (M + 1,), of a coalition in which each group is kept by ½, weighted by the kernel."""
    M = len(kernel) - 1
    size = torch.arange(M + 1.0, dtype=torch.float64)
    return (-torch.lgamma(size + 1) - torch.lgamma(M - size + 1) + kernel.log()).softmax(0)


def size_terms(kernel: Tensor) -> Tensor:
    """Polynomials in the size 0…M, (M + 1, k), orthogonal to 1 and the size itself over all coalitions."""
    M = len(kernel) - 1
    share = 2 * torch.arange(M + 1.0, dtype=torch.float64)[:, None] / M - 1
    powers = share ** torch.arange(min(DEGREE, M // 3) + 1)
    _, mixing = torch.linalg.qr(chances(kernel).sqrt()[:, None] * powers)
    return torch.linalg.solve_triangular(mixing, powers, upper=True, left=False)[:, 2:]


@dataclass(frozen=True)
class Known:
    """What is taken off before the fit: of the coalitions (n,), and of all coalitions its own weights (M,).

    missed: by how much each is missed where all pairs but its own are learned from; of those learned from.
    """

    at: Tensor
    weights: Tensor
    missed: Tensor

    @classmethod
    def learned(cls, kept: Tensor, worth: Tensor, kernel: Tensor) -> "Known | None":
        """From pairs, one after the other: their mean is even in s, half their difference is odd."""
        first, pairs = kept[::2], worth.reshape(-1, 2)
        s = 2 * first.double() - 1
        ones, mean = torch.ones(len(s), 1, dtype=torch.float64), s.mean(1, keepdim=True)
        even = Interactions.learned(2, first, pairs.mean(1), torch.cat((ones, mean**2), 1))
        odd = Interactions.learned(3, first, (pairs[:, 0] - pairs[:, 1]) / 2, torch.cat((s, mean**3), 1))
        if not len(even.missed) or not len(odd.missed):
            return None
        parts, missed, chance = (even, odd), (even.missed, odd.missed), chances(kernel)
        return cls(
            sum((part.at(kept) for part in parts), torch.zeros(())),
            sum((part.slopes(chance) for part in parts), torch.zeros(())),
            torch.stack((missed[0] + missed[1], missed[0] - missed[1]), 1).flatten(),
        )


@dataclass(frozen=True)
class LocalFit:
    """A weighted ridge regression with an intercept that is not penalised."""

    weights: Tensor  # β, (M,)
    intercept: float
    r2: float  # of β alone
    parts: tuple[Tensor, Tensor, Tensor]  # weighted design (n, k), its share in β (n, M), residuals (n,)

    @classmethod
    def of(
        cls,
        kept: Tensor,
        worth: Tensor,
        pi: Tensor,
        ridge: float,
        *,
        along: Tensor | None = None,
        known: Known | None = None,
    ) -> "LocalFit":
        """The fit on groups kept (n, M), and on terms (n, k) that are fitted along without a penalty."""
        M, p = kept.shape[1], pi / pi.sum()
        x = kept.double() if along is None else torch.cat((kept.double(), along), 1)
        centred, v = x - p @ x, worth - p @ worth
        penalty = torch.diag(ridge * (torch.arange(x.shape[1]) < M).double())
        squares = (centred.T * pi) @ centred
        inverse = torch.linalg.pinv(squares + penalty, rtol=1e-12, hermitian=True)
        known = known or Known(torch.zeros_like(v), v.new_zeros(M), v.new_zeros(0))
        rest = v - (known.at - p @ known.at)
        fit = inverse @ (centred.T @ (pi * rest) + squares[:, :M] @ known.weights)
        left, root = rest - centred @ fit + centred[:, :M] @ known.weights, pi.sqrt()[:, None] * centred
        design = torch.cat((p.sqrt()[:, None], root @ symmetric_root(inverse)), 1)
        left[: len(known.missed)] = known.missed
        design[: len(known.missed)] = 0  # these were missed by a fit that they had no part in
        missed, total = v - centred[:, :M] @ fit[:M], float(p @ v.square())
        return cls(
            fit[:M],
            intercept=float(p @ (worth - kept.double() @ fit[:M])),
            r2=1 - float(p @ missed.square()) / total if total > 0 else 0.0,
            parts=(design, root @ inverse[:, :M], pi.sqrt() * left),
        )

    def standard_error(self) -> Tensor:
        """Of β, from pairs of coalitions, which are independent of each other.

        A pair's residuals are enlarged by what the fit took of them (Bell & McCaffrey 2002, CR2).
        """
        design, share, missing = (part.reshape(-1, 2, *part.shape[1:]) for part in self.parts)
        left = torch.eye(2, dtype=design.dtype) - design @ design.mT  # (pairs, 2, 2)
        enlarged = symmetric_root(left, -0.5) @ missing[..., None]  # (pairs, 2, 1)
        return (share.mT @ enlarged).square().sum((0, 2)).sqrt()


def symmetric_root(matrix: Tensor, power: float = 0.5) -> Tensor:
    """A positive symmetric matrix to a power; a negative one takes no eigenvalue for less than 0.01."""
    values, vectors = torch.linalg.eigh(matrix)
    powers = values.clamp(min=0.01 if power < 0 else 0.0) ** power
    return vectors @ torch.diag_embed(powers) @ vectors.mT
