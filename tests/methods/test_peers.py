"""Side by side with captum and pytorch-grad-cam, where they are right."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import NETS, explained, pictures, resnet18

captum = pytest.importorskip("captum.attr")

TARGETS = [7, 0, 3]
both_nets = pytest.mark.parametrize("build", NETS.values(), ids=NETS)


def assert_close(found: Tensor, peer: Tensor, tolerance: float = 1e-3) -> None:
    peer = peer.detach()
    for a, b in zip(found, peer, strict=True):
        assert b.abs().max() > 0
        assert torch.allclose(a, b, rtol=1e-2, atol=tolerance * float(b.abs().max()))


@both_nets
def test_saliency_equals_captums(build: Any) -> None:
    x = pictures(3, 64)
    peer = captum.Saliency(build()).attribute(x.clone().requires_grad_(), target=TARGETS)
    assert_close(explained(uh.Saliency(), build(), x, TARGETS), peer)
    signed = captum.Saliency(build()).attribute(x.clone().requires_grad_(), target=TARGETS, abs=False)
    assert_close(explained(uh.Saliency("signed"), build(), x, TARGETS), signed)


@both_nets
def test_input_times_gradient_equals_captums(build: Any) -> None:
    x = pictures(3, 64)
    peer = captum.InputXGradient(build()).attribute(x.clone().requires_grad_(), target=TARGETS)
    assert_close(explained(uh.InputXGradient(), build(), x, TARGETS), peer)


@both_nets
def test_integrated_gradients_equal_captums_gauss_legendre(build: Any) -> None:
    x, baseline = pictures(3, 64), 0.3 * pictures(1, 64, seed=4)
    peer = captum.IntegratedGradients(build()).attribute(
        x, baseline, target=TARGETS, n_steps=12, method="gausslegendre"
    )
    found = explained(uh.IntegratedGradients(steps=12, baseline=baseline), build(), x, TARGETS)
    assert_close(found, peer.float(), 0.02)  # a point of the path may lie on a kink of a ReLU


@pytest.mark.parametrize("layer", ["layer4", "layer2"])
def test_grad_cam_equals_captums(layer: str) -> None:
    x, net = pictures(3, 64), resnet18()
    peer = captum.LayerGradCam(net, net.get_submodule(layer)).attribute(
        x, target=TARGETS, relu_attributions=False
    )
    peer = F.interpolate(peer, size=(64, 64), mode="bilinear", align_corners=False)[:, 0]
    assert_close(explained(uh.GradCAM(layer, relu=False), net, x, TARGETS), peer)


def test_grad_cam_equals_pytorch_grad_cams_up_to_its_stretching() -> None:
    peer_cam = pytest.importorskip("pytorch_grad_cam")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    x, net = pictures(3, 64), resnet18()
    with peer_cam.GradCAM(model=net, target_layers=[net.layer4]) as cam:
        peer = cam(input_tensor=x, targets=[targets.ClassifierOutputTarget(t) for t in TARGETS])
    found = uh.GradCAM("layer4")(net, x, TARGETS)
    for explanation, stretched in zip(found, peer, strict=True):
        grid = torch.from_numpy(explanation.arrays["layer4"])[None, None]
        ours = (grid - grid.min()) / (grid.max() - grid.min() + 1e-7)
        ours = F.interpolate(ours, size=(64, 64), mode="bilinear", align_corners=False)[0, 0]
        assert np.allclose(ours, stretched, atol=2e-3)


@pytest.mark.parametrize(("size", "stride"), [(16, 16), (16, 8), (32, 16)])
def test_occlusion_equals_captums_where_windows_fit_exactly(size: int, stride: int) -> None:
    """Captum cuts its last windows at the edge, ours end there: the same only where windows fit."""
    x, net = pictures(3, 64), resnet18()
    peer = captum.Occlusion(net).attribute(
        x, (3, size, size), strides=(3, stride, stride), target=TARGETS, baselines=0
    )
    assert_close(explained(uh.Occlusion(size=size, stride=stride), net, x, TARGETS), peer[:, 0])


def test_occlusion_of_rows_equals_captums_feature_ablation() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    x = torch.randn(3, 6)
    groups = torch.tensor([0, 0, 1, 2, 1, 2])
    for mask in (None, groups):
        peer = captum.FeatureAblation(net).attribute(
            x, target=[0, 1, 2], feature_mask=None if mask is None else mask[None]
        )
        assert_close(explained(uh.Occlusion(grouping=mask), net, x, [0, 1, 2]), peer)
