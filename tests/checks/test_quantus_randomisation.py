"""Randomisation and random logit beside Quantus 0.6: the same where it is right, and where it is not."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from tests.support import torchvision_ops  # noqa: F401 - before anything imports torchvision
from underhood.checks import ClassSensitivity, Randomisation
from underhood.checks.weights import parts
from underhood.engine import Engine

quantus = pytest.importorskip("quantus", reason="Quantus is not installed: pip install 'underhood[peers]'")


class Fixed(nn.Linear):
    """Its own initialisation draws nothing, so that everyone's random weights are these."""

    def reset_parameters(self) -> None:
        with torch.no_grad():
            for parameter in (self.weight, self.bias):
                parameter.copy_(torch.arange(parameter.numel()).sin().reshape(parameter.shape))


def net(classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    found = nn.Sequential(nn.Flatten(), Fixed(48, 8), nn.Tanh(), Fixed(8, 6), nn.Tanh(), Fixed(6, classes))
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.normal_(std=0.3)
    return found.eval()


def gradient(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: Any) -> np.ndarray:
    leaf = torch.as_tensor(inputs).requires_grad_()
    scores = model(leaf).gather(1, torch.as_tensor(targets)[:, None])
    (found,) = torch.autograd.grad(scores.sum(), leaf)
    return found.sum(1, keepdim=True).numpy()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))


def theirs(metric: Any, model: nn.Module, x: Tensor, classes: list[int]) -> Any:
    return metric(
        model=model, x_batch=x.numpy(), y_batch=np.array(classes), explain_func=gradient, device="cpu",
        channel_first=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("order", "their_order"), [("cascading", "top_down"), ("independent", "independent")]
)
def test_likeness_at_every_layer_is_theirs(x: Tensor, order: Any, their_order: str) -> None:
    model = net()
    metric = quantus.MPRT(layer_order=their_order, abs=False, normalise=False, disable_warnings=True)
    expected = theirs(metric, model, x, [0, 2])
    check = Randomisation(order=order, how="reset", draws=1, measures=("spearman",))
    found = check(uh.explain(uh.Model(model), x, [0, 2], methods=uh.Saliency("signed")))
    for row, reading in enumerate(found):
        ours = {stage["part"]: stage["spearman"] for stage in reading.details["stages"]}
        assert set(ours) == {"5", "3", "1"}
        assert ours == pytest.approx({name: expected[name][row] for name in ours}, abs=1e-6)


def test_their_average_counts_the_model_itself(x: Tensor) -> None:
    """The trained model's map against itself is 1 whatever the method, and makes every average better."""
    model = net()
    metric = quantus.MPRT(
        layer_order="independent", abs=False, normalise=False, return_average_correlation=True,
        disable_warnings=True,
    )  # fmt: skip
    average = theirs(metric, model, x, [0, 2])
    check = Randomisation(order="independent", how="reset", draws=1, measures=("spearman",))
    found = check(uh.explain(uh.Model(model), x, [0, 2], methods=uh.Saliency("signed")))
    for row, reading in enumerate(found):
        stages = [stage["spearman"] for stage in reading.details["stages"]]
        assert average[row] == pytest.approx((1 + sum(stages)) / (1 + len(stages)), abs=1e-6)
        assert reading.value == pytest.approx(sum(map(abs, stages)) / len(stages), abs=1e-6)


def test_they_leave_attention_projections_and_raw_parameters_as_they_were() -> None:
    """Only modules with a `reset_parameters` are made random: after the last step much is still trained."""

    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.randn(1, 1, 8))
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            tokens = torch.cat([self.token.expand(len(x), -1, -1), x.flatten(2).mT], 1)
            return self.head(self.attention(tokens, tokens, tokens)[0][:, 0])

    torch.manual_seed(0)
    model = Attending().eval()
    wrapped = quantus.helpers.model.pytorch_model.PyTorchModel(model, channel_first=True)
    *_, (_, last) = wrapped.get_random_layer_generator("top_down")
    same = {n for n, p in last.named_parameters() if torch.equal(p, dict(model.named_parameters())[n])}
    assert same >= {"token", "attention.in_proj_weight", "attention.in_proj_bias"}
    ours = {name for part in parts(Engine(uh.Model(model)), torch.randn(8, 2, 2)) for name in part.parameters}
    assert ours == {name for name, _ in model.named_parameters()}


def test_random_logit_is_theirs_where_there_is_one_other_class(x: Tensor) -> None:
    model = net(2)
    metric = quantus.RandomLogit(
        num_classes=2, similarity_func=quantus.similarity_func.correlation_spearman, abs=False,
        normalise=False, disable_warnings=True,
    )  # fmt: skip
    expected = theirs(metric, model, x, [0, 1])
    found = uh.explain(uh.Model(model), x, [0, 1], methods=uh.Saliency("signed"))
    for against in ("runner-up", "random", "all"):
        assert ClassSensitivity(against)(found).values == pytest.approx(expected, abs=1e-6)
