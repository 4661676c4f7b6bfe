"""Sums that are promised and kept, promised and missed, or not promised at all."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import underhood as uh
from tests.support.toys import ML, Linear
from underhood.checks import Completeness, Conservation
from underhood.errors import InvalidArgument

PLAYERS = {"grouping": torch.tensor([0, 0, 1])}
X = torch.tensor([20.0, 50.0, 30.0])[None]


def explained(method: uh.Method, model: nn.Module | None = None, x: torch.Tensor = X) -> uh.Explanation:
    found = method(uh.Model((model or ML()).eval()), x, 0)
    assert isinstance(found, uh.Explanation)
    return found


@pytest.mark.parametrize(
    "method",
    [uh.IntegratedGradients(), uh.DeepLIFT(), uh.ExactShapley(**PLAYERS), uh.KernelSHAP(**PLAYERS)],
    ids=lambda method: method.key,
)
def test_complete_methods_have_no_gap(method: uh.Method) -> None:
    [reading] = Completeness()(explained(method))
    assert reading.value == pytest.approx(0, abs=2e-3)  # S(x) - S(x') = 390
    assert reading.details["sum"] == pytest.approx(390, abs=1)
    assert reading.passed
    assert reading.calls == 0


def test_the_gap_is_the_share_that_is_missing() -> None:
    found = explained(uh.IntegratedGradients())
    short = replace(found, values=np.asarray(found.values * 0.9, dtype=np.float32))
    [reading] = Completeness()(short)
    assert reading.value == pytest.approx(0.1, abs=2e-3)
    assert reading.passed is False
    assert Completeness(tolerance=0.2)(short)[0].passed
    assert "do not add up" in reading.sentence


def test_a_promise_on_a_condition_is_not_broken_without_it() -> None:
    [reading] = Completeness()(explained(uh.InputXGradient()))  # 400 for a score of 392, by its biases
    assert reading.value is not None
    assert reading.value > 0.005
    [strict] = Completeness(tolerance=0.001)(explained(uh.InputXGradient()))
    assert strict.passed is None
    assert "only for ReLU networks without biases" in strict.sentence


def test_undefined_where_nothing_is_promised_or_nothing_changes() -> None:
    assert Completeness()(explained(uh.Saliency()))[0].undefined == "its method promises no sum"
    same = Linear(torch.tensor([1.0, -1.0, 0.0]))
    [nothing] = Completeness()(explained(uh.IntegratedGradients(), same, torch.ones(1, 3)))
    assert nothing.undefined is not None
    assert nothing.undefined.startswith("the score is the same without the input")
    found = explained(uh.IntegratedGradients())
    broken = replace(found, values=np.full_like(found.values, np.nan))
    assert Completeness()(broken)[0].undefined == "the map holds values that are not finite"
    with pytest.raises(InvalidArgument):
        Completeness(tolerance=0.0)


def test_a_map_of_a_layer_is_summed_before_it_is_stretched() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 25, 2))
    x = torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    found = explained(uh.IntegratedGradients(at="0", steps=100), net, x)
    assert found.grid is not None
    assert Completeness()(found)[0].value == pytest.approx(0, abs=0.02)


def test_conservation_is_the_largest_leak_of_the_way_back() -> None:
    torch.manual_seed(0)
    first, second, last = (nn.Linear(*size, bias=False) for size in ((6, 8), (8, 5), (5, 1)))
    net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)
    x = torch.randn(1, 6, generator=torch.Generator().manual_seed(2)).abs()
    [kept] = Conservation()(explained(uh.LRP(), net, x))
    assert kept.value is not None
    assert kept.details["layers"]
    with torch.no_grad():
        second.bias = nn.Parameter(torch.full((5,), 3.0))
    [lost] = Conservation()(explained(uh.LRP(), net, x))
    assert lost.value is not None
    assert lost.value > kept.value
    assert lost.passed is None
    assert Conservation()(explained(uh.Saliency()))[0].undefined is not None
