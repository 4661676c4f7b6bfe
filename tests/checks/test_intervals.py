"""How often intervals of a mean hold the true one, and how a map stands against its shifted copies."""

from collections.abc import Callable

import numpy as np
import pytest

from underhood.checks.intervals import against, bootstrap

Draw = Callable[[np.random.Generator, int], np.ndarray]


def normal(random: np.random.Generator, n: int) -> np.ndarray:
    return random.normal(size=n)


def skewed(random: np.random.Generator, n: int) -> np.ndarray:
    return random.exponential(size=n)


def heavy(random: np.random.Generator, n: int) -> np.ndarray:
    return np.exp(random.normal(size=n))


def hits(random: np.random.Generator, n: int) -> np.ndarray:
    return (random.random(n) < 0.3).astype(float)


def coverage(draw: Draw, mean: float, n: int) -> float:
    held = 0
    for seed in range(1000):
        interval = bootstrap(draw(np.random.default_rng(seed), n).tolist(), seed=seed, draws=400)
        assert interval is not None
        held += interval.low <= mean <= interval.high
    return held / 1000


@pytest.mark.parametrize(("draw", "mean"), [(normal, 0.0), (skewed, 1.0)])
def test_intervals_of_twenty_inputs_hold_the_mean_in_95_percent(draw: Draw, mean: float) -> None:
    assert 0.93 <= coverage(draw, mean, 20) <= 0.97


@pytest.mark.parametrize(
    ("draw", "mean", "n", "least"), [(heavy, np.exp(0.5), 10, 0.87), (hits, 0.3, 10, 0.75)]
)
def test_intervals_of_few_skewed_inputs_are_too_narrow(draw: Draw, mean: float, n: int, least: float) -> None:
    """Stated, not hidden: with ten inputs that seldom stand out, what stands out may not be among them."""
    assert least <= coverage(draw, mean, n) <= 0.95


def test_against_needs_a_lead_and_five_percent() -> None:
    copies = [0.0] * 38 + [0.5]
    assert against(1.0, copies, best=2.0).passed is True
    assert against(1.0, copies, best=2.0).p == 1 / 40
    assert against(0.4, copies, best=2.0).p == 2 / 40
    assert against(0.4, [0.0] * 30 + [0.5] * 9, best=2.0).passed is None  # ahead of most, not of enough
    assert against(-1.0, copies, best=2.0).passed is False
    assert against(-1.0, copies, best=-2.0, better="lower").passed is True
    assert against(1.0, [float("nan")], best=1.0).p is None
    halfway = against(1.0, [0.0, 0.0], best=2.0)
    assert halfway.skill == 0.5
