"""Integrated gradients: the gap is reported, the tolerance kept, baselines averaged and named."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import NETS, explained, gradient, pictures
from tests.support.toys import MIN, ML
from underhood.inputs.baseline import gaussian_blur


class Steep(nn.Module):
    """A sharp step in the first element, 3 x₂ besides."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(60 * (x[:, :1] - 0.37)) + 3 * x[:, 1:2]


@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
def test_the_sum_and_the_gap_of_real_networks_are_as_stated(build: Any) -> None:
    net, x = build(), pictures(2, 64)
    with torch.no_grad():
        difference = (net(x) - net(torch.zeros_like(x)))[[0, 1], [5, 2]]
    for explanation, expected in zip(uh.IntegratedGradients()(net, x, [5, 2]), difference, strict=True):
        d = explanation.diagnostics
        assert d["score_difference"] == pytest.approx(float(expected), rel=1e-3, abs=1e-5)
        assert d["completeness_gap"] == pytest.approx(
            float(explanation.values.astype(np.float64).sum()) - d["score_difference"], abs=1e-4
        )
        assert d["relative_gap"] == pytest.approx(abs(d["completeness_gap"] / d["score_difference"]))
        assert d["relative_gap"] < 0.1
        assert d["steps"] == 50


def test_the_definition_by_plain_torch() -> None:
    net, x, baseline = NETS["resnet18"](), pictures(2, 64), pictures(1, 64, seed=9)
    points, weights = np.polynomial.legendre.leggauss(7)
    classes = torch.tensor([5, 2])
    mean = sum(
        w / 2 * gradient(net, baseline + (p + 1) / 2 * (x - baseline), classes)
        for p, w in zip(points.tolist(), weights.tolist(), strict=True)
    )
    found = explained(uh.IntegratedGradients(steps=7, baseline=baseline), net, x, classes.tolist())
    expected = (x - baseline) * mean
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_tolerance_raises_the_steps_only_where_they_are_needed_and_until_the_gap_is_below_it() -> None:
    x = torch.tensor([[0.0, 2.0], [1.0, 2.0], [0.3, 1.0]])
    method = uh.IntegratedGradients(steps=4, tolerance=1e-3, max_steps=512)
    found = method(Steep(), x, 0)
    steps = [e.diagnostics["steps"] for e in found]
    assert steps[0] == 4
    assert steps[1] > 16
    for explanation in found:
        assert explanation.diagnostics["relative_gap"] <= 1e-3
    half = uh.IntegratedGradients(steps=steps[1] // 2)(Steep(), x[1], 0)
    assert half.diagnostics["relative_gap"] > 1e-3  # the last doubling was needed
    for i, explanation in enumerate(found):
        exact = uh.IntegratedGradients(steps=steps[i])(Steep(), x[i], 0)
        assert np.allclose(explanation.values, exact.values, atol=1e-6)


def test_tolerance_stops_at_the_most_steps_and_tells_the_gap() -> None:
    found = uh.IntegratedGradients(steps=2, tolerance=1e-6, max_steps=10)(
        Steep(), torch.tensor([1.0, 2.0]), 0
    )
    assert found.diagnostics["steps"] == 8
    assert found.diagnostics["relative_gap"] > 1e-6


def test_more_steps_make_the_gap_smaller() -> None:
    gaps = [
        uh.IntegratedGradients(steps=n)(Steep(), torch.tensor([1.0, 0.5]), 0).diagnostics["relative_gap"]
        for n in (4, 16, 64, 256)
    ]
    assert gaps[-1] < 1e-5 < gaps[1]
    assert gaps[-1] < gaps[2] < gaps[0]


def test_several_baselines_are_averaged() -> None:
    net, x, samples = NETS["resnet18"](), pictures(2, 64), pictures(3, 64, seed=8)
    together = uh.IntegratedGradients(steps=5, baseline=samples)(net, x, [1, 2])
    apart = [
        explained(uh.IntegratedGradients(steps=5, baseline=sample[None]), net, x, [1, 2])
        for sample in samples
    ]
    mean = torch.stack(apart).mean(0)
    for i, explanation in enumerate(together):
        assert np.allclose(explanation.values, mean[i], atol=1e-4 * float(mean.abs().max()))
        assert explanation.diagnostics["baselines"] == 3
        with torch.no_grad():
            difference = float((net(x)[i] - net(samples).mean(0))[i + 1])
        assert explanation.diagnostics["score_difference"] == pytest.approx(difference, rel=1e-3, abs=1e-5)


IMAGENET = uh.Preprocess(size=None, crop=None)


def black() -> Tensor:
    return -torch.tensor(IMAGENET.mean)[:, None, None] / torch.tensor(IMAGENET.std)[:, None, None]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("zeros", torch.zeros_like),
        ("mean", torch.zeros_like),
        ("black", lambda x: black().expand_as(x)),
        ("blur", lambda x: gaussian_blur(x, 0.05 * 64)),
    ],
)
def test_named_baselines_are_what_they_say_and_are_recorded(name: str, values: Any) -> None:
    net, x = NETS["resnet18"](), pictures(2, 64)
    model = uh.Model(net, preprocess=IMAGENET)
    found = uh.IntegratedGradients(steps=3, baseline=name)(model, x, 0)
    expected = [
        explained(uh.IntegratedGradients(steps=3, baseline=values(x)[i : i + 1]), net, x[i : i + 1])[0]
        for i in range(2)
    ]
    for explanation, by_hand in zip(found, expected, strict=True):
        assert np.allclose(explanation.values, by_hand, atol=1e-4 * float(by_hand.abs().max()))
        assert explanation.parameters["baseline"] == name


def test_noise_baselines_are_drawn_from_the_range_and_recorded() -> None:
    net, x = NETS["resnet18"](), pictures(1, 64)
    found = uh.IntegratedGradients(steps=2, baseline="noise")(net, x, 0)
    assert found.diagnostics["baselines"] == 4
    assert found.parameters["baseline"] == "noise"


def test_the_same_input_as_baseline_gives_no_signal_rather_than_a_picture() -> None:
    x = pictures(1, 64)
    found = uh.IntegratedGradients(steps=2, baseline=x)(NETS["resnet18"](), x, 0)
    assert not found.values.any()
    assert found.no_signal == "the map is zero everywhere"
    assert found.diagnostics["relative_gap"] is None


def test_a_gap_larger_than_the_map_is_no_signal() -> None:
    """One step in the middle of a jump's flat part sees nothing of it."""
    found = uh.IntegratedGradients(steps=2)(Steep(), torch.tensor([1.0, 1e-3]), 0)
    assert abs(found.diagnostics["completeness_gap"]) > abs(found.values).sum()
    assert "completeness gap" in str(found.no_signal)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"steps": 0}, "whole number from 1"),
        ({"tolerance": 0.0}, "above 0"),
        ({"baseline": "inpaint"}, "cannot stand for a whole input"),
        ({"baseline": "nois"}, "did you mean 'noise'"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(uh.UnderhoodError, match=sentence):
        uh.IntegratedGradients(**parameters)


def test_baselines_that_do_not_fit_are_refused() -> None:
    with pytest.raises(uh.UnderhoodError, match=r"shape \(2,\), the inputs \(3,\)"):
        uh.IntegratedGradients(baseline=torch.zeros(1, 2))(ML(), torch.ones(1, 3), 0)
    with pytest.raises(uh.UnderhoodError, match="needs pictures"):
        uh.IntegratedGradients(baseline="blur")(ML(), torch.ones(1, 3), 0)
    with pytest.raises(uh.UnderhoodError, match="needs a preprocessing that knows the data's mean"):
        uh.IntegratedGradients(baseline="mean")(MIN(), torch.ones(1, 2), 0)
