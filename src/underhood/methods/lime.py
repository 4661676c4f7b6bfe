"""LIME (Ribeiro, Singh & Guestrin 2016, '"Why should I trust you?"', algorithm 1 and section 3.4).

A linear model of which groups are kept, fitted to the scores of coalitions z near the input,

    min Σ_z π(z) (v(z) - a - z·β)² + ridge |β|²,   π(z) = exp(-d(z)² / 2 width²),   d(z) = 1 - √(|z| / M),

with d the cosine distance from z to the whole input. Every group is kept with probability ½; coalitions
come in pairs, z and what it leaves out, which cancels what is even in z. Where the budget holds all
coalitions, each is taken once. What depends on a coalition's size alone, beyond what β explains, is fitted
along: it is orthogonal to every group, so β stays what it is, and a sample errs less. The standard error
is the sandwich estimate over pairs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from underhood.engine import Run
from underhood.errors import InvalidArgument
from underhood.inputs.baseline import BaselineLike, as_baseline
from underhood.inputs.players import GroupingLike, check_grouping, players
from underhood.inputs.random import COALITIONS, generator
from underhood.methods.card import Card
from underhood.methods.coalitions import LOOK, Game, Payoff, all_coalitions, played, settled
from underhood.methods.method import Attribution, Method, check_error

DEGREE = 3  # of what coalitions' sizes alone explain; few groups have too few sizes for it


@dataclass(frozen=True)
class LIME(Method):
    """The weights β of a local linear model of the score; in units of the score.

    n:     coalitions shown to the model at most, an even number.
    width: of the kernel π.
    ridge: the penalty; lime's own is 1, which shrinks weights by about 1 % at 1,000 coalitions.
    grouping, baseline, error, arrays: as for `KernelSHAP`.

    The diagnostics have the local fit's weighted "r2".
    """

    n: int = 1000
    width: float = 0.25
    ridge: float = 0.01
    grouping: GroupingLike = None
    baseline: BaselineLike = "zeros"
    error: float | None = None

    key = "lime"

    def __post_init__(self) -> None:
        if self.n < 4 or self.n % 2:
            raise InvalidArgument(f"LIME takes an even number of coalitions from 4 on, not {self.n}.")
        if not self.width > 0:
            raise InvalidArgument(f"LIME's width must be above 0, not {self.width}.")
        if self.ridge < 0:
            raise InvalidArgument(f"LIME's ridge is a number from 0 on, not {self.ridge}.")
        check_error(self.error)
        check_grouping(self.grouping)
        as_baseline(self.baseline)

    @property
    def card(self) -> Card:
        return CARD

    def attribute(self, run: Run) -> Attribution:
        every = players(run.engine.model, run.inputs, self.grouping, about=75)
        return played(run, every, as_baseline(self.baseline), self._play)

    def _play(self, game: Game) -> Payoff:
        M, most = game.count, self.n // 2
        if self.n >= 2**M:
            return self._fitted(game, all_coalitions(M), sampled=False)
        if most < M + 10:  # pairs tell no more than so many groups apart
            raise InvalidArgument(f"With {M} groups LIME needs n of at least {2 * M + 20}, not {self.n}.")
        rng = generator(game.run.seed, COALITIONS)
        kept = torch.from_numpy(rng.random((most, M)) < 0.5)
        looks = range(max(LOOK // 2, 2 * M), most, LOOK // 2)
        both = torch.stack((kept, ~kept), 1)  # (pairs, 2, M)
        return settled(
            lambda count: self._fitted(game, both[:count].reshape(-1, M)), [*looks, most], self.error
        )

    def _fitted(self, game: Game, kept: Tensor, *, sampled: bool = True) -> Payoff:
        kernel = cosine_kernel(torch.arange(game.count + 1), game.count, self.width)
        size = kept.sum(1)
        fit = LocalFit.of(kept, game.worth(kept), kernel[size], self.ridge, size_terms(kernel)[size])
        return Payoff(
            fit.weights,
            fit.standard_error() if sampled else torch.zeros_like(fit.weights),
            freedom=max(len(kept) // 2 - 1, 1),
            diagnostics={
                "coalitions": len(kept),
                "r2": fit.r2,
                "intercept": fit.intercept,
                "score_difference": game.full - fit.intercept,
            },
        )


def cosine_kernel(size: Tensor, M: int, width: float) -> Tensor:
    """π of coalitions of these sizes."""
    distance = 1 - (size.double() / M).sqrt()
    return (-(distance**2) / (2 * width**2)).exp()


def size_terms(kernel: Tensor) -> Tensor:
    """Polynomials in the size 0…M, (M + 1, k), orthogonal to 1 and the size itself over all coalitions."""
    M = len(kernel) - 1
    size = torch.arange(M + 1.0, dtype=torch.float64)
    chance = (-torch.lgamma(size + 1) - torch.lgamma(M - size + 1)).softmax(0)  # binomial, by ½
    root = (chance * kernel).sqrt()
    powers = (2 * size[:, None] / M - 1) ** torch.arange(min(DEGREE, M // 3) + 1)
    _, mixing = torch.linalg.qr(root[:, None] * powers)
    return torch.linalg.solve_triangular(mixing, powers, upper=True, left=False)[:, 2:]


@dataclass(frozen=True)
class LocalFit:
    """A weighted ridge regression with an intercept that is not penalised."""

    weights: Tensor  # β, (M,)
    intercept: float
    r2: float  # of β alone
    parts: tuple[Tensor, Tensor, Tensor]  # weighted design (n, k), its share in β (n, M), residuals (n,)

    @classmethod
    def of(
        cls, kept: Tensor, worth: Tensor, pi: Tensor, ridge: float, along: Tensor | None = None
    ) -> "LocalFit":
        """The fit on groups kept (n, M), and on terms (n, k) that are fitted along without a penalty."""
        M, p = kept.shape[1], pi / pi.sum()
        x = kept.double() if along is None else torch.cat((kept.double(), along), 1)
        centred, v = x - p @ x, worth - p @ worth
        penalty = torch.diag(ridge * (torch.arange(x.shape[1]) < M).double())
        inverse = torch.linalg.pinv((centred.T * pi) @ centred + penalty, rtol=1e-12, hermitian=True)
        fit = inverse @ (centred.T @ (pi * v))
        root, missing = pi.sqrt()[:, None], pi.sqrt() * (v - centred @ fit)
        design = torch.cat((p.sqrt()[:, None], root * centred @ symmetric_root(inverse)), 1)
        missed, total = v - centred[:, :M] @ fit[:M], float(p @ v.square())
        return cls(
            fit[:M],
            intercept=float(p @ (worth - kept.double() @ fit[:M])),
            r2=1 - float(p @ missed.square()) / total if total > 0 else 0.0,
            parts=(design, root * centred @ inverse[:, :M], missing),
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


CARD = Card(
    name="LIME",
    question="attribution",
    answers="How the score changes with each group where about half of them are kept, in a linear fit.",
    misleads="A linear fit may miss how groups act together (see its r2), and it is taken far from the "
    "input, around copies with half of their groups absent.",
    signed=True,
    conserves=None,
    resolution="region",
    unit="score per group",
    needs="nothing but scores",
    cost="1,000 forward",
    source="Ribeiro et al. 2016, arXiv:1602.04938",
)
