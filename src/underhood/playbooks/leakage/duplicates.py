"""Pictures that are in the data more than once: the very same, or shifted, re-lit, compressed, mirrored."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from underhood.inputs.random import LEAKAGE, generator
from underhood.playbooks.leakage.neighbours import nearest
from underhood.playbooks.leakage.thumbnails import Thumbnails, likeness, thumbnails
from underhood.playbooks.survey import Survey

RANDOM_PAIRS = 1000
LEAST, MOST = 0.7, 0.88  # likeness that counts as a copy lies between, wherever chance would put it
AT_ONCE = 512  # pairs

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Duplicates:
    """pairs: (m, 2) rows of the survey, the lower first; likeness: (m,), 2 where the pictures are the same.

    threshold: likeness from which on two pictures count as copies; by_chance: the share of random pairs
    that reach it.
    """

    pairs: Indices
    likeness: Floats
    threshold: float
    by_chance: float

    @property
    def exact(self) -> NDArray[np.bool_]:
        return self.likeness > 1.5

    def clusters(self, count: int) -> Indices:
        """(count,): rows that are copies of each other have the same number, that of the first of them."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        ones = np.ones(len(self.pairs), dtype=np.int8)
        links = coo_array((ones, (self.pairs[:, 0], self.pairs[:, 1])), shape=(count, count))
        part = connected_components(links, directed=False)[1]
        return np.unique(part, return_index=True)[1][part].astype(np.int64)


def find_duplicates(survey: Survey, neighbours: int = 5) -> Duplicates:
    """Of every row the copies among its nearest `neighbours` by the model's features, and among as many by
    what patterns it has; and all that are the very same."""
    seed = survey.settings.seed
    with thumbnails(survey) as small:
        near = [nearest(rows, neighbours, seed=seed) for rows in (survey.features, small.spectra)]
        drawn = _random_pairs(len(survey), seed)
        by_chance = _likeness(small, drawn)
        threshold = _threshold(by_chance)
        same = _same(small.digests)
        alike, how = _alike(small, np.concatenate(near, 1), threshold)
    pairs, known = np.concatenate([same, alike]), np.concatenate([np.full(len(same), 2.0), how])
    order = np.lexsort((-known, pairs[:, 1], pairs[:, 0]))
    pairs, first = np.unique(pairs[order], axis=0, return_index=True)
    others = ~np.isin(drawn @ [len(survey), 1], pairs @ [len(survey), 1])
    reached = float((by_chance[others] >= threshold).mean()) if others.any() else 0.0
    return Duplicates(pairs, known[order][first], threshold, reached)


def _same(digests: NDArray[np.uint64]) -> Indices:
    """Each picture with the first that is the very same."""
    _, first, which = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    leader = first[which.ravel()]
    rows = np.arange(len(digests))
    return np.stack([leader, rows], 1)[leader != rows].astype(np.int64)


def _alike(small: Thumbnails, near: Indices, threshold: float) -> tuple[Indices, Floats]:
    pairs, how = [np.zeros((0, 2), dtype=np.int64)], [np.zeros(0)]
    for some in _pairs(near):
        found = _likeness(small, some)
        pairs.append(some[found >= threshold])
        how.append(found[found >= threshold])
    return np.concatenate(pairs), np.concatenate(how)


def _likeness(small: Thumbnails, pairs: Indices) -> Floats:
    parts = np.array_split(pairs, max(1, -(-len(pairs) // AT_ONCE)))
    return np.concatenate([likeness(small.pixels[p[:, 0]], small.pixels[p[:, 1]]) for p in parts])


def _pairs(near: Indices) -> Iterator[Indices]:
    """Neighbours as pairs (k, 2), the lower row first; one that is mutual once."""
    step = max(1, AT_ONCE // max(1, near.shape[1]))
    for start in range(0, len(near), step):
        block = near[start : start + step]
        rows = np.repeat(np.arange(start, start + len(block)), block.shape[1])
        others = block.ravel()
        mutual = (near[others] == rows[:, None]).any(1)
        keep = ~(mutual & (rows > others))
        yield np.stack([np.minimum(rows, others), np.maximum(rows, others)], 1)[keep]


def _random_pairs(total: int, seed: int) -> Indices:
    """(k, 2), the lower row first."""
    random = generator(seed, LEAKAGE, 1)
    one = random.integers(0, total, RANDOM_PAIRS)
    other = (one + random.integers(1, total, RANDOM_PAIRS)) % total
    return np.stack([np.minimum(one, other), np.maximum(one, other)], 1)


def _threshold(by_chance: Floats) -> float:
    """Twelve spreads beyond the middle of random pairs, told by quantiles that a few copies cannot move."""
    middle, upper = np.quantile(by_chance, [0.5, 0.75])
    return float(np.clip(middle + 12 * (upper - middle) / 0.6745, LEAST, MOST))
