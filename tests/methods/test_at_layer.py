"""Attribution to a layer's units, to units inside the network, and to tokens through their embeddings."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import NETS, explained, gradient, pictures, resnet18, vit
from tests.methods.test_batch_is_one_by_one import TARGETS, assert_same, batch
from tests.support.toys import ML
from underhood.methods.at_layer import shown

captum = pytest.importorskip("captum.attr")
IG = uh.IntegratedGradients
LAYERS = {"resnet18": "layer3", "vit": "blocks.0"}
AT: dict[str, Any] = {
    "saliency": lambda at: uh.Saliency("signed", at),
    "input_x_gradient": uh.InputXGradient,
    "smoothgrad": lambda at: uh.SmoothGrad(n=4, of=uh.Saliency("signed", at)),
    "conductance": lambda at: IG(steps=4, at=at),
    "activations": lambda at: IG(steps=3, at=at, kind="activations"),
    "influence": lambda at: IG(steps=3, at=at, kind="influence"),
    "tolerance": lambda at: IG(steps=2, max_steps=8, tolerance=0.01, at=at, kind="activations"),
    "expected_gradients": lambda at: uh.ExpectedGradients(n=4, at=at),
    "guided_ig": lambda at: uh.GuidedIG(steps=3, distance=0.5, at=at),
}


def raw(method: uh.Method, net: nn.Module, x: Tensor, target: Any, **settings: Any) -> Tensor:
    """What was attributed to the layer itself."""
    found = method(net, list(x), target, **settings)
    found = [found] if isinstance(found, uh.Explanation) else found
    return torch.stack([torch.from_numpy(e.arrays[method.at]) for e in found])


def close(found: Tensor, peer: Tensor, tolerance: float = 1e-3) -> None:
    peer = peer.detach().float()
    assert peer.abs().max() > 0
    assert torch.allclose(found, peer, rtol=1e-2, atol=tolerance * float(peer.abs().max()))


def test_the_conductance_of_ml_is_known() -> None:
    found = IG(steps=200, at="relu")(ML(), torch.tensor([0.0, 100.0, 0.0]), 0)
    assert np.allclose(found.values, [90, 100, 100, 100], atol=0.01)
    assert found.diagnostics["completeness_gap"] == pytest.approx(0, abs=0.01)
    ahead = IG(steps=2, at="relu")(ML(), torch.tensor([0.0, 100.0, 0.0]), 0)  # exact where g is constant
    assert np.allclose(ahead.values, [90, 100, 100, 100], atol=0.01)


@pytest.mark.parametrize("kind", ["conductance", "activations"])
@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
def test_layer_attributions_are_complete_and_equal_where_the_rest_is_linear(build: Any, kind: Any) -> None:
    net, x = build(), pictures(2, 64)
    name = {"resnet18": "layer4", "vit": "norm"}[build.__name__]
    for explanation in IG(steps=16, at=name, kind=kind)(net, x, [5, 2]):
        d = explanation.diagnostics
        assert abs(d["completeness_gap"]) < 1e-3 * (1 + abs(d["score_difference"]))  # pooling and a head
        assert explanation.arrays[name].sum() == pytest.approx(d["score_difference"], rel=1e-2, abs=1e-3)
        assert explanation.values.shape == (64, 64)
        assert explanation.card.resolution == "layer"


@pytest.mark.parametrize("method", AT.values(), ids=AT)
@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
def test_a_batch_equals_its_inputs_one_by_one(build: Any, method: Any) -> None:
    model, x = uh.Model(build()), batch()
    chosen = method(LAYERS[build.__name__])
    together = chosen(model, x, TARGETS)
    for i, target in enumerate(TARGETS):
        assert_same(together[i], chosen(model, x[i], target))
        assert together[i].values.shape == (64, 64)


@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
def test_layer_gradients_equal_captums(build: Any) -> None:
    net, x, name = build(), pictures(2, 64), LAYERS[build.__name__]
    layer = net.get_submodule(name)
    peer = captum.LayerGradientXActivation(net, layer).attribute(x, target=[7, 0])
    close(raw(uh.InputXGradient(name), net, x, [7, 0]), peer)
    activation = captum.LayerActivation(net, layer).attribute(x)
    close(raw(uh.Saliency("signed", name), net, x, [7, 0]) * activation, peer)


def test_layer_integrals_equal_captums() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)).eval()
    x, baseline = torch.randn(2, 5), torch.randn(1, 5)
    many: dict[str, Any] = {"target": [2, 0], "n_steps": 100}
    of = {
        "activations": captum.LayerIntegratedGradients(net, net[1]),
        "influence": captum.InternalInfluence(net, net[1]),
        "conductance": captum.LayerConductance(net, net[1]),
    }
    for kind, peer in of.items():
        theirs = peer.attribute(x, baseline, **many)
        found = raw(IG(steps=100, at="1", kind=kind, baseline=baseline), net, x, [2, 0])  # type: ignore[arg-type]
        close(found, theirs, 0.01)


def test_activations_of_a_real_network_equal_captums() -> None:
    net, x = resnet18(), pictures(2, 64)
    peer = captum.LayerIntegratedGradients(net, net.layer3).attribute(
        x, target=[7, 0], n_steps=6, method="gausslegendre"
    )
    close(raw(IG(steps=6, at="layer3", kind="activations"), net, x, [7, 0]), peer, 0.02)


def test_neuron_forms_are_targets() -> None:
    net, x = resnet18(), pictures(2, 64)
    unit, where = uh.Unit("layer2", 5, (3, 4)), (5, 3, 4)
    peer = captum.NeuronGradient(net, net.layer2).attribute(x.clone().requires_grad_(), where)
    close(explained(uh.Saliency("signed"), net, x, unit), peer)
    peer = captum.NeuronIntegratedGradients(net, net.layer2).attribute(
        x, where, n_steps=8, method="gausslegendre"
    )
    close(explained(IG(steps=8), net, x, unit), peer, 0.02)
    small = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)).eval()
    rows = torch.randn(2, 5)
    inside = raw(IG(steps=200, at="1"), small, rows, uh.Unit("2", 4))  # a layer's share in a unit above it
    theirs = captum.LayerConductance(small[:3], small[1]).attribute(rows, n_steps=200, target=4)
    close(inside, theirs, 0.01)


def test_neuron_conductance_is_a_units_share_of_each_input() -> None:
    """Dhamdhere's conductance of one unit, input by input: ∂S/∂y ∘ ∂y/∂x; over its inputs it sums to the
    unit's conductance."""
    net, x = ML(), torch.tensor([[20.0, 50.0, 30.0]])
    theirs = captum.NeuronConductance(net, net.relu).attribute(x, 1, n_steps=200, target=0)
    ours = raw(IG(steps=200, at="relu"), net, x, 0)[:, 1]
    assert float(theirs.sum()) == pytest.approx(float(ours), rel=1e-2)


def test_maps_are_summed_over_channels_and_upsampled_vectors_left_alone() -> None:
    x = torch.zeros(2, 3, 64, 64)
    maps, tokens, vectors = torch.randn(2, 5, 8, 8), torch.randn(2, 17, 6), torch.randn(2, 7)
    up = F.interpolate(maps.sum(1, keepdim=True), size=(64, 64), mode="bilinear", align_corners=False)
    found = shown(maps, "conv", x)
    assert torch.equal(found["values"], up[:, 0])
    assert found["grid"] == (8, 8)
    assert found["arrays"]["conv"] is maps
    assert torch.allclose(
        shown(tokens, "block", x)["values"][:, 0, 0], tokens[:, 1].sum(1), atol=1e-5
    )  # the class token is dropped
    assert shown(vectors, "fc", x)["values"] is vectors
    up = F.interpolate(maps.amax(1, keepdim=True), size=(64, 64), mode="bilinear", align_corners=False)
    assert torch.equal(shown(maps, "conv", x, largest=True)["values"], up[:, 0])


def test_reports_show_layers(tmp_path: Any) -> None:
    found = uh.explain(resnet18(), pictures(1, 64), 0, methods=[IG(steps=2, at="layer2")])
    found.save(tmp_path / "map.html")
    row = uh.explain(ML(), torch.tensor([[1.0, 2.0, 30.0]]), 0, methods=[IG(steps=2, at="relu")])
    row.save(tmp_path / "row.html")
    assert "layer2" in (tmp_path / "map.html").read_text()


def test_what_layers_cannot_do_is_said() -> None:
    x = pictures(1, 64)
    with pytest.raises(uh.UnderhoodError, match="did you mean 'layer3'"):
        uh.Saliency(at="layr3")(resnet18(), x, 0)
    with pytest.raises(uh.UnderhoodError, match="conductance, activations or influence"):
        IG(kind="path")  # type: ignore[arg-type]
    with pytest.raises(uh.UnderhoodError, match="did you mean 'layer3'"):
        IG(at="layr3", kind="activations")(resnet18(), x, 0)


def test_a_layer_that_runs_twice_is_followed_by_its_run() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.act = nn.Linear(4, 4), nn.Tanh()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.inner(self.act(self.inner(x))))

    torch.manual_seed(0)
    net, x = Twice().eval(), torch.randn(1, 4)
    with torch.no_grad():
        start, end = (net.act(net.inner(v)) for v in (torch.zeros(1, 4), x))
    after = nn.Sequential(net.inner, net.act)
    expected = explained(IG(steps=8, baseline=start), after, end, 2)
    assert torch.allclose(raw(IG(steps=8, at="act#1", kind="activations"), net, x, 2), expected, atol=1e-5)


@cache
def bert() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=32, num_labels=3, initializer_range=0.4,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config).eval()


IDS = torch.tensor([[2, 17, 33, 41, 3, 0], [2, 9, 50, 3, 0, 0]])
EMBEDDINGS = "bert.embeddings"


def test_the_gradient_at_the_embeddings_of_tokens() -> None:
    net = bert()
    kept: list[Tensor] = []
    handle = net.get_submodule(EMBEDDINGS).register_forward_hook(lambda _m, _a, out: kept.append(out))
    scores = net(IDS).logits[torch.arange(2), torch.tensor([1, 2])]
    handle.remove()
    (expected,) = torch.autograd.grad(scores.sum(), kept[0])
    close(raw(uh.Saliency("signed", EMBEDDINGS), net, IDS, [1, 2]), expected)
    close(raw(uh.InputXGradient(EMBEDDINGS), net, IDS, [1, 2]), expected * kept[0])
    found = uh.InputXGradient(EMBEDDINGS)(net, IDS, [1, 2])
    close(torch.stack([torch.from_numpy(e.values) for e in found]), (expected * kept[0]).sum(2))
    assert not net.get_submodule(EMBEDDINGS).word_embeddings.weight.grad


def test_integrated_gradients_of_tokens_by_hand_and_by_captum() -> None:
    net, padded = bert(), torch.zeros_like(IDS)
    layer = net.get_submodule(EMBEDDINGS)
    with torch.no_grad():
        start, end = layer(padded), layer(IDS)
    points, weights = np.polynomial.legendre.leggauss(12)
    total = torch.zeros_like(end)
    for p, w in zip(points, weights, strict=True):
        leaf = (start + (p + 1) / 2 * (end - start)).float().requires_grad_()
        scores = net.classifier(net.bert.pooler(net.bert.encoder(leaf).last_hidden_state))
        total += w / 2 * torch.autograd.grad(scores[[0, 1], [1, 2]].sum(), leaf)[0]
    method = IG(steps=12, at=EMBEDDINGS, kind="activations")
    found = raw(method, net, IDS, [1, 2])
    close(found, (end - start) * total)
    peer = captum.LayerIntegratedGradients(lambda ids: net(ids).logits, layer).attribute(
        IDS, padded, target=[1, 2], n_steps=12, method="gausslegendre"
    )
    close(found, peer)
    for i, explanation in enumerate(method(net, IDS, [1, 2])):
        assert explanation.values.shape == (6,)
        assert explanation.diagnostics["relative_gap"] < 0.05
        assert_same(explanation, method(net, IDS[i], [1, 2][i]))


@pytest.mark.parametrize(
    "method",
    [
        uh.ExpectedGradients(n=6, baseline=IDS.flip(1), at=EMBEDDINGS),
        uh.GuidedIG(steps=4, distance=0.4, at=EMBEDDINGS),
        IG(steps=4, at="bert.encoder.layer.0", kind="activations", baseline=IDS.flip(1)[:1]),
    ],
    ids=lambda m: m.key,
)
def test_other_paths_of_tokens(method: uh.Method) -> None:
    together = method(bert(), IDS, [1, 2])
    for i, explanation in enumerate(together):
        assert explanation.values.shape == (6,)
        assert_same(explanation, method(bert(), IDS[i], [1, 2][i]))


@pytest.mark.parametrize(
    "method",
    [uh.Saliency(), uh.InputXGradient(), IG(), IG(at=EMBEDDINGS), uh.SmoothGrad(), uh.GuidedIG(),
     uh.ExpectedGradients(baseline=0)],
    ids=repr,
)  # fmt: skip
def test_token_ids_themselves_have_no_gradient(method: uh.Method) -> None:
    with pytest.raises(uh.UnderhoodError, match=r"whole numbers.*at='embeddings'"):
        method(bert(), IDS, 0)


def test_whole_numbers_are_still_refused_by_networks_without_a_table() -> None:
    with pytest.raises(uh.UnderhoodError, match="holds pixels or numbers"):
        uh.Saliency()(nn.Linear(3, 2), torch.tensor([[1, 2, 3]]), 0)


def test_the_network_is_as_before_and_so_is_what_it_says() -> None:
    net, x = vit(), pictures(1, 64)
    with torch.no_grad():
        before = net(x)
    for method in AT.values():
        method("blocks.0")(net, x, 0)
    with pytest.raises(uh.UnderhoodError):
        IG(at="blocks.0", kind="activations", baseline=pictures(1, 32))(net, x, 0)
    with torch.no_grad():
        assert torch.equal(net(x), before)
    assert not any(m._forward_hooks for m in net.modules())
    assert torch.allclose(
        explained(uh.Saliency("signed"), net, x, 3), gradient(net, x, torch.tensor([3])), atol=1e-5
    )
