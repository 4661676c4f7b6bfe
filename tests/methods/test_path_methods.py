"""Expected gradients, BlurIG and GuidedIG: known answers, completeness, and replicas of their definitions."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import NETS, Linear, explained, pictures
from tests.methods.test_batch_is_one_by_one import TARGETS, assert_same, batch
from tests.support.toys import B2, B3, MIN, ML
from underhood.inputs.baseline import gaussian_blur

ROW = torch.tensor([[20.0, 50.0, 30.0]])
METHODS = {
    "expected_gradients": uh.ExpectedGradients(n=6, baseline=pictures(2, 64, seed=5)),
    "expected_gradients, noise": uh.ExpectedGradients(n=6),
    "blur_ig": uh.BlurIG(steps=4),
    "guided_ig": uh.GuidedIG(steps=5, distance=0.3),
}


def smooth(features: int = 6, *, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(features, 8), nn.Tanh(), nn.Linear(8, 2)).eval()


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
def test_a_batch_equals_its_inputs_one_by_one(build: Any, method: uh.Method) -> None:
    model, x = uh.Model(build()), batch()
    together = method(model, x, TARGETS)
    for i, target in enumerate(TARGETS):
        assert_same(together[i], method(model, x[i], target))


@pytest.mark.parametrize(
    ("method", "baseline"),
    [
        (uh.ExpectedGradients(n=4, baseline=0.5), lambda x: torch.full_like(x, 0.5)),
        (uh.BlurIG(steps=3), lambda x: gaussian_blur(x, 0.2 * 8)),
        (uh.GuidedIG(steps=3, baseline=0.5), lambda x: torch.full_like(x, 0.5)),
    ],
    ids=lambda m: getattr(m, "key", ""),
)
def test_on_a_linear_model_they_are_weights_times_differences(method: uh.Method, baseline: Any) -> None:
    x, w = pictures(2, 8), torch.randn(3, 8, 8)
    found = method(Linear(w, bias=3), x, 0)
    for i, explanation in enumerate(found):
        assert np.allclose(explanation.values, (w * (x - baseline(x)))[i], atol=2e-5)
        assert abs(explanation.diagnostics["completeness_gap"]) < 1e-3
        if "standard_error" in explanation.arrays:
            assert explanation.arrays["standard_error"].max() < 1e-5


@pytest.mark.parametrize(
    ("net", "x", "expected"),
    [
        (ML(), ROW, [78, 195, 117]),
        (B2(), torch.tensor([[3.0, 1.0]]), [1.5, -0.5]),
        (B3(), torch.tensor([[3.0, 1.0]]), [1.5, -0.5]),
        (MIN(), torch.tensor([[1.0, 2.0]]), [1, 0]),
        (MIN(), torch.tensor([[3.0, 1.0]]), [0, 1]),
    ],
    ids=lambda v: type(v).__name__,
)
def test_expected_gradients_from_one_baseline_are_integrated_gradients_within_their_error(
    net: nn.Module, x: Tensor, expected: list[float]
) -> None:
    found = uh.ExpectedGradients(n=4000, baseline=0.0)(net, x[0], 0)
    error = found.arrays["standard_error"]
    assert (abs(found.values - expected) <= 4 * error + 1e-4 * abs(found.values).max()).all()
    assert error.max() < 0.02 * abs(found.values).max()


def test_expected_gradients_are_integrated_gradients_averaged_over_the_background() -> None:
    net, x, background = smooth(), torch.randn(2, 6), torch.randn(5, 6)
    exact = uh.IntegratedGradients(baseline=background)(net, x, [0, 1])
    found = uh.ExpectedGradients(n=4000, baseline=background)(net, x, [0, 1])
    for a, b in zip(found, exact, strict=True):
        error = a.arrays["standard_error"]
        assert (abs(a.values - b.values) < 4.5 * error).all()
        assert error.max() < 0.05 * abs(b.values).max()
        assert a.diagnostics["score_difference"] == pytest.approx(b.diagnostics["score_difference"], abs=1e-4)
        assert abs(a.diagnostics["completeness_gap"]) < 4.5 * np.sqrt((error**2).sum() * error.size)


def test_expected_gradients_agree_with_captums_gradient_shap() -> None:
    peer = pytest.importorskip("captum.attr").GradientShap
    net, x, background = smooth(), torch.randn(1, 6), torch.randn(5, 6)
    torch.manual_seed(0)
    theirs = peer(net).attribute(x, background, n_samples=4000, stdevs=0.0, target=1)
    ours = explained(uh.ExpectedGradients(n=4000, baseline=background), net, x, 1)
    assert torch.allclose(ours, theirs.float(), atol=0.05 * float(theirs.abs().max()))


def test_the_standard_error_matches_the_spread_over_seeds() -> None:
    net, x, background = smooth(32), 2 * torch.randn(32), torch.randn(200, 32)
    method = uh.ExpectedGradients(n=20, baseline=background)
    found = [method(net, x, 0, seed=seed) for seed in range(60)]
    spread = np.stack([e.values for e in found]).std(0, ddof=1).mean()
    claimed = np.sqrt((np.stack([e.arrays["standard_error"] for e in found]) ** 2).mean(0)).mean()
    assert claimed == pytest.approx(spread, rel=0.15)
    assert np.array_equal(method(net, x, 0, seed=3).values, found[3].values)


def test_expected_gradients_stop_early_at_the_wanted_error() -> None:
    net, x, background = smooth(), torch.randn(2, 6), torch.randn(5, 6)
    method = uh.ExpectedGradients(n=5000, baseline=background, error=0.03)
    found = method(net, x, [0, 1])
    for i, explanation in enumerate(found):
        assert explanation.diagnostics["relative_standard_error"] <= 0.03
        assert 8 <= explanation.diagnostics["draws"] < 5000
        alone = method(net, x[i], i, memory=1)
        assert alone.diagnostics["draws"] == explanation.diagnostics["draws"]
        assert np.allclose(alone.values, explanation.values, atol=1e-5)


def test_a_map_within_its_noise_is_no_signal() -> None:
    class Ripples(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sin(500 * x).flatten(1).sum(1, keepdim=True)

    found = uh.ExpectedGradients(n=10)(Ripples(), torch.rand(3, 16, 16), 0)
    assert "does not rise above its noise" in str(found.no_signal)


@given(st.integers(0, 10_000))
@settings(max_examples=8)
def test_paths_are_complete(seed: int) -> None:
    net = smooth(2 * 36, seed=seed)
    x = torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(seed))
    target = uh.Contrast(0, 1)
    for method in (uh.BlurIG(steps=100), uh.GuidedIG(steps=100, baseline=1.0)):
        diagnostics = method(net, x, target).diagnostics
        mass = 0.02 * (1 + abs(diagnostics["score_difference"]))
        assert abs(diagnostics["completeness_gap"]) < mass, method.key


def test_paths_of_equal_networks_are_equal() -> None:
    x = torch.tensor([[3.0, 1.0], [2.0, 0.5]])
    for method in (uh.GuidedIG(steps=20, distance=0.5, fraction=0.4), uh.ExpectedGradients(baseline=0.0)):
        assert torch.equal(explained(method, B2(), x, 0), explained(method, B3(), x, 0))


def conv() -> nn.Module:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Softplus(), nn.Conv2d(4, 4, 3), nn.Tanh(), nn.Flatten())
    return nn.Sequential(net, nn.Linear(4 * 64, 2)).eval()


def slope(net: nn.Module, x: np.ndarray) -> np.ndarray:
    leaf = torch.from_numpy(x).float().requires_grad_()
    return torch.autograd.grad(net(leaf[None])[0, 0], leaf)[0].double().numpy()


def test_blur_ig_is_the_integral_over_scales_of_its_paper() -> None:
    """The derivative by σ taken by small differences, summed from the right: another way altogether."""
    net, x = conv(), pictures(1, 12)[0, :1].double()
    steps, largest, small = 400, 0.2 * 12, 1e-3
    total = np.zeros(x.shape)
    for sigma in (np.arange(steps) + 0.5) * largest / steps:
        at = blurred(x.numpy(), sigma)
        derivative = (blurred(x.numpy(), sigma + small) - at) / small
        total -= slope(net, at) * derivative * largest / steps
    found = explained(uh.BlurIG(steps=400), net, x[None].float(), 0)[0].numpy()
    assert np.corrcoef(found.ravel(), total.ravel())[0, 1] > 0.998
    assert np.allclose(found, total, atol=0.05 * abs(total).max())


def blurred(x: np.ndarray, sigma: float) -> np.ndarray:
    """Convolved with a wide Gaussian kernel, row by row, edges repeated."""
    offsets = np.arange(-30, 31)
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    for axis in (1, 2):
        padded = np.pad(x, [(30, 30) if a == axis else (0, 0) for a in range(3)], mode="edge")
        x = np.apply_along_axis(lambda line: np.convolve(line, kernel, "valid"), axis, padded)
    return x


@pytest.mark.parametrize(("fraction", "distance"), [(0.25, 0.02), (0.1, 0.2), (0.5, 1.0)])
def test_guided_ig_is_the_papers_algorithm(fraction: float, distance: float) -> None:
    net, x = conv(), pictures(2, 12)[:, :1]
    found = explained(uh.GuidedIG(40, fraction, distance, baseline=0.3), net, x, 0)
    for mine, picture in zip(found, x, strict=True):
        expected = guided(net, picture.double().numpy(), np.full((1, 12, 12), 0.3), 40, fraction, distance)
        assert np.allclose(mine, expected, rtol=1e-2, atol=5e-3 * abs(expected).max())


def guided(  # noqa: PLR0917
    net: nn.Module, x: np.ndarray, start: np.ndarray, steps: int, fraction: float, distance: float
) -> np.ndarray:
    """Algorithm 1, element by element in alphas (the share of its way that an element has gone)."""
    way = x - start
    done, total = np.zeros(x.shape), np.zeros(x.shape)
    for step in range(steps):
        gradient, before = slope(net, start + done * way), done.copy()
        goal = (step + 1) / steps
        low, high = max(goal - distance, 0), min(goal + distance, 1)
        done = np.maximum(done, low)
        while True:
            missing = abs(way).sum() * goal - (abs(way) * done).sum()
            free = (done < high - 1e-12) & (way != 0)
            if missing <= 1e-6 * abs(way).sum() or not free.any():
                break
            ranked = np.sort(np.where(free, abs(gradient), np.inf).ravel())
            chosen = free & (abs(gradient) <= ranked[int(fraction * (ranked.size - 1))])
            room = (abs(way) * (high - done))[chosen].sum()
            share = min(1, missing / room)
            done[chosen] += share * (high - done[chosen])
            if share < 1:
                break
        total += gradient * way * (done - before)
    return total


def test_progress_is_told_and_the_users_module_is_as_before() -> None:
    net, told = smooth(), []
    before = {name: t.clone() for name, t in net.state_dict().items()}
    uh.GuidedIG(steps=7)(net, torch.randn(2, 6), 0, progress=lambda done, total: told.append((done, total)))
    assert (14, 14) in told
    assert [done for done, total in told if total == 14] == [2, 4, 6, 8, 10, 12, 14]
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())


@pytest.mark.parametrize(
    "target", [uh.Contrast(1, 2), uh.Unit("layer2", 5, (3, 4)), uh.Class(1, output="probability")], ids=str
)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_any_target(method: uh.Method, target: Any) -> None:
    assert method(NETS["resnet18"](), pictures(1, 64), target).values.any()


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: uh.ExpectedGradients(n=5), "even number"),
        (lambda: uh.ExpectedGradients(n=2), "from 4"),
        (lambda: uh.ExpectedGradients(error=0), "above 0"),
        (lambda: uh.ExpectedGradients(baseline="inpaint"), "cannot stand for a whole input"),
        (lambda: uh.BlurIG(steps=1), "from 2 on"),
        (lambda: uh.BlurIG(sigma=0), "above 0"),
        (lambda: uh.BlurIG()(smooth(), torch.randn(1, 6), 0), "needs pictures"),
        (lambda: uh.GuidedIG(steps=0), "from 1 on"),
        (lambda: uh.GuidedIG(fraction=0), "share above 0"),
        (lambda: uh.GuidedIG(distance=1.5), "up to 1"),
        (lambda: uh.GuidedIG(baseline="inpaint"), "cannot stand for a whole input"),
    ],
)
def test_what_makes_no_sense_is_refused(build: Any, sentence: str) -> None:
    with pytest.raises(uh.UnderhoodError, match=sentence):
        build()
