"""The maps that are functions of a layer's activations and gradients, against numpy, axioms and peers."""

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from numpy.typing import NDArray
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import explained, pictures, resnet18, vit
from tests.support.toys import CN

Array = NDArray[np.float64]
TARGETS = [7, 0, 3]
NETS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "resnet18, after a relu": (resnet18, "layer3"),
    "resnet18, before it": (resnet18, "layer3.1.bn2"),
    "vit": (vit, "blocks.1.norm1"),
}
METHODS: list[type[uh.Method]] = [
    uh.GradCAM,
    uh.GradCAMPlusPlus,
    uh.XGradCAM,
    uh.HiResCAM,
    uh.LayerCAM,
    uh.EigenCAM,
    uh.EigenGradCAM,
]
of_every_method = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.key)


def component(o: Array, active: Array) -> Array:
    """By the eigenvectors of OOᵀ, not by a singular value decomposition."""
    o = o.reshape(len(o), -1).T  # (h·w, K)
    squares, vectors = np.linalg.eigh(o @ o.T)
    along = np.sqrt(squares[-1]) * vectors[:, -1].reshape(active.shape)
    return along * np.sign((along * active).sum())


def plus_plus(a: Array, g: Array, epsilon: float = 0) -> Array:
    """Written with g² and g³, as in the paper; epsilon as in pytorch-grad-cam."""
    total = a.sum((1, 2), keepdims=True)
    alpha = np.where(g == 0, 0, g**2 / np.where(g == 0, 1, 2 * g**2 + total * g**3 + epsilon))
    return np.tensordot((alpha * g.clip(0)).sum((1, 2)), a, 1)


# (K, h, w) twice to (h, w)
FORMULAS: dict[str, Callable[[Array, Array], Array]] = {
    "gradcam": lambda a, g: np.tensordot(g.mean((1, 2)), a, 1),
    "gradcam_plus_plus": plus_plus,
    "xgradcam": lambda a, g: sum((gk * ak).sum() / (ak.sum() or 1) * ak for ak, gk in zip(a, g, strict=True)),
    "hirescam": lambda a, g: (a * g).sum(0),
    "layercam": lambda a, g: (a * g.clip(0)).sum(0),
    "eigencam": lambda a, _g: component(a, np.sqrt((a * a).sum(0))),
    "eigengradcam": lambda a, g: component(a * g, (a * g).sum(0)),
}


def read(net: nn.Module, layer: str, x: Tensor) -> tuple[Array, Array]:
    """A and g by torch's own hooks, (B, K, h, w)."""
    kept: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(
        lambda _m, _a, output: kept.append(output) or output.clone()  # safe from in-place operations
    )
    scores = net(x)
    handle.remove()
    g = torch.autograd.grad(scores[torch.arange(len(x)), TARGETS].sum(), kept[0])[0]
    found = [kept[0].detach(), g]
    if kept[0].ndim == 3:
        found = [t[:, 1:].mT.reshape(len(x), -1, 4, 4) for t in found]
    return found[0].double().numpy(), found[1].double().numpy()


@pytest.mark.parametrize("case", NETS)
@of_every_method
def test_the_map_is_the_papers_formula(method: type[uh.Method], case: str) -> None:
    build, layer = NETS[case]
    net, x = build(), pictures(3, 64)
    signed, rectified = (method(layer, relu=relu)(net, x, TARGETS) for relu in (False, True))  # type: ignore[call-arg]
    for i, (a, g) in enumerate(zip(*read(net, layer, x), strict=True)):
        expected = FORMULAS[method.key](a, g)
        rounding = 1e-2 if method is uh.XGradCAM else 1e-3  # it divides by sums that nearly cancel
        assert expected.shape == (4, 4)
        scale = abs(expected).max()
        np.testing.assert_allclose(signed[i].arrays[layer], expected, rtol=1e-3, atol=rounding * scale)
        np.testing.assert_array_equal(rectified[i].arrays[layer], signed[i].arrays[layer].clip(0))


CN_MAPS = {
    "hirescam": [[0, 4], [25, 25]],
    "xgradcam": [[0, 4], [25, 25]],
    "layercam": [[0, 4], [31, 40]],
    "gradcam_plus_plus": [[0, 16 / 77], [124 / 77 + 6 / 23, 160 / 77 + 15 / 23]],
}


@pytest.mark.parametrize("method", [m for m in METHODS if m.key in CN_MAPS], ids=lambda m: m.key)
def test_known_answers_on_the_toy_network(method: type[uh.Method]) -> None:
    """After the relu: A = [[0, 4], [31, 40]] and [[0, 0], [6, 15]], g = 1 and [[1, -1], [-1, -1]]."""
    found = method("relu1")(CN(), CN.x0(), 0)  # type: ignore[call-arg]
    np.testing.assert_allclose(found.arrays["relu1"], CN_MAPS[method.key], rtol=1e-6)
    assert found.grid == (2, 2)
    assert found.diagnostics["layer_is_nonnegative"]


def test_the_component_of_two_channels_in_closed_form() -> None:
    """O = [[0, 0], [4, 0], [31, 6], [40, 15]]: the largest eigenvalue of [[p, q], [q, r]] and its vector."""
    p, q, r = 4**2 + 31**2 + 40**2, 31 * 6 + 40 * 15, 6**2 + 15**2
    largest = (p + r) / 2 + np.hypot((p - r) / 2, q)
    v = np.array([q, largest - p]) / np.hypot(q, largest - p)
    found = uh.EigenCAM("relu1")(CN(), CN.x0(), 0)
    expected = np.array([[0, 0], [4, 0], [31, 6], [40, 15]]) @ v
    np.testing.assert_allclose(found.arrays["relu1"].ravel(), expected, rtol=1e-5, atol=1e-5)


class Pooled(nn.Module):
    """A random convolution, global average pooling and a linear layer: the architecture of CAM."""

    def __init__(self, seed: int, scale: float = 1, layer_scale: float = 1) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.layer, self.fc = nn.Conv2d(3, 6, 3), nn.Identity(), nn.Linear(6, 4)
        self.scale, self.layer_scale = scale, layer_scale

    def forward(self, x: Tensor) -> Tensor:
        a = self.layer(self.conv(x).relu() * self.layer_scale)
        return self.fc(a.mean((2, 3)) / self.layer_scale) * self.scale


class Bent(Pooled):
    """Something between the layer and the score that is not linear, so that gradients differ over places."""

    def forward(self, x: Tensor) -> Tensor:
        a = self.layer(self.conv(x).relu() * self.layer_scale) / self.layer_scale
        return self.fc(F.softplus(F.avg_pool2d(a, 2)).square().mean((2, 3))) * self.scale


quick = settings(max_examples=12, deadline=None)
seeds = st.integers(0, 2**16)


def grid(method: uh.Method, net: nn.Module, x: Tensor, target: Any = 1) -> Tensor:
    return torch.stack([torch.from_numpy(e.arrays["layer"]) for e in method(net, x, target)])


@quick
@given(seeds)
def test_where_pooling_and_a_linear_layer_follow_all_are_cam(seed: int) -> None:
    """CAM (Zhou et al. 2016) is Σ_k w_k A_k; the gradient carries the 1 / (h w) of the pooling."""
    net, x = Pooled(seed), pictures(2, 8, seed=seed)
    cam = torch.einsum("k,bkhw->bhw", net.fc.weight[1], net.conv(x).relu()).detach() / 36
    for method in (uh.GradCAM, uh.HiResCAM, uh.XGradCAM):
        found = grid(method("layer", relu=False), net, x)
        assert torch.allclose(found, cam, atol=1e-5), method.key
    assert torch.allclose(grid(uh.GradCAM("layer"), net, x), cam.relu(), atol=1e-5)


@quick
@given(seeds, st.sampled_from([uh.HiResCAM, uh.XGradCAM]))
def test_hirescam_and_xgradcam_sum_to_activation_times_gradient(seed: int, method: Any) -> None:
    """XGrad-CAM's conservation axiom, and the reason for its weights."""
    net, x = Bent(seed), pictures(2, 9, seed=seed)
    a = net.conv(x).relu().detach().requires_grad_()
    score = net.fc(F.softplus(F.avg_pool2d(a, 2)).square().mean((2, 3)))[:, 1].sum()
    expected = (a * torch.autograd.grad(score, a)[0]).sum((1, 2, 3))
    found = grid(method("layer", relu=False), net, x).sum((1, 2))
    assert torch.allclose(found, expected.detach(), rtol=1e-3, atol=1e-4)


@quick
@given(seeds)
def test_what_the_score_does_not_depend_on_stays_dark_in_hirescam_and_layercam(seed: int) -> None:
    class Left(Bent):
        def forward(self, x: Tensor) -> Tensor:
            a = self.layer(self.conv(x).relu())
            return self.fc(a[..., :3].square().mean((2, 3)))

    net, x = Left(seed), pictures(2, 8, seed=seed)
    for method in (uh.HiResCAM, uh.LayerCAM):
        assert not grid(method("layer", relu=False), net, x)[..., 3:].any()
    assert grid(uh.GradCAM("layer", relu=False), net, x)[..., 3:].any()  # what the two were made against


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize(
    "method", [m for m in METHODS if m not in (uh.GradCAMPlusPlus, uh.EigenCAM)], ids=lambda m: m.key
)
def test_a_map_scales_with_the_score(method: Any, scale: float) -> None:
    """PEERS 10: no absolute epsilon."""
    x = pictures(2, 9)
    plain, scaled = (grid(method("layer", relu=False), Bent(0, scale=s), x) for s in (1, scale))
    assert plain.any()
    assert torch.allclose(scaled / scale, plain, rtol=1e-3, atol=1e-5 * float(plain.abs().max()))


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@of_every_method
def test_the_scale_of_the_layer_does_not_change_the_pattern(method: Any, scale: float) -> None:
    x = pictures(2, 9)
    plain, scaled = (grid(method("layer", relu=False), Bent(0, layer_scale=s), x) for s in (1, scale))
    plain, scaled = (m / m.abs().amax((1, 2), keepdim=True) for m in (plain, scaled))
    assert torch.allclose(scaled, plain, atol=1e-3)


def test_grad_cam_plus_plus_has_no_absolute_epsilon() -> None:
    """PEERS 10: for small scores exp(S) is linear, α becomes 1/2 and the map scales with the score. An
    epsilon of 1e-6 beside g² would make it zero there."""
    x = pictures(2, 9)
    a_thousandth, a_millionth = (grid(uh.GradCAMPlusPlus("layer"), Bent(0, scale=s), x) for s in (1e-3, 1e-6))
    assert a_millionth.max() > 0
    assert torch.allclose(a_millionth * 1e3, a_thousandth, rtol=1e-2)


def test_a_channel_that_cancels_has_no_weight_in_xgradcam() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).square().sum((2, 3))

    x = torch.tensor([[[[1.0, -1.0], [2.0, -2.0]]], [[[1.0, -1.0], [2.0, -1.0]]]])
    found = grid(uh.XGradCAM("layer", relu=False), Two(), x, 0)
    assert not found[0].any()
    assert torch.allclose(found[1], 14 * x[1, 0])  # Σ g A = 2 · 7 over Σ A = 1


def test_the_component_is_never_negative_after_a_relu_and_goes_along_with_the_mean() -> None:
    net, x = resnet18(), pictures(3, 64)
    assert grid_of(uh.EigenCAM("layer3", relu=False), net, x).min() >= -1e-5
    for method in (uh.EigenCAM("layer3", relu=False, centred=True), uh.EigenGradCAM("layer3", relu=False)):
        found = grid_of(method, net, x)
        assert found.min() < 0 < found.max()
    a, g = read(net, "layer3", x)
    for method, along in ((uh.EigenCAM, np.sqrt((a * a).sum(1))), (uh.EigenGradCAM, (a * g).sum(1))):
        found = grid_of(method("layer3", relu=False), net, x)
        assert ((found.numpy() * along).sum((1, 2)) > 0).all()


def grid_of(method: Any, net: nn.Module, x: Tensor) -> Tensor:
    return torch.stack([torch.from_numpy(e.arrays[method.layer]) for e in method(net, x, TARGETS)])


def test_eigencam_knows_nothing_of_the_target() -> None:
    net, x = resnet18(), pictures(2, 64)
    for method, same in ((uh.EigenCAM("layer3"), True), (uh.EigenGradCAM("layer3", relu=False), False)):
        assert torch.equal(explained(method, net, x, 0), explained(method, net, x, 5)) is same


@of_every_method
def test_a_contrast_and_a_unit_are_targets_too(method: Any) -> None:
    net, x = resnet18(), pictures(2, 64)
    for target in (uh.Contrast(3, 1), uh.Unit("layer4", 5), lambda scores: scores[:, 2].exp()):
        for explanation in method("layer3", relu=False)(net, x, target):
            assert explanation.values.any()
            assert explanation.no_signal is None


@of_every_method
def test_several_layers_are_averaged_and_no_layer_is_refused(method: Any) -> None:
    explanation = method(["layer3", "layer4"])(resnet18(), pictures(1, 64), 0)
    assert explanation.grid == (2, 2)
    assert explanation.values.max() <= 1 + 1e-6
    with pytest.raises(uh.UnderhoodError, match=r"needs at least one layer"):
        method([])


def test_all_gradient_cams_of_a_call_share_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    monkeypatch.setattr(Pooled, "forward", _counted(Pooled.forward, runs))
    model, x = uh.Model(Pooled(0)), pictures(2, 8)
    uh.GradCAM()(model, x)  # looks for the default layer, once
    runs.clear()
    found = uh.explain(model, x, methods=[m.key for m in METHODS])
    assert sum(runs) == 2
    passes = [
        (e.provenance["forward_passes"], e.provenance["backward_passes"]) for e in found[: len(METHODS)]
    ]
    assert passes == [(2, 2)] + [(0, 0)] * (len(METHODS) - 1)
    for explanation in found:
        alone = dict(zip((0, 1), uh.explain(model, x, methods=explanation.method), strict=True))
        number = int(explanation.subject.name.split()[1])
        np.testing.assert_allclose(explanation.values, alone[number].values, atol=1e-6)
        assert explanation.score == alone[number].score


def test_methods_that_share_a_pass_do_not_read_the_weights_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading all weights for their digest takes as long as a pass does."""
    read: list[nn.Module] = []
    monkeypatch.setattr("underhood.models.model.digest", lambda module: read.append(module) or "digest")
    found = uh.explain(uh.Model(Pooled(0)), pictures(1, 8), methods=[m("layer") for m in METHODS])
    assert len(read) == 1
    assert {e.provenance["model_digest"] for e in found} == {"digest"}


def test_saliency_and_input_times_gradient_share_theirs_and_nothing_else_is_shared() -> None:
    model, x = uh.Model(Pooled(0)), pictures(1, 8)
    methods = [
        uh.Saliency(),
        uh.GradCAM("layer"),
        uh.HiResCAM("conv"),
        uh.InputXGradient(),
        uh.LayerCAM("layer"),
    ]
    found = uh.explain(model, x, methods=methods)
    assert [e.provenance["backward_passes"] for e in found] == [1, 1, 1, 0, 1]
    for explanation, method in zip(found, methods, strict=True):
        np.testing.assert_allclose(explanation.values, method(model, x).values, atol=1e-6)


def test_a_layer_that_several_were_read_with_is_not_read_again() -> None:
    methods = [uh.GradCAM(["conv", "layer"]), uh.EigenCAM("conv"), uh.HiResCAM("layer")]
    found = uh.explain(Pooled(0), pictures(1, 8), methods=methods)
    assert [e.provenance["forward_passes"] for e in found] == [1, 0, 0]


def test_eigencam_alone_takes_one_forward_pass_and_no_backward() -> None:
    found = uh.EigenCAM("layer")(Pooled(0), pictures(2, 8))[0].provenance
    assert (found["forward_passes"], found["backward_passes"]) == (2, 0)


def _counted(forward: Callable[..., Tensor], runs: list[int]) -> Callable[..., Tensor]:
    def counting(self: nn.Module, x: Tensor) -> Tensor:
        runs.append(len(x))
        return forward(self, x)

    return counting


PEERS = {
    "GradCAM": uh.GradCAM,
    "XGradCAM": uh.XGradCAM,
    "HiResCAM": uh.HiResCAM,
    "LayerCAM": uh.LayerCAM,
    "EigenCAM": lambda layer: uh.EigenCAM(layer, centred=True),
    "EigenGradCAM": lambda layer: uh.EigenGradCAM(layer, centred=True),
}


def peers(name: str, net: nn.Module, layer: str, x: Tensor) -> NDArray[np.float32]:
    library = pytest.importorskip("pytorch_grad_cam")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")

    def tokens(t: Tensor) -> Tensor:
        return t[:, 1:].mT.reshape(len(t), -1, 4, 4)

    with getattr(library, name)(
        model=net,
        target_layers=[net.get_submodule(layer)],
        reshape_transform=tokens if layer.startswith("blocks") else None,
    ) as cam:
        return cam(input_tensor=x, targets=[targets.ClassifierOutputTarget(t) for t in TARGETS])


def stretched(grid: NDArray[Any]) -> Tensor:
    """Of a map on the layer's grid what pytorch-grad-cam shows: stretched to [0, 1], upsampled, stretched."""
    g = torch.from_numpy(grid)[None, None].float().relu()
    g = F.interpolate(_unit(g), size=(64, 64), mode="bilinear", align_corners=False)
    return _unit(g)[0, 0]


def _unit(m: Tensor) -> Tensor:
    return (m - m.min()) / (m.max() - m.min() + 1e-7)


@pytest.mark.parametrize("case", ["resnet18, after a relu", "vit"])
@pytest.mark.parametrize("name", PEERS)
def test_pytorch_grad_cam_shows_the_same(name: str, case: str) -> None:
    build, layer = NETS[case]
    net, x = build(), pictures(3, 64)
    for explanation, peer in zip(
        PEERS[name](layer)(net, x, TARGETS), peers(name, net, layer, x), strict=True
    ):
        ours = stretched(explanation.arrays[layer]).numpy()
        if "Eigen" in name:  # its sign is the singular vector's, whichever that is
            turned = stretched(-unrectified(PEERS[name], layer, net, x, explanation)).numpy()
            ours = min(ours, turned, key=lambda m: abs(m - peer).max())
        np.testing.assert_allclose(ours, peer, atol=5e-3)


def test_what_pytorch_grad_cam_shows_as_grad_cam_plus_plus_is_its_epsilon() -> None:
    """PEERS 10: it adds 1e-6 to g² terms that are of that size themselves."""
    build, layer = NETS["vit"]
    net, x = build(), pictures(3, 64)
    found, shown = uh.GradCAMPlusPlus(layer)(net, x, TARGETS), peers("GradCAMPlusPlus", net, layer, x)
    for i, (a, g) in enumerate(zip(*read(net, layer, x), strict=True)):
        np.testing.assert_allclose(stretched(plus_plus(a, g, 1e-6).clip(0)), shown[i], atol=5e-3)
        np.testing.assert_allclose(found[i].arrays[layer], plus_plus(a, g).clip(0), rtol=1e-3, atol=1e-6)
    assert abs(stretched(found[0].arrays[layer]).numpy() - shown[0]).max() > 0.1


def unrectified(build: Any, layer: str, net: nn.Module, x: Tensor, of: uh.Explanation) -> NDArray[np.float32]:
    from dataclasses import replace

    number = int(of.subject.name.split()[1])
    return replace(build(layer), relu=False)(net, x, TARGETS)[number].arrays[layer]
