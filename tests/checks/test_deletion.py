"""Parts hidden in a map's order: known answers, ties, shared passes, chance, and what is undefined."""

import math
from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import underhood as uh
from tests.support.toys import Linear
from underhood.checks import (
    IROF,
    ROAD,
    Check,
    Deletion,
    Insertion,
    RegionPerturbation,
    TopShare,
    batches,
)
from underhood.checks.deletion import RiseBlur
from underhood.checks.top_share import highest
from underhood.errors import InvalidArgument, UnknownName
from underhood.inputs import Constant, Labels, NoisyLinear
from underhood.methods import Given

ALL: list[Check] = [
    Deletion(),
    Deletion("MoRF", fill="blur", best=None),
    Deletion("LeRF", fill="inpaint", grouping="elements", steps=5),
    Insertion(output="probability", kind="magnitude"),
    Deletion.rise(steps=7, shifts=39),
    Insertion.rise(steps=7),
    IROF(grouping=Labels(torch.arange(14 * 14).reshape(14, 14) // 28)),
    ROAD(shares=(0.2, 0.7), fill="blur"),
    RegionPerturbation(regions=4, size=5, best="greedy"),
    TopShare(),
    TopShare(0.3, NoisyLinear(0.1), "magnitude"),
]
each = pytest.mark.parametrize("check", ALL, ids=lambda check: f"{check.key}-{ALL.index(check)}")
CONTRIBUTIONS = torch.tensor([4.0, 3, 2, 1])


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def explained(
    model: nn.Module, x: torch.Tensor, maps: torch.Tensor, target: object = 0, seed: int = 0
) -> uh.Explanations:
    return uh.explain(
        uh.Model(model.eval()), x, target, methods=Given(maps, "given"), seed=seed, precision="float32"
    )


def additive(maps: torch.Tensor, seed: int = 0) -> uh.Explanations:
    """Contributions 4, 3, 2, 1 and 0 where absent, with these maps (B, 4)."""
    return explained(Linear(CONTRIBUTIONS), torch.ones(len(maps), 4), maps, seed=seed)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4 * 49, 3)
    ).eval()


# -- known answers -----------------------------------------------------------------------------------


def test_contributions_four_three_two_one() -> None:
    own = CONTRIBUTIONS[None]
    deletion = Deletion("MoRF")(additive(own))[0]
    assert deletion.details["curves"]["MoRF"]["score"] == [10, 6, 3, 1, 0]
    assert deletion.details["curves"]["MoRF"]["hidden"] == [0, 0.25, 0.5, 0.75, 1]
    assert deletion.value == pytest.approx(3.75)
    assert Deletion("LeRF")(additive(own))[0].value == pytest.approx(6.25)
    assert Insertion()(additive(own))[0].value == pytest.approx(6.25)
    assert Deletion()(additive(own))[0].value == pytest.approx(2.5)
    for check in (Deletion("MoRF"), Insertion(), Deletion()):
        assert check(additive(own))[0].skill == pytest.approx(1)


def test_all_orders_come_to_five_on_average() -> None:
    maps = torch.tensor([[float(r) for r in order] for order in permutations(range(4))])
    found = Deletion("MoRF")(additive(maps))
    assert np.mean(found.values) == pytest.approx(5.0)
    assert min(found.values) == pytest.approx(3.75)
    assert np.mean(Deletion()(additive(maps)).values) == pytest.approx(0)


def test_a_constant_map_scores_as_a_random_order_and_never_wins() -> None:
    for check, random_order in ((Deletion("MoRF", best=None), 5.0), (Deletion(best=None), 0.0)):
        readings = [check(additive(torch.ones(1, 4), seed))[0] for seed in range(60)]
        assert {r.p for r in readings} == {1.0}
        assert not any(r.passed for r in readings)
        assert all(r.details["tied"] == 1 and r.error is None for r in readings)
        assert "100% of its parts are tied" in readings[0].sentence
        spread = np.std([r.value for r in readings]) / np.sqrt(len(readings))
        assert abs(np.mean([r.value for r in readings]) - random_order) < 4 * spread


def test_parts_of_unequal_size_count_by_their_places() -> None:
    parts = Labels(torch.tensor([0, 0, 1, 2]))  # means 3.5, 2, 1 of the places
    found = Deletion("MoRF", grouping=parts)(additive(CONTRIBUTIONS[None]))[0]
    assert found.details["curves"]["MoRF"]["hidden"] == [0, 0.5, 0.75, 1]
    assert found.value == pytest.approx(0.5 * (10 + 3) / 2 + 0.25 * (3 + 1) / 2 + 0.25 / 2)
    least = Deletion("LeRF", grouping=parts)(additive(CONTRIBUTIONS[None]))[0]
    assert least.details["curves"]["LeRF"]["hidden"] == [0, 0.25, 0.5, 1]
    assert least.value == pytest.approx(0.25 * (10 + 9) / 2 + 0.25 * (9 + 7) / 2 + 0.5 * 7 / 2)


def test_irof_road_and_aopc_by_hand() -> None:
    """x = 1, weights 4, 3, 2, 1 on a picture of 2 × 2 pixels, absent is 0."""
    x, w = torch.ones(1, 1, 2, 2), CONTRIBUTIONS.reshape(1, 2, 2)
    maps, pixels = w.clone(), Labels(torch.arange(4).reshape(2, 2))
    regions = RegionPerturbation(regions=3, size=1, fill=Constant(0.0))(explained(Linear(w), x, maps))[0]
    assert regions.value == pytest.approx((0 + 4 + 7 + 9) / 4)
    road = ROAD((0.25, 0.5, 0.75), Constant(0.0))(explained(Linear(w), x, maps))[0]
    assert road.value == pytest.approx(((9 - 6) + (7 - 3) + (4 - 1)) / 3 / 2)
    two = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        two[1].weight.copy_(torch.stack([CONTRIBUTIONS, torch.zeros(4)]))
    p = torch.sigmoid(torch.tensor([10.0, 6, 3, 1, 0])).tolist()
    over = 1 - sum((a + b) / 2 / 4 for a, b in pairwise(p)) / p[0]
    irof = IROF(pixels)(explained(two, x, maps))[0]
    assert irof.value == pytest.approx(over, abs=1e-6)
    assert irof.details["curves"]["MoRF"]["score"] == pytest.approx(p)


def test_the_top_share_by_hand() -> None:
    x, w = torch.ones(1, 20), torch.arange(20.0)
    reading = TopShare(0.1)(explained(Linear(w), x, w[None]))[0]
    assert reading.value == pytest.approx(19 + 18)
    assert reading.details["share_of_fall"] == pytest.approx(37 / 190)
    assert reading.details["shifted_mean"] == pytest.approx(19, abs=6)
    assert reading.calls == 40 + 3  # and once per input: all hidden, a random and a constant control
    assert reading.p is not None
    assert reading.p <= 0.1


def test_rises_blur_is_nearly_a_box() -> None:
    """The kernel of its authors' code: a point smoothed by scipy inside 11 × 11 pixels."""
    ndimage = pytest.importorskip("scipy.ndimage")
    point = np.zeros((11, 11))
    point[5, 5] = 1
    kernel = torch.from_numpy(ndimage.gaussian_filter(point, 5))
    line = RiseBlur().kernel
    torch.testing.assert_close(line[:, None] * line, kernel, atol=1e-12, rtol=0)
    assert 0.8 < float(kernel.min() / kernel.max()) < 1
    x = drawn(2, 3, 20, 16)
    expected = torch.nn.functional.conv2d(x.reshape(6, 1, 20, 16), kernel.float()[None, None], padding=5)
    torch.testing.assert_close(RiseBlur().values(x, None, 0)[0], expected.reshape(2, 3, 20, 16))


# -- properties --------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3), steps=st.integers(2, 15))
def test_the_true_map_of_an_additive_model_is_the_best_order(seed: int, scale: float, steps: int) -> None:
    w = drawn(12, seed=seed)
    found = explained(Linear(w), torch.ones(3, 12), torch.stack([w, scale * w, drawn(12, seed=seed + 1)]))
    most, least = (Deletion(order, steps=steps)(found) for order in ("MoRF", "LeRF"))
    straight = float(w.sum()) / 2  # a random order's, in expectation
    assert most[0].value <= straight + 1e-5
    assert least[0].value >= straight - 1e-5
    assert most[0].value <= most[2].value + 1e-5  # no other order is better
    assert most[1].value == pytest.approx(most[0].value, abs=1e-5)  # scale does not matter
    assert most[0].details["best"] == pytest.approx(most[0].value, abs=1e-4)
    assert least[0].details["best"] == pytest.approx(least[0].value, abs=1e-4)
    both = Deletion(steps=steps)(found)[0]
    assert both.value == pytest.approx(least[0].value - most[0].value, abs=1e-4)


@each
def test_a_batch_equals_its_explanations_one_by_one(check: Check, net: nn.Module) -> None:
    found = uh.explain(
        uh.Model(net), drawn(3, 3, 14, 14), [0, 2, 1], methods="input_x_gradient", seed=3, precision="float32"
    )
    for one, together in zip(found, check(found), strict=True):
        alone = check(one)[0]
        assert alone.value == pytest.approx(together.value, abs=1e-5)
        assert alone.p == together.p
        assert alone.skill == pytest.approx(together.skill, abs=1e-3)
        assert alone.calls == together.calls
        assert alone.controls == pytest.approx(together.controls, abs=1e-5)


def test_no_state_is_shown_to_the_model_twice(net: nn.Module) -> None:
    found = uh.explain(
        uh.Model(net), drawn(2, 3, 14, 14), 0, methods=["saliency", "input_x_gradient"], precision="float32"
    )
    first, second = batches(found)
    steps, check = 5, Deletion(steps=5, best=None)
    asked = [check.read(batch)[0] for batch in (first, second)]
    everything_hidden = 1  # which all curves share
    assert asked[0].calls <= 45 * 2 * (steps - 1) + everything_hidden
    assert asked[1].calls <= 41 * 2 * (steps - 1)  # controls are known
    assert check.read(second)[0].calls == 0
    assert Deletion("LeRF", steps=5, best=None).read(second)[0].calls == 0
    assert TopShare().read(first)[0].calls == 45
    assert TopShare().read(second)[0].calls == 40
    assert first.run.engine.log.backward == 0


def test_a_bare_figure_costs_its_own_curve_alone(net: nn.Module) -> None:
    found = explained(net, drawn(1, 3, 14, 14), drawn(1, 14, 14))
    reading = Deletion("MoRF", steps=6, shifts=0, best=None)(found)[0]
    assert reading.calls == 6
    assert (reading.p, reading.skill, reading.passed, dict(reading.controls)) == (None, None, None, {})


def test_every_kind_of_input_and_target_is_questioned(net: nn.Module) -> None:
    x, maps = drawn(2, 3, 14, 14), drawn(2, 14, 14)
    for target in (None, uh.Contrast(1, 0), [2, 1], uh.Unit("0", 1)):
        found = explained(net, x, maps, target)
        for reading in Deletion(steps=3, best=None)(found):
            assert reading.value is not None
        for reading in IROF(Labels(torch.arange(196).reshape(14, 14) // 49))(found):
            assert (reading.value is None) == isinstance(target, uh.Unit)


def test_signed_and_magnitude_are_both_told(net: nn.Module) -> None:
    found = explained(net, drawn(1, 3, 14, 14), drawn(1, 14, 14))
    signed, magnitude = Deletion(steps=4)(found)[0], Deletion(steps=4, kind="magnitude")(found)[0]
    assert signed.details["magnitude"] == pytest.approx(magnitude.value)
    assert magnitude.details["signed"] == pytest.approx(signed.value)


def test_ties_for_the_last_seats_are_drawn_and_told() -> None:
    maps = torch.tensor([[3.0, 1, 1, 1, 1, 0, 0, 0, 0, 0]])
    mask = highest(maps, 0.3, seed=0)
    assert mask.sum() == 3
    assert mask[0, 0]
    assert mask[0, 1:5].sum() == 2
    drawn_ = torch.stack([highest(maps, 0.3, seed)[0] for seed in range(200)]).float().mean(0)
    assert (drawn_[1:5] - 0.5).abs().max() < 0.15
    reading = TopShare(0.3)(explained(Linear(torch.ones(10)), torch.ones(1, 10), maps))[0]
    assert reading.details["tied"] == pytest.approx(2 / 3)
    assert reading.error is None


# -- what is undefined, and what is not --------------------------------------------------------------


@each
def test_what_cannot_be_read_is_undefined(check: Check, net: nn.Module) -> None:
    x, maps = drawn(1, 3, 14, 14), drawn(1, 14, 14)
    bad = maps.clone()
    bad[0, 3, 3] = math.nan
    blind = nn.Sequential(nn.Flatten(), nn.Linear(3 * 196, 2))
    nn.init.zeros_(blind[1].weight)
    for found, reason in (
        (explained(net, x, bad), "the map holds values that are not finite"),
        (explained(blind, x, maps), "it makes no difference to the score"),
    ):
        reading = check(found)[0]
        assert reading.value is None
        assert reading.undefined is not None
        assert reading.undefined.startswith(reason)


@each
def test_odd_maps_pictures_and_scores_are_read(check: Check, net: nn.Module) -> None:
    maps = drawn(1, 14, 14)
    pictures = (drawn(1, 3, 14, 14), torch.full((1, 3, 14, 14), 0.7))
    for x in pictures:
        for one in (-maps.abs(), maps.relu(), torch.full_like(maps, 0.3), torch.zeros_like(maps)):
            reading = check(explained(net, x, one))[0]
            assert (reading.value is None) == (reading.undefined is not None)
            if one.unique().numel() == 1:
                assert not reading.passed
    with torch.no_grad():
        zero = Linear(drawn(3, 14, 14))
        zero.bias = -float(zero(pictures[0]))
    reading = check(explained(zero, pictures[0], maps))[0]  # a score of 0 by one output
    assert (reading.value is None) == (reading.undefined is not None)
    assert all(v is None or math.isfinite(v) for v in reading.controls.values())


def test_rows_have_no_regions_and_fills_for_pictures_say_so() -> None:
    [reading] = RegionPerturbation()(additive(CONTRIBUTIONS[None]))
    assert reading.undefined is not None
    assert reading.undefined.startswith("the inputs are no pictures")
    with pytest.raises(InvalidArgument, match="'noisy_linear' needs pictures"):
        Deletion(fill="noisy_linear")(additive(CONTRIBUTIONS[None]))


def test_bad_parameters_are_refused() -> None:
    for bad in ({"order": "best"}, {"steps": 0}, {"shifts": -1}, {"grouping": "pixels"}, {"fill": "gray"}):
        with pytest.raises((InvalidArgument, UnknownName)):
            Deletion(**bad)  # type: ignore[arg-type]
    for make in (lambda: TopShare(0), lambda: TopShare(1.0), lambda: ROAD(()), lambda: ROAD((0, 0.5)),
                 lambda: RegionPerturbation(0), lambda: IROF(1)):  # fmt: skip
        with pytest.raises(InvalidArgument):
            make()


def test_the_sentence_of_hidden_top_places_has_no_bare_signs() -> None:
    w = drawn(1, 10, 10)
    model, x = uh.Model(Linear(w).eval()), torch.ones(1, 1, 10, 10)
    found = [uh.explain(model, x, 0, methods=Given(sign * w)) for sign in (1, -1)]
    right, wrong = (TopShare()(one)[0].sentence for one in found)
    assert "lowers the score by" in right
    assert "more than elsewhere" in right
    assert "raises the score by" in wrong
    assert "no better than elsewhere" in wrong
    assert "as low or lower in 39 of 39 places" in wrong
    assert not any("-" in said or "p =" in said for said in (right, wrong))


# -- chance ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "check",
    [Deletion("MoRF", steps=2, grouping="elements", best=None), TopShare(0.2)],
    ids=lambda check: check.key,
)
def test_maps_placed_at_random_are_rejected_in_one_of_twenty_cases(check: Check) -> None:
    """1,040 smooth maps shifted at random; 16 maps for each seed, as a seed's copies move alike."""
    torch.manual_seed(0)
    model, rejected = uh.Model(Linear(drawn(1, 10, 10)).eval()), []
    for seed in range(65):
        x = drawn(16, 1, 10, 10, seed=seed)
        maps = uh.inputs.baseline.gaussian_blur(drawn(16, 1, 10, 10, seed=5000 + seed), 1.0)[:, 0]
        offsets = torch.randint(10, (16, 2), generator=torch.Generator().manual_seed(seed)).tolist()
        placed = torch.stack([one.roll(at, (0, 1)) for one, at in zip(maps, offsets, strict=True)])
        found = uh.explain(model, x, 0, methods=Given(placed), seed=seed)
        rejected += [r.p <= 0.05 for r in check(found) if r.p is not None]
    assert len(rejected) == 1040
    assert 0.03 <= np.mean(rejected) <= 0.07


@pytest.mark.parametrize("check", [Deletion, Insertion, TopShare, IROF, ROAD, RegionPerturbation])
def test_every_removal_refuses_what_it_does_not_know(check: type[Check]) -> None:
    known = check.__dataclass_fields__  # type: ignore[attr-defined]
    for name, bad in {"shifts": -1, "fill": "gray", "kind": "sign", "grouping": "pixels"}.items():
        if name in known:
            with pytest.raises((InvalidArgument, UnknownName)):
                check(**{name: bad})
