"""Shares, their intervals and their power, against SciPy, hand counts and simulation."""

import numpy as np
import pytest
from scipy.stats import binomtest, chi2_contingency, fisher_exact, pearson3

from underhood.errors import InvalidArgument
from underhood.playbooks.statistics import (
    _pearson_tails,
    detectable_drop,
    fisher_p,
    holm,
    newcombe,
    wilson,
)


@pytest.mark.parametrize(("hits", "of"), [(0, 10), (1, 10), (7, 10), (10, 10), (380, 1000), (3, 100_000)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_wilson_is_that_of_scipy(hits: int, of: int, level: float) -> None:
    expected = binomtest(hits, of).proportion_ci(level, method="wilson")
    assert wilson(hits, of, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_nothing_is_everything_and_of_nonsense_refused() -> None:
    assert wilson(0, 0) == (0, 1)
    with pytest.raises(InvalidArgument, match="between 0 and all of its 3"):
        wilson(4, 3)


def test_newcombe_is_that_of_its_paper() -> None:
    """Newcombe 1998, table II, method 10: 56/70 less 48/80, and 9/10 less 3/10."""
    assert newcombe(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert newcombe(9, 10, 3, 10) == pytest.approx((0.1705, 0.8090), abs=5e-5)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert len(holm([])) == 0


@pytest.mark.parametrize(
    "counts", [(3, 10, 40, 60), (0, 5, 9, 9), (7, 7, 0, 3), (0, 4, 0, 6), (900, 2000, 480, 900)]
)
def test_fisher_is_that_of_scipy(counts: tuple[int, int, int, int]) -> None:
    hits, of, others, other_of = counts
    expected = fisher_exact([[hits, of - hits], [others, other_of - others]]).pvalue
    assert fisher_p(*counts) == pytest.approx(expected, rel=1e-9)


def test_fisher_holds_its_level_where_chi_square_does_not() -> None:
    random = np.random.default_rng(0)
    few = [int(random.binomial(12, 0.05)) for _ in range(600)]
    many = [int(random.binomial(200, 0.05)) for _ in range(600)]
    exact = [fisher_p(a, 12, b, 200) for a, b in zip(few, many, strict=True)]
    rough = [
        chi2_contingency([[a, 12 - a], [b, 200 - b]], correction=False).pvalue if a + b else 1.0
        for a, b in zip(few, many, strict=True)
    ]
    assert np.mean(np.array(exact) <= 0.05) <= 0.05
    assert np.mean(np.array(rough) <= 0.05) > 0.05


@pytest.mark.parametrize(("rate", "of", "other"), [(0.9, 100, 900), (0.6, 300, 300), (0.98, 60, 2000)])
def test_a_detectable_drop_is_found_in_eight_of_ten_cases(rate: float, of: int, other: int) -> None:
    drop = detectable_drop(rate, of, other)
    assert drop is not None
    random = np.random.default_rng(1)
    mine, others = random.binomial(of, rate - drop, 4000), random.binomial(other, rate, 4000)
    both = (mine + others) / (of + other)
    z = (others / other - mine / of) / np.sqrt(both * (1 - both) * (1 / of + 1 / other))
    assert np.mean(z >= 1.96) == pytest.approx(0.8, abs=0.06)


def test_beside_a_known_rate_power_is_that_of_one_sample() -> None:
    """Of 100 cases at 0.5: the drop d with d = 1.96 √(.25/100) + 0.8416 √((.5-d)(.5+d)/100)."""
    drop = detectable_drop(0.5, 100)
    assert drop is not None
    assert drop == pytest.approx(0.19600 / 2 + 0.084162 * np.sqrt(0.25 - drop**2), abs=1e-4)


@pytest.mark.parametrize("z", [-3.0, -0.5, 0.0, 2.0, 4.0])
@pytest.mark.parametrize("skew", [-1.0, -0.1, 0.0, 0.3, 2.0])
def test_tails_are_those_of_pearsons_third_type(z: float, skew: float) -> None:
    law = pearson3(skew)
    assert _pearson_tails(z, skew) == pytest.approx((law.cdf(z), law.sf(z)), abs=1e-9)


def test_too_few_cases_find_no_drop() -> None:
    assert detectable_drop(0.3, 4, 100) is None
