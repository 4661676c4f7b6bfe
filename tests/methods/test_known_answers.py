"""The toy models of METHODS.md, whose answers are known by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import Linear, explained
from tests.support.toys import B2, B3, CN, MIN, ML, S3, SumNet

X0 = CN.x0()
ROW = torch.tensor([[20.0, 50.0, 30.0]])
GRADIENT = torch.tensor([[0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0.0]])
IG = uh.IntegratedGradients(steps=200)
SIGNED = uh.Saliency("signed")
PAIRS = torch.tensor([0, 0, 1])

ANSWERS: dict[str, tuple[uh.Method, nn.Module, Tensor, Any]] = {
    "CN: gradient": (SIGNED, CN(), X0, GRADIENT),
    "CN: |gradient|": (uh.Saliency(), CN(), X0, GRADIENT),
    "CN: input × gradient": (uh.InputXGradient(), CN(), X0, GRADIENT * X0[0, 0]),
    "ML: input × gradient": (uh.InputXGradient(), ML(), ROW, [80, 200, 120]),
    "ML: ablation": (uh.Occlusion(), ML(), ROW, [80, 200, 120]),
    "ML: ablation of groups": (uh.Occlusion(grouping=PAIRS), ML(), ROW, [280, 280, 120]),
    "ML: ablation of groups, other labels": (
        uh.Occlusion(grouping=9 - 5 * PAIRS),
        ML(),
        ROW,
        [280, 280, 120],
    ),
    "ML: ablation of groups from 4": (
        uh.Occlusion(grouping=PAIRS, baseline=4),
        ML(),
        ROW,
        [248, 248, 104],
    ),
    "ML: integrated gradients": (IG, ML(), ROW, [78, 195, 117]),
    "ML: integrated gradients, class 1": (IG, ML(), ROW, [78, 195, 117]),
    "ML: one element": (IG, ML(), torch.tensor([[0.0, 100.0, 0.0]]), [0, 390, 0]),
    "B2: integrated gradients": (IG, B2(), torch.tensor([[3.0, 1.0]]), [1.5, -0.5]),
    "B3: integrated gradients": (IG, B3(), torch.tensor([[3.0, 1.0]]), [1.5, -0.5]),
    "MIN (1, 2): integrated gradients": (IG, MIN(), torch.tensor([[1.0, 2.0]]), [1, 0]),
    "MIN (3, 1): integrated gradients": (IG, MIN(), torch.tensor([[3.0, 1.0]]), [0, 1]),
    "MIN (1, 2): ablation": (uh.Occlusion(), MIN(), torch.tensor([[1.0, 2.0]]), [1, 1]),
    "MIN (3, 1): ablation": (uh.Occlusion(), MIN(), torch.tensor([[3.0, 1.0]]), [1, 1]),
    "S3: input × gradient": (uh.InputXGradient(), S3(), torch.tensor([[1.0, 2.0, 3.0]]), [18, 36, 54]),
    "S3: integrated gradients": (IG, S3(), torch.tensor([[1.0, 2.0, 3.0]]), [18, 36, 54]),
    "linear: gradient": (SIGNED, Linear(torch.tensor([3.0, -2.0])), torch.tensor([[7.0, 9.0]]), [3, -2]),
    "linear: |gradient|": (uh.Saliency(), Linear(torch.tensor([3.0, -2.0])), torch.ones(1, 2), [3, 2]),
    "linear: gradient²": (
        uh.Saliency("squared"),
        Linear(torch.tensor([3.0, -2.0])),
        torch.ones(1, 2),
        [9, 4],
    ),
    "linear: SmoothGrad": (uh.SmoothGrad(n=10), Linear(torch.tensor([3.0, -2.0])), ROW[:, :2], [3, -2]),
    "relu'(0) = 0": (SIGNED, nn.ReLU(), torch.tensor([[0.0, 1.0]]), [0, 0]),
}
EXACT = ("gradient", "ablation", "SmoothGrad", "linear", "relu")


@pytest.mark.parametrize("case", ANSWERS)
def test_known_answers(case: str) -> None:
    method, net, x, expected = ANSWERS[case]
    found = explained(method, net, x, 0)[0]
    atol = 1e-5 if any(word in case for word in EXACT) and "integrated" not in case else 0.02
    scale = max(1.0, float(torch.as_tensor(expected).abs().max()))
    assert torch.allclose(found.squeeze(0), torch.as_tensor(expected, dtype=torch.float32), atol=atol * scale)


def test_cn_scores_54_for_every_class_and_input_times_gradient_sums_to_it() -> None:
    for target in range(4):
        explanation = uh.InputXGradient()(CN(), X0, target)
        assert explanation.score == 54
        assert explanation.values.sum() == 54
        assert explanation.diagnostics == {"sum": 54.0, "score": 54.0}


@pytest.mark.parametrize(
    ("layer", "grid", "after_relu"),
    [("conv", [[11.25, 13.5], [20.25, 22.5]], False), ("relu1", [[0, 4], [28, 32.5]], True)],
)
def test_grad_cam_before_and_after_the_relu(layer: str, grid: Any, after_relu: bool) -> None:
    explanation = uh.GradCAM(layer)(CN(), X0, 0)
    assert explanation.arrays[layer].tolist() == grid
    assert explanation.diagnostics["layer"] == layer
    assert explanation.diagnostics["layer_is_nonnegative"] is after_relu
    assert explanation.grid == (2, 2)


def test_grad_cam_without_its_relu_keeps_the_sign() -> None:
    class Minus(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = CN()

        def forward(self, x: Tensor) -> Tensor:
            return -self.inner(x)

    signed = uh.GradCAM("inner.relu1", relu=False)(Minus(), X0, 0)
    assert signed.arrays["inner.relu1"].tolist() == [[0, -4], [-28, -32.5]]
    assert signed.card.signed
    rectified = uh.GradCAM("inner.relu1")(Minus(), X0, 0)
    assert not rectified.values.any()
    assert "nothing in this layer speaks for the target" in str(rectified.no_signal)
    assert not rectified.card.signed


def test_the_known_answers_hold_through_a_skip() -> None:
    """PEERS 4: relevance through x + f(x) is neither doubled nor lost."""
    net, x = SumNet(), torch.tensor([[2.0, 3.0]])
    for method in (uh.InputXGradient(), uh.IntegratedGradients(steps=3), uh.Occlusion()):
        assert torch.allclose(explained(method, net, x, 1), torch.tensor([[10.0, 18.0]]))


def test_the_completeness_gap_of_the_toys_is_reported() -> None:
    for net, x, difference in ((ML(), ROW, 390), (B2(), torch.tensor([[3.0, 1.0]]), 1)):
        explanation = IG(net, x, 0)
        assert explanation.diagnostics["score_difference"] == pytest.approx(difference)
        gap = explanation.values.sum() - difference
        assert explanation.diagnostics["completeness_gap"] == pytest.approx(gap, abs=1e-4)
        assert abs(explanation.diagnostics["relative_gap"]) < 0.01


@pytest.mark.parametrize("value", [0, 1, 2, 3])
def test_class_0_is_a_class(value: int) -> None:
    """PEERS 13: 0 is not "none chosen"."""
    net = nn.Linear(2, 4, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.arange(8.0).reshape(4, 2))
    x = torch.tensor([[1.0, 1.0]])  # class 3 is predicted
    assert explained(SIGNED, net, x, value).tolist() == [net.weight[value].tolist()]
    assert SIGNED(net, x, value).target == f"class {value}"
    assert explained(SIGNED, net, x, None).tolist() == [net.weight[3].tolist()]
