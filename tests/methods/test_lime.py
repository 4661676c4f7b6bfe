"""LIME: a weighted ridge regression over coalitions, and intervals that hold."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import NETS, Linear, pictures
from underhood.inputs.random import generator
from underhood.methods.coalitions import all_coalitions, student_t
from underhood.methods.local_fit import Known, LocalFit, cosine_kernel, size_terms


def net(inputs: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, 1))


def closed_form(z: Tensor, v: Tensor, pi: Tensor, ridge: float) -> Tensor:
    """(intercept, β) from the normal equations with a column of ones."""
    x = torch.cat((torch.ones(len(z), 1), z), 1).double()
    penalty = ridge * torch.eye(x.shape[1], dtype=torch.float64)
    penalty[0, 0] = 0
    return torch.linalg.solve((x.T * pi) @ x + penalty, x.T @ (pi * v))


@pytest.mark.parametrize("ridge", [0.0, 0.01, 1.0, 30.0])
def test_the_fit_is_the_weighted_ridge_regression(ridge: float) -> None:
    rng = np.random.default_rng(0)
    z, v = torch.from_numpy(rng.random((60, 7)) < 0.5), torch.from_numpy(rng.normal(size=60))
    pi = cosine_kernel(z.sum(1), 7, 0.25)
    fit = LocalFit.of(z, v, pi, ridge)
    expected = closed_form(z, v, pi, ridge)
    assert torch.allclose(fit.weights, expected[1:])
    assert fit.intercept == pytest.approx(float(expected[0]))
    sklearn = pytest.importorskip("sklearn.linear_model")
    peer = sklearn.Ridge(alpha=ridge).fit(z.numpy(), v.numpy(), sample_weight=pi.numpy())
    assert np.allclose(fit.weights, peer.coef_)
    assert fit.r2 == pytest.approx(peer.score(z.numpy(), v.numpy(), sample_weight=pi.numpy()))


def test_weights_equal_limes_on_its_own_masks_and_scores() -> None:
    base = pytest.importorskip("lime.lime_base")
    rng = np.random.default_rng(1)
    z = rng.random((200, 9)) < 0.5
    z[0] = True
    v = z @ rng.normal(size=9) + z[:, 0] * z[:, 3] + rng.normal(size=200)
    distance = 1 - np.sqrt(z.mean(1))
    peer = base.LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)))
    intercept, weights, r2, _ = peer.explain_instance_with_data(
        z.astype(float), v[:, None], distance, 0, 9, feature_selection="none"
    )
    kept = torch.from_numpy(z)
    fit = LocalFit.of(kept, torch.from_numpy(v), cosine_kernel(kept.sum(1), 9, 0.25), ridge=1)
    assert np.allclose(fit.weights, [weight for _, weight in sorted(weights)])
    assert fit.intercept == pytest.approx(intercept)
    assert fit.r2 == pytest.approx(r2)


@torch.no_grad()
def test_where_all_coalitions_fit_in_the_budget_each_is_taken_once() -> None:
    x, z = torch.randn(1, 6, generator=torch.Generator().manual_seed(0)), all_coalitions(6)
    v = net(6)(x * z)[:, 0].double()
    expected = closed_form(z, v, cosine_kernel(z.sum(1), 6, 0.25), 0.01)[1:]
    found = uh.LIME(n=64)(net(6), x, 0)
    assert np.allclose(found.values, expected, atol=1e-6)
    assert not found.arrays["standard_error"].any()
    sampled = uh.LIME(n=62)(net(6), x, 0)
    assert (abs(sampled.values - expected.numpy()) < 5 * sampled.arrays["standard_error"]).all()
    assert sampled.arrays["standard_error"].all()


def test_a_linear_model_is_found_whole() -> None:
    weight = torch.randn(40, generator=torch.Generator().manual_seed(0))
    found = uh.LIME(n=400, ridge=0)(Linear(weight, 3.0), torch.ones(1, 40), 0, precision="float32")
    assert np.allclose(found.values, weight, atol=1e-4)
    assert found.diagnostics["r2"] == pytest.approx(1, abs=1e-6)
    assert found.diagnostics["intercept"] == pytest.approx(3, abs=1e-4)


def test_size_terms_are_orthogonal_to_every_group_over_all_coalitions() -> None:
    z = all_coalitions(9)
    kernel = cosine_kernel(torch.arange(10), 9, 0.25)
    weighted = kernel[z.sum(1), None] * size_terms(kernel)[z.sum(1)]
    assert weighted.shape == (512, 2)
    assert torch.allclose(z.double().T @ weighted, torch.zeros(9, 2, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(weighted.sum(0), torch.zeros(2, dtype=torch.float64), atol=1e-9)


M = 10


def repeated(n: int, repeats: int, worth: Tensor, truth: Tensor) -> tuple[float, float, float]:
    """Share of intervals that hold the truth, mean standard error, and root mean squared error."""
    kernel, bits = cosine_kernel(torch.arange(M + 1), M, 0.25), 2 ** torch.arange(M - 1, -1, -1)
    inside, errors, squares = [], [], []
    for seed in range(repeats):
        kept = torch.from_numpy(generator(seed, 0).random((n // 2, M)) < 0.5)
        both = torch.stack((kept, ~kept), 1).reshape(-1, M)
        v, size = worth[(both.long() * bits).sum(1)], both.sum(1)
        known = Known.learned(both, v, kernel)
        fit = LocalFit.of(both, v, kernel[size], 0.01, along=size_terms(kernel)[size], known=known)
        error, off = fit.standard_error(), fit.weights - truth
        inside.append(float((off.abs() <= student_t(n // 2 - 1) * error).double().mean()))
        errors.append(float(error.mean()))
        squares.append(float(off.square().mean()))
    return float(np.mean(inside)), float(np.mean(errors)), float(np.mean(squares)) ** 0.5


@pytest.mark.parametrize("kind", ["linear and noise", "nonlinear"])
def test_intervals_hold_the_truth_as_often_as_they_say_and_narrow_with_more_calls(
    kind: str,
) -> None:
    z = all_coalitions(M)
    rng = np.random.default_rng(3)
    if kind == "nonlinear":
        worth = net(M, 4)(2 * z.float()).detach()[:, 0].double()
    else:
        worth = torch.from_numpy(z.numpy() @ rng.normal(size=M) + 0.5 * rng.normal(size=2**M))
    truth = closed_form(z, worth, cosine_kernel(z.sum(1), M, 0.25), 0.0)[1:]
    held, wide, actual = repeated(200, 500 if kind == "linear and noise" else 250, worth, truth)
    assert 0.93 <= held <= 0.97
    assert wide == pytest.approx(actual, rel=0.12)
    _, narrow, _ = repeated(800, 30, worth, truth)
    assert wide / narrow >= 2 * 0.88  # more than by half, where more calls also teach more of interactions


@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
def test_real_networks_and_an_early_stop(build: Any) -> None:
    x, model = pictures(1, 64), uh.Model(build())
    found = uh.LIME(n=400, grouping=9, error=0.25)(model, x, 7)
    assert found.diagnostics["relative_standard_error"] <= 0.25
    assert found.diagnostics["calls"] < 400
    assert found.diagnostics["players"] == "9 patches of 22 × 22"
    assert 0 < found.diagnostics["r2"] <= 1
    assert found.values.shape == (64, 64)


def test_seeds_draw_other_coalitions_and_the_same_seed_the_same() -> None:
    x = torch.randn(1, 20, generator=torch.Generator().manual_seed(0))
    a, b, c = (uh.LIME(n=100)(net(20), x, 0, seed=seed).values for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"n": 7}, "even number"),
        ({"width": 0}, "above 0"),
        ({"ridge": -1}, "from 0 on"),
        ({"error": 0}, "above 0"),
        ({"baseline": "blurr"}, "did you mean 'blur'"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(uh.UnderhoodError, match=sentence):
        uh.LIME(**parameters)


def test_too_few_coalitions_are_refused() -> None:
    with pytest.raises(uh.UnderhoodError, match="needs n of at least 80, not 60"):
        uh.LIME(n=60)(Linear(torch.ones(30)), torch.ones(1, 30), 0)
