"""Guided backpropagation and the deconvnet: which signals pass a rectifier, seen wherever it is written."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underhood as uh
from tests.engine.nets import Gnarly
from tests.methods.nets import NETS, explained, pictures, resnet18
from tests.support.toys import CN

GUIDED, DECONVNET = uh.GuidedBackprop(), uh.Deconvnet()
FORWARD, SIGNAL = torch.tensor([[5.0, 3, -1, 4]]), torch.tensor([-0.5, 0.8, 0.3, 0.6])


def signal(values: Tensor) -> Tensor:
    return (values * SIGNAL).sum(1)


RECTIFIERS: dict[str, Any] = {
    "torch.relu": torch.relu,
    "F.relu": F.relu,
    "relu_": lambda x: x.clone().relu_(),
    "in place": lambda x: F.relu(x.clone(), inplace=True),
    "clamp": lambda x: x.clamp(min=0),
    "clamp_min": lambda x: torch.clamp_min(x, 0),
    "relu6": F.relu6,
    "ReLU6": nn.ReLU6(),
    "threshold": lambda x: F.threshold(x, 0, 0),
}


class Of(nn.Module):
    def __init__(self, function: Any):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize("rectifier", RECTIFIERS.values(), ids=RECTIFIERS)
def test_what_passes_a_rectifier_however_it_is_written(rectifier: Any) -> None:
    net, target = Of(rectifier), uh.Custom(signal)
    rows = {
        uh.Saliency("signed"): [-0.5, 0.8, 0, 0.6],
        DECONVNET: [0, 0.8, 0.3, 0.6],
        GUIDED: [0, 0.8, 0, 0.6],
    }
    for method, expected in rows.items():
        assert torch.allclose(explained(method, net, FORWARD, target), torch.tensor([expected])), method.key


def test_the_known_answers_of_the_small_convolutional_net() -> None:
    guided = torch.tensor([[0, 1, 1, 1], [1, 3, 3, 2], [1, 3, 3, 2], [1, 2, 2, 1.0]])
    deconvnet = torch.tensor([[2, 3, 3, 1], [3, 5, 5, 2], [3, 5, 5, 2], [1, 2, 2, 1.0]])
    for target in range(4):
        assert torch.equal(explained(GUIDED, CN(), CN.x0(), target)[0, 0], guided)
        assert torch.equal(explained(DECONVNET, CN(), CN.x0(), target)[0, 0], deconvnet)


def ones_pooled() -> nn.Sequential:
    net = nn.Sequential(nn.Conv2d(1, 1, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    nn.init.ones_(net[0].weight)
    return net


def test_a_deconvnet_starts_with_the_units_activation_and_follows_the_switches() -> None:
    expected = torch.zeros(4, 4)
    expected[1:, 1:] = 90
    unit = uh.Unit("2", 0, (0, 0))
    found = DECONVNET(ones_pooled(), CN.x0(), unit)
    assert found.score == 90
    assert torch.equal(torch.from_numpy(found.values[0]), expected)
    assert found.diagnostics["start"] == "activation"
    one = explained(uh.Deconvnet(start="gradient"), ones_pooled(), CN.x0(), unit)
    assert torch.equal(one[0, 0], expected / 90)


def test_a_deconvnet_of_a_whole_feature_map_is_the_sum_over_its_units() -> None:
    net, x = ones_pooled(), pictures(2)[:, :1].abs()
    whole = explained(DECONVNET, net, x, uh.Unit("2", 0))
    units = [explained(DECONVNET, net, x, uh.Unit("2", 0, (i, j))) for i in range(7) for j in range(7)]
    assert torch.allclose(whole, torch.stack(units).sum(0), rtol=1e-4)


def by_hand(net: Gnarly, x: Tensor, target: int, guided: bool) -> Tensor:
    """The backward pass of `Gnarly` written out."""

    def down(signal: Tensor, z: Tensor) -> Tensor:
        return signal.clamp(min=0) * (z > 0) if guided else signal.clamp(min=0)

    def through(function: Any, at: Tensor, signal: Tensor) -> Tensor:
        leaf = at.detach().requires_grad_()
        return torch.autograd.grad(function(leaf), leaf, signal)[0]

    first, second = nn.Sequential(net.conv1, net.norm1), nn.Sequential(net.conv2, net.norm2)
    z1 = first(x)
    z2 = second(z1.relu())
    z3 = net.conv3(z2.relu())
    to_sum = (net.head.weight[target] / 64)[None, :, None, None].expand_as(z3)
    to_a2 = to_sum + through(net.conv3, z2.relu(), down(to_sum, z3))
    to_a1 = through(second, z1.relu(), down(to_a2, z2))
    return through(first, x, down(to_a1, z1)).detach()


@pytest.mark.parametrize("method", [GUIDED, DECONVNET], ids=lambda m: m.key)
def test_reused_in_place_and_functional_rectifiers_all_follow_the_rule(method: uh.Method) -> None:
    torch.manual_seed(0)
    net, x = Gnarly().eval(), pictures(3)
    expected = by_hand(net, x, 2, guided=method is GUIDED)
    assert torch.allclose(explained(method, net, x, 2), expected, rtol=1e-3, atol=1e-6)
    assert method(net, x[0], 2).diagnostics["rectifiers"] == 3


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_captum_does_not_see_functional_rectifiers() -> None:
    """PEERS 4: captum's guided backprop is the plain gradient there, with no warning."""
    captum = pytest.importorskip("captum.attr")
    net = Of(lambda x: F.relu(x) @ SIGNAL[:, None])
    peer = captum.GuidedBackprop(net).attribute(FORWARD.clone().requires_grad_(), target=0)
    assert torch.allclose(peer, torch.tensor([[-0.5, 0.8, 0, 0.6]]))  # the gradient
    assert torch.allclose(explained(GUIDED, net, FORWARD, 0), torch.tensor([[0, 0.8, 0, 0.6]]))


def plain_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(72, 10), nn.ReLU(),
        nn.Linear(10, 5),
    ).eval()  # fmt: skip


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
@pytest.mark.parametrize(
    ("method", "peer"), [(GUIDED, "GuidedBackprop"), (DECONVNET, "Deconvolution")], ids=lambda m: str(m)[:6]
)
def test_both_equal_captums_where_every_rectifier_is_a_module_of_its_own(
    method: uh.Method, peer: str
) -> None:
    captum = pytest.importorskip("captum.attr")
    net, x = plain_net(), pictures(3)
    theirs = getattr(captum, peer)(net).attribute(x.clone().requires_grad_(), target=[0, 3, 1])
    assert torch.allclose(explained(method, net, x, [0, 3, 1]), theirs.detach(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("method", [GUIDED, DECONVNET], ids=lambda m: m.key)
def test_smooth_activations_are_left_as_their_gradient_and_named(method: uh.Method) -> None:
    x = pictures(2, 64)
    found = method(NETS["vit"](), x, 3)
    plain = explained(uh.Saliency("signed"), NETS["vit"](), x, 3)
    for explanation, gradient in zip(found, plain, strict=True):
        assert torch.allclose(torch.from_numpy(explanation.values), gradient, rtol=1e-3, atol=1e-7)
        assert explanation.diagnostics["rectifiers"] == 0
        assert explanation.diagnostics["left_as_gradient"] == "gelu"
    assert method(resnet18(), x[0], 3).diagnostics["rectifiers"] == 17


def test_a_silent_unit_says_so() -> None:
    net = ones_pooled()
    found = DECONVNET(net, -CN.x0(), uh.Unit("2", 0, (0, 0)))
    assert found.no_signal == "the unit is silent on this input"


@pytest.mark.parametrize("method", [GUIDED, DECONVNET], ids=lambda m: m.key)
def test_the_card_and_every_figure_warn(method: uh.Method, tmp_path: Any, monkeypatch: Any) -> None:
    from underhood.reports import figure

    assert "randomisation test" in method.card.misleads
    lines: list[str] = []
    monkeypatch.setattr(figure, "cell", lambda *args: lines.extend(line.text for line in args[3]))
    figure.map_cell(method(CN(), CN.x0(), 0))
    assert any("randomisation test" in line for line in lines)
    method(CN(), CN.x0(), 0).save(tmp_path / "report.html")
    assert "randomisation test" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_start_that_is_none_is_refused() -> None:
    with pytest.raises(uh.UnderhoodError, match="start is auto, activation or gradient"):
        uh.Deconvnet(start="one")  # type: ignore[arg-type]


def test_guided_grad_cam_is_guided_backprop_times_grad_cam() -> None:
    x, targets = pictures(2, 64), [3, 7]
    cam = explained(uh.GradCAM("layer3"), resnet18(), x, targets)
    guided = explained(GUIDED, resnet18(), x, targets)
    found = uh.GuidedGradCAM("layer3")(resnet18(), x, targets)
    for i, explanation in enumerate(found):
        assert torch.allclose(torch.from_numpy(explanation.values), guided[i] * cam[i], rtol=1e-3, atol=1e-9)
        assert explanation.diagnostics["layer"] == "layer3"
        assert explanation.diagnostics["rectifiers"] == 17
        assert "randomisation test" in str(explanation.card.warning)


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_guided_grad_cam_equals_captums_where_every_rectifier_is_a_module() -> None:
    captum = pytest.importorskip("captum.attr")
    net, x = plain_net(), pictures(3)
    peer = captum.GuidedGradCam(net, net[4]).attribute(
        x.clone().requires_grad_(), target=[0, 3, 1], interpolate_mode="bilinear"
    )
    found = explained(uh.GuidedGradCAM("4"), net, x, [0, 3, 1])
    assert torch.allclose(found, peer.detach(), rtol=1e-3, atol=1e-8)


def test_guided_grad_cam_refuses_an_empty_layer() -> None:
    with pytest.raises(uh.UnderhoodError, match="at least one layer"):
        uh.GuidedGradCAM([])
