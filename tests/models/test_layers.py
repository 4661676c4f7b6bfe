"""Named layers: the one Grad-CAM looks at in each architecture, lookup by name, tokens as grids."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.support.toys import CN, ML
from tests.support.untrained import untrained
from underhood.engine import Engine, Run, grad_cam_layer
from underhood.errors import BadModel, InvalidArgument, UnknownName
from underhood.methods import GradCAM
from underhood.models import Class, Model
from underhood.models.layers import as_grid, find_layer, kind_of, token_grid

# What an expert looks at: the last spatial map before pooling; in transformers that read out a class
# token, the normalisation before the last attention.
EXPECTED = {
    "torchvision:resnet18": ("layer4", (7, 7)),
    "torchvision:vgg16": ("features.29", (14, 14)),  # the last ReLU, before the pooling that loses places
    "torchvision:mobilenet_v2": ("features", (7, 7)),
    "torchvision:mobilenet_v3_small": ("features", (7, 7)),
    "torchvision:efficientnet_b0": ("features", (7, 7)),
    "torchvision:convnext_tiny": ("features", (7, 7)),
    "torchvision:densenet121": ("features", (7, 7)),
    "torchvision:googlenet": ("inception5b", (7, 7)),
    "torchvision:inception_v3": ("Mixed_7c", (8, 8)),
    "torchvision:squeezenet1_1": ("classifier.2", (13, 13)),
    "torchvision:vit_b_16": ("encoder.layers.encoder_layer_11.ln_1", (14, 14)),
    "torchvision:swin_t": ("permute", (7, 7)),  # the last normalisation, as a map
    "timm:test_resnet": ("layer4", (5, 5)),
    "timm:test_convnext": ("stages", (5, 5)),
    "timm:test_efficientnet": ("bn2", (5, 5)),  # normalisation and activation in one
    "timm:mobilenetv3_small_050": ("blocks", (7, 7)),
    "timm:regnety_002": ("s4", (7, 7)),
    "timm:vit_tiny_patch16_224": ("blocks.11.norm1", (14, 14)),
    "timm:deit_tiny_distilled_patch16_224": ("blocks.11.norm1", (14, 14)),
    "timm:vit_medium_patch16_reg4_gap_256": ("blocks.11.norm1", (16, 16)),
    "timm:test_vit2": ("blocks.7.norm1", (10, 10)),  # registers and a class token
    "timm:test_vit3": ("norm", (10, 10)),  # pooled by attention
    "timm:swin_tiny_patch4_window7_224": ("norm", (7, 7)),
    "timm:xcit_nano_12_p16_224": ("cls_attn_blocks.1.norm1", (14, 14)),
    "timm:cait_xxs24_224": ("blocks_token_only.1.norm1", (14, 14)),
}


@pytest.fixture(scope="module", params=EXPECTED)
def architecture(request: pytest.FixtureRequest) -> tuple[str, Model]:
    pytest.importorskip(request.param.partition(":")[0])
    return request.param, untrained(request.param)


def test_grad_cam_looks_where_an_expert_would(architecture: tuple[str, Model]) -> None:
    source, model = architecture
    name, grid = EXPECTED[source]
    assert model.input_shape is not None
    torch.manual_seed(0)
    x = torch.randn(model.input_shape)
    assert_focused(model, x, name, grid)


def assert_focused(model: Model, x: Tensor, name: str, grid: tuple[int, int]) -> None:
    """The default layer is `name`, every place of it reaches the score, and the map is finite."""
    assert grad_cam_layer(Engine(model), x).name == name
    found = Run(Engine(model), x[None], Class(3)).gradients(at=[name])
    gradient = as_grid(found.gradients[0], x[None].shape, kind_of(found.activations[0], x[None].shape))
    assert gradient.shape[2:] == grid
    assert bool(gradient.abs().amax(1).all())  # not one place without gradient
    explanation = GradCAM(relu=False)(model, x, 3)
    assert explanation.grid == grid
    assert explanation.diagnostics["layer"] == name
    heatmap = explanation.heatmap()
    assert np.isfinite(heatmap).all()
    assert heatmap.std() > 0


# -- models nobody knows ---------------------------------------------------------------------------


class UnknownCNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 8, 3, 2)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.deep(F.relu(self.stem(x)))).mean((2, 3)))


class PooledCNN(UnknownCNN):
    """Pooling by a module to a grid of its own, which is no place to look at."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.deep(self.stem(x).relu())).flatten(1))


class AttentionBlock(nn.Module):
    """A whole block that is called attention, around its normalisations."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class UnknownViT(nn.Module):
    """A class token, `registers` more, and patches of 8 × 8."""

    def __init__(self, patches: int = 16, registers: int = 0, depth: int = 2) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 8, 8)
        self.first = nn.Parameter(torch.randn(1, 1 + registers, 16))
        self.places = nn.Parameter(torch.randn(1, 1 + registers + patches, 16))
        self.blocks = nn.Sequential(*[AttentionBlock(16) for _ in range(depth)])
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.embed(x).flatten(2).mT
        tokens = torch.cat([self.first.expand(len(x), -1, -1), patches], 1) + self.places
        return self.head(self.blocks(tokens)[:, 0])


@pytest.mark.parametrize(
    ("build", "size", "name", "grid"),
    [
        (UnknownCNN, (33, 33), "deep", (7, 7)),
        (UnknownCNN, (33, 65), "deep", (7, 15)),
        (PooledCNN, (33, 33), "deep", (7, 7)),
        (UnknownViT, (32, 32), "blocks.1.norm1", (4, 4)),
        (lambda: UnknownViT(depth=1), (32, 32), "blocks.0.norm1", (4, 4)),
        (lambda: UnknownViT(registers=4), (32, 32), "blocks.1.norm1", (4, 4)),
        (lambda: UnknownViT(patches=48, registers=3), (32, 96), "blocks.1.norm1", (4, 12)),
        (lambda: UnknownViT(patches=15), (40, 24), "blocks.1.norm1", (5, 3)),
    ],
)
def test_unknown_models_go_by_the_general_rule(
    build: Callable[[], nn.Module], size: tuple[int, int], name: str, grid: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    assert_focused(Model(build()), torch.randn(3, *size), name, grid)


def test_a_shared_layer_is_named_with_its_last_run() -> None:
    class Twice(UnknownCNN):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.deep(self.deep(self.stem(x)).relu()).mean((2, 3)))

    model = Model(Twice())
    assert grad_cam_layer(Engine(model), torch.zeros(3, 40, 40)).name == "deep#2"


def test_a_model_without_places_is_refused_for_grad_cam() -> None:
    with pytest.raises(BadModel, match="nothing for Grad-CAM to look at"):
        GradCAM()(Model(ML()), torch.ones(1, 3))


def test_the_models_own_choice_comes_first() -> None:
    model = Model(UnknownCNN(), layer="stem")
    assert grad_cam_layer(Engine(model), torch.zeros(3, 33, 33)).name == "stem"


# -- transformers of transformers --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "settings", "name", "grid"),
    [
        ("ViT", {"image_size": 32, "patch_size": 8}, "vit.layers.1.layernorm_before", (4, 4)),
        ("ViT", {"image_size": (16, 48), "patch_size": 8}, "vit.layers.1.layernorm_before", (2, 6)),
        ("DeiT", {"image_size": 32, "patch_size": 8}, "deit.layers.1.layernorm_before", (4, 4)),
        ("Dinov2", {"image_size": 32, "patch_size": 8}, "dinov2.encoder.layer.1.norm1", (4, 4)),
        (
            "Swin",
            {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 2]}
            | {"window_size": 4},
            "swin.encoder.layers.1.blocks.1.layernorm_before",
            (8, 8),
        ),
        (
            "ConvNext",
            {"hidden_sizes": [8, 8, 8, 16], "depths": [1, 1, 1, 1]},
            "convnext.encoder.stages.3",
            (2, 2),
        ),
    ],
)
def test_grad_cam_looks_where_an_expert_would_in_transformers(
    family: str, settings: dict[str, object], name: str, grid: tuple[int, int]
) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    tokens = family in ("ViT", "DeiT", "Dinov2")
    config = getattr(transformers, f"{family}Config")(**(small if tokens else {}), **settings, num_labels=5)
    net = getattr(transformers, f"{family}ForImageClassification")(config)
    size = settings.get("image_size", 64)
    height, width = size if isinstance(size, tuple) else (size, size)
    assert_focused(Model(net), torch.randn(3, height, width), name, grid)  # type: ignore[arg-type]


# -- looking up --------------------------------------------------------------------------------------


def test_a_wrong_layer_name_is_answered_by_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"did you mean .*'relu1'"):
        find_layer(CN(), "relu")
    with pytest.raises(UnknownName, match="did you mean 'conv'"):
        Model(CN(), layer="convv")
    with pytest.raises(UnknownName, match="There is no layer named 'Conv'; did you mean 'conv'"):
        GradCAM(layer="Conv")(Model(CN()), CN.x0())


def test_a_layer_without_places_is_refused() -> None:
    with pytest.raises(BadModel, match="no place in the picture"):
        GradCAM(layer="linear")(Model(CN()), CN.x0())


@pytest.mark.parametrize("name", ["relu1#0", "relu1#x", "relu1#"])
def test_a_run_of_a_layer_is_a_number_from_one_on(name: str) -> None:
    with pytest.raises(InvalidArgument, match="from 1 on"):
        find_layer(CN(), name)


def test_a_layer_that_does_not_run_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="runs only 1 times, not 2"):
        GradCAM(layer="conv#2")(Model(CN()), CN.x0())


# -- grids -------------------------------------------------------------------------------------------


@given(
    h=st.integers(4, 40), w=st.integers(4, 40), extra=st.integers(0, 5), patch=st.sampled_from([4, 14, 16])
)
def test_class_distillation_and_register_tokens_are_told_from_patches(
    h: int, w: int, extra: int, patch: int
) -> None:
    assert token_grid(h * w + extra, h * patch, w * patch) == (h, w)


@pytest.mark.parametrize("extra", [0, 1, 2, 5, 9, 16])
def test_up_to_sixteen_tokens_may_come_before_the_patches(extra: int) -> None:
    assert token_grid(14 * 14 + extra, 224, 224) == (14, 14)


def test_tokens_that_are_no_grid_are_refused() -> None:
    with pytest.raises(BadModel, match="213 tokens do not make a grid"):
        token_grid(14 * 14 + 17, 224, 224)


def test_tokens_become_a_grid_row_by_row_without_the_first_ones() -> None:
    tokens = torch.arange(8.0)[None, :, None].expand(1, 8, 3)  # two extra tokens, then 2 × 3 patches
    grid = as_grid(tokens, (1, 3, 32, 48), "tokens")
    assert grid.shape == (1, 3, 2, 3)
    assert grid[0, 0].tolist() == [[2, 3, 4], [5, 6, 7]]


def test_channels_last_maps_are_turned() -> None:
    assert kind_of(torch.zeros(1, 7, 7, 96), (1, 3, 224, 224)) == "map (channels last)"
    assert as_grid(torch.zeros(1, 7, 7, 96), (1, 3, 224, 224), "map (channels last)").shape == (1, 96, 7, 7)
