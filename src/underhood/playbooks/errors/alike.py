"""Inputs that are alike to the model, by its features and by where it looked; groups of them.

Groups: HDBSCAN (Campello et al. 2013). Their number is not given: of the hierarchy of clusters, over all
densities, those are taken that last longest ("excess of mass"). Where they hold less than two thirds, the
whole is one group, without what lies apart: beyond a factor of the distances in its denser quarter. What is
in no dense place belongs to no group.
Chance: the scan statistic of Kulldorff 1997, "A spatial scan statistic", section 2, for 0/1 cases. It asks
how much likelier the flags are with one rate inside a neighbourhood and another outside than with one for
all, and compares the highest of all neighbourhoods with those found when the flags are dealt anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray

from underhood.inputs.random import ERRORS, generator
from underhood.playbooks.nearest import unit
from underhood.playbooks.places import torch_of
from underhood.playbooks.portions import ENTRIES, drawn, portions
from underhood.playbooks.survey import Floats, Indices, Survey

NUMBERS = 10  # that features are brought down to, and maps as well
FITTED = 2000  # rows that the reduction is fitted on, at most
GRID = 8  # side of the maps that are compared, at most
CORE = 5  # neighbours that a dense place has at least
MOST = 2 / 3  # of the inputs are in groups, or they are one
SPARSE = 3.0  # times the distance to those neighbours in the denser quarter
FEWEST = 5  # inputs in a group
SHARE = 0.02  # of the inputs, in a group
NEAR = 0.9  # of a group's members lie in its neighbourhood

Flags = NDArray[np.bool_]


def points(survey: Survey, rows: Indices, seed: int, *stream: int) -> Floats:
    """(k, d) such that inputs are near where features and maps are alike; both count the same.

    Features by their direction and maps by their shares of relevance, each brought to its principal
    components and to a variance of 1 in all.
    """
    fitted = drawn(rows, FITTED, seed, *stream)
    parts = [_reduced(read, survey, fitted, rows, seed) for read in (_features, _maps)]
    return np.hstack(parts)


def _features(survey: Survey, rows: Indices) -> Floats:
    return unit(survey.features[rows])


def _maps(survey: Survey, rows: Indices) -> Floats:
    maps = torch_of(survey.maps[rows])
    height, width = (min(GRID, side) for side in maps.shape[1:])
    small = F.adaptive_avg_pool2d(maps, (height, width)).flatten(1).numpy()
    totals = small.sum(1, keepdims=True)
    shares: Floats = np.divide(small, totals, out=np.zeros_like(small), where=totals > 0)
    return shares


def _reduced(read: object, survey: Survey, fitted: Indices, rows: Indices, seed: int) -> Floats:
    from sklearn.decomposition import PCA

    assert callable(read)
    sample = read(survey, fitted)
    spread = float(sample.astype(np.float64).var(0).sum())
    if spread <= 1e-12:  # all the same
        return np.zeros((len(rows), 1), dtype=np.float32)
    pca = PCA(min(NUMBERS, *sample.shape), random_state=seed).fit(sample)
    found = [pca.transform(read(survey, part)) for part in portions(rows, ENTRIES)]
    return (np.concatenate(found) / np.sqrt(spread)).astype(np.float32)


def groups(of: Floats) -> Indices:
    """The group (k,) of each of the points (k, d), -1 for none; the largest is number 0."""
    least = max(FEWEST, int(np.ceil(SHARE * len(of))))
    if len(of) < least:
        return np.full(len(of), -1)
    from sklearn.cluster import HDBSCAN

    found = HDBSCAN(least, min_samples=CORE, copy=True).fit(of)
    if (found.labels_ >= 0).mean() >= MOST:
        return _by_size(found.labels_)
    return _by_size(found.dbscan_clustering(_cut(of), min_cluster_size=least))


def _cut(of: Floats) -> float:
    from sklearn.neighbors import NearestNeighbors

    distances, _ = NearestNeighbors(n_neighbors=CORE).fit(of).kneighbors(of)  # each is its own first
    return float(SPARSE * np.quantile(distances[:, -1], 0.25))


def _by_size(labels: Indices) -> Indices:
    """Renumbered from the largest on; -1 stays."""
    names, counts = np.unique(labels[labels >= 0], return_counts=True)
    renamed = np.full(len(names) + 1, -1)
    renamed[names[np.lexsort((names, -counts))]] = np.arange(len(names))  # the last entry is that of -1
    return renamed[labels]


@dataclass(frozen=True)
class Neighbourhood:
    """Inputs about as near to a group's middle as its members are, flagged or not.

    within: (k,) bool; hits, of: the flagged and all inside; other_hits, others: the same outside.
    """

    within: Flags
    hits: int
    of: int
    other_hits: int
    others: int

    @property
    def rate(self) -> float:
        return self.hits / self.of if self.of else 0.0

    @property
    def elsewhere(self) -> float:
        return self.other_hits / self.others if self.others else 0.0

    @property
    def surprise(self) -> float:
        """log-likelihood ratio of two rates against one; 0 where the flags are rarer inside."""
        if self.rate <= self.elsewhere:
            return 0.0
        whole = _likelihood(self.hits + self.other_hits, self.of + self.others)
        return _likelihood(self.hits, self.of) + _likelihood(self.other_hits, self.others) - whole


def _likelihood(hits: int, of: int) -> float:
    """Highest log-likelihood of so many flags: Σ n log(n / of)."""
    return sum(n * float(np.log(n / of)) for n in (hits, of - hits) if n)


def neighbourhood(of: Floats, flags: Flags, members: Sequence[int] | Indices) -> Neighbourhood:
    """That of some members among the points (k, d), flags (k,)."""
    chosen = of[np.asarray(members)]
    middle = chosen.mean(0)
    reach = np.quantile(np.linalg.norm(chosen - middle, axis=1), NEAR)
    within: Flags = np.linalg.norm(of - middle, axis=1) <= reach * (1 + 1e-6)
    hits, total = int((flags & within).sum()), int(flags.sum())
    count = int(within.sum())
    return Neighbourhood(within, hits, count, total - hits, len(of) - count)


@dataclass(frozen=True)
class Grouped:
    """Groups of the flagged among the points.

    members: places (m,) of those that were grouped; group: (m,) of each, -1 for none.
    around:  the neighbourhood of each group; chance: (s,) the highest surprise of each shuffle.
    """

    members: Indices
    group: Indices
    around: tuple[Neighbourhood, ...]
    chance: NDArray[np.float64]

    def p(self, group: int) -> float:
        """How often flags dealt by chance surprise as much anywhere: corrected for the number of groups."""
        surprise = self.around[group].surprise
        return float((1 + (self.chance >= surprise - 1e-9).sum()) / (1 + len(self.chance)))


def grouped(of: Floats, flags: Flags, most: int, shuffles: int, seed: int) -> Grouped:
    """Groups of at most `most` of the flagged points (k, d), and what chance makes of such flags."""
    members = drawn(np.flatnonzero(flags), most, seed, ERRORS, 0)
    found = groups(of[members])
    chance = np.zeros(shuffles)
    for shuffle in range(shuffles if found.max(initial=-1) >= 0 else 0):
        dealt = generator(seed, ERRORS, 1, shuffle).permutation(flags)
        theirs = drawn(np.flatnonzero(dealt), most, seed, ERRORS, 2, shuffle)
        chance[shuffle] = max(
            (n.surprise for n in _around(of, dealt, theirs, groups(of[theirs]))), default=0.0
        )
    return Grouped(members, found, _around(of, flags, members, found), chance)


def _around(of: Floats, flags: Flags, members: Indices, group: Indices) -> tuple[Neighbourhood, ...]:
    return tuple(
        neighbourhood(of, flags, members[group == number]) for number in range(group.max(initial=-1) + 1)
    )
