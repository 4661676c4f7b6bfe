"""Score-CAM against masking by hand, and pytorch-grad-cam."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import pictures, resnet18, vit

TARGETS = [7, 0]
CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "resnet18": (resnet18, "layer1.0.conv1"),
    "vit": (vit, "blocks.1.norm1"),
}
exact = {"precision": "float32"}


def by_hand(net: nn.Module, a: Tensor, x: Tensor, target: int, fill: Tensor) -> Tensor:
    """(h, w) before the ReLU for one picture x (C, H, W) with channels a (K, h, w), one after the other."""
    scores = []
    for channel in a:
        mask = F.interpolate(channel[None, None], size=x.shape[1:], mode="bilinear", align_corners=False)[0]
        mask = (mask - mask.min()) / (mask.max() - mask.min())
        scores.append(x * mask + fill * (1 - mask))
    with torch.no_grad():
        confidence = net(torch.stack(scores))[:, target] - net(fill[None])[0, target]
    weights = confidence.double().exp() / confidence.double().exp().sum()
    return torch.einsum("k,khw->hw", weights.float(), a)


def channels(net: nn.Module, layer: str, x: Tensor) -> Tensor:
    """(K, h, w)"""
    a = uh.Engine(uh.Model(net)).capture(x[None], [layer])[layer][0]
    return a if a.ndim == 3 else a[1:].T.reshape(-1, 4, 4)


@pytest.mark.parametrize("baseline", ["zeros", 0.3])
@pytest.mark.parametrize("case", CASES)
def test_the_map_equals_masking_by_hand(case: str, baseline: str | float) -> None:
    build, layer = CASES[case]
    net, x = build(), pictures(2, 64)
    fill = torch.zeros_like(x[1]) if baseline == "zeros" else torch.full_like(x[1], 0.3)
    found = uh.ScoreCAM(layer, relu=False, baseline=baseline)(net, x, TARGETS, **exact)
    expected = by_hand(net, channels(net, layer, x[1]), x[1], TARGETS[1], fill)
    grid = torch.from_numpy(found[1].arrays[layer])
    assert torch.allclose(grid, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    assert found[1].grid == tuple(expected.shape)


class Planted(nn.Module):
    """Channels made by hand: the left half, the right half, a constant, nothing; the score is on the left."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        left = torch.zeros(1, 1, 4, 4)
        left[..., :2] = 1
        maps = torch.cat((left, 1 - left, torch.ones_like(left), torch.zeros_like(left)), 1)
        self.layer(maps.expand(len(x), -1, -1, -1) * (x.flatten(1).abs().amax(1) > 0)[:, None, None, None])
        return torch.stack((x[..., :8].mean((1, 2, 3)), -x[..., 8:].mean((1, 2, 3))), 1) * 10


def test_known_answer_channels_that_are_constant_are_left_out() -> None:
    """w is the softmax of the scores through the left and the right half only."""
    x, net = torch.ones(1, 1, 16, 16), Planted()
    found = uh.ScoreCAM("layer")(net, x, 0, **exact)
    assert found.diagnostics["channels"] == 2
    assert found.provenance["forward_passes"] == 1 + 2
    left = torch.zeros(4, 4)
    left[:, :2] = 1
    mask = F.interpolate(left[None, None], size=(16, 16), mode="bilinear", align_corners=False)
    scores = torch.stack([10 * m[..., :8].mean() for m in (mask, 1 - mask)])
    w = scores.softmax(0)
    np.testing.assert_allclose(found.arrays["layer"], w[0] * left + w[1] * (1 - left), rtol=1e-5)


def test_an_input_without_any_channel_that_varies_has_no_signal_whatever_its_batch_mates_have() -> None:
    x = torch.stack((torch.ones(1, 16, 16), torch.zeros(1, 16, 16)))
    lit, dark = uh.ScoreCAM("layer")(Planted(), x, 0)
    assert lit.no_signal is None
    assert lit.diagnostics["channels"] == 2
    assert not dark.values.any()
    assert dark.no_signal
    assert dark.diagnostics["channels"] == 0


def test_the_scale_of_the_layer_does_not_matter() -> None:
    class Rescaled(nn.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.layer, self.fc, self.scale = (
                nn.Conv2d(3, 6, 3),
                nn.Identity(),
                nn.Linear(6, 4),
                scale,
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.fc((self.layer(self.conv(x) * self.scale) / self.scale).relu().mean((2, 3)))

    x = pictures(2, 12)
    plain, scaled = (
        np.stack([e.arrays["layer"] / s for e in uh.ScoreCAM("layer")(Rescaled(s), x, 1)]) for s in (1, 1e-6)
    )
    np.testing.assert_allclose(scaled, plain, rtol=1e-3, atol=1e-6)


def test_pytorch_grad_cam_shows_the_same_at_a_layer_of_the_pictures_own_size() -> None:
    """Elsewhere its masks are upsampled with corners aligned, unlike its maps."""
    library = pytest.importorskip("pytorch_grad_cam")
    wrap = pytest.importorskip("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 4))
    x = pictures(2, 16)
    with library.ScoreCAM(model=net, target_layers=[net[0]]) as cam:
        shown = cam(input_tensor=x, targets=[wrap(t) for t in (3, 1)])
    for explanation, peer in zip(uh.ScoreCAM("0")(net, x, [3, 1], **exact), shown, strict=True):
        ours = explanation.arrays["0"]
        np.testing.assert_allclose((ours - ours.min()) / (ours.max() - ours.min()), peer, atol=1e-4)


def test_a_wrong_baseline_is_refused_when_the_method_is_made() -> None:
    with pytest.raises(uh.UnderhoodError, match="baseline"):
        uh.ScoreCAM(baseline="nonsense")
