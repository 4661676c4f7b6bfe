"""Intervals over inputs, and p-values against controls."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from underhood.checks.card import Direction
from underhood.inputs.random import BOOTSTRAP, generator

FEW = 10  # inputs
HELD = 2**20  # resampled values at a time
ROUNDING = 1e-7  # of a figure, that of float32

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    low: float
    high: float


def bootstrap(
    values: Sequence[float], *, seed: int = 0, draws: int = 2000, level: float = 0.95
) -> Interval | None:
    """Interval of a mean: by the studentised bootstrap (Efron & Tibshirani 1993, section 12.5).

    The percentile interval is too narrow for few inputs. Of fewer than `FEW` values a resample may hold
    hardly any spread to divide by, so that theirs is Student's t-interval. None for fewer than two values.
    """
    sample = np.asarray(values, dtype=np.float64)
    count = len(sample)
    if count < 2:
        return None
    mean, error = sample.mean(), sample.std(ddof=1) / np.sqrt(count)
    if count < FEW or error <= ROUNDING * abs(mean):
        reach = error * student(level, count - 1)
        return Interval(float(mean - reach), float(mean + reach))
    means, spreads = _resampled(sample, seed, draws)
    errors = spreads / np.sqrt(count)
    usable = errors > 1e-3 * error  # nearly all draws the same input: no spread to divide by
    t: NDArray[np.float64] = (means[usable] - mean) / errors[usable]
    low, high = np.quantile(t, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(mean - high * error), float(mean - low * error))


def _resampled(sample: Floats, seed: int, draws: int) -> tuple[Floats, Floats]:
    """Means and standard deviations (draws,) of samples drawn from this one; a few held at a time."""
    random, count = generator(seed, BOOTSTRAP), len(sample)
    at_once = max(1, HELD // count)
    found = []
    for start in range(0, draws, at_once):
        drawn = sample[random.integers(0, count, (min(at_once, draws - start), count))]
        found.append((drawn.mean(1), drawn.std(1, ddof=1)))
    means, spreads = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return means, spreads


def p_value(value: float, controls: Sequence[float], better: Direction) -> float | None:
    """The share of controls at least as good, the value counted among them (Phipson & Smyth 2010).

    Under the null, that the map is no better placed than its shifted copies, P(p ≤ α) ≤ α. What differs by
    no more than rounding is as good: else a constant map could be ahead of all its copies.
    """
    if not len(controls):
        return None
    others = np.asarray(controls, dtype=np.float64)
    slack = ROUNDING * np.maximum(abs(value), abs(others))
    as_good = others >= value - slack if better == "higher" else others <= value + slack
    return float((1 + as_good.sum()) / (1 + len(others)))


def skill(value: float, control: float, best: float) -> float | None:
    """0 at the control's figure, 1 at the best possible one; None where the two do not differ."""
    return None if best == control else float((value - control) / (best - control))


class Against(NamedTuple):
    """How a map's figure stands against those of its shifted copies."""

    p: float | None
    skill: float | None
    passed: bool | None  # better at 5 %; not better than they are on average; or neither
    mean: float | None  # of the copies


def against(value: float, shifted: Sequence[float], best: float, better: Direction = "higher") -> Against:
    """`value` compared with the figures of shifted copies that exist, and with the best possible one."""
    others = [v for v in shifted if np.isfinite(v)]
    if not others:
        return Against(None, None, None, None)
    p, mean = p_value(value, others, better), float(np.mean(others))
    lead, slack = value - mean, ROUNDING * max(abs(value), abs(mean))
    ahead = lead > slack if better == "higher" else lead < -slack
    passed = True if p is not None and p <= 0.05 and ahead else None if ahead else False
    return Against(p, skill(value, mean, best), passed, mean)


def student(level: float, freedom: int | None) -> float:
    """Quantile t of |T| ≤ t with that probability; None are infinitely many degrees of freedom."""
    # With T = √f · tan(a), the density of the angle is cos(a)^(f-1); the normal is met from f = 10⁶ on.
    f = freedom or 10**6
    most = np.pi / 2 if f < 100 else 12 / np.sqrt(f)
    angle = np.linspace(0, most, 100_001)
    density = np.cos(angle) ** (f - 1)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return float(np.sqrt(f) * np.tan(np.interp(level, below / below[-1], angle)))


def of_noise(quantile: float, freedom: int | None) -> float:
    """What the figure would be for a map of noise alone: E[|Z| ; |Z| > t s] / E|Z|."""
    if freedom is None:
        return float(np.exp(-(quantile**2) / 2))
    return float((1 + quantile**2 / freedom) ** (-freedom / 2))
