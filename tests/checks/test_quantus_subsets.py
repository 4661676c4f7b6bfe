"""Side by side with Quantus 0.6, where it is right; where it is not, the test says what and why."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import underhood as uh
from tests.support import torchvision_ops  # noqa: F401 - before anything imports torchvision
from tests.support.toys import Linear
from underhood.checks import (
    EffectiveComplexity,
    Entropy,
    FaithfulnessCorrelation,
    FaithfulnessEstimate,
    Gini,
    Infidelity,
    Monotonicity,
    MonotonicityCorrelation,
    PointingGame,
    RelevanceMass,
    RelevanceRank,
    SensitivityN,
)
from underhood.methods import Given

quantus = pytest.importorskip("quantus", reason="Quantus is not installed: pip install 'underhood[peers]'")

PIXELS = torch.arange(36).reshape(6, 6)
QUIET = {"disable_warnings": True, "display_progressbar": False, "normalise": False}
ZEROS = {"perturb_baseline": 0.0}


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)).eval()


X, MAPS = drawn(3, 1, 6, 6, seed=1), drawn(3, 6, 6, seed=2)


def explained(model: nn.Module, maps: torch.Tensor = MAPS, x: torch.Tensor = X) -> uh.Explanations:
    found = uh.explain(uh.Model(model), x, 0, methods=Given(maps, "given"))
    assert isinstance(found, uh.Explanations)
    return found


def theirs(metric: Any, model: nn.Module | None, maps: torch.Tensor = MAPS, **more: Any) -> list[float]:
    x, y, a = X.numpy().copy(), np.zeros(len(X), dtype=int), maps[:, None].numpy().copy()
    found = metric(model=model, x_batch=x, y_batch=y, a_batch=a, softmax=False, device="cpu", **more)
    return [float(value) for value in found]


def test_faithfulness_estimate_is_theirs(net: nn.Module) -> None:
    metric = quantus.FaithfulnessEstimate(features_in_step=1, perturb_func_kwargs=ZEROS, **QUIET)
    ours = FaithfulnessEstimate(grouping=PIXELS)(explained(net))
    assert ours.values == pytest.approx(theirs(metric, net), abs=1e-4)


def test_monotonicity_correlation_is_theirs(net: nn.Module) -> None:
    metric = quantus.MonotonicityCorrelation(
        nr_samples=1, features_in_step=1, abs=True, perturb_func_kwargs=ZEROS, **QUIET
    )
    ours = MonotonicityCorrelation(grouping=PIXELS)(explained(net))
    assert ours.values == pytest.approx(theirs(metric, net, MAPS.abs()), abs=1e-4)


def test_faithfulness_correlation_is_theirs_within_its_error(net: nn.Module) -> None:
    metric = quantus.FaithfulnessCorrelation(
        nr_runs=400, subset_size=9, return_aggregate=False, perturb_func_kwargs=ZEROS, **QUIET
    )
    np.random.seed(0)
    ours = FaithfulnessCorrelation(size=0.25, count=400, grouping=PIXELS)(explained(net))
    for reading, value in zip(ours, theirs(metric, net), strict=True):
        assert reading.value is not None
        assert reading.error is not None
        assert abs(reading.value - value) < 4 * 2**0.5 * reading.error


def test_their_sensitivity_n_sets_one_steps_relevance_against_all_steps_fall() -> None:
    """It correlates, over inputs rather than subsets, what the last n features hold with what all features so
    far took from the score, so that even a linear model's own contributions miss the 1 of the paper."""
    w = drawn(1, 6, 6)
    model, exact = Linear(w).eval(), (w * X)[:, 0]
    metric = quantus.SensitivityN(
        n_max_percentage=0.8, features_in_step=6, perturb_func_kwargs=ZEROS, **QUIET
    )
    assert float(np.mean(theirs(metric, model, exact))) < 0.99
    ours = SensitivityN(grouping=PIXELS)(explained(model, exact))
    assert ours.values == pytest.approx([1, 1, 1], abs=1e-5)


def test_infidelity_is_zero_for_both_on_a_linear_model_and_theirs_ignores_its_sample_count(
    net: nn.Module,
) -> None:
    """Their blocks are the same in each of the `n_perturb_samples` rounds, and earlier ones stay hidden."""
    w = drawn(1, 6, 6)
    linear, maps = Linear(w).eval(), w[0].expand(3, 6, 6)

    def metric(rounds: int) -> Any:
        return quantus.Infidelity(
            perturb_patch_sizes=[2], n_perturb_samples=rounds, perturb_func_kwargs=ZEROS, **QUIET
        )

    assert theirs(metric(1), linear, maps) == pytest.approx([0, 0, 0], abs=1e-8)
    ours = Infidelity(form="sensitivity", scaling="none")(explained(linear, maps))
    assert ours.values == pytest.approx([0, 0, 0], abs=1e-8)
    assert theirs(metric(1), net) == pytest.approx(theirs(metric(5), net), rel=1e-6)
    found = explained(net)
    few, many = (Infidelity(scaling="none", count=count, grouping=PIXELS)(found)[0] for count in (8, 200))
    assert few.error is not None
    assert many.error is not None
    assert many.error < few.error / 2


def test_their_monotonicity_is_always_true(net: nn.Module) -> None:
    """It puts the baseline in the baseline's place, so that the model sees the same empty input each time."""
    metric = quantus.Monotonicity(features_in_step=1, perturb_func_kwargs=ZEROS, **QUIET)
    for maps in (MAPS, -MAPS):
        assert theirs(metric, net, maps) == [1, 1, 1]
        assert all(
            r.value is not None and r.value < 1 for r in Monotonicity(grouping=PIXELS)(explained(net, maps))
        )


def test_their_effective_complexity_never_asks_the_model() -> None:
    """It counts values above a threshold, where the paper looks for how few of them keep the score."""
    w = torch.zeros(1, 6, 6)
    w[0, 2, 3] = 1.0
    x = torch.ones(3, 1, 6, 6)
    found = explained(Linear(w), w + 1e-3 * MAPS.abs(), x)
    assert min(theirs(quantus.EffectiveComplexity(eps=1e-5, **QUIET), None, w + 1e-3 * MAPS.abs())) > 30
    assert EffectiveComplexity(grouping=PIXELS, steps=None)(found).values == pytest.approx([1 / 36] * 3)


def test_sparseness_is_our_gini_and_complexity_our_entropy() -> None:
    """Theirs change the caller's arrays; of signed values without `abs` their entropy is NaN."""
    found = explained(Linear(torch.ones(1, 6, 6)))
    sparse = quantus.Sparseness(abs=True, **QUIET)
    assert Gini()(found).values == pytest.approx(theirs(sparse, None), abs=1e-4)
    spread = quantus.Complexity(abs=True, **QUIET)
    assert Entropy()(found).values == pytest.approx(theirs(spread, None), abs=1e-4)


def test_localisation_is_theirs_for_positive_maps() -> None:
    mask = torch.zeros(3, 6, 6)
    mask[:, 1:4, 2:5] = 1
    maps = MAPS.abs()
    maps[1, 2, 3] = 9.0
    found = explained(Linear(torch.ones(1, 6, 6)), maps)
    s = {"s_batch": mask[:, None].numpy()}
    for ours, metric in (
        (PointingGame(mask), quantus.PointingGame(**QUIET)),
        (RelevanceMass(mask), quantus.RelevanceMassAccuracy(**QUIET)),
        (RelevanceRank(mask), quantus.RelevanceRankAccuracy(**QUIET)),
        (RelevanceRank(mask), quantus.TopKIntersection(k=9, **QUIET)),  # as many as the mask has
    ):
        assert ours(found).values == pytest.approx(theirs(metric, None, maps, **s), abs=1e-6)


def test_their_pointing_game_hits_an_empty_mask_and_their_mass_exceeds_one() -> None:
    """NaN put into an array of bool is True; and negative values make the whole smaller than a part."""
    empty = torch.zeros(3, 6, 6)
    model = Linear(torch.ones(1, 6, 6))
    assert theirs(quantus.PointingGame(**QUIET), None, s_batch=empty[:, None].numpy()) == [1, 1, 1]
    assert all(r.undefined == "the mask is empty" for r in PointingGame(empty)(explained(model)))
    maps = torch.full((3, 6, 6), -0.1)
    maps[:, 0, 0] = 10.0
    mask = empty.clone()
    mask[:, 0, 0] = 1
    metric = quantus.RelevanceMassAccuracy(abs=False, **QUIET)
    assert min(theirs(metric, None, maps, s_batch=mask[:, None].numpy())) > 1
    assert RelevanceMass(mask)(explained(model, maps)).values == [1, 1, 1]
    assert max(RelevanceMass(mask, kind="magnitude")(explained(model, maps)).values) < 1
