"""Calibration: does the model say 80 % where it is right in 80 % of cases?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from underhood.inputs.random import SUBGROUPS, generator

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """raw:    the expected calibration error, 0 to 1, as it is usually given.
    error:     the same, less what noise adds to it; `low`, `high`: its 95 % interval.
    by_chance: what a perfectly calibrated model would seem to miss with as many cases.
    """

    raw: float
    error: float
    low: float
    high: float
    by_chance: float


def calibration(
    confidence: Floats, right: Floats, *, bins: int = 10, per_bin: int = 20, draws: int = 200, seed: int = 0
) -> Calibration:
    """Σ_b |Σ_{i in b} confidence_i - right_i| / n over bins of about as many cases each (Naeini et al. 2015).

    Noise never cancels in this figure: it is too high, the more so the fewer the cases. The bootstrap tells
    by how much, and that is taken off. The interval is the hull of the basic bootstrap's and the percentiles
    moved by as much, since either alone holds the true error too seldom; it begins at 0 where a perfectly
    calibrated model (Bröcker & Smith 2007) would often seem to miss as much.
    """
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    count, gaps, random = len(confidence), confidence - right, generator(seed, SUBGROUPS, 1)
    bin_of = _binned(confidence, max(1, min(bins, count // per_bin)))
    raw = _error(bin_of, gaps)
    drawn = (random.integers(0, count, count) for _ in range(draws))
    again = np.array([_error(bin_of[rows], gaps[rows]) for rows in drawn])
    added = again.mean() - raw
    least, most = np.quantile(again, [0.025, 0.975])
    perfect = [_error(bin_of, confidence - (random.random(count) < confidence)) for _ in range(draws)]
    is_by_chance = raw <= np.quantile(perfect, 0.95)
    low = 0.0 if is_by_chance else min(2 * raw - most, least)
    high = max(most - added, 2 * raw - least)
    error = max(0.0, float(raw - added))
    return Calibration(
        raw, error, min(max(0.0, float(low)), error), min(1.0, float(high)), float(np.mean(perfect))
    )


def _binned(confidence: Floats, bins: int) -> NDArray[np.intp]:
    """Equal confidences share a bin."""
    edges = np.unique(np.quantile(confidence, np.arange(1, bins) / bins)) if bins > 1 else np.empty(0)
    return np.searchsorted(edges, confidence, side="right")


def _error(bin_of: NDArray[np.intp], gaps: Floats) -> float:
    return float(np.abs(np.bincount(bin_of, weights=gaps)).sum() / len(gaps))
