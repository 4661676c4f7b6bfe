"""Ablation-CAM against ablating by hand, its known answer, and pytorch-grad-cam."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import pictures, resnet18, vit
from tests.support.toys import CN

TARGETS = [7, 0, 3]
CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "resnet18, last": (resnet18, "layer4"),
    "resnet18, inside": (resnet18, "layer2.0.conv1"),
    "vit": (vit, "blocks.1.norm1"),
}


@dataclass
class Ablated:
    channels: Sequence[int] = ()


def by_hand(net: nn.Module, layer: str, x: Tensor, target: int) -> tuple[Tensor, Tensor]:
    """(h, w) before the ReLU for one picture, and the weights: a whole pass for each channel."""
    kept: list[Tensor] = []
    ablated = Ablated()

    def hook(_m: nn.Module, _a: Any, output: Tensor) -> Tensor:
        changed = output.clone()
        kept.append(output.clone())
        for row, channel in enumerate(ablated.channels):
            if output.ndim == 4:
                changed[row, channel] = 0
            else:
                changed[row, 1:, channel] = 0  # the patches, not the class token
        return changed

    handle = net.get_submodule(layer).register_forward_hook(hook)
    with torch.no_grad():
        score = net(x[None])[0, target]
        a = kept[0][0] if kept[0].ndim == 4 else kept[0][0, 1:].T.reshape(-1, 4, 4)
        weights = []
        for ablated.channels in torch.arange(len(a)).split(64):
            weights.append(score - net(x.expand(len(ablated.channels), -1, -1, -1))[:, target])
    handle.remove()
    w = torch.cat(weights)
    return torch.einsum("k,khw->hw", w, a), w


@pytest.mark.parametrize("case", CASES)
def test_the_map_equals_ablating_channels_by_hand(case: str) -> None:
    build, layer = CASES[case]
    net, x = build(), pictures(2, 64)
    found = uh.AblationCAM(layer, relu=False)(net, x, TARGETS[:2])
    expected, _ = by_hand(net, layer, x[1], TARGETS[1])
    grid = torch.from_numpy(found[1].arrays[layer])
    assert torch.allclose(grid, expected, rtol=1e-2, atol=3e-3 * float(expected.abs().max()))
    assert found[1].grid == tuple(expected.shape)
    assert not found[1].provenance["notes"]
    assert found[1].provenance["forward_passes"] == 4  # two inputs, read and recorded


def test_known_answer_on_the_toy_network() -> None:
    """S without channel 1 is relu(-21) = 0, a fall of 54; without channel 2 it is 75, a fall of -21."""
    found = uh.AblationCAM("relu1", relu=False)(CN(), CN.x0(), 0)
    np.testing.assert_allclose(found.arrays["relu1"], [[0, 216], [31 * 54 - 6 * 21, 40 * 54 - 15 * 21]])
    assert found.score == 54


class Scaled(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.scale = nn.Conv2d(3, 6, 3), nn.Linear(6, 4), scale

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).relu().mean((2, 3))) * self.scale


def test_where_a_linear_layer_follows_the_weights_are_contributions() -> None:
    """w_k is then the mean of A_k times its weight, and the weights sum to S without the bias."""
    net, x = Scaled(1), pictures(2, 8)

    class WithLayer(Scaled):
        def __init__(self) -> None:
            super().__init__(1)
            self.layer = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.layer(self.conv(x).relu()).mean((2, 3)))

    a = net.conv(x).relu().detach()
    w = a.mean((2, 3)) * net.fc.weight[1].detach()
    for explanation, expected in zip(
        uh.AblationCAM("layer", relu=False)(WithLayer(), x, 1),
        torch.einsum("bk,bkhw->bhw", w, a),
        strict=True,
    ):
        assert torch.allclose(torch.from_numpy(explanation.arrays["layer"]), expected, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_map_scales_with_the_score(scale: float) -> None:
    x = pictures(1, 8)
    plain, scaled = (uh.AblationCAM("conv", relu=False)(Scaled(s), x, 1).arrays["conv"] for s in (1, scale))
    np.testing.assert_allclose(scaled / scale, plain, rtol=1e-3, atol=1e-4 * abs(plain).max())


def test_no_gradient_is_needed() -> None:
    class Stepped(Scaled):
        def forward(self, x: Tensor) -> Tensor:
            return (super().forward(x) * 100).round()

    with pytest.raises(uh.UnderhoodError, match=r"cannot be differentiated"):
        uh.Saliency()(nn.Sequential(Detached()), pictures(1, 8), 1)
    assert uh.AblationCAM("conv", relu=False)(Stepped(1), pictures(1, 8), 1).values.any()


class Detached(Scaled):
    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach()).detach()


def test_a_layer_that_the_score_does_not_depend_on_is_no_signal() -> None:
    class Aside(Scaled):
        def __init__(self) -> None:
            super().__init__(1)
            self.aside = nn.Conv2d(3, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.aside(x)
            return super().forward(x)

    explanation = uh.AblationCAM("aside")(Aside(), pictures(1, 8), 1)
    assert not explanation.values.any()
    assert "does not depend on the places of this layer" in str(explanation.no_signal)


def peer(net: nn.Module, layer: str, x: Tensor, targets: list[int]) -> Any:
    library = pytest.importorskip("pytorch_grad_cam")
    wrap = pytest.importorskip("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget
    with library.AblationCAM(model=net, target_layers=[net.get_submodule(layer)]) as cam:
        cam.batch_size = 64
        return cam(input_tensor=x, targets=[wrap(t) for t in targets])


def test_pytorch_grad_cam_shows_the_same_but_turned_over_where_the_score_is_negative() -> None:
    """It divides the falls by the score. (After a ReLU: elsewhere it ablates with -1e7 instead of 0.)"""
    net, x = resnet18(), pictures(1, 64)
    with torch.no_grad():
        scores = net(x)[0]
    signs = []
    for target in (int(scores.argmax()), int(scores.argmin())):
        grid = torch.from_numpy(uh.AblationCAM("layer3", relu=False)(net, x, target).arrays["layer3"])
        shown = peer(net, "layer3", x, [target])[0]
        g = (grid * scores[target].sign()).relu()[None, None]
        g = F.interpolate(g - g.min(), size=(64, 64), mode="bilinear", align_corners=False)[0, 0]
        np.testing.assert_allclose((g - g.min()) / (g.max() - g.min() + 1e-7), shown, atol=2e-2)
        signs.append(float(scores[target].sign()))
    assert signs == [1, -1]
