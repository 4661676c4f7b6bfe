"""Gini and entropy of maps whose answers are known."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import underhood as uh
from tests.support.toys import Linear
from underhood.checks import Entropy, Gini
from underhood.checks.complexity import entropy, gini
from underhood.methods import Given


def test_gini_of_known_maps() -> None:
    one_hot = torch.zeros(16)
    one_hot[3] = -2.0
    assert gini(one_hot) == pytest.approx(0.9375)
    assert gini(torch.arange(1, 17)) == pytest.approx(0.3125)
    assert gini(torch.full((4, 4), 3.0)) == pytest.approx(0.0)
    assert gini(torch.zeros(4)) is None


def test_entropy_of_known_maps() -> None:
    one_hot = torch.zeros(16)
    one_hot[3] = -2.0
    assert entropy(one_hot) == pytest.approx(0.0)
    assert entropy(torch.full((4, 4), -3.0)) == pytest.approx(math.log(16))
    assert entropy(torch.tensor([1.0, -1.0, 2.0])) == pytest.approx(1.5 * math.log(2))
    assert entropy(torch.zeros(4)) is None


@given(st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=9), st.floats(0.1, 10))
def test_scale_and_sign_do_not_matter(values: list[float], scale: float) -> None:
    heat = torch.tensor(values).double()
    for figure in (gini, entropy):
        assert figure(heat) == pytest.approx(figure(-scale * heat), abs=1e-9)


def test_readings_and_controls() -> None:
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    maps = x[:, 0].clone()
    maps[1] = 0
    found = uh.explain(uh.Model(Linear(torch.ones(1, 8, 8))), x, 0, methods=Given(maps))
    for check, flat in ((Gini(), 0.0), (Entropy(), math.log(64))):
        first, second = check(found)
        assert first.controls["constant"] == pytest.approx(flat, abs=1e-9)
        assert first.passed is None
        assert second.undefined == "the map is zero everywhere"
