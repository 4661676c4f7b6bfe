"""DeepLIFT and DeepSHAP: the change of the score is shared out, whatever the network is made of."""

import warnings
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from torch import Tensor, nn

import underhood as uh
from tests.engine.nets import Gnarly
from tests.methods.nets import NETS, Linear, explained, pictures, resnet18
from tests.support.toys import B2, B3, MIN, ML
from underhood.engine.passes import Log, differentiate

DL = uh.DeepLIFT()


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float32)


class Of(nn.Module):
    """A function of rows (m, 12), its results weighted and summed."""

    def __init__(self, function: Any):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(x).flatten(1)
        return (y * torch.linspace(-1, 2, y.shape[1])).sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("net", "x", "expected"),
    [
        (ML(), row(20, 50, 30), [78, 195, 117]),
        (MIN(), row(1, 2), [1, 0]),
        (MIN(), row(3, 1), [0, 1]),
        (B2(), row(3, 1), [1.5, -0.5]),
        (B3(), row(3, 1), [2, -1]),  # the same function as B2: DeepLIFT depends on how it is written
        (Linear(row(3, -2)[0], 5), row(7, 9), [21, -18]),
        (Of(lambda x: (x[:, :1] * x[:, 1:]).expand(-1, 2)), row(3, 5), [7.5, 7.5]),
    ],
    ids=["ML", "MIN", "MIN", "B2", "B3", "linear", "product"],
)
def test_known_answers(net: nn.Module, x: Tensor, expected: list[float]) -> None:
    assert torch.allclose(explained(DL, net, x, 0), row(*expected), rtol=1e-5, atol=1e-5)


def _written(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, :6] = x[:, 6:].exp()
    y[:, 6:] += x[:, :6].square()
    return y


ACTIVATIONS = "relu relu6 leaky_relu elu selu gelu silu mish softplus sigmoid tanh hardswish"
W = torch.rand(6, generator=torch.Generator().manual_seed(3)) + 0.5
OPERATIONS: dict[str, Any] = {
    "layer_norm": lambda x: F.layer_norm(x.view(-1, 2, 6), (6,), W, W),
    "layer_norm in channels": lambda x: F.layer_norm(x.view(-1, 6, 2).transpose(1, 2), (6,), W),
    "group_norm": lambda x: F.group_norm(x.view(-1, 6, 2), 3, W, W),
    "instance_norm": lambda x: F.instance_norm(x.view(-1, 2, 6)),
    "rms_norm": lambda x: F.rms_norm(x.view(-1, 2, 6), (6,), W),
    "normalize": lambda x: F.normalize(x.view(-1, 6, 2), dim=1),
    "softmax": lambda x: F.softmax(3 * x.view(-1, 2, 6), -1),
    "masked softmax": lambda x: x.masked_fill(torch.arange(12) % 3 == 0, -torch.inf).softmax(1),
    "log_softmax": lambda x: torch.log_softmax(x.view(-1, 6, 2), 1),
    "logsumexp": lambda x: x.logsumexp(1, keepdim=True),
    "norm": lambda x: x.norm(dim=1, keepdim=True),
    "quotient": lambda x: x / x.exp().sum(1, keepdim=True),
    "1 / x": lambda x: 2 / (1 + x * x),
    "gate": lambda x: x * x.sigmoid(),
    "attention": lambda x: F.scaled_dot_product_attention(*x.view(-1, 2, 2, 3).unbind(1)[:1] * 3),
    "einsum": lambda x: torch.einsum("bi,bj->bij", x, x),
    "maximum": lambda x: torch.maximum(x, x.flip(1)),
    "minimum": lambda x: torch.min(x, 2 * x.flip(1)),
    "max": lambda x: x.view(-1, 6, 2).max(1).values,
    "amax": lambda x: x.view(-1, 6, 2).amax(-1, keepdim=True),
    "max_pool1d": lambda x: F.max_pool1d(x.view(-1, 1, 12), 3, 2, 1),
    "max_pool2d": lambda x: nn.MaxPool2d(2, 1, 1)(x.view(-1, 1, 3, 4)),
    "max_pool3d": lambda x: F.max_pool3d(x.view(-1, 1, 2, 2, 3), 2, 1),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x.view(-1, 1, 3, 4), 2),
    "functional layer norm": lambda x: (x - x.mean(1, keepdim=True)) * (x.var(1, keepdim=True) + 1).rsqrt(),
    "power": lambda x: (x.abs() + 0.1) ** 1.5,
    "in place": lambda x: x.clone().mul_(2).add_(1).sub_(0.5).tanh_(),
    "written into": _written,
    **{name: getattr(F, name) for name in ACTIVATIONS.split()},
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_every_operation_shares_out_its_change_exactly(operation: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    x, baseline = torch.randn(3, 12, generator=generator), torch.randn(1, 12, generator=generator)
    for reference in (baseline, x[:1] + 1e-3 * baseline, torch.full((1, 12), 0.3)):
        net = Of(operation)
        found = uh.DeepLIFT(baseline=reference)(net, x, 0)
        with torch.no_grad():
            difference = (net(x) - net(reference))[:, 0]
        for explanation, d in zip(found, difference.tolist(), strict=True):
            assert explanation.diagnostics["score_difference"] == pytest.approx(d, abs=2e-5)
            scale = float(abs(explanation.values).sum()) + 1
            assert abs(explanation.diagnostics["completeness_gap"]) < 2e-5 * scale


SMOOTH = ["layer_norm", "group_norm", "instance_norm", "rms_norm", "normalize", "gelu", "logsumexp", "norm"]


@pytest.mark.parametrize("name", [*SMOOTH, "layer_norm in channels", "1 / x"])
def test_of_one_operation_it_is_the_integrated_gradients(name: str) -> None:
    """The multipliers of a single smooth operation are its Jacobian's mean on the line."""
    generator = torch.Generator().manual_seed(2)
    x, baseline = torch.randn(3, 12, generator=generator), torch.randn(1, 12, generator=generator)
    for reference in (baseline, 0.02 * baseline, x[:1] + 1e-5 * baseline):
        method = uh.DeepLIFT(baseline=reference)
        found = explained(method, Of(OPERATIONS[name]), x, 0)
        expected = explained(
            uh.IntegratedGradients(steps=300, baseline=reference), Of(OPERATIONS[name]), x, 0
        )
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


class Modern(nn.Module):
    """Depthwise convolution, channel norm, GELU, layer scale, squeeze-excite, concatenation, max-pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.depth, self.norm = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.LayerNorm(8)
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)
        self.gate, self.scale = nn.Conv2d(8, 8, 1), nn.Parameter(torch.full((8, 1, 1), 0.3))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.stem(x))
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        y = self.down(F.gelu(self.up(y))).permute(0, 3, 1, 2)
        x = x + self.scale * y
        x = x * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(x, 1)))
        x = torch.cat((F.max_pool2d(x, 2), F.avg_pool2d(F.relu(x, inplace=False), 2)), 1)
        return self.head(F.leaky_relu(x).mean((2, 3)))


class Tokens(nn.Module):
    """A torch transformer layer over embeddings (m, tokens, width): BERT's arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.layer(x)[:, 0]))


@settings(max_examples=10, deadline=None)
@given(
    st.integers(0, 2**16),
    st.sampled_from([Gnarly, Modern, Tokens]),
    st.sampled_from(["score", "probability"]),
)
def test_summation_to_delta_on_networks_of_all_kinds(seed: int, build: Any, output: Any) -> None:
    torch.manual_seed(seed)
    net, shape = build().eval(), (6, 16) if build is Tokens else (3, 16, 16)
    x, baseline, target = torch.randn(2, *shape), torch.randn(1, *shape), uh.Class(3, output)
    engine = uh.Engine(uh.Model(net), uh.Settings())
    run = uh.Run(engine, x, target)  # `Method` reads pictures and rows, not yet tokens
    found = uh.DeepLIFT(baseline=baseline).attribute(run)
    with torch.no_grad():
        difference = target.score(net(x)) - target.score(net(baseline))
    mass = found.values.flatten(1).abs().sum(1)
    assert (mass > 0).all()
    assert ((found.values.flatten(1).sum(1) - difference).abs() < 1e-5 * (1 + mass)).all()


@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
@pytest.mark.parametrize("target", [None, 3, uh.Contrast(3, 1), uh.Class(3, "probability"), "length"])
def test_real_networks_and_all_targets_share_out_the_scores_change(build: Any, target: Any) -> None:
    net, x = build(), pictures(1, 64)
    if target == "length":
        target = uh.Custom(lambda scores: scores.square().sum(1).sqrt())
    found = DL(net, x, target)
    asked = uh.as_target(target)
    with torch.no_grad():
        outputs = net(x)
        settled = asked.fixed(outputs)
        difference = settled.score(outputs) - settled.score(net(torch.zeros_like(x)))
    assert found.values.sum(dtype=np.float64) == pytest.approx(float(difference), abs=1e-4, rel=1e-4)
    assert abs(found.diagnostics["completeness_gap"]) < 1e-4


@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
def test_it_takes_two_forward_passes_and_one_backward(build: Any) -> None:
    x = pictures(2, 64)
    found = DL(build(), x, 3)[0].provenance
    assert (found["forward_passes"], found["backward_passes"]) == (4, 2)


@pytest.mark.parametrize(
    ("build", "layer"), [(resnet18, "layer2"), (resnet18, "layer4.1.conv1"), (NETS["vit"], "blocks.0")]
)
def test_at_a_layer_its_activations_share_out_the_change(build: Any, layer: str) -> None:
    x = pictures(2, 64)
    found = uh.DeepLIFT(at=layer)(build(), x, 3)
    for explanation in found:
        mass = float(abs(explanation.arrays[layer]).sum())
        # conv1 of a block leaves out the skip, so not all of the change passes it
        assert mass > 0
        if "conv1" not in layer:
            assert abs(explanation.diagnostics["completeness_gap"]) < 1e-5 * (1 + mass)
    with torch.no_grad():
        features = nn.Sequential(*list(resnet18().children())[:6])
        if layer == "layer2":
            assert found[0].arrays[layer].shape == features(x)[0].shape
            assert found[0].values.shape == (64, 64)
            assert found[0].card.resolution == "layer"


class Bert(nn.Module):
    """Token ids to scores, through an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.inner = nn.Embedding(20, 16), Tokens()

    def forward(self, ids: Tensor) -> Tensor:
        return self.inner(self.embedding(ids))


def test_token_ids_are_explained_at_their_embeddings() -> None:
    torch.manual_seed(0)
    net, ids = Bert().eval(), torch.randint(1, 20, (2, 7))
    engine = uh.Engine(uh.Model(net), uh.Settings())
    found = uh.DeepLIFT(at="embedding").attribute(uh.Run(engine, ids, uh.Class(3)))
    with torch.no_grad():
        difference = (net(ids) - net(0 * ids))[:, 3]
    assert found.values.shape == (2, 7)
    assert torch.allclose(found.values.sum(1), difference, atol=1e-5)


def test_a_unit_inside_the_network_is_a_target() -> None:
    x, unit = pictures(2, 64), uh.Unit("layer2.0.conv2", 5, (2, 3))
    for explanation in DL(resnet18(), x, unit):
        assert abs(explanation.diagnostics["completeness_gap"]) < 1e-5 * (1 + abs(explanation.values).sum())
        assert explanation.values.any()


# --- RevealCancel

RC = uh.DeepLIFT(rule="reveal_cancel")


@pytest.mark.parametrize(
    ("net", "x", "expected"),
    [
        (MIN(), row(1, 2), [0.5, 0.5]),  # the Shapley values, where Rescale gives [1, 0]
        (MIN(), row(3, 1), [0.5, 0.5]),
        (B2(), row(3, 1), [1.5, -0.5]),
        (B3(), row(3, 1), [1.5, -0.5]),  # B2 written differently, where Rescale gives [2, -1]
        (ML(), row(20, 50, 30), [78, 195, 117]),  # nothing lowers: the same as Rescale
    ],
    ids=["MIN", "MIN", "B2", "B3", "ML"],
)
def test_known_answers_of_reveal_cancel(net: nn.Module, x: Tensor, expected: list[float]) -> None:
    assert torch.allclose(explained(RC, net, x, 0), row(*expected), rtol=1e-5, atol=1e-5)


def reveal_cancel_by_hand(linear: nn.Linear, f: Any, out: Tensor, x: Tensor, x0: Tensor) -> Tensor:
    """The paper's formulas, contribution by contribution."""
    parts = linear.weight * (x - x0)[:, None]  # (m, units, inputs)
    up, down, z0 = parts.clamp(min=0).sum(2), parts.clamp(max=0).sum(2), linear(x0)
    raised = (f(z0 + up) - f(z0) + f(z0 + up + down) - f(z0 + down)) / 2
    lowered = (f(z0 + down) - f(z0) + f(z0 + up + down) - f(z0 + up)) / 2
    slopes = torch.where(parts > 0, (raised / up)[..., None], (lowered / down)[..., None])
    return torch.einsum("mui,mui,u->mi", parts, slopes.nan_to_num(), out).detach()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from([torch.relu, torch.tanh, F.gelu]))
def test_reveal_cancel_is_the_papers_formula(seed: int, f: Any) -> None:
    torch.manual_seed(seed)
    linear, out = nn.Linear(5, 7), nn.Linear(7, 1)
    x, x0 = torch.randn(3, 5), torch.randn(1, 5)
    expected = reveal_cancel_by_hand(linear, f, out.weight[0], x, x0)

    class Scaled(nn.Module):
        """The same, with a normalisation between that turns some signs, and is undone."""

        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm, self.out = linear, nn.BatchNorm1d(7, eps=0), out
            sign = torch.tensor([1.0, -1, 1, -1, -1, 1, 2])
            self.norm.weight.data, self.sign = sign, sign

        def forward(self, x: Tensor) -> Tensor:
            return self.out(f((self.norm(self.linear(x))[:, None] + 3 - 3).squeeze(1) / self.sign))

    for net in (Of2(linear, f, out), Scaled()):
        found = explained(uh.DeepLIFT(rule="reveal_cancel", baseline=x0), net, x, 0)
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4)


class Of2(nn.Module):
    def __init__(self, linear: nn.Linear, f: Any, out: nn.Linear):
        super().__init__()
        self.linear, self.f, self.out = linear, f, out

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.f(self.linear(x)))


@pytest.mark.parametrize("build", [Gnarly, Modern, *NETS.values()])
def test_reveal_cancel_shares_out_the_change_too(build: Any) -> None:
    torch.manual_seed(0)
    net, x = build().eval(), pictures(2, 64)
    rescale = explained(DL, net, x, [1, 2])
    for explanation, other in zip(RC(net, x, [1, 2]), rescale, strict=True):
        mass = float(abs(explanation.values).sum())
        assert abs(explanation.diagnostics["completeness_gap"]) < 1e-5 * (1 + mass)
        assert not np.allclose(explanation.values, other, atol=1e-3 * float(other.abs().max()))


# --- DeepSHAP


class Additive(nn.Module):
    """Σ f_i(x_i) with functions that are far from linear: exact Shapley values are known."""

    def forward(self, x: Tensor) -> Tensor:
        parts = (torch.relu(x[:, :1] - 0.3), x[:, 1:2].exp(), torch.tanh(3 * x[:, 2:3]), x[:, 3:] ** 2)
        return torch.cat(parts, 1).sum(1, keepdim=True)

    def parts(self, x: Tensor) -> Tensor:
        return torch.stack(
            (torch.relu(x[:, 0] - 0.3), x[:, 1].exp(), torch.tanh(3 * x[:, 2]), x[:, 3] ** 2), 1
        )


def test_deepshap_of_an_additive_model_is_its_shapley_values() -> None:
    torch.manual_seed(0)
    net, x, background = Additive(), torch.randn(3, 4), torch.randn(7, 4)
    exact = net.parts(x) - net.parts(background).mean(0)
    found = uh.DeepSHAP(baseline=background)(net, x, 0)
    spread = (net.parts(x)[:, None] - net.parts(background)).std(1) / 7**0.5
    for explanation, values, error in zip(found, exact, spread, strict=True):
        assert np.allclose(explanation.values, values, atol=1e-5)
        assert np.allclose(explanation.arrays["standard_error"], error, atol=1e-5)
        assert explanation.diagnostics["baselines"] == 7


def test_deepshap_of_a_linear_model_is_weight_times_difference() -> None:
    w, x, background = row(2, -1, 4)[0], row(1, 5, 2), torch.randn(9, 3)
    found = explained(uh.DeepSHAP(baseline=background), Linear(w, 3), x)
    assert torch.allclose(found, w * (x - background.mean(0)), atol=1e-5)


@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
def test_deepshap_is_the_mean_of_deeplift_over_the_background(build: Any) -> None:
    x, background = pictures(2, 64), pictures(3, 64, seed=8)
    each = [explained(uh.DeepLIFT(baseline=b[None]), build(), x, [1, 2]) for b in background]
    found = explained(uh.DeepSHAP(baseline=background), build(), x, [1, 2])
    mean = torch.stack(each).mean(0)
    assert torch.allclose(found, mean, rtol=1e-3, atol=1e-4 * float(mean.abs().max()))
    several = explained(uh.DeepLIFT(baseline=background), build(), x, [1, 2])
    assert torch.allclose(several, found)


def test_deepshap_stops_early_at_a_wanted_error() -> None:
    torch.manual_seed(0)
    background = 0.1 * torch.randn(60, 4)
    found = uh.DeepSHAP(baseline=background, error=0.2)(Additive(), torch.full((4,), 2.0), 0)
    assert 4 <= found.diagnostics["baselines"] < 60
    assert found.diagnostics["relative_standard_error"] <= 0.2
    assert abs(found.diagnostics["completeness_gap"]) < 1e-4


# --- what cannot be compared


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(x) if x.sum() > 0 else torch.tanh(x)
        return y.sum(1, keepdim=True)


def test_control_flow_on_data_is_refused_by_name() -> None:
    with pytest.raises(uh.UnderhoodError, match=r"does something else \('relu'\) for the input"):
        DL(Branching(), torch.ones(1, 3), 0)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: uh.DeepLIFT(rule="linear"), "rule is rescale or reveal_cancel"),  # type: ignore[arg-type]
        (lambda: uh.DeepLIFT(baseline="inpaint"), "cannot stand for a whole input"),
        (lambda: uh.DeepSHAP(error=0), "above 0"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(make: Any, sentence: str) -> None:
    with pytest.raises(uh.UnderhoodError, match=sentence):
        make()


def test_the_same_input_as_baseline_gives_no_signal() -> None:
    x = pictures(1, 64)
    found = uh.DeepLIFT(baseline=x)(resnet18(), x, 0)
    assert found.no_signal == "the map is zero everywhere"
    assert found.diagnostics["relative_gap"] is None


# --- peers


def plain_net(pool: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), pool, nn.Conv2d(6, 8, 3), nn.ReLU(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(72, 10), nn.ReLU(), nn.Linear(10, 5),
    ).eval()  # fmt: skip


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks", "ignore:Input Tensor")
def test_it_equals_captums_on_plain_convolutional_nets() -> None:
    captum = pytest.importorskip("captum.attr")
    net, x, baseline = plain_net(nn.AvgPool2d(2)), pictures(3), pictures(1, seed=5)
    peer = captum.DeepLift(net).attribute(x, baseline, target=[0, 3, 1]).detach()
    found = explained(uh.DeepLIFT(baseline=baseline), net, x, [0, 3, 1])
    assert torch.allclose(found, peer, rtol=1e-3, atol=1e-5)
    background = pictures(4, seed=6)
    peer = captum.DeepLiftShap(net).attribute(x, background, target=[0, 3, 1]).detach()
    found = explained(uh.DeepSHAP(baseline=background), net, x, [0, 3, 1])
    assert torch.allclose(found, peer, rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks", "ignore:Input Tensor")
def test_captum_does_not_share_out_the_change_through_max_pooling() -> None:
    captum = pytest.importorskip("captum.attr")
    net, x, baseline = plain_net(nn.MaxPool2d(2)), pictures(3), pictures(1, seed=5)
    with torch.no_grad():
        difference = (net(x) - net(baseline))[:, 2]
    peer = captum.DeepLift(net).attribute(x, baseline, target=2).detach().flatten(1).sum(1)
    assert ((peer - difference).abs() > 0.1 * difference.abs()).any()
    ours = explained(uh.DeepLIFT(baseline=baseline), net, x, 2).flatten(1).sum(1)
    assert torch.allclose(ours, difference, atol=1e-5)


def test_deepshap_equals_shaps_on_plain_convolutional_nets() -> None:
    shap = pytest.importorskip("shap")
    net, x, background = plain_net(nn.MaxPool2d(2)), pictures(2), pictures(4, seed=6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = shap.DeepExplainer(net, background).shap_values(x)[..., 3]
    assert np.allclose(explained(uh.DeepSHAP(baseline=background), net, x, 3), peer, rtol=1e-3, atol=1e-5)


class Reused(nn.Module):
    """relu(w2 · relu(w1 · x)) with one ReLU module, and a functional skip."""

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.first, self.second = nn.ReLU(), nn.Linear(2, 2), nn.Linear(2, 1)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([[1.0, -1], [2, 1]]))
            self.first.bias.copy_(torch.tensor([-1.0, -1]))
            self.second.weight.copy_(torch.tensor([[1.0, 2]]))
            self.second.bias.copy_(torch.tensor([-4.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.second(self.relu(self.first(x)))) + F.relu(x[:, :1] - 1)


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks", "ignore:Input Tensor")
def test_captum_fails_where_a_module_is_reused_and_misses_what_is_functional() -> None:
    """PEERS 4 and 5. By hand at (3, 1) from 0: first = (1, 6), second = 9, S = 9 + 2 = 11, S' = 0;
    multipliers 9/13, of first (1/2, 6/7) and of the functional ReLU 2/3."""
    captum = pytest.importorskip("captum.attr")
    a, b = 9 / 13 / 2, 9 / 13 * 2 * 6 / 7
    expected = row(3 * (a + 2 * b + 2 / 3), b - a)
    assert torch.allclose(expected.sum(), torch.tensor(11.0))
    x = row(3, 1)
    assert torch.allclose(explained(DL, Reused(), x, 0), expected, atol=1e-5)
    try:
        theirs = captum.DeepLift(Reused()).attribute(x, torch.zeros(1, 2), target=0).detach()
    except (RuntimeError, AssertionError, AttributeError, KeyError):
        return  # it refuses reused modules
    assert not torch.allclose(theirs.sum(), torch.tensor(11.0), atol=0.1)


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks", "ignore:Input Tensor")
def test_captum_fails_on_a_resnet() -> None:
    captum = pytest.importorskip("captum.attr")
    x = pictures(1, 64)
    with torch.no_grad():
        difference = float((resnet18()(x) - resnet18()(0 * x))[0, 3])
    assert explained(DL, resnet18(), x, 3).sum() == pytest.approx(difference, abs=1e-4)
    try:
        theirs = float(captum.DeepLift(resnet18()).attribute(x, 0 * x, target=3).sum())
    except (RuntimeError, AssertionError, AttributeError, KeyError):
        return
    assert abs(theirs - difference) > 0.1 * abs(difference)


# --- the engine's part


def test_a_reference_changes_nothing_of_the_callers_tensors() -> None:
    net, x, background = resnet18(), pictures(2, 64), pictures(2, 64, seed=3)
    before = x.clone(), background.clone()
    uh.DeepSHAP(baseline=background)(net, x, 0)
    assert torch.equal(x, before[0])
    assert torch.equal(background, before[1])
    assert not x.requires_grad
    assert not background.requires_grad


def test_gradients_with_a_reference_tell_the_change_and_its_score() -> None:
    from underhood.methods.deeplift.multipliers import Multipliers

    net, x, x0 = ML().requires_grad_(False), row(20, 50, 30), row(1, 2, 3)
    found = differentiate(net, x.clone(), uh.Class(0), (), Log(), Multipliers(), x0.clone())
    assert torch.equal(found.change[0], x - x0)
    assert found.reference_score is not None
    assert torch.equal(found.reference_score, net(x0)[:, 0].detach())
    inner = differentiate(net, x.clone(), uh.Class(0), ("linear1",), Log(), Multipliers(), x0.clone())
    assert torch.allclose(inner.change[0], net.linear1(x) - net.linear1(x0))
    assert torch.allclose((inner.change[0] * inner.gradients[0]).sum(), net(x)[0, 0] - net(x0)[0, 0])
