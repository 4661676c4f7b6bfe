"""By how much a figure differs between flagged inputs and others of their kind; with interval and p-value."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from underhood.checks.intervals import student
from underhood.inputs.random import generator

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Apart:
    """The flagged inputs' mean less that of the others, kind by kind.

    flagged, others: the two means, the others' weighted as the flagged spread over the kinds.
    p:               share of shuffles within kinds whose difference is as low (Phipson & Smyth 2010).
    inputs:          how many are flagged; compared: with how many others.
    """

    flagged: float
    others: float
    low: float
    high: float
    p: float
    inputs: int
    compared: int

    @property
    def value(self) -> float:
        return self.flagged - self.others


def apart(
    values: Doubles,
    flags: NDArray[np.bool_],
    kinds: NDArray[np.int64],
    shuffles: int,
    seed: int,
    *stream: int,
) -> Apart | None:
    """None unless there are two flagged inputs at least, and two others of one of their kinds.

    kinds: (n,), from 0 on; those without two others are left out. The interval is Welch's, over all kinds.
    """
    usable = [kind for kind in np.unique(kinds[flags]) if (~flags & (kinds == kind)).sum() >= 2]
    kept = np.isin(kinds, usable)
    values, flags, kinds = values[kept], flags[kept], kinds[kept]
    if flags.sum() < 2:
        return None
    flagged, others, error, freedom = _compared(values, flags, kinds)
    reach = error * student(0.95, freedom)
    random = generator(seed, *stream)
    found = np.array([_difference(values, _dealt(flags, kinds, random), kinds) for _ in range(shuffles)])
    p = (1 + (found <= flagged - others + 1e-12).sum()) / (1 + shuffles)
    difference = flagged - others
    return Apart(
        flagged,
        others,
        difference - reach,
        difference + reach,
        float(p),
        int(flags.sum()),
        int((~flags).sum()),
    )


def _compared(
    values: Doubles, flags: NDArray[np.bool_], kinds: NDArray[np.int64]
) -> tuple[float, float, float, int]:
    """Both means, the standard error of their difference, its degrees of freedom (Welch-Satterthwaite)."""
    count = int(flags.sum())
    mean, expected, variances = float(values[flags].mean()), 0.0, []
    beyond = values[flags].astype(np.float64)
    of = kinds[flags]
    for kind in np.unique(of):
        others = values[~flags & (kinds == kind)]
        share = (of == kind).sum() / count
        expected += share * others.mean()
        variances.append((share**2 * others.var(ddof=1) / len(others), len(others) - 1))
        beyond[of == kind] -= others.mean()
    variances.append((beyond.var(ddof=1) / count, count - 1))
    total = sum(v for v, _ in variances)
    below = sum(v**2 / n for v, n in variances)
    return mean, float(expected), float(np.sqrt(total)), max(1, int(total**2 / below)) if below else count - 1


def _difference(values: Doubles, flags: NDArray[np.bool_], kinds: NDArray[np.int64]) -> float:
    totals, counts = np.bincount(kinds, values), np.bincount(kinds)
    flagged, some = np.bincount(kinds, values * flags), np.bincount(kinds, flags)
    here = some > 0
    others = (totals - flagged)[here] / (counts - some)[here]
    return float((flagged[here].sum() - (some[here] * others).sum()) / flags.sum())


def _dealt(
    flags: NDArray[np.bool_], kinds: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.bool_]:
    """The flags dealt anew within each kind."""
    dealt = np.empty_like(flags)
    dealt[np.argsort(kinds, kind="stable")] = flags[np.lexsort((random.random(len(kinds)), kinds))]
    return dealt
