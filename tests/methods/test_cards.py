"""Every method's card is complete, and what it claims is true."""

from dataclasses import fields
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import nn

import underhood as uh
from tests.methods.nets import pictures, resnet18
from tests.support.toys import S3
from underhood.methods.card import QUESTIONS, Question
from underhood.methods.explain import METHODS

VARIANTS: list[uh.Method] = [
    uh.Saliency(),
    uh.Saliency("signed"),
    uh.Saliency("squared"),
    uh.InputXGradient(),
    uh.SmoothGrad(n=4),
    uh.SmoothGrad(n=4, kind="squared"),
    uh.SmoothGrad(n=4, kind="variance", of=uh.InputXGradient()),
    uh.SmoothGrad(n=4, of=uh.InputXGradient()),
    uh.IntegratedGradients(steps=8),
    uh.GradCAM("layer3"),
    uh.GradCAM("layer3", relu=False),
    uh.GradCAMPlusPlus("layer3"),
    uh.GradCAMPlusPlus("conv1", relu=False),
    uh.XGradCAM("layer3"),
    uh.XGradCAM("layer3", relu=False),
    uh.HiResCAM("layer3"),
    uh.HiResCAM("layer3", relu=False),
    uh.LayerCAM("layer3"),
    uh.AblationCAM("layer3"),
    uh.ScoreCAM("conv1"),
    uh.ScoreCAM("conv1", relu=False),
    uh.FullGrad(),
    uh.FullGrad("signed"),
    uh.AblationCAM("layer3", relu=False),
    uh.EigenCAM("layer3"),
    uh.EigenCAM("conv1", relu=False),
    uh.EigenGradCAM("layer3"),
    uh.EigenGradCAM("layer3", relu=False),
    uh.Occlusion(size=16, stride=16),
    uh.DeepLIFT(),
    uh.DeepSHAP(),
    uh.GuidedBackprop(),
    uh.Deconvnet(),
    uh.GuidedGradCAM("layer3"),
    uh.KernelSHAP(n=40, grouping=9),
    uh.ShapleySampling(4, grouping=9),
    uh.ExactShapley(grouping=4),
    uh.PartitionSHAP(n=12),
    uh.LIME(n=60, grouping=9),
    uh.RISE(n=12),
]


@pytest.mark.parametrize("method", [m() for m in METHODS], ids=lambda m: m.key)
def test_every_card_is_complete(method: uh.Method) -> None:
    card = method.card
    for field in fields(card):
        value = getattr(card, field.name)
        if isinstance(value, str):
            assert value
            assert value == value.strip()
    assert card.question in QUESTIONS
    assert card.answers.endswith(".")
    assert card.misleads.endswith(".")
    assert "arXiv:" in card.source or "doi:" in card.source


def test_every_question_has_its_words() -> None:
    assert set(QUESTIONS) == set(get_args(Question))


@pytest.mark.parametrize("method", VARIANTS, ids=repr)
def test_a_card_that_says_signed_has_negative_values_and_one_that_does_not_has_none(
    method: uh.Method,
) -> None:
    heatmaps = np.stack([e.heatmap() for e in method(resnet18(), pictures(3, 64), [7, 0, 3])])
    assert heatmaps.max() > 0
    assert (heatmaps.min() < 0) == method.card.signed


def test_what_a_card_says_is_conserved_is_conserved() -> None:
    """S3 has ReLUs and no bias, as input × gradient asks for."""
    x = torch.tensor([[1.0, 2.0, 3.0], [0.5, -4.0, 1.0]])
    score, nothing = S3()(x).flatten().tolist(), 0.0
    sums: dict[str, list[float]] = {
        method.key: [float(e.values.sum()) for e in method(S3(), x, 0)]
        for method in (uh.InputXGradient(), uh.IntegratedGradients(steps=64), uh.Occlusion())
    }
    assert uh.InputXGradient().card.conserves == "S(x), for ReLU networks without biases"
    assert np.allclose(sums["input_x_gradient"], score)
    assert uh.IntegratedGradients().card.conserves == "S(x) - S(x')"
    assert np.allclose(sums["integrated_gradients"], np.subtract(score, nothing), rtol=0.05)


@pytest.mark.parametrize(
    "method",
    [uh.Saliency("signed"), uh.SmoothGrad(n=4), uh.GradCAM(relu=False), uh.Occlusion(size=4, stride=4)],
    ids=lambda m: m.key,
)
def test_a_card_without_a_conserved_sum_does_not_conserve_one(method: uh.Method) -> None:
    assert method.card.conserves is None
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(784, 2))
    x = pictures(3)
    with torch.no_grad():
        scores, at_zero = net(x)[:, 0], net(torch.zeros_like(x[:1]))[0, 0]
    sums = torch.tensor([float(e.values.sum()) for e in method(net, x, 0)])
    assert not torch.allclose(sums, scores, rtol=0.05)
    assert not torch.allclose(sums, scores - at_zero, rtol=0.05)


@pytest.mark.parametrize(
    ("method", "resolution"),
    [(m, m.card.resolution) for m in VARIANTS if m.card.resolution != "region"],
    ids=str,
)
def test_the_resolution_is_what_the_card_says(method: uh.Method, resolution: Any) -> None:
    found = method(resnet18(), pictures(1, 64), 0)
    if resolution == "element":
        assert found.values.shape == (3, 64, 64)
        assert found.grid is None
    else:
        assert found.values.shape == (64, 64)
        assert found.grid is not None
