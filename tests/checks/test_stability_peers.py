"""Stability beside captum and Quantus: the same figures for the same noise, and where they mislead."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from underhood.checks import (
    AverageSensitivity,
    LocalLipschitz,
    MaxSensitivity,
    RelativeInputStability,
    RelativeOutputStability,
    RelativeRepresentationStability,
)
from underhood.checks.nearby import Nearby
from underhood.methods import Drawn

captum_attr = pytest.importorskip("captum.attr")
captum_metrics = pytest.importorskip("captum.metrics")
quantus = pytest.importorskip("quantus")

DRAWS, RADIUS = 6, 0.05
ALIKE = {"draws": DRAWS, "radius": RADIUS, "unit": "input"}


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3, padding=1), nn.Softplus(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 3)
    return nn.Sequential(*layers).eval()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(3))


def noise(x: Tensor) -> Tensor:
    """Ours, (draws, 1, H, W)."""
    near = Nearby(RADIUS, unit="input")
    return torch.stack([RADIUS * near.unit_noise(tuple(x.shape[1:]), 0, n) for n in range(DRAWS)])


def explained(model: Any, inputs: np.ndarray, targets: np.ndarray, **_: Any) -> np.ndarray:
    """Quantus' way to ask for |∂S/∂x|."""
    leaf = torch.as_tensor(inputs, dtype=torch.float32).requires_grad_()
    scores = model(leaf).gather(1, torch.as_tensor(targets).long()[:, None])
    return torch.autograd.grad(scores.sum(), leaf)[0].abs().numpy()


def drawn(x: Tensor) -> Callable[..., np.ndarray]:
    """Quantus' noise replaced by ours, draw by draw."""
    left = iter(noise(x).flatten(1).numpy())
    return lambda arr, indices, **_: arr + next(left)[None]  # noqa: ARG005


def of_quantus(metric: type, net: nn.Module, x: Tensor, target: Tensor, **kwargs: Any) -> list[float]:
    made = metric(
        nr_samples=DRAWS, perturb_func=drawn(x), disable_warnings=True, abs=False, normalise=False, **kwargs
    )
    batch, classes = x.numpy().copy(), target.numpy()
    found = made(
        model=net, x_batch=batch, y_batch=classes, a_batch=explained(net, batch, classes),
        explain_func=explained, channel_first=True,
    )  # fmt: skip
    return [float(value) for value in found]


def test_max_sensitivity_is_captums(net: nn.Module, x: Tensor) -> None:
    target = net(x).argmax(1)
    ours = MaxSensitivity(**ALIKE)(uh.explain(net, x, methods="saliency"))
    theirs = captum_metrics.sensitivity_max(
        captum_attr.Saliency(net).attribute,
        x,
        perturb_func=lambda inputs: inputs + noise(x).repeat(len(inputs) // DRAWS, 1, 1, 1),
        n_perturb_samples=DRAWS,
        target=target,
    )
    assert all(r.details["changed_class"] == 0 for r in ours)
    assert ours.values == pytest.approx(theirs.tolist(), rel=1e-4)


def test_captums_own_ball_is_ours(net: nn.Module, x: Tensor) -> None:
    """Both draw each element uniformly within ± the radius: means over many draws agree."""
    ours = AverageSensitivity(draws=200, radius=0.02, unit="input")(
        uh.explain(net, x[:1], methods="saliency")
    )
    torch.manual_seed(0)
    theirs = [
        float(
            captum_metrics.sensitivity_max(
                captum_attr.Saliency(net).attribute,
                x[:1],
                n_perturb_samples=1,
                target=int(net(x[:1]).argmax()),
            )
        )
        for _ in range(200)
    ]
    assert ours.value == pytest.approx(float(np.mean(theirs)), rel=0.05)


def test_captum_calls_a_zero_map_stable(net: nn.Module, x: Tensor) -> None:
    theirs = captum_metrics.sensitivity_max(lambda inputs: (torch.zeros_like(inputs[0]),), x)
    assert theirs.tolist() == [0.0, 0.0]  # the best there is
    ours = MaxSensitivity()(uh.explain(net, x, methods=Drawn(lambda x: torch.zeros_like(x[:, 0]), "zero")))
    assert dict(ours.undefined) == {"the map is zero everywhere": 2}


def test_captum_counts_draws_that_change_the_class() -> None:
    """Where another class is predicted, another map of the predicted class is right."""
    net = nn.Linear(2, 2, bias=False)
    net.weight.data = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    x = torch.tensor([[1.0, 0.33]])

    def of_the_predicted(inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (net.weight[net(inputs[0]).argmax(1)].detach(),)

    theirs = captum_metrics.sensitivity_max(of_the_predicted, x, n_perturb_samples=50)
    assert float(theirs) == pytest.approx(10**0.5)
    ours = MaxSensitivity(50, 0.02, unit="input")(uh.explain(net, x, methods=uh.Saliency("signed")))
    assert ours.value == 0
    assert 0 < ours[0].details["changed_class"] < 50


@pytest.mark.parametrize(
    ("check", "metric"),
    [
        (MaxSensitivity, "MaxSensitivity"),
        (AverageSensitivity, "AvgSensitivity"),
        (LocalLipschitz, "LocalLipschitzEstimate"),
        (RelativeInputStability, "RelativeInputStability"),
        (RelativeOutputStability, "RelativeOutputStability"),
    ],
)
def test_figures_are_those_of_quantus(net: nn.Module, x: Tensor, check: type, metric: str) -> None:
    ours = check(**ALIKE)(uh.explain(net, x, methods="saliency"))
    theirs = of_quantus(getattr(quantus, metric), net, x, net(x).argmax(1))
    assert ours.values == pytest.approx(theirs, rel=1e-3)


def test_relative_representation_stability_is_that_of_quantus(net: nn.Module, x: Tensor) -> None:
    ours = RelativeRepresentationStability(**ALIKE, layer="2")(uh.explain(net, x, methods="saliency"))
    metric = quantus.RelativeRepresentationStability
    theirs = of_quantus(metric, net, x, net(x).argmax(1), layer_names=["2"])
    assert ours.values == pytest.approx(theirs, rel=1e-3)


def test_quantus_gives_nan_where_one_draw_changes_the_class() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)).eval()
    net[1].weight.data = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    x = torch.tensor([1.0, 1.0, 0.99, 0.99]).reshape(1, 1, 2, 2)
    reading = RelativeInputStability(**ALIKE)(uh.explain(net, x, methods="saliency"))[0]
    assert 0 < reading.details["changed_class"] < DRAWS
    assert reading.value == 0
    [theirs] = of_quantus(quantus.RelativeInputStability, net, x, torch.tensor([0]))
    assert np.isnan(theirs)


def test_quantus_relative_stability_only_ever_brightens(x: Tensor) -> None:
    """Its default noise lies in [0.02, 0.2]: no ball around the input, and no input at its centre."""
    metric = quantus.RelativeInputStability(nr_samples=2, disable_warnings=True)
    arr = np.zeros((1, 64), dtype=np.float32)
    found = metric.perturb_func(arr=arr, indices=np.tile(np.arange(64), (1, 1)))
    assert found.min() >= 0.02
    delta = noise(x)
    assert float(delta.mean().abs()) < 0.1 * RADIUS
    assert float(delta.min()) < -0.9 * RADIUS
