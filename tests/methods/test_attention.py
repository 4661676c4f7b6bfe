"""Raw attention, rollout and attention relevance: known answers, axioms, independent replicas, refusals."""

import copy
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

import underhood as uh
from tests.engine.nets import Snapshot, explained, pictures
from tests.methods.nets import resnet18
from tests.support.untrained import untrained
from underhood.engine import Engine, Settings
from underhood.engine.budget import footprint
from underhood.methods.explain import explain_with
from underhood.models import Contrast, Unit

METHODS: dict[str, uh.Method] = {
    "raw": uh.RawAttention(),
    "raw, all layers": uh.RawAttention("all", head="max"),
    "rollout": uh.AttentionRollout(),
    "rollout, discard": uh.AttentionRollout(fusion="max", discard=0.7),
    "rollout, patching": uh.AttentionRollout(alpha="patching"),
    "relevance": uh.AttentionRelevance(),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


class Tables(nn.Module):
    """A class token and 2 × 2 patches of (m, 3, 8, 8) through attention whose logits are given:
    x ← x + gain · mean_heads(softmax(logits) x); class scores read from the class token, or from the mean."""

    def __init__(self, logits: list[Tensor], gain: float = 1.0, *, pooled: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.token = nn.Conv2d(3, 6, 4, stride=4), nn.Parameter(torch.randn(1, 1, 6))
        self.blocks = nn.ModuleList(Table(table, gain) for table in logits)
        self.head, self.pooled = nn.Linear(6, 2, bias=False), pooled

    def forward(self, x: Tensor) -> Tensor:
        patches = self.embed(x).flatten(2).mT
        x = torch.cat([self.token.expand(len(x), -1, -1), patches], 1)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x.mean(1) if self.pooled else x[:, 0])


class Table(nn.Module):
    def __init__(self, logits: Tensor, gain: float) -> None:
        super().__init__()
        self.logits, self.gain = nn.Parameter(logits), gain

    def forward(self, x: Tensor) -> Tensor:
        logits = self.logits + 0 * (x @ x.mT)[:, None]
        return self.gain * (logits.softmax(-1) @ x[:, None]).mean(1)


UNIFORM, IDENTITY = torch.zeros(2, 5, 5), 1e4 * torch.eye(5).expand(2, 5, 5)


def tokens(method: uh.Method, net: nn.Module, x: Tensor | None = None, target: Any = 0) -> Tensor:
    found = method(net, pictures(2, 8) if x is None else x, target)
    return torch.stack([torch.from_numpy(e.arrays["tokens"]) for e in found])


# Known answers


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("residual", [0.0, 0.25, 0.5, 1.0])
def test_uniform_attention_rolls_out_to_its_closed_form(layers: int, residual: float) -> None:
    """α^L·I + (1-α^L)/N·11ᵀ with α the weight of the residual, which is 1 - alpha here."""
    rolled = tokens(uh.AttentionRollout(alpha=1 - residual), Tables([UNIFORM] * layers))
    expected = torch.full((5,), (1 - residual**layers) / 5)
    expected[0] += residual**layers
    assert torch.allclose(rolled, expected.expand(2, 5), atol=1e-6)


def test_uniform_attention_stays_uniform_over_the_patches() -> None:
    for method in (uh.RawAttention(), uh.AttentionRollout()):
        for explanation in method(Tables([UNIFORM] * 2), pictures(2, 8), 0):
            assert np.ptp(explanation.values) < 1e-6 < explanation.values.min()
            assert explanation.no_signal == "every patch has the same weight"


def test_identity_attention_gives_the_class_token_alone() -> None:
    for method in (uh.RawAttention(), uh.AttentionRollout(), uh.AttentionRollout(fusion="min", alpha=1)):
        net = Tables([IDENTITY] * 2)
        assert torch.equal(tokens(method, net), torch.eye(5)[:1].expand(2, 5))
        for explanation in method(net, pictures(2, 8), 0):
            assert not explanation.values.any()
            assert explanation.no_signal == "no patch has any weight"


@pytest.mark.parametrize("gain", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("reference", ["zeros", "noise"])
def test_patching_measures_the_residuals_weight_of_a_block_x_plus_c_x(gain: float, reference: str) -> None:
    """1/(1+c) for the residual."""
    net = Tables([IDENTITY] * 3, gain)
    found = uh.AttentionRollout(alpha="patching", reference=reference)(net, pictures(2, 8), 0)
    for explanation in found:
        residual = 1 - np.array(explanation.diagnostics["alpha"])
        # The class token is the same in every input: nothing that is patched reaches the score.
        assert residual == pytest.approx([0.5] * 3)
    found = uh.AttentionRollout(alpha="patching", reference=reference)(
        Tables([IDENTITY] * 3, gain, pooled=True), pictures(2, 8), 0
    )
    for explanation in found:
        assert 1 - np.array(explanation.diagnostics["alpha"]) == pytest.approx([1 / (1 + gain)] * 3, rel=1e-4)


def test_one_token_that_is_looked_at_is_the_map() -> None:
    """The class token looks at patch 2 (row 0, column 1) and at nothing else."""
    logits = torch.zeros(1, 5, 5)
    logits[0, 0, 2] = 1e4
    one = uh.RawAttention()(Tables([logits]), pictures(1, 8), 0)
    assert one.arrays["blocks.0"].tolist() == [[[0, 1], [0, 0]]]
    assert one.heatmap().argmax() in range(8)
    assert uh.AttentionRollout(alpha=0.25)(Tables([logits]), pictures(1, 8), 0).arrays["tokens"].tolist() == [
        0.75, 0, 0.25, 0, 0,
    ]  # fmt: skip


# Axioms


@given(
    seed=st.integers(0, 10**6),
    layers=st.integers(1, 3),
    fusion=st.sampled_from(["mean", "max", "min"]),
    discard=st.floats(0, 0.99),
    alpha=st.floats(0, 1),
)
@settings(max_examples=25)
def test_every_row_of_a_rollout_sums_to_one(
    seed: int, layers: int, fusion: Any, discard: float, alpha: float
) -> None:
    torch.manual_seed(seed)
    for pooled in (True, False):
        net = Tables([3 * torch.randn(2, 5, 5) for _ in range(layers)], pooled=pooled)
        rolled = tokens(uh.AttentionRollout(alpha, fusion, discard), net)
        assert rolled.min() >= 0
        assert torch.allclose(rolled.sum(1), torch.ones(2), atol=1e-5)


@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 10))
@settings(max_examples=10)
def test_relevance_is_never_negative_and_scales_with_the_score(seed: int, scale: float) -> None:
    torch.manual_seed(seed)
    net = Tables([3 * torch.randn(2, 5, 5)])
    once = tokens(uh.AttentionRelevance(), net)
    more = tokens(uh.AttentionRelevance(), net, target=lambda scores: scale * scores[:, 0])
    assert once.min() >= 0
    assert torch.allclose(more, scale * once, rtol=1e-4)


def test_the_smallest_weights_of_each_picture_are_discarded_never_the_class_tokens() -> None:
    """A famous bug takes the places of the first picture's smallest for the whole batch."""
    net, x = vit(), 3 * pictures(2, 32)
    kept = []
    for row in range(2):
        a = attention_by_hooks(net, x[row : row + 1])[0][-1].mean(1)[0].detach().numpy()  # (17, 17)
        cut = np.sort(a[:, 1:].ravel())[int(0.5 * a[:, 1:].size)]  # half of all but the class token's column
        left = np.where((a >= cut) | (np.arange(17) == 0), a, 0)[0]
        kept.append(left)
    assert not np.array_equal(kept[0] > 0, kept[1] > 0)
    found = tokens(uh.AttentionRollout(alpha=[0, 1], discard=0.5), net, x)  # the last layer alone
    assert np.allclose(found, np.stack([left / left.sum() for left in kept]), atol=1e-5)


# Real architectures against independent replicas


def vit(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    small = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 5}
    net = timm.create_model("vit_tiny_patch16_224", **(small | options)).eval()
    for parameter in net.parameters():  # sharper attention than at the start of training
        if parameter.ndim == 2:
            nn.init.normal_(parameter, std=0.3)
    return net


def attention_by_hooks(net: nn.Module, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """The weights of each block, in the graph, with timm's plain attention; and the scores."""
    net, kept = copy.deepcopy(net), []
    for block in net.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _m, _a, output: kept.append(output))
    scores = net(x.clone().requires_grad_())
    return kept, scores


def relevance_by_numpy(weights: list[Tensor], score: Tensor, rows: list[int]) -> NDArray[np.float64]:
    """(B, N)"""
    slopes = torch.autograd.grad(score.sum(), weights, allow_unused=True)
    n = weights[0].shape[-1]
    relevance = np.stack([np.eye(n)] * len(weights[0]))
    for a, slope in zip(weights, slopes, strict=True):
        if slope is not None:
            product = a.detach().double().numpy() * slope.double().numpy()
            relevance = relevance + product.clip(0).mean(1) @ relevance
    return (relevance - np.eye(n))[:, rows].mean(1)


def rollout_by_numpy(weights: list[Tensor], rows: list[int], alpha: float = 0.5) -> NDArray[np.float64]:
    n = weights[0].shape[-1]
    rolled = np.stack([np.eye(n)] * len(weights[0]))
    for a in weights:
        mixed = alpha * a.detach().double().numpy().mean(1) + (1 - alpha) * np.eye(n)
        rolled = mixed / mixed.sum(-1, keepdims=True) @ rolled
    return rolled[:, rows].mean(1)


TIMM = {
    "class token": ({}, [0], 1),
    "registers": ({"reg_tokens": 8}, [0], 9),  # 25 tokens, which are no grid of 5 × 5
    "mean of patches": ({"global_pool": "avg"}, list(range(1, 17)), 1),
    "no class token": ({"global_pool": "avg", "class_token": False}, list(range(16)), 0),
}


@pytest.mark.parametrize(("options", "rows", "without_place"), TIMM.values(), ids=TIMM)
def test_timm_transformers_equal_a_replica(options: Any, rows: list[int], without_place: int) -> None:
    net, x, targets = vit(**options), pictures(3, 32), [3, 0, 1]
    weights, scores = attention_by_hooks(net, x)
    expected = {
        uh.RawAttention(): weights[-1].detach().mean(1)[:, rows].mean(1),
        uh.AttentionRollout(): rollout_by_numpy(weights, rows),
        uh.AttentionRollout(0.9): rollout_by_numpy(weights, rows, 0.9),
        uh.AttentionRelevance(): relevance_by_numpy(weights, scores[range(3), targets], rows),
    }
    for method, wanted in expected.items():
        found = method(net, x, targets)
        assert np.allclose(np.stack([e.arrays["tokens"] for e in found]), wanted, atol=1e-5), method
        for explanation, row in zip(found, wanted, strict=True):
            grid = torch.as_tensor(row)[without_place:].reshape(1, 1, 4, 4).float()
            whole = F.interpolate(grid, size=(32, 32), mode="bilinear", align_corners=False)[0, 0]
            assert explanation.grid == (4, 4)
            assert explanation.diagnostics["tokens_without_place"] == without_place
            assert np.allclose(explanation.values, whole, atol=1e-5)


def test_every_layer_and_head_can_be_seen() -> None:
    net, x = vit(), pictures(2, 32)
    weights, _ = attention_by_hooks(net, x)
    both = uh.RawAttention("all")(net, x, 0)
    for i, explanation in enumerate(both):
        for layer, a in enumerate(weights):
            heads = a[i, :, 0, 1:].detach().reshape(2, 4, 4)
            assert np.allclose(explanation.arrays[f"blocks.{layer}.attn"], heads, atol=1e-6)
    first = uh.RawAttention("blocks.0", head=1)(net, x, 0)
    assert np.allclose(first[1].arrays["tokens"], weights[0][1, 1, 0].detach(), atol=1e-6)
    assert first[0].diagnostics["layer"] == "blocks.0.attn"
    strongest = uh.RawAttention(head="max")(net, x, 0)[0].arrays["tokens"]
    assert np.allclose(strongest, weights[1][0, :, 0].detach().amax(0), atol=1e-6)


def test_a_picture_that_is_not_square_has_a_grid_of_its_proportions() -> None:
    net, x = vit(img_size=(32, 64)), torch.randn(1, 3, 32, 64)
    found = uh.AttentionRollout()(net, x, 0)
    assert found.grid == (4, 8)
    assert found.values.shape == (32, 64)


def test_distillation_tokens_are_read_and_have_no_place() -> None:
    small = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 5}
    torch.manual_seed(0)
    net, x = timm.create_model("deit_tiny_distilled_patch16_224", **small).eval(), pictures(2, 32)
    nn.init.normal_(net.head.weight)
    nn.init.normal_(net.head_dist.weight)
    weights, scores = attention_by_hooks(net, x)
    found = uh.AttentionRelevance()(net, x, 4)
    assert found[0].diagnostics["read"] == "token 0, 1"
    assert found[0].diagnostics["tokens_without_place"] == 2
    wanted = relevance_by_numpy(weights, scores[:, 4], [0, 1])
    assert np.allclose(np.stack([e.arrays["tokens"] for e in found]), wanted, rtol=1e-3, atol=1e-7)


def test_attention_pooling_reads_by_queries_of_its_own() -> None:
    small = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 5}
    torch.manual_seed(0)
    net = timm.create_model("vit_base_patch16_siglip_224", **small).eval()
    for method in METHODS.values():
        found = method(net, pictures(1, 32), 0)
        assert found.grid == (4, 4)
        assert found.no_signal is None
    assert float(uh.AttentionRollout()(net, pictures(1, 32), 0).arrays["tokens"].sum()) == pytest.approx(1)


def torchvision_vit() -> nn.Module:
    torch.manual_seed(0)
    net = torchvision.models.VisionTransformer(32, 8, 2, 2, 24, 48, num_classes=5).eval()
    nn.init.normal_(net.heads.head.weight)
    return net


def test_torchvisions_multihead_attention_equals_it_written_out() -> None:
    net, x, kept = torchvision_vit(), pictures(2, 32), []
    plain = copy.deepcopy(net)
    for layer in plain.encoder.layers:
        attention = layer.self_attention

        def by_hand(q: Tensor, *_: Any, attention: Any = attention, **__: Any) -> Any:
            parts = F.linear(q, attention.in_proj_weight, attention.in_proj_bias).unflatten(2, (3, 2, 12))
            query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (B, heads, tokens, 12)
            a = (query @ key.mT / 12**0.5).softmax(-1)
            kept.append(a)
            return attention.out_proj((a @ value).transpose(1, 2).flatten(2)), None

        attention.forward = by_hand
    scores = plain(x.clone().requires_grad_())
    found = tokens(uh.RawAttention(), net, x)
    assert torch.allclose(found, kept[-1][:, :, 0].mean(1), atol=1e-6)
    relevance = tokens(uh.AttentionRelevance(), net, x)
    assert np.allclose(relevance, relevance_by_numpy(kept, scores[:, 0], [0]), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
def test_transformers_vit_equals_the_attention_that_transformers_returns(kernel: str) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {
        "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
        "image_size": 32, "patch_size": 8, "num_labels": 5,
    }  # fmt: skip

    def build(how: str) -> nn.Module:
        torch.manual_seed(0)
        config = transformers.ViTConfig(**sizes, attn_implementation=how)
        return transformers.ViTForImageClassification(config).eval()

    x = pictures(2, 32)
    shown = build("eager")(x.clone().requires_grad_(), output_attentions=True)
    weights = list(shown.attentions)
    net = build(kernel)
    assert torch.allclose(tokens(uh.RawAttention(), net, x), weights[-1][:, :, 0].mean(1), atol=1e-6)
    assert np.allclose(tokens(uh.AttentionRollout(), net, x), rollout_by_numpy(weights, [0]), atol=1e-5)
    wanted = relevance_by_numpy(weights, shown.logits[:, 2], [0])
    assert np.allclose(tokens(uh.AttentionRelevance(), net, x, 2), wanted, rtol=1e-3, atol=1e-9)


def bert() -> nn.Module:
    """transformers' BERT for sequences of 3 classes, small and seeded."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        num_labels=3, attn_implementation="eager",
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config).eval()


def test_a_text_gives_a_row_with_one_value_for_each_token() -> None:
    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = bert()

        def forward(self, x: Tensor) -> Tensor:
            return self.bert(inputs_embeds=x).logits

    net, x = Embedded().eval(), torch.randn(2, 7, 16)
    shown = net.bert(inputs_embeds=x.clone().requires_grad_(), output_attentions=True)
    found = uh.AttentionRelevance()(net, list(x), 1)
    wanted = relevance_by_numpy(list(shown.attentions), shown.logits[:, 1], [0])
    for explanation, row in zip(found, wanted, strict=True):
        assert explanation.heatmap().shape == (7,)
        assert np.allclose(explanation.values, row, rtol=1e-3, atol=1e-9)
    assert uh.AttentionRollout()(net, list(x), 1)[0].values.sum() == pytest.approx(1)


def test_token_ids_are_taken_as_they_are() -> None:
    net, ids = bert(), torch.randint(0, 20, (2, 7))
    embedded = net.bert.embeddings.word_embeddings(ids).detach().requires_grad_()
    shown = net(inputs_embeds=embedded, output_attentions=True)
    weights = list(shown.attentions)
    for method, wanted in {
        uh.AttentionRollout(): rollout_by_numpy(weights, [0]),
        uh.AttentionRelevance(): relevance_by_numpy(weights, shown.logits[:, 1], [0]),
    }.items():
        for explanation, row in zip(method(net, ids, 1), wanted, strict=True):
            assert np.allclose(explanation.values, row, rtol=1e-3, atol=1e-6)
    measured = uh.AttentionRollout("patching")(net, ids, 1)[0].diagnostics["alpha"]
    assert len(measured) == 2
    assert all(0 < alpha < 1 for alpha in measured)


# Targets


def test_relevance_is_of_its_target() -> None:
    net, x = vit(), pictures(2, 32)
    weights, scores = attention_by_hooks(net, x)
    contrast = tokens(uh.AttentionRelevance(), net, x, Contrast(3, 1))
    wanted = relevance_by_numpy(weights, scores[:, 3] - scores[:, 1], [0])
    assert np.allclose(contrast, wanted, rtol=1e-3, atol=1e-6)
    assert not torch.allclose(contrast, tokens(uh.AttentionRelevance(), net, x, 3), rtol=0.1)


def test_a_unit_inside_the_network_reads_its_own_row_and_only_the_layers_before_it() -> None:
    net, x, unit = vit(), pictures(2, 32), Unit("blocks.0", channel=5, position=(2,))
    weights, _ = attention_by_hooks(net, x)
    found = uh.AttentionRollout()(net, x, unit)
    for explanation, row in zip(found, rollout_by_numpy(weights[:1], [5]), strict=True):
        assert explanation.diagnostics["read"] == "token 5"
        assert len(explanation.diagnostics["alpha"]) == 1
        assert np.allclose(explanation.arrays["tokens"], row, atol=1e-5)
    assert uh.RawAttention()(net, x, unit)[0].diagnostics["layer"] == "blocks.0.attn"


@pytest.mark.parametrize("method", [uh.RawAttention(), uh.AttentionRollout()], ids=["raw", "rollout"])
def test_raw_attention_and_rollout_are_the_same_for_every_target(method: uh.Method) -> None:
    net, x = vit(), pictures(2, 32)
    assert torch.equal(explained(method, net, x, 0), explained(method, net, x, 4))


# Batches, the model, refusals


@every_method
def test_a_batch_equals_its_pictures_one_by_one_whatever_the_memory(method: uh.Method) -> None:
    net, x, targets = vit(), pictures(3, 32) * torch.tensor([0.2, 1, 5])[:, None, None, None], [3, 0, 1]
    together = method(net, x, targets)
    scant = method(net, x, targets, memory="1MB")
    for i, target in enumerate(targets):
        alone = method(net, x[i], target)
        for found in (together[i], scant[i]):
            assert np.allclose(found.values, alone.values, rtol=1e-3, atol=1e-6)
            assert found.diagnostics.keys() == alone.diagnostics.keys()
            assert found.diagnostics["read"] == alone.diagnostics["read"]


@every_method
def test_the_model_is_left_as_it_was(method: uh.Method) -> None:
    net = vit().train()
    before = Snapshot.of(net)
    method(net, pictures(1, 32), 0)
    before.assert_unchanged(net)
    with pytest.raises(uh.UnderhoodError):
        method(net, pictures(1, 48), 0)
    before.assert_unchanged(net)


@every_method
def test_swin_is_refused_by_name_since_windows_see_only_part_of_the_picture(method: uh.Method) -> None:
    small = {"img_size": 64, "embed_dim": 12, "depths": (1, 1), "num_heads": (2, 2), "window_size": 4}
    swin = timm.create_model("swin_tiny_patch4_window7_224", **small).eval()
    with pytest.raises(uh.UnderhoodError) as refusal:
        method(swin, pictures(1, 64), 0)
    assert "SwinTransformer has windowed attention" in str(refusal.value)
    assert "only part of the picture" in str(refusal.value)


@every_method
def test_a_convolutional_network_has_none_and_is_left_out_with_a_note(method: uh.Method) -> None:
    x = pictures(1, 64)
    with pytest.raises(uh.UnderhoodError, match=r"ResNet has no attention between tokens"):
        method(resnet18(), x, 0)
    found = explain_with([method, uh.GradCAM()], resnet18(), x, 0, Settings(), skip_unfit=True)
    assert found.methods == ("gradcam",)
    assert "ResNet has no attention" in str(found[0].provenance["notes"])


def test_attention_over_channels_is_not_taken_for_attention_between_tokens() -> None:
    """XCiT's, but for its last two layers, in which a class token looks at the patches."""
    net = untrained("timm:xcit_nano_12_p8_224")
    for count in (1, 2, 4):
        found = uh.explain(net, pictures(count, 32), 0, methods=uh.RawAttention("all"))
        assert set(found[0].arrays) == {"cls_attn_blocks.0.attn", "cls_attn_blocks.1.attn", "tokens"}
    with pytest.raises(uh.UnderhoodError, match="attention among different tokens"):
        uh.AttentionRollout()(net, pictures(1, 32), 0)


def test_tokens_that_change_from_layer_to_layer_cannot_be_followed() -> None:
    net = untrained("timm:pvt_v2_b0")
    for method in (uh.AttentionRollout(), uh.AttentionRelevance()):
        with pytest.raises(uh.UnderhoodError, match="attention among different tokens"):
            method(net, pictures(1, 64), 0)
    assert uh.RawAttention()(net, pictures(1, 64), 0).grid == (2, 2)


def test_values_that_make_no_sense_are_refused() -> None:
    for wrong in (
        lambda: uh.AttentionRollout(alpha=1.5),
        lambda: uh.AttentionRollout(alpha=[]),
        lambda: uh.AttentionRollout(alpha="measured"),
        lambda: uh.AttentionRollout(fusion="sum"),  # type: ignore[arg-type]
        lambda: uh.AttentionRollout(discard=1.0),
        lambda: uh.AttentionRollout(reference="inpaint"),
        lambda: uh.RawAttention(head="sum"),  # type: ignore[arg-type]
        lambda: uh.RawAttention(layer=[]),
        lambda: uh.RawAttention(head=2)(vit(), pictures(1, 32), 0),
        lambda: uh.AttentionRollout([0.5] * 3)(vit(), pictures(1, 32), 0),
    ):
        with pytest.raises(uh.UnderhoodError):
            wrong()
    with pytest.raises(uh.UnderhoodError, match=r"blocks\.1\.attn"):
        uh.RawAttention("blocks.1.atn")(vit(), pictures(1, 32), 0)


@every_method
def test_the_card_says_that_looking_is_not_causing(method: uh.Method) -> None:
    assert "shows where the model looked, not what caused the answer" in method.card.misleads


def test_the_memory_that_attention_weights_take_is_known_beforehand() -> None:
    x = pictures(1, 32)
    expected = 2 * 2 * 17 * 17 * 4  # layers, heads, queries, keys, bytes
    assert footprint(vit(), x).weights == expected
    assert footprint(torchvision_vit(), x).weights == expected


def test_passes_are_as_many_as_the_cards_say() -> None:
    passes = {}
    for name, method in METHODS.items():
        engine = Engine(uh.Model(vit()))
        method.attribute(uh.Run(engine, pictures(2, 32), uh.Class(0)))
        passes[name] = (engine.log.forward / 2, engine.log.backward / 2)
    assert passes["raw"] == passes["rollout"] == (1, 0)
    assert passes["relevance"] == (1, 1)
    assert passes["rollout, patching"] == (4 + 2 * 2, 0)
