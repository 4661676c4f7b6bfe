"""Grad-CAM against a few lines of plain hooks, on a CNN and a ViT."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import explained, pictures, resnet18, vit

TARGETS = [7, 0, 3]


def by_hand(net: nn.Module, layer: nn.Module, x: Tensor, *, relu: bool, tokens: int = 0) -> Tensor:
    """(B, h, w) with torch's own hooks; `tokens` to drop in front of the patches."""
    kept: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _m, _a, output: kept.append(output))
    scores = net(x)
    handle.remove()
    a = kept[0]
    g = torch.autograd.grad(scores[torch.arange(len(x)), TARGETS].sum(), a)[0]
    if a.ndim == 3:
        side = int((a.shape[1] - tokens) ** 0.5)
        a, g = (t[:, tokens:].mT.reshape(len(x), -1, side, side) for t in (a, g))
    cam = (g.mean((2, 3), keepdim=True) * a).sum(1).detach()
    return cam.relu() if relu else cam


def upsampled(grid: Tensor) -> Tensor:
    return F.interpolate(grid[:, None], size=(64, 64), mode="bilinear", align_corners=False)[:, 0]


CASES: dict[str, tuple[Any, str, int]] = {
    "resnet18, last": (resnet18, "layer4", 0),
    "resnet18, inside": (resnet18, "layer2.0.conv1", 0),
    "resnet18, first": (resnet18, "conv1", 0),
    "vit, last norm": (vit, "blocks.1.norm1", 1),
    "vit, first block": (vit, "blocks.0", 1),
}


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_the_map_equals_a_plain_hook_implementation(case: str, relu: bool) -> None:
    build, name, tokens = CASES[case]
    net, x = build(), pictures(3, 64)
    expected = by_hand(net, net.get_submodule(name), x, relu=relu, tokens=tokens)
    assert expected.abs().max() > 0
    found = uh.GradCAM(name, relu=relu)(net, x, TARGETS)
    for explanation, grid, full in zip(found, expected, upsampled(expected), strict=True):
        scale = float(grid.abs().max())
        assert np.allclose(explanation.arrays[name], grid, rtol=1e-3, atol=1e-4 * scale)
        assert np.allclose(explanation.values, full, rtol=1e-3, atol=1e-4 * scale)
        assert explanation.grid == tuple(grid.shape)
        assert explanation.diagnostics["layer"] == name
        assert explanation.diagnostics["layer_reason"] == "chosen by the user"
        assert explanation.values.shape == (64, 64)


def test_without_its_relu_the_sign_is_kept() -> None:
    net, x = resnet18(), pictures(3, 64)
    signed = explained(uh.GradCAM("layer3", relu=False), net, x, TARGETS)
    assert signed.min() < 0 < signed.max()
    assert explained(uh.GradCAM("layer3"), net, x, TARGETS).min() >= 0


@pytest.mark.parametrize(
    ("build", "layer", "grid"), [(resnet18, "layer4", (2, 2)), (vit, "blocks.1.norm1", (4, 4))]
)
def test_the_default_layer_is_named_with_the_reason(build: Any, layer: str, grid: tuple[int, int]) -> None:
    explanation = uh.GradCAM()(build(), pictures(1, 64), 0)
    assert explanation.diagnostics["layer"] == layer
    assert "the last" in explanation.diagnostics["layer_reason"]
    assert explanation.grid == grid


def test_the_models_own_choice_of_layer_is_taken() -> None:
    model = uh.Model(resnet18(), layer="layer3")
    explanation = uh.GradCAM()(model, pictures(1, 64), 0)
    assert explanation.diagnostics["layer"] == "layer3"
    assert explanation.diagnostics["layer_reason"] == "chosen by the user"


def test_several_layers_are_averaged_each_by_its_own_largest_magnitude() -> None:
    net, x = resnet18(), pictures(3, 64)
    names = ["layer4", "layer2", "layer3"]
    together = uh.GradCAM(names)(net, x, TARGETS)
    apart = [explained(uh.GradCAM(name), net, x, TARGETS) for name in names]
    expected = torch.stack([m / m.amax((1, 2), keepdim=True).clamp(min=1e-30) for m in apart]).mean(0)
    for i, explanation in enumerate(together):
        assert np.allclose(explanation.values, expected[i], atol=1e-4)
        assert explanation.grid == (2, 2)  # the coarsest
        assert set(explanation.arrays) == set(names)
        assert explanation.diagnostics["layer"] == "layer4, layer2, layer3"


class Halves(nn.Module):
    """A first map that never speaks for class 0, and a second one that does."""

    def __init__(self) -> None:
        super().__init__()
        self.against, self.speaks = nn.Identity(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return (self.speaks(x + 1) - self.against(x)).mean((2, 3))


def test_a_zero_map_is_no_signal_rather_than_stretched() -> None:
    """PEERS 10."""
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for explanation in uh.GradCAM("against")(Halves(), x, 0):
        assert not explanation.values.any()
        assert "nothing in this layer speaks for the target" in str(explanation.no_signal)
    signed = uh.GradCAM("against", relu=False)(Halves(), x, 0)
    assert all(e.values.max() < 0 and e.no_signal is None for e in signed)
    for explanation in uh.GradCAM(["against", "speaks"])(Halves(), x, 0):
        assert explanation.values.max() == pytest.approx(0.5, rel=0.05)
        assert explanation.no_signal is None


def test_the_map_scales_with_the_score() -> None:
    """PEERS 10: no absolute epsilon makes it depend on the logits' scale."""

    class Scaled(nn.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.inner, self.scale = resnet18(), scale

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) * self.scale

    x = pictures(1, 64)
    plain = explained(uh.GradCAM("inner.layer4"), Scaled(1), x, 3)
    for scale in (1e-6, 1e6):
        scaled = explained(uh.GradCAM("inner.layer4"), Scaled(scale), x, 3)
        assert torch.allclose(scaled / scale, plain, rtol=1e-3)


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("fc", "no place in the picture; choose a convolutional or token layer"),
        ("layer44", "did you mean 'layer4'"),
        (["layer4", "fc"], "Layer 'fc' gives shape"),
        ("layer1.0.relu", r"runs 2 times.*'layer1.0.relu#1'"),
    ],
)
def test_layers_without_a_map_are_refused(layer: Any, sentence: str) -> None:
    with pytest.raises(uh.UnderhoodError, match=sentence):
        uh.GradCAM(layer)(resnet18(), pictures(1, 64), 0)


def test_one_run_of_a_reused_layer_can_be_chosen() -> None:
    net, x = resnet18(), pictures(3, 64)
    last = explained(uh.GradCAM("layer4.1.relu#2"), net, x, TARGETS)
    assert torch.equal(last, explained(uh.GradCAM("layer4"), net, x, TARGETS))
    first = explained(uh.GradCAM("layer4.1.relu#1"), net, x, TARGETS)
    assert not torch.allclose(first, last, rtol=0.1)


def test_a_model_of_rows_has_nothing_for_grad_cam_to_look_at() -> None:
    with pytest.raises(uh.UnderhoodError, match="nothing for Grad-CAM to look at"):
        uh.GradCAM()(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), torch.zeros(1, 4), 0)


def test_oblong_pictures_keep_their_proportions() -> None:
    net = resnet18()
    x = torch.randn(1, 3, 64, 128, generator=torch.Generator().manual_seed(0))
    explanation = uh.GradCAM("layer3")(net, x, 0)
    assert explanation.grid == (4, 8)
    assert explanation.heatmap().shape == (64, 128)
