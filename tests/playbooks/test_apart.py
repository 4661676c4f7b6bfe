"""Differences of means kind by kind, against SciPy's Welch test, and where nothing differs."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from underhood.playbooks.errors.apart import apart


def test_of_one_kind_it_is_welchs_interval() -> None:
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(0.3, 0.1, 20), random.normal(0.6, 0.2, 50)])
    flags = np.arange(70) < 20
    found = apart(values, flags, np.zeros(70, dtype=np.int64), 199, 0, 1)
    assert found is not None
    theirs = ttest_ind(values[:20], values[20:], equal_var=False).confidence_interval()
    assert found.value == pytest.approx(values[:20].mean() - values[20:].mean())
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=2e-3)
    assert found.p == pytest.approx(1 / 200)


def test_kinds_that_differ_alone_make_no_gap() -> None:
    random = np.random.default_rng(1)
    kinds = np.repeat([0, 1], 100)
    values = kinds * 5.0 + random.normal(0, 0.1, 200)
    flags = random.random(200) < np.where(kinds == 0, 0.6, 0.1)  # flagged ones are mostly of the low kind
    found = apart(values, flags, kinds, 199, 0, 1)
    assert found is not None
    assert abs(found.value) < 0.1
    assert values[flags].mean() - values[~flags].mean() < -1
    assert found.p > 0.05


def test_p_is_as_rarely_small_as_promised() -> None:
    random = np.random.default_rng(2)
    small = 0
    for number in range(200):
        values, kinds = random.random(40), random.integers(0, 2, 40)
        found = apart(values, random.random(40) < 0.3, kinds, 39, number, 1)
        small += found is not None and found.p <= 0.05
    assert small <= 20  # 5 % of 200, and three standard errors


def test_no_others_to_compare_with() -> None:
    values, kinds = np.arange(6.0), np.array([0, 0, 0, 1, 1, 1])
    assert apart(values, kinds == 0, kinds, 19, 0, 1) is None
    assert apart(values, np.zeros(6, dtype=bool), kinds, 19, 0, 1) is None
