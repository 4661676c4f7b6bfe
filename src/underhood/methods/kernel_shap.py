"""KernelSHAP (Lundberg & Lee 2017, "A unified approach to interpreting model predictions", theorem 2).

The Shapley values φ of the groups are the solution of a weighted regression over all coalitions z,

    min Σ_z π(z) (v(z) - v(0) - z·φ)²   with   Σ φ = v(1) - v(0),   π(z) = (M - 1) / (C(M,|z|) |z| (M - |z|)).

Coalitions come in pairs, z and what it leaves out (Covert & Lee 2021, arXiv:2012.01536), which makes the
regression one of half their difference on z - ½: whatever is even in z cancels. Every size gets as many
pairs, none twice, until it has all that exist (leverage scores: Musco & Witter 2024, arXiv:2410.01917);
with the budget for all 2^M coalitions this is exact. What depends on a coalition's size alone is fitted
along: over all coalitions it is orthogonal to every group, so φ stays what it is, and a sample errs less. For
the same reason what groups do three at a time is learned and taken off first (`interactions`). The standard
error is that of the stratified sample.
"""

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from underhood.engine import Run
from underhood.errors import InvalidArgument
from underhood.inputs.baseline import BaselineLike, as_whole
from underhood.inputs.players import GroupingLike, check_grouping, players
from underhood.inputs.random import COALITIONS, generator
from underhood.methods.card import Card
from underhood.methods.coalitions import LOOK, Game, Payoff, looks, played, settled
from underhood.methods.interactions import Interactions
from underhood.methods.method import Attribution, Method, check_error

SIZE_POWERS = (1, 3, 5)  # of what coalitions' sizes alone explain


@dataclass(frozen=True)
class KernelSHAP(Method):
    """Shapley values of groups by regression over sampled coalitions; in units of the score.

    n:        coalitions shown to the model at most, among them none and all of the groups.
    grouping: the players: a `Grouping`, labels like the input's places, a list of one for each input, or a
              number of superpixels; by default about 75 superpixels of a picture, the elements of a row.
    baseline: what absent groups are filled with.
    error:    stop early once the mean standard error is below this share of the largest |value|.

    `arrays` has the "standard_error" of each place's group, the half width of its 95 % "interval", and the
    "groups" by number.
    """

    n: int = 1000
    grouping: GroupingLike = None
    baseline: BaselineLike = "zeros"
    error: float | None = None

    key = "kernel_shap"

    def __post_init__(self) -> None:
        if self.n < 4:
            raise InvalidArgument(f"KernelSHAP takes a number of coalitions from 4 on, not {self.n}.")
        check_error(self.error)
        check_grouping(self.grouping)
        as_whole(self.baseline)

    @property
    def card(self) -> Card:
        return CARD

    def attribute(self, run: Run) -> Attribution:
        every = players(run.engine.model, run.inputs, self.grouping, about=75)
        return played(run, every, as_whole(self.baseline), self._play)

    def _play(self, game: Game) -> Payoff:
        M = game.count
        if M == 1:
            return Payoff(torch.tensor([game.difference], dtype=torch.float64), torch.zeros(1))
        most = min((self.n - 2) // 2, 2 ** (M - 1) - 1)
        fewest = min(M + 4, 2 ** (M - 1) - 1)
        if most < fewest:
            raise InvalidArgument(
                f"With {M} groups KernelSHAP needs n of at least {2 * fewest + 2} coalitions, not "
                f"{self.n}; or give fewer groups."
            )
        pairs = Pairs.drawn(M, most, game.run.seed)
        counts = looks(max(2 * fewest, LOOK), most)
        return settled(lambda count: self._fitted(game, pairs.first(count)), counts, self.error)

    def _fitted(self, game: Game, pairs: "Pairs") -> Payoff:
        both = game.worth(torch.cat((pairs.kept, ~pairs.kept))).reshape(2, -1)
        values, error = regression(pairs, (both[0] - both[1]) / 2, game.difference)
        return Payoff(
            values,
            error,
            freedom=max(len(pairs.kept) - game.count + 1 - len(SIZE_POWERS), 1),
            diagnostics={
                "coalitions": 2 * len(pairs.kept) + 2,
                "exhaustive": pairs.complete,
                **game.completeness(values),
            },
        )


@dataclass(frozen=True)
class Pairs:
    """Coalitions (n, M), each standing for the pair of itself and what it leaves out, by size.

    size: of the smaller of the two, (n,).
    """

    kept: Tensor
    size: Tensor

    @classmethod
    def drawn(cls, M: int, count: int, seed: int) -> "Pairs":
        """`count` different pairs; the first of them are those of a smaller count."""
        turns = _turns([_existing(M, size) for size in range(1, M // 2 + 1)], count)
        size = torch.tensor(turns) + 1
        kept = torch.zeros(count, M, dtype=torch.bool)
        for one in size.unique().tolist():
            kept[size == one] = _distinct(M, one, turns.count(one - 1), seed)
        return cls(kept, size)

    def first(self, count: int) -> "Pairs":
        return Pairs(self.kept[:count], self.size[:count])

    @property
    def taken(self) -> Tensor:
        """Pairs of the same size that are here, (n,)."""
        return torch.bincount(self.size)[self.size].double()

    @property
    def existing(self) -> Tensor:
        """Pairs of the same size that there are, (n,)."""
        M = self.kept.shape[1]
        return torch.tensor([float(_existing(M, size)) for size in range(M // 2 + 1)])[self.size].double()

    @property
    def complete(self) -> bool:
        return len(self.kept) == 2 ** (self.kept.shape[1] - 1) - 1

    @property
    def weights(self) -> Tensor:
        """Each pair's share in the weight π of all pairs of its size, (n,)."""
        M, s = self.kept.shape[1], self.size.double()
        return torch.where(2 * s == M, 1.0, 2.0) * (M - 1) / (s * (M - s)) / self.taken


def regression(pairs: Pairs, halves: Tensor, difference: float) -> tuple[Tensor, Tensor]:
    """φ (M,) with Σφ = difference, fitted to (v(z) - v(1-z)) / 2, and its standard error (M,).

    Residuals are enlarged by what the fit took of them (MacKinnon & White 1985, HC3), which errs on the safe
    side where coalitions are few.
    """
    M, w = pairs.kept.shape[1], pairs.weights
    u = pairs.kept.double() - 0.5
    centred = u - u.mean(1, keepdim=True)  # where Σφ is held, only what sums to 0 can move
    sizes = torch.stack([(2 * u.mean(1)) ** power for power in SIZE_POWERS], 1)
    z = torch.cat((centred, sizes), 1)  # (n, M + 3)
    triples = Interactions.learned(3, pairs.kept, halves, z)
    known = triples.shapley
    rest = halves - triples.at(pairs.kept) - u.mean(1) * (difference - known.sum())
    inverse = torch.linalg.pinv((z.T * w) @ z, rtol=1e-10, hermitian=True)
    fit = inverse @ (z.T @ (w * rest))
    leverage = w * ((z @ inverse) * z).sum(1)
    missed = (rest - z @ fit) / (1 - leverage.clamp(max=0.99))
    missed[: len(triples.missed)] = triples.missed
    values = known + (difference - known.sum()) / M + fit[:M]
    return values, _stratified(pairs, (z @ inverse[:, :M]) * (w * missed)[:, None])


def _stratified(pairs: Pairs, shares: Tensor) -> Tensor:
    """The standard error of the sum of shares (n, M), drawn without replacement within each size."""
    taken, size = pairs.taken, pairs.size
    total = torch.zeros(int(size.max()) + 1, shares.shape[1], dtype=shares.dtype)
    off = shares - total.index_add_(0, size, shares)[size] / taken[:, None]
    factor = taken / (taken - 1).clamp(min=1) * (1 - taken / pairs.existing).clamp(min=0)
    return (factor[:, None] * off.square()).sum(0).sqrt()


def _existing(M: int, size: int) -> int:
    """How many pairs of a coalition of so many groups and its complement there are."""
    return math.comb(M, size) // (2 if 2 * size == M else 1)


def _turns(existing: list[int], count: int) -> list[int]:
    """Which size comes when: in turn, as long as there are more of it."""
    turns: list[int] = []
    for number in range(count):
        turns += [at for at, most in enumerate(existing) if number < most]
        if len(turns) >= count:
            break
    return turns[:count]


def _distinct(M: int, size: int, count: int, seed: int) -> Tensor:
    """`count` different coalitions (count, M) of so many groups, no two of them a pair."""
    rng = generator(seed, COALITIONS, size)
    fixed = int(2 * size == M)  # the first group tells a coalition of half the groups from its complement
    existing = _existing(M, size)
    if existing <= 4 * count:
        every = np.array(list(combinations(range(fixed, M), size - fixed)), dtype=np.int64)
        members = every.reshape(existing, -1)[rng.permutation(existing)[:count]]
        return _kept(M, members, fixed)
    found = np.empty((0, size - fixed), dtype=np.int64)
    while len(found) < count:
        drawn = np.sort(rng.random((count, M - fixed)).argsort(1)[:, : size - fixed] + fixed, axis=1)
        found = np.concatenate((found, drawn))
        found = found[np.sort(np.unique(found, axis=0, return_index=True)[1])]
    return _kept(M, found[:count], fixed)


def _kept(M: int, members: np.ndarray, fixed: int) -> Tensor:
    kept = torch.zeros(len(members), M, dtype=torch.bool)
    kept[:, :fixed] = True
    return kept.scatter_(1, torch.from_numpy(members), True)


CARD = Card(
    name="KernelSHAP",
    question="attribution",
    answers="How much each group adds to the score, on average over the orders in which groups can come in.",
    misleads="Inputs with groups absent are unlike the data the model has seen; the answer depends on the "
    "groups and on what fills the absent ones.",
    signed=True,
    conserves="S(x) - S(x'), over groups",
    resolution="region",
    unit="score per group",
    needs="nothing but scores",
    cost="1,000 forward",
    source="Lundberg & Lee 2017, arXiv:1705.07874",
)
