"""Shapley values (Shapley 1953, "A value for n-person games"), exact and by sampling permutations.

A group's value is what it adds to the score, on average over all orders in which groups can come in,

    φ_i = Σ_{S without i} |S|! (M - |S| - 1)! / M!  (v(S ∪ i) - v(S)).

ShapleySampling takes the mean over random orders (Castro, Gómez & Tejada 2009), each together with its
reverse (Mitchell et al. 2022, arXiv:2104.12199). Along each order what groups add sums to v(1) - v(0).
"""

from dataclasses import dataclass
from math import comb

import torch
from torch import Tensor

from underhood.engine import Run
from underhood.errors import InvalidArgument, Unfit
from underhood.inputs.baseline import BaselineLike, as_whole
from underhood.inputs.players import GroupingLike, at_most, check_grouping, players
from underhood.inputs.random import PERMUTATIONS, generator
from underhood.methods.card import Card
from underhood.methods.coalitions import Game, Payoff, all_coalitions, played, settled
from underhood.methods.method import Attribution, Method, check_error

LARGEST = 12  # groups that are played exactly


@dataclass(frozen=True)
class ExactShapley(Method):
    """Shapley values of at most 12 groups from all 2^M coalitions; in units of the score.

    grouping, baseline: as for `KernelSHAP`; by default at most 12 superpixels of a picture.
    """

    grouping: GroupingLike = None
    baseline: BaselineLike = "zeros"

    key = "exact_shapley"

    def __post_init__(self) -> None:
        check_grouping(self.grouping)
        as_whole(self.baseline)

    @property
    def card(self) -> Card:
        return EXACT

    def attribute(self, run: Run) -> Attribution:
        model = run.engine.model
        if self.grouping is None and run.inputs.ndim == 4:
            every = [at_most(model, x[None], LARGEST) for x in run.inputs]
        else:
            every = players(model, run.inputs, self.grouping, LARGEST)
        largest = max(one.groups.count for one in every)
        if largest > LARGEST:
            raise Unfit(
                f"Exact Shapley values take at most {LARGEST} groups (2^{LARGEST} coalitions), not "
                f"{largest}; give a coarser grouping, or use KernelSHAP."
            )
        return played(run, every, as_whole(self.baseline), _exact)


@dataclass(frozen=True)
class ShapleySampling(Method):
    """Shapley values of groups as the mean over random orders; in units of the score.

    permutations: orders, an even number: half of them are the others reversed.
    grouping, baseline, error, arrays: as for `KernelSHAP`.
    """

    permutations: int = 20
    grouping: GroupingLike = None
    baseline: BaselineLike = "zeros"
    error: float | None = None

    key = "shapley_sampling"

    def __post_init__(self) -> None:
        if self.permutations < 4 or self.permutations % 2:
            raise InvalidArgument(
                "ShapleySampling takes an even number of permutations from 4 (two pairs have a spread), not "
                f"{self.permutations}."
            )
        check_error(self.error)
        check_grouping(self.grouping)
        as_whole(self.baseline)

    @property
    def card(self) -> Card:
        return SAMPLING

    def attribute(self, run: Run) -> Attribution:
        every = players(run.engine.model, run.inputs, self.grouping, about=75)
        return played(run, every, as_whole(self.baseline), self._play)

    def _play(self, game: Game) -> Payoff:
        rng = generator(game.run.seed, PERMUTATIONS)
        most = self.permutations // 2
        orders = torch.stack([torch.from_numpy(rng.permutation(game.count)) for _ in range(most)])
        return settled(lambda count: _mean(game, orders[:count]), [*range(4, most, 2), most], self.error)


def _mean(game: Game, orders: Tensor) -> Payoff:
    """The mean over orders (n, M) and their reverses, with the standard error over these pairs."""
    added = torch.stack((_added(game, orders), _added(game, orders.flip(1)))).mean(0)  # (n, M)
    values = added.mean(0)
    return Payoff(
        values,
        added.std(0) / len(orders) ** 0.5,
        freedom=len(orders) - 1,
        diagnostics={"permutations": 2 * len(orders), **game.completeness(values)},
    )


def _added(game: Game, orders: Tensor) -> Tensor:
    """What each group adds as it comes in, (n, M)."""
    n, M = orders.shape
    turn = orders.argsort(1)  # when each group comes in
    present = turn[:, None] < torch.arange(1, M)[:, None]  # (n, M - 1, M)
    worth = torch.empty(n, M + 1, dtype=torch.float64)
    worth[:, 0], worth[:, M] = game.empty, game.full
    worth[:, 1:M] = game.worth(present.reshape(-1, M), "float32").reshape(n, M - 1)
    return worth.diff(dim=1).gather(1, turn)


def _exact(game: Game) -> Payoff:
    M = game.count
    coalitions = all_coalitions(M)
    worth = torch.empty(len(coalitions), dtype=torch.float64)
    worth[0], worth[-1] = game.empty, game.full
    if M > 1:
        worth[1:-1] = game.worth(coalitions[1:-1], "float32")
    values = shares(coalitions) @ worth
    return Payoff(values, diagnostics=game.completeness(values))


def shares(coalitions: Tensor) -> Tensor:
    """By how much each coalition's worth counts in each group's Shapley value, (M, 2^M)."""
    M = coalitions.shape[1]
    before = torch.tensor([1 / (M * comb(M - 1, s)) for s in range(M)] + [0.0], dtype=torch.float64)
    size = coalitions.sum(1)
    with_it, without = before[(size - 1).clamp(min=0)], before[size]
    return torch.where(coalitions.T, with_it, -without)


EXACT = Card(
    name="Exact Shapley values",
    question="attribution",
    answers="How much each group adds to the score, on average over all orders in which groups can come in.",
    misleads="Inputs with groups absent are unlike the data the model has seen; with at most 12 groups, each "
    "is large.",
    signed=True,
    conserves="S(x) - S(x'), over groups",
    resolution="region",
    unit="score per group",
    needs="nothing but scores",
    cost="4,096 forward",
    source="Shapley 1953; for models: Lundberg & Lee 2017, arXiv:1705.07874",
)
SAMPLING = Card(
    name="Shapley sampling",
    question="attribution",
    answers="How much each group adds to the score, on average over sampled orders in which groups come in.",
    misleads="Inputs with groups absent are unlike the data the model has seen; the answer depends on the "
    "groups and on what fills the absent ones.",
    signed=True,
    conserves="S(x) - S(x'), over groups",
    resolution="region",
    unit="score per group",
    needs="nothing but scores",
    cost="20 forward for each group (about 1,500)",
    source="Castro et al. 2009; Mitchell et al. 2022, arXiv:2104.12199",
)
