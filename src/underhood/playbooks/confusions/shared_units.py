"""Do two classes rest on the same units of a layer? Most active units, and units that speak for both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from underhood.playbooks.portions import ENTRIES, portions
from underhood.playbooks.survey import Indices, Rows

Doubles = NDArray[np.float64]


def class_means(features: Rows, of: Indices, classes: int) -> Doubles:
    """Mean features (C, K) of the rows of each class in `of` (n,), -1 for none; NaN for one without rows."""
    sums = np.zeros((classes, features.shape[1]))
    for part in portions(np.flatnonzero(of >= 0), ENTRIES):
        values, rows = np.asarray(features[part], dtype=np.float64), of[part]
        for number in np.unique(rows):
            sums[number] += values[rows == number].sum(0)
    counts = np.bincount(of[of >= 0], minlength=classes)[:, None]
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


@dataclass(frozen=True)
class Overlap:
    """Of two classes' most active units, `top` of each among `units`.

    shared:  those in both lists, the most active first; a, b: the lists.
    chance:  Jaccard index that lists drawn by chance have on average; p: of so many shared ones then.
    typical: median Jaccard index of the other pairs of classes; None where there are none.
    """

    a: tuple[int, ...]
    b: tuple[int, ...]
    shared: tuple[int, ...]
    units: int
    chance: float
    p: float
    typical: float | None

    @property
    def jaccard(self) -> float:
        return len(self.shared) / (len(self.a) + len(self.b) - len(self.shared))


def overlap(means: Doubles, a: int, b: int, top: int, others: Sequence[tuple[int, int]] = ()) -> Overlap:
    """Of classes a and b, whose rows in `means` (C, K) are given; `others` are pairs to compare with."""
    units = means.shape[1]
    lists = {of: most_active(means[of], top) for of in {a, b, *(of for pair in others for of in pair)}}
    shared = tuple(unit for unit in lists[a] if unit in lists[b])
    chance, p = by_chance(units, len(lists[a]), len(shared))
    theirs = [len(both := set(lists[c]) & set(lists[d])) / (2 * len(lists[c]) - len(both)) for c, d in others]
    typical = float(np.median(theirs)) if theirs else None
    return Overlap(lists[a], lists[b], shared, units, chance, p, typical)


def most_active(means: Doubles, top: int) -> tuple[int, ...]:
    """Units by their mean (K,), the most active first; of equals the lower number; none where it is NaN."""
    if np.isnan(means).any():
        return ()
    return tuple(int(unit) for unit in np.argsort(-means, kind="stable")[:top])


def by_chance(units: int, top: int, shared: int) -> tuple[float, float]:
    """Mean Jaccard index of two lists drawn by chance, and how often they share so many: hypergeometric."""
    from scipy.stats import hypergeom

    counts = np.arange(top + 1)
    law = hypergeom(units, top, top)
    return float((law.pmf(counts) * counts / (2 * top - counts)).sum()), float(law.sf(shared - 1))


@dataclass(frozen=True)
class Evidence:
    """What units add to the maps of two classes on the same inputs, on average.

    a, b:   (K,) of each class; both: units that add to both, those first that add most to the lesser.
    shared: of the evidence for the two classes, the part that goes through the same units in the same
            measure: Σ min of what each adds, as shares of all that is added; 0 to 1.
    """

    a: Doubles
    b: Doubles
    both: tuple[int, ...]
    shared: float


def evidence(a: Tensor, b: Tensor) -> Evidence:
    """From what units add on each input, (k, K)."""
    means = [units.double().mean(0).numpy() for units in (a, b)]
    added = [np.maximum(mean, 0) for mean in means]
    lesser = np.minimum(*added)
    order = np.argsort(-lesser, kind="stable")
    both = tuple(int(unit) for unit in order if lesser[unit] > 0)
    totals = [each.sum() for each in added]
    shared = (
        np.minimum(*(each / total for each, total in zip(added, totals, strict=True)))
        if all(totals)
        else None
    )
    return Evidence(means[0], means[1], both, 0.0 if shared is None else float(shared.sum()))
