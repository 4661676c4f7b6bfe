"""Intervals, tests and power of shares, and correction for many comparisons: what playbooks count with."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from underhood.checks.intervals import Interval
from underhood.errors import InvalidArgument

Floats = NDArray[np.float64]


def wilson(hits: float, of: int, level: float = 0.95) -> Interval:
    """Interval of a share (Wilson 1927); of nothing it is 0 to 1."""
    if not 0 <= hits <= of:
        raise InvalidArgument(f"A share has between 0 and all of its {of} cases as hits, not {hits}.")
    if of == 0:
        return Interval(0.0, 1.0)
    z, share = normal_quantile((1 + level) / 2), hits / of
    middle = (share + z**2 / (2 * of)) / (1 + z**2 / of)
    reach = z / (1 + z**2 / of) * np.sqrt(share * (1 - share) / of + z**2 / (4 * of**2))
    return Interval(max(0.0, float(middle - reach)), min(1.0, float(middle + reach)))


def newcombe(hits: float, of: int, other_hits: float, other_of: int, level: float = 0.95) -> Interval:
    """Interval of the first share less the second, of separate cases (Newcombe 1998, method 10)."""
    if not of or not other_of:
        return Interval(-1.0, 1.0)
    first, second = hits / of, other_hits / other_of
    mine, other = wilson(hits, of, level), wilson(other_hits, other_of, level)
    below = np.hypot(first - mine.low, other.high - second)
    above = np.hypot(mine.high - first, second - other.low)
    return Interval(float(first - second - below), float(first - second + above))


def paired_difference(won: int, lost: int, of: int, level: float = 0.95) -> Interval:
    """Interval of (won - lost) / of, the other pairs being alike (adjusted Wald, Bonett & Price 2012)."""
    p, q = (won + 1) / (of + 2), (lost + 1) / (of + 2)
    reach = normal_quantile((1 + level) / 2) * np.sqrt((p + q - (p - q) ** 2) / (of + 2))
    return Interval(max(-1.0, float(p - q - reach)), min(1.0, float(p - q + reach)))


def mcnemar(won: int, lost: int) -> float:
    """Two-sided p-value of as many pairs being won as lost (McNemar's exact test)."""
    from scipy.stats import binomtest

    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def holm(p: Sequence[float] | Floats) -> Floats:
    """p-values corrected for their number (Holm 1979): at or below α, they hold for all of them together."""
    given = np.asarray(p, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    steps = given[order] * np.arange(len(given), 0, -1)
    corrected = np.empty_like(given)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def fisher_p(hits: int, of: int, other_hits: int, other_of: int) -> float:
    """Two-sided p-value of two equal shares (Fisher's exact test)."""
    from scipy.stats import hypergeom  # whose test is ten times as slow

    total, all_hits = of + other_of, hits + other_hits
    possible = np.arange(max(0, all_hits - other_of), min(all_hits, of) + 1)
    chance = hypergeom.pmf(possible, total, all_hits, of)
    return float(min(1.0, chance[chance <= chance[hits - possible[0]] * (1 + 1e-7)].sum()))


def detectable_drop(
    rate: float, of: int, other_of: float = np.inf, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """The smallest drop below `rate`, of `of` cases, that is found with that power at two-sided `alpha`.

    The rate is another group's, of `other_of` cases, or known (infinitely many). None where not even a drop
    to 0 would be found. A rise is a drop of the opposite share: give 1 - rate.
    """
    from scipy.optimize import brentq

    z_alpha, z_power = normal_quantile(1 - alpha / 2), normal_quantile(power)
    weight = of / (of + other_of)  # of these cases in what both share; 0 beside a known rate

    def excess(drop: float) -> float:
        own, both = rate - drop, rate - drop * weight
        under_null = z_alpha * np.sqrt(both * (1 - both) * (1 / of + 1 / other_of))
        under_drop = z_power * np.sqrt(own * (1 - own) / of + rate * (1 - rate) / other_of)
        return float(drop - under_null - under_drop)

    if of < 1 or excess(rate) <= 0:
        return None
    return float(brentq(excess, 1e-9, rate)) if excess(1e-9) < 0 else 1 / of


def normal_quantile(share: float) -> float:
    """z of a standard normal Z ≤ z with that probability."""
    from scipy.special import ndtri

    return float(ndtri(share))


def subset_p(values: Floats, chosen: NDArray[np.bool_]) -> float:
    """Two-sided p-value of the sum over the `chosen` (n,) of `values` (n,), had any as many been chosen.

    The sum's mean, variance and skewness over all subsets of that size are known exactly; a Pearson type III
    distribution with these stands for its permutation distribution (Mielke & Berry 2007, section 2.3), whose
    far tails no affordable number of permutations reaches.
    """
    n, k = len(values), int(chosen.sum())
    away = values - values.mean()
    square, cube = float((away**2).sum()), float((away**3).sum())
    if not 0 < k < n or n < 3 or square <= 1e-12 * max(1.0, float((values**2).sum())):
        return 1.0
    spread = np.sqrt(k * (n - k) / (n * (n - 1)) * square)
    third = k * (n - k) * (n - 2 * k) / (n * (n - 1) * (n - 2)) * cube
    z = float(away[chosen].sum() / spread)
    below, above = _pearson_tails(z, float(third / spread**3))
    return float(min(1.0, 2 * min(below, above)))


def _pearson_tails(z: float, skew: float) -> tuple[float, float]:
    """Shares below and above z of a Pearson type III distribution of mean 0 and spread 1: a moved gamma."""
    from scipy.special import gammainc, gammaincc, ndtr

    if abs(skew) < 1e-4:
        return ndtr(z), ndtr(-z)
    shape = 4 / skew**2
    reached = max(0.0, shape + np.sign(skew) * z * np.sqrt(shape))
    tails = gammainc(shape, reached), gammaincc(shape, reached)
    return tails if skew > 0 else tails[::-1]
