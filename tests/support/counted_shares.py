"""Shares that are counts have scipy's Wilson interval, which holds the share and never shrinks to it."""

import pytest
from scipy.stats import binomtest

from underhood.playbooks.finding import Effect


def assert_counted(effect: Effect) -> None:
    """The effect is so many of its inputs, with the interval of such a count."""
    hits = round(effect.value * effect.inputs)
    assert effect.value == pytest.approx(hits / effect.inputs)
    expected = binomtest(hits, effect.inputs).proportion_ci(method="wilson")
    assert (effect.low, effect.high) == pytest.approx((expected.low, expected.high))
    assert effect.low < effect.high
