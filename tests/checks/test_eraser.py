"""What is lost without a map's highest parts, or with them alone; whether adding parts raises the score."""

from typing import Any

import pytest
import torch
from torch import nn

import underhood as uh
from tests.support.toys import Linear
from underhood.checks import Check, Comprehensiveness, EffectiveComplexity, Monotonicity, Sufficiency, batches
from underhood.errors import InvalidArgument
from underhood.methods import Given

CHECKS: list[Check] = [Comprehensiveness(), Sufficiency(), Monotonicity(), EffectiveComplexity()]
PARTS = torch.tensor([4.0, 3, 2, 1])  # S = 4 x1 + 3 x2 + 2 x3 + x4 at (1, 1, 1, 1)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def explained(model: nn.Module, x: torch.Tensor, maps: torch.Tensor) -> uh.Explanations:
    found = uh.explain(uh.Model(model.eval()), x, 0, methods=Given(maps, "given"))
    assert isinstance(found, uh.Explanations)
    return found


def linear(maps: torch.Tensor) -> uh.Explanations:
    return explained(Linear(PARTS), torch.ones(1, 4), maps[None])


def test_known_answers_on_a_linear_model() -> None:
    right, wrong = linear(PARTS), linear(-PARTS)
    half = {"shares": [0.25, 0.5]}
    # without the first, and the first two: 4 and 7 are lost; with these alone: 6 and 3
    assert Comprehensiveness(**half)(right)[0].value == pytest.approx((4 + 7) / 2)  # type: ignore[arg-type]
    assert Sufficiency(**half)(right)[0].value == pytest.approx((6 + 3) / 2)  # type: ignore[arg-type]
    assert Comprehensiveness(**half)(wrong)[0].value == pytest.approx((1 + 3) / 2)  # type: ignore[arg-type]
    assert Sufficiency(**half)(wrong)[0].value == pytest.approx((9 + 7) / 2)  # type: ignore[arg-type]
    assert Comprehensiveness(**half)(right)[0].skill == pytest.approx(1)  # type: ignore[arg-type]
    # 4, 7, 9, 10 of 10 are kept by one, two, three, four parts
    for tolerance, share in ((0.05, 1.0), (0.1, 0.75), (0.3, 0.5), (0.6, 0.25)):
        assert EffectiveComplexity(tolerance=tolerance)(right)[0].value == pytest.approx(share)


def test_monotonicity_can_fail() -> None:
    w = torch.tensor([4.0, 3, 2, -1])
    found = explained(Linear(w), torch.ones(2, 4), torch.stack([w, -w]))
    for reading in Monotonicity()(found):
        assert reading.value == pytest.approx(3 / 4)  # whatever the order, adding x4 lowers S
        assert reading.details["monotone"] is False
    positive = Monotonicity()(linear(PARTS))[0]
    assert positive.value == 1
    assert positive.details["monotone"] is True


def test_monotonicity_tells_maps_apart_where_parts_act_together() -> None:
    """S = max(x): adding the least first raises it each time, adding the most first only once."""

    class Highest(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.where(x[:, 0] > 0, x[:, 0] + x[:, 1:].sum(1), -x[:, 1:].sum(1))[:, None]

    x = torch.tensor([[1.0, 2, 3, 4]])
    first = explained(Highest(), x, torch.tensor([[4.0, 3, 2, 1]]))
    last = explained(Highest(), x, torch.tensor([[1.0, 2, 3, 4]]))
    assert Monotonicity()(last)[0].value == 1  # x1 is added first
    assert Monotonicity()(first)[0].value == pytest.approx(1 / 4)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.key)
def test_a_batch_equals_its_explanations_and_nothing_is_scored_twice(check: Check) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 64, 2))
    found = explained(net, drawn(2, 1, 10, 10), drawn(2, 10, 10, seed=1))
    for one, together in zip(found, check(found), strict=True):
        alone = check(one)[0]
        assert alone.value == pytest.approx(together.value, abs=1e-5)
        assert alone.p == pytest.approx(together.p, abs=0.026)  # ties by rounding
    [batch] = batches(found)
    assert check.read(batch)[0].calls > 0
    assert check.read(batch)[0].calls == 0


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.key)
def test_bad_input_has_defined_results(check: Check) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    x, maps = drawn(1, 1, 8, 8), drawn(1, 8, 8, seed=1)
    bad = maps.clone()
    bad[0, 0, 0] = torch.nan
    assert check(explained(net, x, bad))[0].undefined == "the map holds values that are not finite"
    blind = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    nn.init.zeros_(blind[1].weight)
    assert check(explained(blind, x, maps))[0].value is None
    for odd in (torch.ones_like(maps), -maps.abs()):
        reading = check(explained(net, x, odd))[0]
        assert reading.value is not None or reading.undefined
    assert check(explained(net, torch.full_like(x, 0.5), maps))[0].sentence


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (Comprehensiveness, {"shares": []}),
        (Sufficiency, {"shares": [0.0]}),
        (Monotonicity, {"steps": 0}),
        (EffectiveComplexity, {"tolerance": 1.0}),
    ],
)
def test_bad_parameters_are_refused(kind: Any, bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        kind(**bad)
