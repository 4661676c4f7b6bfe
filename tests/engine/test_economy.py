"""The engine computes no more than was asked for: proved by layers that count, watch or refuse."""

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from tests.engine.nets import NoBackward, pictures
from tests.support import torchvision_ops  # noqa: F401 - before torchvision


class Guard(nn.Module):
    """Cannot be passed backwards; keeps whether a graph was being recorded when it ran."""

    graphs: ClassVar[list[tuple[str, bool, bool]]] = []

    def __init__(self, name: str, *, strict: bool) -> None:
        super().__init__()
        self.name, self.strict = name, strict

    def forward(self, x: Tensor) -> Tensor:
        Guard.graphs.append((self.name, torch.is_grad_enabled(), x.requires_grad))
        return NoBackward.apply(x) if self.strict else x


def guarded() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        Guard("below", strict=True),
        nn.Conv2d(4, 4, 3),
        nn.ReLU(inplace=True),
        Guard("above", strict=False),
        nn.Flatten(),
        nn.Linear(576, 3),
    )


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guard, "graphs", [])


def test_grad_cam_makes_no_graph_and_no_backward_pass_below_its_layer() -> None:
    found = uh.GradCAM("2")(guarded(), pictures(2), 1)
    assert found[0].values.any()
    assert ("below", False, False) in Guard.graphs
    assert ("above", True, True) in Guard.graphs
    assert ("below", True, False) not in Guard.graphs
    assert ("below", True, True) not in Guard.graphs


def test_grad_cam_at_two_layers_starts_at_the_lower_one() -> None:
    uh.GradCAM(["3", "2"])(guarded(), pictures(1), 1)
    assert {g for g in Guard.graphs if g[0] == "below"} == {("below", False, False)}


def test_the_guard_does_stop_a_backward_pass_that_comes_through() -> None:
    with pytest.raises(uh.UnderhoodError, match="boom"):
        uh.Saliency()(guarded(), pictures(1), 1)
    with pytest.raises(uh.UnderhoodError, match="boom"):
        uh.GradCAM("0")(guarded(), pictures(1), 1)


def test_forward_passes_record_no_graph() -> None:
    uh.Occlusion(size=8, stride=8)(guarded(), pictures(2), 1)
    assert {g[1:] for g in Guard.graphs} == {(False, False)}


class _Product(torch.autograd.Function):
    wanted: ClassVar[list[tuple[bool, ...]]] = []

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return x @ weight.T

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        _Product.wanted.append(ctx.needs_input_grad)
        return gradient @ ctx.saved_tensors[0], None


class Product(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return _Product.apply(x, self.weight)


@pytest.mark.parametrize(
    "method", [uh.Saliency(), uh.SmoothGrad(n=4), uh.IntegratedGradients(steps=4)], ids=lambda m: m.key
)
def test_input_gradients_make_no_weight_gradients(method: uh.Method, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Product, "wanted", [])
    net = nn.Sequential(nn.Flatten(), Product(768, 16), nn.ReLU(), Product(16, 3))
    method(net, pictures(2), 0)
    assert len(_Product.wanted) >= 2
    assert set(_Product.wanted) == {(True, False)}
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_saliency_on_a_vgg_makes_no_weight_gradients() -> None:
    from torchvision.models.vgg import VGG, make_layers

    torch.manual_seed(0)
    net = VGG(make_layers([8, "M", 16, "M"]), num_classes=5, init_weights=False)
    net.avgpool, net.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 5)
    asked: list[bool] = []
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda m, *_: asked.append(m.weight.requires_grad))
    x = pictures(1)
    found = uh.Saliency("signed")(net, x[0], 0)
    assert asked == [False] * 3
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    leaf = x.clone().requires_grad_()
    expected = torch.autograd.grad(net.eval()(leaf)[0, 0], leaf)[0]
    assert torch.allclose(torch.from_numpy(found.values), expected[0], atol=1e-7)


def passes(found: uh.Explanation | uh.Explanations) -> tuple[int, int]:
    first = found if isinstance(found, uh.Explanation) else found[0]
    return first.provenance["forward_passes"], first.provenance["backward_passes"]


class Counting(nn.Module):
    """Counts the inputs that come through."""

    count: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        Counting.count += len(x)
        return self.head(self.conv(x).relu().mean((2, 3)))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (uh.Saliency(), (2, 2)),
        (uh.InputXGradient(), (2, 2)),
        (uh.GradCAM("conv"), (2, 2)),
        (uh.SmoothGrad(n=10), (2 + 20, 20)),
        (uh.IntegratedGradients(steps=10), (2 + 2 + 20, 20)),
        (uh.Occlusion(size=8, stride=8), (2 + 2 * 5, 0)),
    ],
    ids=lambda value: getattr(value, "key", ""),
)
def test_every_method_runs_as_many_passes_as_its_maths_needs(
    method: uh.Method, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Counting, "count", 0)
    found = method(Counting(), pictures(2), None)
    assert passes(found) == expected
    assert Counting.count - expected[0] <= 1  # one input to measure what memory it takes


def test_methods_of_one_call_share_the_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "count", 0)
    methods = [uh.IntegratedGradients(steps=10), uh.Occlusion(size=8, stride=8), uh.SmoothGrad(n=10)]
    found = uh.explain(Counting(), pictures(1), methods=methods)
    forward = [e.provenance["forward_passes"] for e in found]
    assert forward == [1 + 1 + 10, 5, 10]
    assert Counting.count - sum(forward) <= 1


def test_grad_cam_first_shares_the_predictions_of_its_own_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "count", 0)
    found = uh.explain(Counting(), pictures(1), methods=[uh.GradCAM("conv"), uh.Occlusion(size=8, stride=8)])
    assert [e.provenance["forward_passes"] for e in found] == [1, 5]


def test_the_default_layer_is_looked_for_once() -> None:
    model = uh.Model(Counting())
    first, again = uh.GradCAM()(model, pictures(2), 0), uh.GradCAM()(model, pictures(2), 0)
    assert passes(first) == (3, 2)
    assert passes(again) == (2, 2)


def test_a_layer_named_with_its_run_ends_the_pass_there() -> None:
    engine = uh.Engine(uh.Model(guarded()))
    engine.capture(pictures(1), ["2#1"])
    assert engine.log.forward == 1
    assert "above" not in {name for name, *_ in Guard.graphs}
    assert "below" in {name for name, *_ in Guard.graphs}
