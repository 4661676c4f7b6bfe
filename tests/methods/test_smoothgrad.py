"""SmoothGrad against closed forms: S = Σ a x²/2 and S = Σ x³, whose noisy gradients are known."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import NETS, Linear, explained, pictures
from underhood.inputs.random import NOISE, normal


class Quadratic(nn.Module):
    """S = Σ a x² / 2, so the gradient is a x."""

    def __init__(self, a: Tensor) -> None:
        super().__init__()
        self.a = a

    def forward(self, x: Tensor) -> Tensor:
        return (self.a * x**2 / 2).flatten(1).sum(1, keepdim=True)


class Cubic(nn.Module):
    """S = Σ x³: a pair's mean gradient is 3 (x² + σ² ε²), of mean 3 (x² + σ²) and variance 18 σ⁴."""

    def forward(self, x: Tensor) -> Tensor:
        return (x**3).flatten(1).sum(1, keepdim=True)


A = torch.tensor([1.0, -2.0, 0.5, 3.0])
X = torch.tensor([[-1.0, 0.5, 1.0, 0.0], [3.0, 1.0, -1.0, 0.0]])  # ranges 2 and 4
RANGES = torch.tensor([[2.0], [4.0]])


def noise(n: int, seed: int) -> Tensor:
    """The ε of each pair, (n/2, 4)."""
    return torch.stack([normal((4,), seed, NOISE, pair) for pair in range(n // 2)])


@pytest.mark.parametrize("of", [uh.Saliency("signed"), uh.IntegratedGradients(steps=2)], ids=lambda m: m.key)
def test_on_a_linear_model_the_mean_is_exact_and_its_error_zero(of: uh.Method) -> None:
    found = uh.SmoothGrad(n=8, of=of)(Linear(A), X, 0)
    for explanation, x in zip(found, X, strict=True):
        expected = A if of.key == "saliency" else A * x
        assert np.allclose(explanation.values, expected, atol=1e-5)
        if of.key == "saliency":
            assert not explanation.arrays["standard_error"].any()
    for weight in (A, A / 3 + 1000):  # also where sums of squares would round
        assert not explained(uh.SmoothGrad(n=50, kind="variance"), Linear(weight), X).any()


def test_antithetic_pairs_cancel_what_is_linear_in_the_noise() -> None:
    for n in (4, 50):
        found = explained(uh.SmoothGrad(n=n), Quadratic(A), X)
        assert torch.allclose(found, A * X, atol=1e-6)


@pytest.mark.parametrize("n", [4, 10, 50])
def test_vargrad_is_the_variance_of_the_gradients_divided_by_n_minus_1(n: int) -> None:
    found = explained(uh.SmoothGrad(n=n, sigma=0.3, kind="variance"), Quadratic(A), X, seed=7)
    copies = A * (0.3 * RANGES * torch.cat((noise(n, 7), -noise(n, 7)))[:, None])  # (n, B, 4)
    assert torch.allclose(found, copies.var(0), rtol=1e-4)
    closed = (A * 0.3 * RANGES) ** 2 * 2 * noise(n, 7).square().sum(0) / (n - 1)
    assert torch.allclose(found, closed, rtol=1e-4)


def test_smoothgrad_squared_is_the_mean_of_the_squares() -> None:
    found = explained(uh.SmoothGrad(n=20, sigma=0.3, kind="squared"), Quadratic(A), X, seed=7)
    expected = A**2 * (X**2 + (0.3 * RANGES) ** 2 * noise(20, 7).square().mean(0))
    assert torch.allclose(found, expected, rtol=1e-4)


def test_the_noise_is_a_share_of_each_inputs_own_range() -> None:
    found = explained(uh.SmoothGrad(n=20, sigma=0.3), Cubic(), X, seed=7)
    expected = 3 * (X**2 + (0.3 * RANGES) ** 2 * noise(20, 7).square().mean(0))
    assert torch.allclose(found, expected, rtol=1e-4)


def test_the_standard_error_is_the_closed_form_and_shrinks_as_the_root_of_n() -> None:
    wide = torch.cat([X, X + 1], 1).repeat(1, 64)  # 512 elements to average over
    errors = {}
    for n in (64, 1024):
        found = uh.SmoothGrad(n=n)(Cubic(), wide, 0)
        for explanation, x in zip(found, wide, strict=True):
            sigma = 0.15 * float(x.max() - x.min())
            closed = (18 * sigma**4 / (n / 2)) ** 0.5
            errors[n, closed] = float(explanation.arrays["standard_error"].mean()) / closed
            assert errors[n, closed] == pytest.approx(1, abs=0.08)


def test_the_standard_error_matches_the_spread_over_seeds() -> None:
    x = X[:1].repeat(1, 32)
    found = [uh.SmoothGrad(n=16)(Cubic(), x, 0, seed=seed) for seed in range(60)]
    spread = np.stack([e.values for e in found]).std(0, ddof=1).mean()
    claimed = np.sqrt((np.stack([e.arrays["standard_error"] for e in found]) ** 2).mean(0)).mean()
    assert claimed == pytest.approx(spread, rel=0.1)


def test_it_stops_early_once_the_wanted_error_is_reached() -> None:
    x = X[:1].repeat(1, 32)
    found = uh.SmoothGrad(n=5000, error=0.02)(Cubic(), x, 0)
    assert found.diagnostics["relative_standard_error"] <= 0.02
    assert 8 <= found.diagnostics["copies"] < 2000
    assert 0 <= found.provenance["backward_passes"] - found.diagnostics["copies"] < 32  # of a micro-batch
    full = uh.SmoothGrad(n=found.diagnostics["copies"])(Cubic(), x, 0)
    assert np.allclose(found.values, full.values, rtol=1e-4)
    stricter = uh.SmoothGrad(n=5000, error=0.005)(Cubic(), x, 0)
    assert stricter.diagnostics["copies"] > 4 * found.diagnostics["copies"]


def test_each_input_stops_by_itself_whatever_its_batch_mates_and_the_memory() -> None:
    noisy = X[:1].repeat(1, 32)
    calm = noisy * 0.01 + 100  # far from 0, where a cubic is nearly straight
    both = uh.SmoothGrad(n=5000, error=0.02)(Cubic(), torch.cat((noisy, calm)), 0)
    assert all(e.diagnostics["relative_standard_error"] <= 0.02 for e in both)
    assert both[1].diagnostics["copies"] < both[0].diagnostics["copies"]
    for x, together in zip((noisy, calm), both, strict=True):
        for memory in (1, None):
            alone = uh.SmoothGrad(n=5000, error=0.02)(Cubic(), x, 0, memory=memory)
            assert alone.diagnostics["copies"] == together.diagnostics["copies"]
            assert np.allclose(alone.values, together.values, rtol=1e-5)


def test_an_error_that_is_not_reached_takes_all_copies() -> None:
    found = uh.SmoothGrad(n=20, error=1e-9)(Cubic(), X[0], 0)
    assert found.diagnostics["copies"] == 20
    assert found.diagnostics["relative_standard_error"] > 1e-9


def test_clamping_keeps_copies_inside_each_inputs_range() -> None:
    seen: list[Tensor] = []

    class Watched(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach().clone())
            return x[:, :1] ** 2

    uh.SmoothGrad(n=50, sigma=1.0, clamp="input")(Watched(), X[1], 0)
    inside = torch.cat(seen)
    assert inside.min() == -1
    assert inside.max() == 3
    seen.clear()
    uh.SmoothGrad(n=50, sigma=1.0)(Watched(), X[1], 0)
    assert torch.cat(seen).max() > 3.5


def test_the_copies_are_asked_about_the_class_predicted_for_the_input_itself() -> None:
    class Switch(nn.Module):
        """Class 1 wins wherever the noise pushes the input above 0.1."""

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack((x[:, 0] * 2 + 10, x[:, 0] * 1e4 + 9), 1)

    found = uh.SmoothGrad(n=50, sigma=1.0)(Switch(), torch.tensor([0.0, -1.0]), None)
    assert found.target == "class 0"
    assert np.allclose(found.values, [2, 0])


@pytest.mark.parametrize("of", [uh.GradCAM(relu=False), uh.InputXGradient()], ids=lambda m: m.key)
def test_any_gradient_method_can_be_smoothed(of: uh.Method) -> None:
    net, x = NETS["resnet18"](), pictures(2, 64)
    calm = explained(uh.SmoothGrad(n=4, sigma=1e-6, of=of), net, x, [1, 2])
    assert torch.allclose(calm, explained(of, net, x, [1, 2]), rtol=1e-2, atol=1e-3 * float(calm.abs().max()))
    assert uh.SmoothGrad(of=of).card.signed


def test_noise_alone_is_reported_as_no_signal() -> None:
    class Ripples(nn.Module):
        """Its gradient at a noisy copy is a random number of mean 0."""

        def forward(self, x: Tensor) -> Tensor:
            return torch.cos(300 * x).flatten(1).sum(1, keepdim=True)

    x = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    for n in (10, 50):
        for explanation in uh.SmoothGrad(n=n)(Ripples(), x, 0):
            assert "does not rise above its noise" in str(explanation.no_signal)
    assert uh.SmoothGrad(n=10)(Cubic(), x[0], 0).no_signal is None


def test_a_zero_map_is_no_signal() -> None:
    found = uh.SmoothGrad(n=4)(Linear(torch.zeros(4)), X[0], 0)
    assert found.no_signal == "the map is zero everywhere"


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"n": 7}, "even number"),
        ({"n": 2}, "from 4"),
        ({"sigma": 0}, "above 0"),
        ({"kind": "median"}, "mean, squared or variance"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(uh.UnderhoodError, match=sentence):
        uh.SmoothGrad(**parameters)
