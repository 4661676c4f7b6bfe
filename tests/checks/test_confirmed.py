"""The confirmed share of maps of models whose effects are known."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import underhood as uh
from tests.support.toys import Linear
from underhood.checks import ConfirmedShare, Reading, batches
from underhood.checks.confirmed import share
from underhood.checks.controls import moves
from underhood.checks.probes import even_patches, pooled, probes
from underhood.errors import InvalidArgument
from underhood.methods import Drawn, Given

SMALL = ConfirmedShare(fills=("zeros",))


def row(*weights: float) -> Tensor:
    return torch.tensor([weights])


def read(
    model: nn.Module, x: Tensor, maps: Tensor, check: ConfirmedShare = SMALL, **more: Any
) -> list[Reading]:
    return list(check(uh.explain(uh.Model(model), x, 0, methods=Given(maps), **more)))


def test_the_share_of_known_effects() -> None:
    effects = torch.tensor([4.0, 2.0, 0.0, -3.0]).double()
    assert share(torch.tensor([1.0, 0, 0, 0]).double(), effects) == 1.0
    assert share(torch.tensor([0.0, 5.0, 0, 0]).double(), effects) == 0.5
    assert share(torch.tensor([1.0, 1, 1, 1]).double(), effects) == pytest.approx(1.5 / 4)
    assert share(torch.tensor([0.0, 0, 0, 2]).double(), effects) == 0.0


@given(
    st.lists(st.floats(0, 10), min_size=4, max_size=4).filter(lambda v: sum(v) > 0.1),
    st.lists(st.floats(-10, 10), min_size=4, max_size=4).filter(lambda v: max(v) > 0.1),
    st.floats(0.01, 100),
)
def test_a_share_lies_between_0_and_1_and_knows_no_scale(
    held: list[float], effects: list[float], scale: float
) -> None:
    sums, found = torch.tensor(held).double(), torch.tensor(effects).double()
    value = float(share(sums, found))
    assert -1e-12 <= value <= 1 + 1e-12
    assert float(share(scale * sums, found)) == pytest.approx(value)
    assert float(share(sums, scale * found)) == pytest.approx(value)


def test_the_effects_of_a_sum_are_its_contributions() -> None:
    """Up to one factor, which the share does not see, where every single group is hidden too."""
    weights = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.0, -2.0, 0.5, 0.0]])
    check = ConfirmedShare(count=300, sizes=(0.1, 0.25, 0.5), fills=("zeros",), ridge=1e-6)
    found = uh.explain(uh.Model(Linear(weights)), torch.ones(1, 8), 0, methods=Given(weights))
    (batch,) = batches(found)
    effects, _ = check._effects(batch, [probes(batch, check.count, check.sizes, "zeros")])
    torch.testing.assert_close(effects[0] / effects.max(), weights[0].double() / 4, atol=1e-5, rtol=0)
    expected = (16 + 9 + 4 + 1 + 0.25) / 4 / 10.5
    assert check(found)[0].value == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("at", "expected"), [(0, 1.0), (1, 0.75), (2, 0.5), (4, 0.0)])
def test_a_map_of_one_place_has_that_places_effect(at: int, expected: float) -> None:
    weights = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
    one_hot = torch.zeros(1, 8)
    one_hot[0, at] = 7.0
    assert read(Linear(weights), torch.ones(1, 8), one_hot)[0].value == pytest.approx(expected, abs=0.06)


def test_the_strongest_patch_of_a_picture_is_found() -> None:
    """By blur and zeros alike; its mirror image has nothing."""
    weights = torch.zeros(1, 14, 14)
    weights[0, :2, :2] = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    x = torch.zeros(1, 1, 14, 14) + weights
    right, wrong = weights.abs(), weights.abs().flip(2)
    assert even_patches((14, 14)).count == 49
    check = ConfirmedShare()
    good, bad = (read(Linear(weights), x, m, check)[0] for m in (right, wrong))
    assert good.value == pytest.approx(1.0, abs=1e-6)
    assert good.passed
    assert good.p == pytest.approx(1 / 40, abs=0.03)
    assert good.skill == pytest.approx(1.0)
    assert bad.value == pytest.approx(0.0, abs=0.03)
    assert bad.passed is not True
    assert set(good.controls) == {"random", "edges", "centre", "constant", "shifted"}
    assert good.controls["constant"] == pytest.approx(1 / 49, abs=0.02)


def test_what_cannot_be_told_is_undefined() -> None:
    weights, x = torch.arange(1.0, 9)[None], torch.ones(1, 8)
    nan, empty = torch.full((1, 8), math.nan), torch.zeros(1, 8)
    for maps, told in (
        (nan, "not finite"),
        (-weights, "no positive relevance"),
        (empty, "no positive relevance"),
    ):
        reading = read(Linear(weights), x, maps)[0]
        assert reading.value is None
        assert told in str(reading.undefined)
    never = "never lowers the score"
    assert never in str(read(Linear(torch.zeros(1, 8)), x, weights)[0].undefined)
    assert never in str(read(Linear(-weights), x, weights)[0].undefined)
    rounding = Linear(weights * 1e-8, bias=1.0)  # hidden or not, the score is 1 but for its last bit
    assert never in str(read(rounding, x, weights)[0].undefined)


def test_a_nan_in_one_map_leaves_the_others_alone() -> None:
    weights, maps = torch.arange(1.0, 9)[None], torch.rand(3, 8)
    maps[1, 2] = math.nan
    first, second, third = read(Linear(weights), torch.ones(3, 8), maps)
    assert second.value is None
    assert None not in (first.value, third.value)


def test_a_constant_map_is_never_ahead() -> None:
    x = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    reading = read(Linear(torch.rand(3, 9, 11)), x, torch.ones(1, 9, 11), ConfirmedShare())[0]
    assert reading.p == 1.0
    assert reading.passed is False
    assert reading.skill == pytest.approx(0.0)


def test_a_picture_of_one_colour_has_no_edges() -> None:
    reading = read(Linear(torch.rand(3, 8, 8)), torch.ones(1, 3, 8, 8), torch.rand(1, 8, 8))[0]
    assert reading.value is not None
    assert reading.controls["edges"] is None


def test_a_batch_is_its_inputs_one_by_one_and_is_scored_once() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2)).eval()
    x = torch.rand(3, 3, 8, 8)
    found = uh.explain(net, x, methods=["saliency", "input_x_gradient"])
    check = ConfirmedShare(count=6)
    first, second = (check.read(batch) for batch in batches(found))
    assert [r.calls for r in first] == [37] * 3  # 6 of each of 3 sizes for 2 fills, and the score itself
    assert [r.calls for r in second] == [0] * 3
    for row_, alone in enumerate(x):
        one = check(uh.explain(net, alone, methods=["saliency", "input_x_gradient"]))
        for batched, single in zip((first[row_], second[row_]), one, strict=True):
            assert single.value == pytest.approx(batched.value, abs=1e-4)
            assert single.error == pytest.approx(batched.error, abs=1e-4)
            assert single.p == batched.p


def test_the_error_tells_how_far_another_seed_would_be() -> None:
    weights = torch.rand(1, 40, generator=torch.Generator().manual_seed(0))
    readings = [
        read(
            Linear(weights), torch.ones(1, 40), weights.square(), ConfirmedShare(8, fills=("zeros",)), seed=s
        )[0]
        for s in range(40)
    ]
    spread = torch.tensor([r.value for r in readings]).std()
    told = torch.tensor([r.error for r in readings]).mean()
    assert 0.5 < float(told / spread) < 2


def test_a_map_laid_at_random_is_ahead_in_a_twentieth_of_cases() -> None:
    """1,280 maps of blobs, each moved at random: as its shifted copies are, so that none is right."""
    inputs, rounds, places = 128, 10, (12, 12)
    torch.manual_seed(0)
    weights = torch.rand(1, *places) ** 3
    model, x = uh.Model(Linear(weights)), torch.ones(inputs, 1, *places)
    ps = []
    for seed in range(rounds):
        blobs = torch.nn.functional.avg_pool2d(torch.rand(inputs, 1, *places) ** 4, 3, 1, 1)[:, 0]
        drawn = moves(2, places, inputs, seed=1000 + seed)
        maps = torch.stack([move(blob) for move, blob in zip(drawn, blobs, strict=True)])
        check = ConfirmedShare(count=8, fills=("zeros",))
        ps += [r.p for r in check(uh.explain(model, x, 0, methods=Given(maps), seed=seed))]
    assert len(ps) == 1280
    assert 0.03 <= sum(p <= 0.05 for p in ps) / len(ps) <= 0.07


def test_rows_are_hidden_with_zeros_and_wrong_sizes_refused() -> None:
    weights = torch.arange(1.0, 9)[None]
    plain = read(Linear(weights), torch.ones(1, 8), weights, ConfirmedShare())[0]
    assert plain.value == read(Linear(weights), torch.ones(1, 8), weights)[0].value
    with pytest.raises(InvalidArgument, match="needs pictures"):
        read(Linear(weights), torch.ones(1, 8), weights, ConfirmedShare(fills=("blur",)))
    with pytest.raises(InvalidArgument, match="Sizes are shares"):
        read(Linear(weights), torch.ones(1, 8), weights, ConfirmedShare(sizes=(2.0,)))


def test_pooling_adds_up_and_edges_count_as_maps() -> None:
    x = torch.rand(2, 3, 8, 8)
    groups = even_patches((8, 8))
    torch.testing.assert_close(pooled(x[:, 0], groups).sum(1), x[:, 0].double().sum((1, 2)))
    found = uh.explain(Linear(torch.rand(3, 8, 8)), x, 0, methods=Drawn(uh.checks.controls.edges, "edges"))
    reading = ConfirmedShare(count=6)(found)[0]
    assert reading.value == pytest.approx(reading.controls["edges"])
