"""Counts of what is taken for what, pair by pair of classes."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from underhood.checks.intervals import Interval
from underhood.playbooks.statistics import fisher_p, holm, newcombe, wilson
from underhood.playbooks.survey import Indices

TWICE = 2.0  # as often as the rest, for a pair to stand out
FEWEST = 5  # confusions of a pair that stands out


@dataclass(frozen=True)
class Confused:
    """Two classes a < b, by how often each is taken for the other.

    a_as_b, b_as_a:   counts; of_a, of_b: labelled pictures of each.
    rest, rest_of:    confusions of all other pairs, and the pictures that could have been.
    p:                of so many confusions if the pair were like the rest.
    p_asymmetric:     of so uneven a pair if both were taken for the other as often; both are corrected for
                      the number of confused pairs.
    """

    a: int
    b: int
    a_as_b: int
    b_as_a: int
    of_a: int
    of_b: int
    rest: int
    rest_of: int
    p: float = 1.0
    p_asymmetric: float = 1.0

    @property
    def count(self) -> int:
        return self.a_as_b + self.b_as_a

    @property
    def of(self) -> int:
        return self.of_a + self.of_b

    @property
    def rate(self) -> float:
        return self.count / self.of

    @property
    def rest_rate(self) -> float:
        return self.rest / self.rest_of if self.rest_of else 0.0

    @property
    def interval(self) -> Interval:
        return wilson(self.count, self.of)

    @property
    def rest_interval(self) -> Interval:
        return wilson(self.rest, self.rest_of)

    @property
    def beyond(self) -> Interval:
        """Of the rate less that of the rest."""
        return newcombe(self.count, self.of, self.rest, self.rest_of)

    @property
    def stands_out(self) -> bool:
        return (
            self.rest_of > 0
            and self.count >= FEWEST
            and self.p <= 0.05
            and self.beyond.low > 0
            and self.rate >= TWICE * self.rest_rate
        )

    @property
    def is_asymmetric(self) -> bool:
        return self.p_asymmetric <= 0.05


def counted(label: Indices, predicted: Indices, classes: int) -> NDArray[np.int64]:
    """(C, C): how many inputs of each class (row) were taken for each (column); -1 is no class."""
    known = label >= 0
    at = label[known] * classes + predicted[known]
    return np.bincount(at, minlength=classes**2).reshape(classes, classes)


def confused(counts: NDArray[np.int64]) -> list[Confused]:
    """Pairs that were confused at all, from a table (C, C); the most frequent first."""
    off = counts - np.diag(np.diag(counts))
    both, of = np.triu(off + off.T), counts.sum(1)
    places = np.argwhere(both)
    # Each picture could be taken for any class but its own that is ever asked for or given.
    occurring = int((of + counts.sum(0) > 0).sum())
    every = int(of.sum()) * (occurring - 1)
    found = [
        Confused(
            int(a), int(b), int(off[a, b]), int(off[b, a]), int(of[a]), int(of[b]),
            rest=int(off.sum() - both[a, b]), rest_of=every - int(of[a] + of[b]),
        )
        for a, b in places
    ]  # fmt: skip
    found = _tested(found)
    return sorted(found, key=lambda pair: (-pair.count, -pair.rate, pair.a, pair.b))


def _tested(found: list[Confused]) -> list[Confused]:
    """With p-values; a pair of few confusions has 1 for its two ways, which so few cannot tell apart."""
    uneven = [
        fisher_p(one.a_as_b, one.of_a, one.b_as_a, one.of_b) if one.count >= FEWEST else 1.0 for one in found
    ]
    return [
        replace(one, p=float(p), p_asymmetric=float(q))
        for one, p, q in zip(found, holm(_against_the_rest(found)), holm(uneven), strict=True)
    ]


def _against_the_rest(found: list[Confused]) -> NDArray[np.float64]:
    """One-sided p-values of Fisher's exact test, (k,)."""
    from scipy.stats import hypergeom

    count, of, rest, rest_of = (
        np.array([getattr(one, name) for one in found]) for name in ("count", "of", "rest", "rest_of")
    )
    p: NDArray[np.float64] = hypergeom.sf(count - 1, of + rest_of, count + rest, of)
    return p
