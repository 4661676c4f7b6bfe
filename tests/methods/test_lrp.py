"""LRP: known answers, conservation, every operation, parity with zennit and captum."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import underhood as uh
from tests.engine.nets import Snapshot
from tests.methods.nets import NETS, explained, gradient, pictures, resnet18, vit
from tests.support.toys import CN, S3, SumNet
from tests.support.untrained import untrained
from underhood.errors import InvalidArgument, NotDifferentiable, UnknownName
from underhood.methods.lrp import COMPOSITES, AlphaBeta, Epsilon, Flat, Gamma, ZBox, Zero, ZPlus

ZERO = [("*", Zero())]
X0 = CN.x0()
TARGETS = [7, 0, 3]


# Known answers


@pytest.mark.parametrize("composite", [ZERO, "epsilon"])
def test_known_answers(composite: Any) -> None:
    lrp = uh.LRP(composite)
    moved = torch.tensor([[0, 1, 2, 3], [0, 5, 6, 7], [0, 9, 10, 11], [0, 0, 0, 0.0]])
    for target in range(4):
        torch.testing.assert_close(explained(lrp, CN(), X0, target)[0, 0], moved, rtol=1e-5, atol=1e-5)
    three = torch.tensor([[1.0, 2.0, 3.0]])
    torch.testing.assert_close(explained(lrp, S3(), three, 0), torch.tensor([[18.0, 36.0, 54.0]]))
    two = torch.tensor([[2.0, 3.0]])
    torch.testing.assert_close(explained(lrp, SumNet(), two, 1), torch.tensor([[10.0, 18.0]]))


def bias_free() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, bias=False),
        nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5, bias=False),
    ).eval()  # fmt: skip


def test_lrp_0_is_input_times_gradient_without_biases() -> None:
    net, x, classes = bias_free(), pictures(3, 16), torch.tensor([4, 0, 2])
    torch.testing.assert_close(
        explained(uh.LRP(ZERO), net, x, classes.tolist()), x * gradient(net, x, classes), rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize("composite", [c for c in COMPOSITES if "alpha" not in c])
@pytest.mark.parametrize("pooling", ["winner", "average"])
def test_relevance_sums_to_the_score_without_biases(composite: str, pooling: Any) -> None:
    for explanation in uh.LRP(composite, pooling=pooling)(bias_free(), pictures(3, 16), [4, 0, 2]):
        found = explanation.diagnostics  # ε takes up to 3e-5 of a score of 0.04, rounding 1e-5
        assert found["sum"] == pytest.approx(explanation.score, rel=1e-4)
        assert abs(found["relative_gap"]) < 1e-4
        assert found["largest_leak"] < 1e-4
        assert found["pooling"] == pooling
        for layer in ("0", "1", "2", "3", "4", "5", "6", "7"):
            assert found["layers"][layer] == pytest.approx(explanation.score, rel=1e-4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 10))
def test_relevance_grows_with_the_score_of_a_bias_free_net(seed: int, scale: float) -> None:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 2, bias=False))
    x = torch.randn(1, 4)
    once, more = (explained(uh.LRP(ZERO), net, factor * x, 1) for factor in (1.0, scale))
    torch.testing.assert_close(more, scale * once, rtol=1e-3, atol=1e-4)


def test_a_leak_is_found_where_it_is() -> None:
    """A bias that makes half of an output absorbs half of what comes to it."""
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(2))
        net[0].bias.copy_(torch.tensor([1.0, 1.0]))
        net[2].weight.fill_(1.0)
    found = uh.LRP("epsilon")(net, torch.ones(1, 2), 0).diagnostics
    assert (found["score"], found["layers"]["1"]) == pytest.approx((4.0, 4.0))
    assert found["sum"] == pytest.approx(2.0, rel=1e-4)
    assert found["largest_leak"] == pytest.approx(0.5, rel=1e-4)
    assert found["largest_leak_before"] == "input"
    kept = uh.LRP([("*", Epsilon(bias="ignored"))])(net, torch.ones(1, 2), 0)
    assert kept.values.tolist() == pytest.approx([2.0, 2.0], rel=1e-4)


def test_a_contrast_sums_to_the_difference_of_the_scores() -> None:
    net, x = bias_free(), pictures(2, 16)
    found = uh.LRP("epsilon")(net, x, uh.Contrast(3, 1))
    scores = net(x).detach()
    for explanation, row in zip(found, scores, strict=True):
        assert explanation.diagnostics["sum"] == pytest.approx(float(row[3] - row[1]), rel=1e-3)


# Batch normalisation


class Normalised(nn.Module):
    def __init__(self, convolution: nn.Module, norm: nn.Module, *, shared: bool = False) -> None:
        super().__init__()
        self.convolution, self.norm, self.shared = convolution, norm, shared

    def forward(self, x: Tensor) -> Tensor:
        z = self.convolution(x)
        y = self.norm(z).relu()
        return (y + z if self.shared else y).flatten(2).mean(2)


def norm(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels)
    for tensor in (layer.running_mean, layer.weight.data, layer.bias.data):
        tensor.normal_()
    layer.running_var.uniform_(0.5, 2)
    return layer


@pytest.mark.parametrize(
    "composite", ["epsilon", "epsilon-plus", "epsilon-gamma-box", "epsilon-alpha2-beta1"]
)
@pytest.mark.parametrize("bias", [True, False])
def test_batch_norm_is_merged_into_the_layer_before_it(composite: str, bias: bool) -> None:
    torch.manual_seed(0)
    net = Normalised(nn.Conv2d(3, 4, 3, bias=bias), norm(4)).eval()
    fused = Normalised(torch.nn.utils.fuse_conv_bn_eval(net.convolution, net.norm), nn.Identity()).eval()
    x, lrp = pictures(2, 12), uh.LRP(composite)
    torch.testing.assert_close(explained(lrp, net, x, 1), explained(lrp, fused, x, 1), rtol=1e-3, atol=1e-6)


def test_batch_norm_is_not_merged_where_something_else_takes_the_layers_output() -> None:
    torch.manual_seed(0)
    net = Normalised(nn.Conv2d(3, 4, 3, bias=False), norm(4), shared=True).eval()
    found = explained(uh.LRP("epsilon"), net, pictures(2, 12), 1)
    plain = copy.deepcopy(net)
    plain.norm = Affine(net.norm)
    torch.testing.assert_close(
        found, explained(uh.LRP("epsilon"), plain, pictures(2, 12), 1), rtol=1e-3, atol=1e-6
    )


class Affine(nn.Module):
    """Batch normalisation as a product and a sum."""

    def __init__(self, layer: nn.BatchNorm2d) -> None:
        super().__init__()
        scale = layer.weight.detach() * (layer.running_var + layer.eps).rsqrt()
        self.scale, self.shift = scale, layer.bias.detach() - layer.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale[:, None, None] + self.shift[:, None, None]


# Other operations


class Of(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


ROW = torch.tensor([[1.0, -2.0, 4.0, 0.5]])


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x + 1.0, ROW),  # what the constant contributes is absorbed
        (lambda x: 3.0 - x, -ROW),
        (lambda x: torch.sub(x, 2 * x, alpha=3), -5 * ROW),
        (lambda x: x * 7, 7 * ROW),
        (lambda x: x / 4, ROW / 4),
        (F.gelu, F.gelu(ROW)),
        (lambda x: x * torch.sigmoid(x), F.silu(ROW)),  # all of it to the signal
        (lambda x: x * x, ROW**2),
        (lambda x: torch.cat([x, x], 1)[:, 2:6].flip(1)[:, [1, 0, 3, 2]], ROW),
        (F.normalize, F.normalize(ROW)),
        (lambda x: x / x.norm(dim=1, keepdim=True), F.normalize(ROW)),
        (lambda x: torch.einsum("bi,ij->bj", x, torch.diag(ROW[0])), ROW**2),
        (lambda x: x.cumsum(1), None),
    ],
)  # fmt: skip
def test_operations_share_relevance_as_documented(function: Any, expected: Tensor | None) -> None:
    net, x = Of(function), ROW.clone()
    for target in range(4):
        found = explained(uh.LRP(), net, x, target)[0]
        value = float(net(x)[0, target].detach())
        if expected is None:
            expected_row = torch.where(torch.arange(4) <= target, ROW[0], 0)
        else:
            expected_row = F.one_hot(torch.tensor(target), 4) * expected[0]
        if "flip" not in getattr(function, "__code__", copy.deepcopy.__code__).co_names:
            torch.testing.assert_close(found, expected_row, rtol=1e-4, atol=1e-5)
        else:
            assert float(found.sum()) == pytest.approx(value, rel=1e-4)


def test_two_signals_get_half_each_and_keep_the_sum() -> None:
    net = Of(lambda x: x[:, :2] * x[:, 2:])
    found = explained(uh.LRP(), net, ROW, 0)[0]
    torch.testing.assert_close(found, torch.tensor([2.0, 0.0, 2.0, 0.0]))
    bilinear = Of(lambda x: (x.reshape(1, 2, 2) @ x.reshape(1, 2, 2).mT).flatten(1))
    explanation = uh.LRP()(bilinear, ROW, 1)
    assert explanation.diagnostics["sum"] == pytest.approx(explanation.score, rel=1e-4)


def test_softmax_is_as_in_attnlrp() -> None:
    net = Of(lambda x: x.softmax(1))
    s = ROW.softmax(1)
    expected = ROW * s[:, 2] * (F.one_hot(torch.tensor(2), 4) - s)
    torch.testing.assert_close(explained(uh.LRP(), net, ROW, 2), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layer", [nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.RMSNorm(4)])
def test_normalisations_are_linear_with_their_spread_held(layer: nn.Module) -> None:
    x = torch.randn(2, 4, 3, 4, generator=torch.Generator().manual_seed(0))
    net = nn.Sequential(layer, nn.Flatten())
    found = explained(uh.LRP(), net, x, 5)
    torch.testing.assert_close(found.flatten(1).sum(1), net(x)[:, 5].detach(), rtol=1e-3, atol=1e-5)
    leaf, spread = x.clone().requires_grad_(), None
    if isinstance(layer, nn.LayerNorm):
        spread = (x.var(3, unbiased=False, keepdim=True) + layer.eps).sqrt()
        held = ((leaf - leaf.mean(3, keepdim=True)) / spread).flatten(1)[:, 5].sum()
        torch.testing.assert_close(found, x * torch.autograd.grad(held, leaf)[0], rtol=1e-3, atol=1e-5)


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Of(lambda x: torch.logcumsumexp(x, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def test_an_operation_without_a_rule_is_named() -> None:
    """PEERS 4."""
    with pytest.raises(NotDifferentiable, match=r"'logcumsumexp' in layer 'inner'"):
        uh.LRP()(Odd(), ROW, 0)
    passed = uh.LRP(unknown="gradient")(Odd(), ROW, 1)
    assert passed.diagnostics["passed_as_gradient"] == ["'logcumsumexp' in layer 'inner'"]
    expected = ROW[0] * gradient(Odd(), ROW, torch.tensor([1]))[0]
    np.testing.assert_allclose(passed.values, expected, rtol=1e-4, atol=1e-6)


# Composites and arguments


def test_rules_go_where_the_composite_says() -> None:
    net = resnet18()
    counts = uh.LRP("epsilon-plus-flat")(net, pictures(1, 64), 0).diagnostics["rules"]
    assert counts == {repr(Flat()): 1, repr(ZPlus()): 19, repr(Epsilon()): 1}
    own = [
        ("layer4.*", Gamma(0.5)),
        (":first", ZBox(-3.0, 3.0)),
        (":convolution", AlphaBeta()),
        ("fc", Zero()),
    ]
    counts = uh.LRP(own)(net, pictures(1, 64), 0).diagnostics["rules"]
    assert counts == {repr(ZBox(-3.0, 3.0)): 1, repr(AlphaBeta()): 14, repr(Gamma(0.5)): 5, repr(Zero()): 1}


def test_pixels_are_bounded_by_the_preprocessing() -> None:
    named = uh.Model(resnet18(), preprocess="imagenet,size=none,crop=64")
    low, high = (tuple((v - m) / s for m, s in zip(*IMAGENET, strict=True)) for v in (0, 1))
    own = [(":pixels", ZBox(low, high)), (":convolution", Gamma()), (":dense", Epsilon())]
    x = pictures(2, 64)
    torch.testing.assert_close(
        explained(uh.LRP("epsilon-gamma-box"), named, x, 1), explained(uh.LRP(own), resnet18(), x, 1),
        rtol=1e-3, atol=1e-7,
    )  # fmt: skip


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    "bad",
    [
        lambda: uh.LRP("epsilon-plus-flats"),
        lambda: uh.LRP([(":conv", Epsilon())]),
        lambda: uh.LRP([("*", "epsilon")]),  # type: ignore[list-item]
        lambda: uh.LRP(pooling="max"),  # type: ignore[arg-type]
        lambda: uh.LRP(unknown="ignore"),  # type: ignore[arg-type]
    ],
)
def test_arguments_that_make_no_sense_are_refused(bad: Any) -> None:
    with pytest.raises((InvalidArgument, UnknownName)):
        bad()


@pytest.mark.parametrize("composite", ["epsilon-plus-flat", "epsilon-gamma-box", "gamma"])
@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
def test_a_batch_is_its_inputs_one_by_one_and_the_model_stays_as_it_was(build: Any, composite: str) -> None:
    net, x, lrp = build(), pictures(3, 64), uh.LRP(composite)
    before = Snapshot.of(net)
    together = explained(lrp, net, x, TARGETS)
    before.assert_unchanged(net)
    for i, target in enumerate(TARGETS):
        alone = explained(lrp, net, x[i : i + 1], target)[0]
        assert alone.abs().max() > 0
        torch.testing.assert_close(together[i], alone, rtol=1e-2, atol=2e-3 * float(alone.abs().max()))


def test_a_layers_relevance_is_what_the_whole_pass_brought_to_it() -> None:
    net, x = resnet18(), pictures(2, 64)
    whole = uh.LRP()(net, x, [7, 0])
    for layer in ("layer2", "layer4", "maxpool", "fc"):
        for explanation, other in zip(uh.LRP(at=layer)(net, x, [7, 0]), whole, strict=True):
            assert explanation.arrays[layer].sum() == pytest.approx(
                other.diagnostics["layers"][layer], rel=1e-2, abs=1e-4
            )
    explanation = uh.LRP(at="layer2")(net, x[0], 7)
    assert explanation.grid == (8, 8)
    assert explanation.values.shape == (64, 64)


# Architectures


@pytest.mark.parametrize(
    ("source", "size"),
    [
        ("torchvision:mobilenet_v3_small", 64),
        ("torchvision:efficientnet_b0", 64),
        ("torchvision:densenet121", 64),
        ("torchvision:convnext_tiny", 64),
        ("torchvision:googlenet", 64),
        ("torchvision:swin_t", 64),
        ("timm:deit_tiny_distilled_patch16_224", 224),
        ("torchvision:shufflenet_v2_x0_5", 64),
    ],
)
def test_architectures_work_as_they_are(source: str, size: int) -> None:
    net = calibrated(untrained(source).module, pictures(4, size))
    explanation = uh.LRP("epsilon-gamma-box")(net, pictures(1, size)[0], 1)
    assert explanation.diagnostics["passed_as_gradient"] == []
    assert np.isfinite(explanation.values).all()
    assert np.abs(explanation.values).max() > 0


def calibrated(net: nn.Module, x: Tensor) -> nn.Module:
    """With batch statistics of its own, as a trained network has: else activations die out."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        net.train()(x)
    return net.eval()


# Peers


def to_peer(composite: Any, net: nn.Module, x: Tensor) -> Tensor:
    with composite.context(net) as modified:
        leaf = x.clone().requires_grad_()
        output = modified(leaf)
        rows = torch.arange(len(x))
        seed = torch.zeros_like(output)
        seed[rows, TARGETS] = output.detach()[rows, TARGETS]
        return torch.autograd.grad(output, leaf, seed)[0]


@pytest.mark.parametrize("name", ["resnet18", "vgg"])
@pytest.mark.parametrize(
    ("composite", "peer"),
    [
        ("epsilon-plus", "EpsilonPlus"),
        ("epsilon-plus-flat", "EpsilonPlusFlat"),
        ("epsilon-alpha2-beta1", "EpsilonAlpha2Beta1"),
        ("epsilon-alpha2-beta1-flat", "EpsilonAlpha2Beta1Flat"),
        ("epsilon-gamma-box", "EpsilonGammaBox"),
    ],
)
def test_composites_equal_zennits_with_its_canonizers(name: str, composite: Any, peer: str) -> None:
    composites = pytest.importorskip("zennit.composites")
    canonizers = pytest.importorskip("zennit.torchvision")
    x, bounds = pictures(3, 64), {}
    if peer == "EpsilonGammaBox":
        composite = [(":pixels", ZBox(-2.5, 2.5)), *COMPOSITES[composite][1:]]
        bounds = {"low": torch.full((1, 3, 64, 64), -2.5), "high": torch.full((1, 3, 64, 64), 2.5)}
    net = copy.deepcopy(resnet18()) if name == "resnet18" else vgg()
    canonizer = (canonizers.ResNetCanonizer if name == "resnet18" else canonizers.VGGCanonizer)()
    theirs = to_peer(getattr(composites, peer)(canonizers=[canonizer], **bounds), net, x)
    ours = explained(uh.LRP(composite), net, x, TARGETS)
    assert (ours - theirs).abs().max() < 1e-3 * theirs.abs().max()


def vgg() -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((3, 8), (8, 16), (16, 16)):
        layers += [
            nn.Conv2d(before, after, 3, padding=1),
            norm(after),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(256, 32),
        nn.ReLU(True),
        nn.Dropout(),
        nn.Linear(32, 10),
    ).eval()


def test_zennit_doubles_relevance_at_a_functional_skip_where_ours_shares_it() -> None:
    """PEERS 4: [10, 18] is right, as the two paths make 5 (2 + 3) and 3 of the score 28."""
    composites = pytest.importorskip("zennit.composites")
    x = torch.tensor([[2.0, 3.0]])
    net = SumNet()
    with composites.EpsilonPlus().context(net) as modified:
        leaf = x.clone().requires_grad_()
        (theirs,) = torch.autograd.grad(modified(leaf), leaf, torch.tensor([[0.0, 28.0]]))
    assert float(theirs.sum()) == pytest.approx(56.0, rel=1e-3)
    ours = explained(uh.LRP("epsilon"), net, x, 1)
    torch.testing.assert_close(ours, torch.tensor([[10.0, 18.0]]))


def test_epsilon_equals_captums_on_a_plain_net() -> None:
    captum = pytest.importorskip("captum.attr")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    x = torch.randn(3, 6)
    theirs = captum.LRP(net).attribute(x, target=[0, 1, 2]).detach()
    torch.testing.assert_close(explained(uh.LRP("epsilon"), net, x, [0, 1, 2]), theirs, rtol=1e-3, atol=1e-4)


def test_a_transformer_conserves_but_for_its_biases_and_softmax() -> None:
    explanation = uh.LRP("epsilon")(vit(), pictures(1, 64)[0], 3)
    assert explanation.diagnostics["passed_as_gradient"] == []
    assert np.isfinite(explanation.values).all()
