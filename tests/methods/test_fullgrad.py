"""FullGrad: every part of the score is found, and the map is their sum."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import pictures, resnet18, vit
from tests.support import torchvision_ops  # noqa: F401 - before torchvision
from tests.support.toys import CN, ML


class Written(nn.Module):
    """The same network with modules or with functions, its batch normalisation included."""

    def __init__(self, *, functional: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.second, self.head = nn.Conv2d(6, 6, 3, padding=1, stride=2), nn.Linear(6, 4)
        self.shift, self.functional = nn.Parameter(torch.randn(6, 1, 1)), functional
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)
        nn.init.normal_(self.norm.bias)
        nn.init.normal_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        if not self.functional:
            a = self.norm(self.conv(x)).relu_()
            return self.head((self.second(a) + self.shift).relu().mean((2, 3)))
        n = self.norm
        a = F.conv2d(x, self.conv.weight, self.conv.bias, padding=1)
        a = F.relu(F.batch_norm(a, n.running_mean, n.running_var, n.weight, n.bias), inplace=True)
        b = F.conv2d(a, self.second.weight, None, 2, 1) + (self.second.bias[:, None, None] + self.shift)
        return F.linear(b.relu().mean((2, 3)), self.head.weight) + self.head.bias


def vgg() -> nn.Module:
    torch.manual_seed(0)
    layers = torchvision.models.vgg.make_layers([8, "M", 16, 16, "M"], batch_norm=False)
    net = torchvision.models.vgg.VGG(layers, num_classes=5, init_weights=False)
    net.avgpool, net.classifier = nn.AdaptiveAvgPool2d(2), nn.Linear(64, 5)
    return net.eval()


def densenet() -> nn.Module:
    torch.manual_seed(0)
    net = torchvision.models.DenseNet(8, (2, 2), 16, num_classes=5).eval()
    for norm in [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]:
        norm.running_mean.normal_(0, 0.1)
    return net


NETS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": resnet18,
    "vgg": vgg,
    "densenet": densenet,
    "modules": lambda: Written(functional=False).eval(),
    "functions": lambda: Written(functional=True).eval(),
}


@pytest.mark.parametrize("name", NETS)
def test_input_and_bias_parts_sum_to_the_score(name: str) -> None:
    """Proposition 1, for networks of linear layers and ReLUs."""
    net, x = NETS[name](), pictures(3, 64)
    for explanation in uh.FullGrad()(net, x, [3, 0, 2]):
        told = explanation.diagnostics
        assert abs(told["completeness_gap"]) < 1e-4 * max(1, abs(explanation.score))
        assert abs(told["input_part"] + told["bias_part"] - explanation.score) < 1e-4 * max(
            1, abs(explanation.score)
        )
        assert abs(told["bias_part"]) > 1e-3


def test_it_makes_no_difference_how_a_network_is_written() -> None:
    x = pictures(2, 16)
    a, b = (uh.FullGrad("signed")(Written(functional=f), x, 1) for f in (False, True))
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one.values, other.values, atol=1e-5)
        assert one.diagnostics["bias_part"] == pytest.approx(other.diagnostics["bias_part"], abs=1e-5)


def test_known_answers() -> None:
    """ML at [20, 50, 30]: 400 of the input, -10 + 3 of b1 and -1 of b2."""
    found = uh.FullGrad("signed")(ML(), torch.tensor([20.0, 50.0, 30.0]), 0)
    np.testing.assert_allclose(found.values, [80, 200, 120])
    assert found.diagnostics["bias_part"] == pytest.approx(-7 - 1)
    assert found.diagnostics["completeness_gap"] == pytest.approx(0, abs=1e-4)
    toy = uh.FullGrad("signed")(CN(), CN.x0(), 0)
    g = torch.autograd.functional.jacobian(lambda x: CN()(x)[0, 0], CN.x0())
    assert toy.diagnostics["input_part"] == pytest.approx(float((g * CN.x0()).sum()))
    assert toy.diagnostics["completeness_gap"] == pytest.approx(0, abs=1e-3)


def by_hand(net: Any, x: Tensor, target: int, *, signed: bool) -> Tensor:
    """(H, W) of `Written`, each part by autograd at the named places."""
    x = x[None].requires_grad_()
    u = net.conv(x)
    n = net.norm(u)
    v = net.second(n.relu())
    w = v + net.shift
    score = net.head(w.relu().mean((2, 3)))[0, target]
    gx, gu, gn, gv, gw = torch.autograd.grad(score, (x, u, n, v, w))
    implicit = (
        net.norm.bias - net.norm.weight * net.norm.running_mean / (net.norm.running_var + net.norm.eps).sqrt()
    )
    shape = (-1, 1, 1)
    parts = [
        gx * x,
        gu * net.conv.bias.view(shape),
        gn * implicit.view(shape),
        gv * net.second.bias.view(shape),
        gw * net.shift,
    ]
    total = torch.zeros(1, 1, 16, 16)
    for part in parts:
        size = part.abs()
        psi = part if signed else (size - size.min()) / (size.max() - size.min())
        share = part.shape[-1] ** 2 / 256 if signed else 1
        up = F.interpolate(psi.sum(1, keepdim=True), size=(16, 16), mode="bilinear", align_corners=False)
        total = total + share * up
    return total[0, 0].detach()


@pytest.mark.parametrize("kind", ["rescaled", "signed"])
def test_the_map_is_the_sum_of_the_parts(kind: Any) -> None:
    net, x = Written(functional=False).eval(), pictures(2, 16)
    found = uh.FullGrad(kind)(net, x, 1)
    for explanation, picture in zip(found, x, strict=True):
        expected = by_hand(net, picture, 1, signed=kind == "signed")
        np.testing.assert_allclose(explanation.values, expected, rtol=1e-3, atol=1e-4)
        told = explanation.diagnostics
        if kind == "signed":
            placed = told["input_part"] + told["bias_part"] - told["bias_part_without_places"]
            assert explanation.values.sum() == pytest.approx(placed, rel=1e-3, abs=1e-4)


def test_a_memory_budget_and_frozen_biases_change_nothing() -> None:
    net, x = Written(functional=False), pictures(5, 16)
    plain = uh.FullGrad()(net, x, 1)
    small = uh.FullGrad()(net.requires_grad_(False), x, 1, memory=100_000)
    for a, b in zip(plain, small, strict=True):
        np.testing.assert_allclose(a.values, b.values, atol=1e-4)
        assert a.diagnostics["bias_part"] == pytest.approx(b.diagnostics["bias_part"], abs=1e-5)


def test_a_transformer_is_explained_and_its_gap_is_told() -> None:
    for explanation in uh.FullGrad("signed")(vit(), pictures(2, 64), [7, 0]):
        assert explanation.values.shape == (64, 64)
        told = explanation.diagnostics
        gap = told["input_part"] + told["bias_part"] - explanation.score
        assert told["completeness_gap"] == pytest.approx(gap, abs=1e-4)
        assert told["bias_part"] != 0


def test_a_wrong_kind_is_refused() -> None:
    with pytest.raises(uh.UnderhoodError, match=r"rescaled or signed"):
        uh.FullGrad("absolute")  # type: ignore[arg-type]
