"""Probes: inputs with random groups of places hidden, and by how much the score falls.

The evidence that faithfulness correlation, sensitivity-n, infidelity and others share. Subsets depend on
the seed alone and are the same for every input; they are scored once for all methods, checks and controls on
these inputs, so that a map, or any shifted copy of it, is questioned at the price of adding it up over them.

Of each size the subsets are cut from random orders of the groups, one after the other: those of an order
are disjoint, and every group is hidden about equally often (antithetic, stratified sampling).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, comb, sqrt

import torch
from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.controls import COUNT, moves
from underhood.checks.similarity import pearson
from underhood.errors import InvalidArgument
from underhood.inputs import Absence, Baseline
from underhood.inputs.baseline import BaselineLike, as_baseline
from underhood.inputs.grouping import Grouping, Labels, as_grouping, elements, places
from underhood.inputs.random import PROBES, generator

SIZES = (0.02, 0.1, 0.25, 0.5)  # shares of the groups, from single ones on
COUNT_OF_EACH = 24  # subsets of each size
ABOUT = 49  # patches of a picture
MOST = 4096  # so many subsets of a size or fewer are all listed; half as many is the most that is drawn


@dataclass(frozen=True, eq=False)
class Probes:
    """N subsets of the groups of B inputs, and what hiding them takes from the score.

    hidden:  (N, G) bool; sizes: (N,), how many groups each hides; complete: (N,), whether these are all
             subsets of that size, so that nothing is left to chance.
    falls:   (N, B), S(x) - S(x without the subset), the mean over fills; squares: of its square.
    calls:   passes for each input, 0 where they had been made before.
    """

    groups: Labels
    hidden: Tensor
    sizes: Tensor
    complete: Tensor
    falls: Tensor
    squares: Tensor
    calls: float

    def under(self, sums: Tensor) -> Tensor:
        """What maps with these sums over groups (…, B, G) hold under each subset: (…, B, N)."""
        return sums @ self.hidden.double().T

    def correlations(self, held: Tensor) -> Tensor:
        """Of what is held under the subsets (…, B, N) with the falls, (…, B, sizes); NaN where one is flat.

        Size by size, since the larger a subset the more it holds of any map, and the more the score falls.
        """
        strata = [(self.sizes == n).nonzero().flatten() for n in self.sizes.unique()]
        return torch.stack([pearson(held[..., of], self.falls.T[:, of]) for of in strata], -1)


def probes(
    batch: Batch,
    count: int = COUNT_OF_EACH,
    sizes: Sequence[float] = SIZES,
    fill: BaselineLike = "zeros",
    grouping: Grouping | Tensor | None = None,
) -> Probes:
    """At most `count` subsets of each of the `sizes` (shares of the groups), scored where they are not yet.

    The same seed gives the same subsets, and more of them begin with the fewer.
    """
    groups, baseline, seed = grouped(batch, grouping), as_baseline(fill), batch.run.seed
    wanted = {n: subsets(groups.count, n, count, seed) for n in numbers(sizes, groups.count)}
    known: dict[int, Tensor]  # size → (n, B, 2), falls and their squares
    known = batch.memory.setdefault(("probes", "scores", baseline, grouping), {})
    new = {n: drawn[len(known[n]) if n in known else 0 :] for n, drawn in wanted.items()}
    before = batch.run.engine.log.calls
    found = _scored(batch, groups, torch.cat(list(new.values())), baseline)
    for n, scores in zip(new, found.split([len(drawn) for drawn in new.values()]), strict=True):
        known[n] = torch.cat([known[n], scores]) if n in known else scores
    falls, squares = torch.cat([known[n][: len(drawn)] for n, drawn in wanted.items()]).unbind(-1)
    hidden = torch.cat(list(wanted.values()))
    chosen = hidden.sum(1)
    complete = torch.cat([torch.full((len(d),), len(d) == comb(groups.count, n)) for n, d in wanted.items()])
    calls = (batch.run.engine.log.calls - before) / len(batch)
    return Probes(groups, hidden, chosen, complete, falls, squares, calls)


def _scored(batch: Batch, groups: Labels, hidden: Tensor, baseline: Baseline) -> Tensor:
    """Falls and their squares (N, B, 2) of subsets (N, G)."""
    if not len(hidden):
        return torch.zeros(0, len(batch), 2, dtype=torch.float64)
    absence = Absence(batch.run.inputs, baseline, batch.model.preprocess, batch.run.seed)
    variants = absence.variants(len(hidden), lambda _, number: hidden[number][:, groups.numbers])
    scores = batch.run.scores(variants, precision="float32").double()
    falls = batch.run.score.double() - scores.reshape(-1, len(hidden), len(batch))  # (fills, N, B)
    return torch.stack([falls.mean(0), falls.square().mean(0)], -1)


def subsets(groups: int, size: int, count: int, seed: int) -> Tensor:
    """`count` different subsets of that size, (n, groups) bool; all of them where there are no more."""
    if not 1 <= count <= MOST // 2:
        raise InvalidArgument(f"From 1 to {MOST // 2} subsets of each size can be drawn, not {count}.")
    random = generator(seed, PROBES, size)
    if comb(groups, size) <= MOST:
        every = list(combinations(range(groups), size))
        chosen = [every[i] for i in random.permutation(len(every))[:count]]
    else:
        drawn: dict[tuple[int, ...], None] = {}
        while len(drawn) < count:
            order = random.permutation(groups)[: groups // size * size].reshape(-1, size)
            drawn |= dict.fromkeys(tuple(sorted(part)) for part in order.tolist())
        chosen = list(drawn)[:count]
    return torch.zeros(len(chosen), groups, dtype=torch.bool).scatter(1, torch.tensor(chosen), value=True)


def numbers(sizes: Sequence[float], groups: int) -> list[int]:
    """How many groups these shares of them are, each number once and at least 1."""
    if not sizes or not all(0 < size <= 1 for size in sizes):
        raise InvalidArgument(f"Sizes are shares of the groups, above 0 and up to 1; got {tuple(sizes)}.")
    return sorted({max(1, int(size * groups + 0.5)) for size in sizes})


def grouped(batch: Batch, grouping: Grouping | Tensor | None = None) -> Labels:
    """The groups that are hidden together: about 7 × 7 patches of a picture, else single elements."""
    shape = places(batch.run.inputs)
    if grouping is not None:
        groups = as_grouping(grouping, shape)
        if not isinstance(groups, Labels):
            raise InvalidArgument("The groups may not overlap, as windows do; give labels or patches.")
        return groups
    if ("probes", "groups") not in batch.memory:
        batch.memory["probes", "groups"] = even_patches(shape) if len(shape) == 2 else elements(shape)
    found: Labels = batch.memory["probes", "groups"]
    return found


def even_patches(shape: tuple[int, ...], about: int = ABOUT) -> Labels:
    """About so many patches of a picture; all of about the same size, so that a constant map holds as much
    of each."""
    side = ceil(sqrt(shape[0] * shape[1] / about))
    down, across = (max(1, round(length / side)) for length in shape)
    rows, columns = (torch.arange(n) * parts // n for n, parts in zip(shape, (down, across), strict=True))
    return Labels(rows[:, None] * across + columns)


def pooled(maps: Tensor, groups: Labels) -> Tensor:
    """Maps (…, *places) added up over each group: (…, G), float64."""
    number = groups.numbers.flatten()
    flat = maps.reshape(-1, len(number))
    sums = torch.zeros(len(flat), groups.count, dtype=torch.float64)
    for part, total in zip(flat.split(16), sums.split(16), strict=True):
        total.index_add_(1, number, part.double())
    return sums.reshape(*maps.shape[: maps.ndim - len(groups.shape)], groups.count)


def moved_sums(maps: Tensor, groups: Labels, count: int = COUNT, seed: int = 0) -> Tensor:
    """`pooled` of `controls.shifts`, (count, B, G), without holding the copies."""
    shape = groups.shape
    return torch.stack([pooled(move(maps), groups) for move in moves(len(shape), shape, count, seed)])
