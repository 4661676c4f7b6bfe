"""Correlations over hidden parts: closed forms, what they cost, and when they do not exist."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import underhood as uh
from tests.support.toys import Linear
from underhood.checks import (
    Agreement,
    Check,
    Completeness,
    Comprehensiveness,
    Conservation,
    Deletion,
    EffectiveComplexity,
    Entropy,
    FaithfulnessCorrelation,
    FaithfulnessEstimate,
    Gini,
    Infidelity,
    IoU,
    Monotonicity,
    MonotonicityCorrelation,
    PointingGame,
    RelevanceMass,
    RelevanceRank,
    SensitivityN,
    Sufficiency,
    batches,
)  # fmt: skip
from underhood.checks.correlated import jackknife
from underhood.checks.probes import even_patches, grouped, moved_sums, pooled, probes, subsets
from underhood.engine import Engine, Run, Settings
from underhood.errors import InvalidArgument, UnknownName
from underhood.methods import Given

CHECKS: list[Check] = [
    FaithfulnessCorrelation(),
    SensitivityN(),
    FaithfulnessEstimate(),
    MonotonicityCorrelation(),
]
random = torch.Generator


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=random().manual_seed(seed))


def explained(model: nn.Module, x: torch.Tensor, maps: torch.Tensor, target: int = 0) -> uh.Explanations:
    return uh.explain(uh.Model(model.eval()), x, target, methods=Given(maps, "given"))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4 * 49, 3)
    ).eval()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.key)
@pytest.mark.parametrize("shape", [(60,), (2, 10, 10)])
def test_a_linear_models_own_contributions_score_one(check: Check, shape: tuple[int, ...]) -> None:
    w, x = drawn(*shape), drawn(2, *shape, seed=1)
    for reading in check(explained(Linear(w, 0.5), x, w * x)):
        assert reading.value == pytest.approx(1, abs=1e-5)
        assert reading.error == pytest.approx(0, abs=1e-5)
        assert reading.skill == pytest.approx(1, abs=1e-5)
        assert reading.p is not None
        assert reading.p <= 0.05
        assert reading.passed


def test_sensitivity_n_is_one_for_every_n() -> None:
    w, x = drawn(20), drawn(1, 20, seed=1)
    found = SensitivityN(sizes=[n / 20 for n in range(1, 20)])(explained(Linear(w), x, w * x))[0]
    assert found.details["n"] == list(range(1, 20))
    assert found.details["curve"] == pytest.approx([1.0] * 19, abs=1e-5)


def test_a_wrong_sign_scores_minus_one_and_fails() -> None:
    w, x = drawn(16), drawn(1, 16, seed=1)
    for check in (FaithfulnessCorrelation(), SensitivityN(), FaithfulnessEstimate()):
        reading = check(explained(Linear(w), x, -w * x))[0]
        assert reading.value == pytest.approx(-1, abs=1e-5)
        assert reading.passed is False
        assert reading.p == 1


def test_correlations_are_those_worked_out_by_hand() -> None:
    """S = x1 + 2·x2 + 3·x3 with all x = 1, the map (3, 1, 2): falls 1, 2, 3."""
    found = explained(Linear(torch.tensor([1.0, 2, 3])), torch.ones(1, 3), torch.tensor([[3.0, 1, 2]]))
    by_hand = float(np.corrcoef([3, 1, 2], [1, 2, 3])[0, 1])
    assert FaithfulnessEstimate()(found)[0].value == pytest.approx(by_hand)
    assert MonotonicityCorrelation()(found)[0].value == pytest.approx(-0.5)
    # pairs (1,2), (1,3), (2,3): the map holds 4, 5, 3 and the score falls by 3, 4, 5
    of_pairs = float(np.corrcoef([4, 5, 3], [3, 4, 5])[0, 1])
    assert FaithfulnessCorrelation(size=0.66)(found)[0].value == pytest.approx(of_pairs)


def test_signed_and_magnitude_are_both_told() -> None:
    w, x = drawn(16), drawn(1, 16, seed=1)
    found = explained(Linear(w), x, w * x)
    signed, magnitude = FaithfulnessEstimate()(found)[0], FaithfulnessEstimate(kind="magnitude")(found)[0]
    assert signed.details["magnitude"] == pytest.approx(magnitude.value)
    assert magnitude.details["signed"] == pytest.approx(signed.value)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.key)
def test_a_batch_equals_its_explanations_one_by_one(check: Check, net: nn.Module) -> None:
    x = drawn(3, 3, 14, 14)
    found = uh.explain(uh.Model(net), x, [0, 2, 1], methods="input_x_gradient")
    for one, together in zip(found, check(found), strict=True):
        alone = check(one)[0]
        assert alone.value == pytest.approx(together.value, abs=1e-5)
        assert alone.p == together.p
        assert alone.calls == together.calls


def test_passes_are_shared_by_methods_and_checks(net: nn.Module) -> None:
    x = drawn(2, 3, 14, 14)
    found = uh.explain(uh.Model(net), x, 0, methods=["saliency", "input_x_gradient"])
    first, second = batches(found)
    asked = [SensitivityN(count=10).read(batch) for batch in (first, second)]
    assert asked[0][0].calls == pytest.approx(40, abs=1)  # 4 sizes, and S(x) at most
    assert asked[1][0].calls == 0
    assert FaithfulnessCorrelation(size=0.25, count=10).read(second)[0].calls == 0
    assert FaithfulnessCorrelation(size=0.25, count=14).read(second)[0].calls == 4
    assert first.run.engine.log.backward == 0


def test_what_cannot_be_read_is_undefined(net: nn.Module) -> None:
    x, maps = drawn(1, 3, 14, 14), drawn(1, 14, 14)
    bad = maps.clone()
    bad[0, 3, 3] = math.nan
    blind = nn.Sequential(nn.Flatten(), nn.Linear(3 * 196, 2))
    nn.init.zeros_(blind[1].weight)
    cases = [
        (explained(net, x, bad), "the map holds values that are not finite"),
        (explained(net, x, torch.full_like(maps, 0.3)), "the map is the same everywhere"),
        (explained(blind, x, maps), "it makes no difference to the score"),
    ]
    for found, reason in cases:
        for check in CHECKS:
            reading = check(found)[0]
            assert reading.value is None
            assert reading.undefined is not None
            assert reading.undefined.startswith(reason)


@pytest.mark.parametrize("maps", [-drawn(1, 14, 14).abs(), drawn(1, 14, 14).relu()])
def test_maps_of_one_sign_and_pictures_of_one_colour_are_read(net: nn.Module, maps: torch.Tensor) -> None:
    for x in (drawn(1, 3, 14, 14), torch.full((1, 3, 14, 14), 0.7)):
        for check in CHECKS:
            reading = check(explained(net, x, maps))[0]
            assert reading.value is not None
            assert -1 <= reading.value <= 1
            assert reading.controls["constant"] is None or abs(reading.controls["constant"]) <= 1


def test_one_output_and_two_groups() -> None:
    found = explained(Linear(torch.tensor([1.0, 3.0])), torch.ones(1, 2), torch.tensor([[1.0, 2.0]]))
    for check in CHECKS:
        assert check(found)[0].value == pytest.approx(1)


@given(st.integers(2, 30), st.floats(0.02, 1), st.integers(1, 40), st.integers(0, 99))
def test_subsets_are_distinct_and_nested(groups: int, share: float, count: int, seed: int) -> None:
    size = max(1, int(share * groups))
    found = subsets(groups, size, count, seed)
    assert len(found) == min(count, math.comb(groups, size))
    assert found.sum(1).tolist() == [size] * len(found)
    assert len(set(map(tuple, found.tolist()))) == len(found)
    assert torch.equal(found, subsets(groups, size, count + 7, seed)[: len(found)])


def test_every_group_is_hidden_about_equally_often() -> None:
    hidden = subsets(49, 12, 40, 0).sum(0)
    assert int(hidden.max() - hidden.min()) <= 3  # 10 orders of 4 disjoint subsets


def test_sums_of_shifted_maps_are_those_of_their_copies(net: nn.Module) -> None:
    x, maps = drawn(2, 3, 14, 14), drawn(2, 14, 14)
    [batch] = batches(explained(net, x, maps))
    from underhood.checks.controls import shifts

    groups = grouped(batch)
    assert groups.count == 49
    torch.testing.assert_close(
        moved_sums(maps, groups, 5, 3), pooled(shifts(maps, 5, 3), groups), atol=1e-6, rtol=0
    )
    found = probes(batch, 5)
    assert found.falls.shape == (len(found.hidden), 2)
    picture = x[1].clone()
    picture[:, found.hidden[7][groups.numbers]] = 0
    expected = float(batch.run.score[1] - net(picture[None])[0, 0].detach())
    assert float(found.falls[7, 1]) == pytest.approx(expected, abs=1e-5)


@given(st.integers(1, 200), st.integers(1, 200))
def test_patches_are_about_alike(height: int, width: int) -> None:
    groups = even_patches((height, width))
    areas = torch.bincount(groups.numbers.flatten())
    assert len(areas) == groups.count <= max(64, 1.5 * max(height, width))
    assert int(areas.max()) <= 4 * int(areas.min())


def test_patches_that_do_not_divide_a_picture_differ_by_a_pixel_a_side() -> None:
    even = even_patches((128, 128))
    assert even.count == 49
    assert torch.bincount(even.numbers.flatten()).unique().tolist() == [18 * 18, 18 * 19, 19 * 19]


def test_token_ids_are_hidden_too() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(20, 5), nn.Flatten(), nn.Linear(60, 2)).eval()
    ids = torch.randint(1, 20, (2, 12), generator=random().manual_seed(0))
    for check in CHECKS:
        for reading in check(explained(net, ids, drawn(2, 12))):
            assert reading.value is not None


@settings(max_examples=20)
@given(st.integers(5, 40), st.integers(0, 99))
def test_the_jackknife_leaves_out_one_at_a_time(n: int, seed: int) -> None:
    a, b = np.random.default_rng(seed).normal(size=(2, n))
    left = [np.corrcoef(np.delete(a, i), np.delete(b, i))[0, 1] for i in range(n)]
    expected = math.sqrt((n - 1) * np.var(left))
    assert float(jackknife(torch.tensor(a), torch.tensor(b))) == pytest.approx(expected, rel=1e-6)


def test_monte_carlo_error_is_the_spread_over_seeds(net: nn.Module) -> None:
    x, maps = drawn(1, 3, 14, 14), drawn(1, 14, 14)
    readings = [
        FaithfulnessCorrelation(count=40)(
            uh.explain(uh.Model(net), x, 0, methods=Given(maps, "given"), seed=seed)
        )[0]
        for seed in range(30)
    ]
    spread = float(np.std([r.value for r in readings], ddof=1))
    told = float(np.mean([r.error for r in readings]))
    assert 0.6 * told < spread < 1.4 * told


def test_p_values_reject_at_five_percent_under_the_null() -> None:
    """1,200 maps that lie anywhere on the torus, 8 for each seed, as all inputs of a seed move alike."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 1)).eval()
    [batch], rejected = batches(explained(net, drawn(8, 1, 8, 8), drawn(8, 8, 8))), []
    for seed in range(150):
        x, maps = drawn(8, 1, 8, 8, seed=seed), drawn(8, 1, 8, 8, seed=1000 + seed)
        run = Run(Engine(batch.model, Settings(seed=seed)), x, batch.run.target)
        smooth = uh.inputs.baseline.gaussian_blur(maps, 1.0)[:, 0]
        anywhere = replace(batch, run=run, maps=smooth, memory={})
        rejected += [r.p <= 0.05 for r in FaithfulnessCorrelation(count=8).read(anywhere) if r.p]
    assert len(rejected) == 1200
    assert 0.03 <= np.mean(rejected) <= 0.07


def test_short_rows_are_told_by_all_their_moves_and_never_said_to_fail_for_want_of_them() -> None:
    for columns, passed in ((12, True), (6, None)):
        w = torch.arange(1.0, columns + 1) ** 2
        x = torch.ones(1, columns)
        for check in (FaithfulnessCorrelation(), Deletion("MoRF", grouping="elements")):
            reading = check(explained(Linear(w), x, w * x))[0]
            assert reading.p == pytest.approx(1 / (2 * columns))
            assert reading.passed is passed
            assert ("too few ways to move the map to tell" in reading.sentence) is (passed is None)
            assert "does not follow" not in reading.sentence


def test_bad_parameters_are_refused() -> None:
    for bad in ({"size": 0.0}, {"size": 1.5}, {"count": 2}, {"count": 10**6}):
        with pytest.raises(InvalidArgument):
            FaithfulnessCorrelation(**bad)  # type: ignore[arg-type]


mask = torch.zeros(10, 10)
mask[2:5, 3:6] = 1
EVERY: list[Check] = [
    *CHECKS,
    Agreement(),
    Completeness(),
    Comprehensiveness(shifts=2),
    Conservation(),
    EffectiveComplexity(shifts=2),
    Entropy(),
    Gini(),
    Infidelity(),
    Infidelity(perturbation="noise", form="sensitivity"),
    IoU(mask),
    Monotonicity(shifts=2),
    PointingGame(mask),
    RelevanceMass(mask),
    RelevanceRank(mask),
    Sufficiency(shifts=2),
]


@pytest.fixture(scope="module")
def several() -> uh.Explanations:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 64, 2)).eval()
    methods = ["gradcam", "saliency", "integrated_gradients", uh.Occlusion(size=5, stride=5), "lrp"]
    x = drawn(2, 1, 10, 10)
    return uh.explain(uh.Model(net), x, uh.Contrast(1, 0), methods=methods)


@pytest.mark.parametrize("check", EVERY, ids=lambda check: check.key)
def test_every_reading_can_be_written_and_has_a_sentence(check: Check, several: uh.Explanations) -> None:
    found = check(several)
    assert json.dumps(found.as_dict(), allow_nan=False)
    assert len(found) == 10
    for reading in found:
        assert reading.sentence
        assert reading.sentence.endswith(".")
        assert "nan" not in reading.sentence
    card = check.card
    assert all((card.name, card.asks, card.defined, card.misleads, card.cost, card.source))


@pytest.mark.parametrize("check", EVERY, ids=lambda check: check.key)
def test_a_word_that_a_check_does_not_know_is_refused(check: Check) -> None:
    for name in {"kind", "form", "scaling", "perturbation", "measure"} & set(check.parameters()):
        with pytest.raises(UnknownName):
            replace(check, **{name: "no such word"})  # type: ignore[type-var]


@settings(max_examples=5)
@given(st.floats(1e-3, 1e3), st.integers(0, 99))
def test_the_unit_of_a_map_does_not_matter(scale: float, seed: int) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, 1)).eval()
    x, maps = drawn(1, 12, seed=seed), drawn(1, 12, seed=seed + 1)
    for check in (*CHECKS, Infidelity()):
        one, other = (check(explained(net, x, values))[0] for values in (maps, scale * maps))
        assert one.value == pytest.approx(other.value, rel=1e-4, abs=1e-6)
