"""LIME (Ribeiro, Singh & Guestrin 2016, '"Why should I trust you?"', algorithm 1 and section 3.4).

A linear model of which groups are kept, fitted to the scores of coalitions z near the input,

    min Σ_z π(z) (v(z) - a - z·β)² + ridge |β|²,   π(z) = exp(-d(z)² / 2 width²),   d(z) = 1 - √(|z| / M),

with d the cosine distance from z to the whole input. Every group is kept with probability ½; coalitions
come in pairs, z and what it leaves out, which cancels what is even in z. Where the budget holds all
coalitions, each is taken once. What depends on a coalition's size alone, beyond what β explains, is fitted
along: it is orthogonal to every group, so β stays what it is, and a sample errs less. For the same reason
what groups do two and three at a time is learned and taken off first, and its part in β added after the fit
(`interactions`). The standard error is the sandwich estimate over pairs.
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
from underhood.methods.coalitions import LOOK, Game, Payoff, all_coalitions, looks, played, settled
from underhood.methods.local_fit import Known, LocalFit, cosine_kernel, size_terms
from underhood.methods.method import Attribution, Method, check_error


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
        both = torch.stack((kept, ~kept), 1)  # (pairs, 2, M)
        counts = looks(max(2 * M, LOOK), most)
        return settled(lambda count: self._fitted(game, both[:count].reshape(-1, M)), counts, self.error)

    def _fitted(self, game: Game, kept: Tensor, *, sampled: bool = True) -> Payoff:
        kernel, worth = cosine_kernel(torch.arange(game.count + 1), game.count, self.width), game.worth(kept)
        size = kept.sum(1)
        known = Known.learned(kept, worth, kernel) if sampled else None
        along = size_terms(kernel)[size]
        fit = LocalFit.of(kept, worth, kernel[size], self.ridge, along=along, known=known)
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
