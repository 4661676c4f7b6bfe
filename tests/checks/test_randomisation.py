"""Random weights: which parameters they replace, and how like the maps then are."""

import copy
import math

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

import underhood as uh
from underhood.checks import batches
from underhood.checks.controls import edges
from underhood.checks.efficient_randomisation import EfficientRandomisation, histogram_entropy
from underhood.checks.randomisation import Randomisation, Stage, _Mean
from underhood.checks.weights import Redrawn, parts
from underhood.demo.dermoscopy import draw
from underhood.engine import Engine
from underhood.errors import InvalidArgument
from underhood.methods import Drawn, Given


class Net(nn.Module):
    """A small convolutional network; with `cut`, the second half sees nothing of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)  # defined first, used last
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.stem, self.norm, self.body = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.norm(self.stem(x * self.scale)).relu()).relu().mean((2, 3)))


class TwoWays(nn.Module):
    """The lower layer runs, but nothing of it reaches the score."""

    def __init__(self) -> None:
        super().__init__()
        self.lower, self.upper = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.upper(x + 0 * self.lower(x)).relu().sum((2, 3))


def built(kind: type[nn.Module] = Net) -> uh.Model:
    torch.manual_seed(0)
    return uh.Model(kind().eval())


@pytest.fixture
def pictures() -> Tensor:
    return torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def vit() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(
        "vit_tiny_patch16_224", depth=2, img_size=32, patch_size=8, init_values=1e-4, num_classes=3
    ).eval()


def torchvision_vit() -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=3).eval()


def test_parts_come_from_the_top_as_they_are_used_not_as_they_are_defined(pictures: Tensor) -> None:
    found = parts(Engine(built()), pictures[0])
    assert [part.name for part in found] == ["head", "body", "norm", "stem", "scale"]
    assert found[2].parameters == ("norm.weight", "norm.bias")


def test_unused_parameters_are_named_and_keep_their_place(pictures: Tensor) -> None:
    model = built()
    model.module.auxiliary = nn.Linear(2, 2)
    found = {part.name: part.used for part in parts(Engine(model), pictures[0])}
    assert found == {
        "head": True,
        "body": True,
        "auxiliary": False,
        "norm": True,
        "stem": True,
        "scale": True,
    }


@pytest.mark.parametrize("build", [vit, torchvision_vit])
@pytest.mark.parametrize("how", ["normal", "reset"])
def test_every_parameter_of_a_transformer_is_drawn_anew(build, how: str) -> None:
    """Tokens, position embeddings, attention's projections, norms and layer scales; buffers stay."""
    model = uh.Model(build())
    found = parts(Engine(model), torch.randn(3, 32, 32))
    names = [name for part in found for name in part.parameters]
    own = dict(model.module.named_parameters())
    assert sorted(names) == sorted(own)
    other = dict(Redrawn(model, how, 0).of(names).module.named_parameters())
    changed = {name for name in own if (own[name] != other[name]).float().mean() > 0.9}
    constants = {  # what training starts from as a constant is that constant again
        name
        for name in own
        if how == "reset" and (".ln" in name or "norm" in name or "bias" in name or "gamma" in name)
    }
    assert changed >= set(own) - constants
    if how == "normal":
        assert changed == set(own)
    torchvisions = ("class_token", "pos_embedding", "in_proj_weight", "ln_1.weight")
    timms = ("cls_token", "pos_embed", "attn.qkv.weight", "norm1.weight", "ls1.gamma")
    kinds = torchvisions if build is torchvision_vit else timms
    for kind in kinds:
        assert any(kind in name for name in changed | constants), kind


def test_transformers_parts_are_named_after_what_they_hold() -> None:
    found = [part.name for part in parts(Engine(uh.Model(torchvision_vit())), torch.randn(3, 32, 32))]
    assert found[:2] == ["heads.head", "encoder.ln"]
    assert found[-3:] == ["encoder.pos_embedding", "class_token", "conv_proj"]
    attention = "encoder.layers.encoder_layer_1.self_attention"
    assert f"{attention}.in_proj_weight, {attention}.in_proj_bias" in found


def test_tensors_keep_their_scale_their_type_and_what_they_share() -> None:
    model = built()
    with torch.no_grad():
        model.module.norm.weight.copy_(torch.tensor([5.0, 5.1, 4.9, 5.0]))
    before = copy.deepcopy(model.module.state_dict())
    redrawn = Redrawn(model, "normal", 3)
    other = redrawn.of(["stem.weight", "norm.weight"]).module
    own = model.module
    assert other.head.weight is own.head.weight
    assert other.norm.running_var is own.norm.running_var
    assert redrawn.of(["stem.weight"]).module.stem.weight.data_ptr() == other.stem.weight.data_ptr()
    assert float(other.stem.weight.std() / own.stem.weight.detach().std()) == pytest.approx(1, abs=0.15)
    assert other.norm.weight.tolist() == pytest.approx([5.0] * 4, abs=0.3)
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    again, others = Redrawn(model, "normal", 3), Redrawn(model, "normal", 3, draw=1)
    assert torch.equal(again.of(["stem.weight"]).module.stem.weight, other.stem.weight)
    assert not torch.equal(others.of(["stem.weight"]).module.stem.weight, other.stem.weight)


def test_drawing_leaves_the_callers_random_state(pictures: Tensor) -> None:
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    Redrawn(built(), "reset", 0)
    torch.random.set_rng_state(state)
    Randomisation(how="reset", draws=1, steps=1)(
        uh.explain(built_quietly(state), pictures, 0, methods="saliency")
    )
    assert torch.equal(torch.random.get_rng_state(), state)


def built_quietly(state: Tensor) -> uh.Model:
    model = built()
    torch.random.set_rng_state(state)
    return model


def test_edges_stay_the_same_at_every_layer_and_are_flagged(pictures: Tensor) -> None:
    (reading, *_) = Randomisation()(uh.explain(built(), pictures, 0, methods=Drawn(edges, "edges")))
    assert reading.value == 1.0
    assert reading.passed is False
    assert [stage["part"] for stage in reading.details["stages"]] == ["head", "body", "norm", "stem", "scale"]
    for stage in reading.details["stages"]:
        figures = {k: v for k, v in stage.items() if k not in ("part", "parameters")}
        assert set(figures.values()) == {1.0}
        assert len(figures) == 6
    assert reading.controls == {"edges": 1.0, "fresh": 1.0}
    assert reading.details["like_edges"] == 1.0
    assert "shows the input more than what the model has learned" in reading.sentence


def test_layers_that_do_not_matter_do_not_change_the_map(pictures: Tensor) -> None:
    found = uh.explain(built(TwoWays), pictures, 0, methods=uh.Saliency("signed"))
    for reading in Randomisation(order="independent", draws=1)(found):
        upper, lower = reading.details["stages"]
        assert (upper["part"], lower["part"]) == ("upper", "lower")
        assert lower["spearman"] == lower["ssim"] == lower["hog"] == 1.0
        assert abs(upper["spearman"]) < 0.9
        assert reading.value == pytest.approx((abs(upper["spearman"]) + 1) / 2)


def test_the_sentence_names_the_figure_that_fails(pictures: Tensor) -> None:
    found = uh.explain(built(TwoWays), pictures[:1], 0, methods=uh.Saliency("signed"))
    reading = Randomisation(order="independent", draws=1, limit=0.98)(found)[0]
    assert (reading.passed, reading.value < 0.98) == (False, True)
    assert (
        "With the weights of lower made random the likeness to this map is 1.00 (1 is the same; "
        in reading.sentence
    )
    check, counted = Randomisation(), [Stage("upper", (), True), Stage("lower", (), True)]
    said = check._not_the_value(0.51, counted, [_Mean(0.51, None), _Mean(0.63, None)])
    assert said.startswith("With all of the model's weights made random the likeness to this map is 0.63 (")


def test_a_map_that_only_turns_its_sign_is_the_same(pictures: Tensor) -> None:
    """S = w·Σx: with another w the map is the same but for its sign and scale."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor([0.3, -0.4]))

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1).sum(1, keepdim=True) * self.w

    found = uh.explain(uh.Model(Scaled()), pictures, 0, methods="input_x_gradient")
    for reading in Randomisation(draws=6)(found):
        assert reading.value == pytest.approx(1.0)
        assert reading.passed is False
        assert reading.details["up_to_sign"] is True


def test_a_batch_equals_its_explanations_one_by_one(pictures: Tensor) -> None:
    for check in (
        Randomisation(draws=2),
        Randomisation(draws=2, noise=0.1, copies=3, measures=("spearman",)),
    ):
        found = uh.explain(built(), pictures, [0, 1, 2], methods=uh.Saliency("signed"))
        together = check(found)
        for explanation, reading in zip(found, together, strict=True):
            alone = check(explanation)[0]
            assert reading.value == pytest.approx(alone.value, abs=1e-5)
            assert reading.error == pytest.approx(alone.error, abs=1e-5)
            assert reading.calls == pytest.approx(alone.calls, rel=0.2)  # the pass that finds the parts


def test_the_seed_decides(pictures: Tensor) -> None:
    check = Randomisation(draws=1, steps=1)
    one, other, again = (
        check(uh.explain(built(), pictures, 0, methods=uh.Saliency("signed"), seed=seed)).values
        for seed in (0, 1, 0)
    )
    assert one == again
    assert one != other


def test_the_model_is_not_touched(pictures: Tensor) -> None:
    model = built()
    before = copy.deepcopy(model.module.state_dict())
    Randomisation()(uh.explain(model, pictures, 0, methods=["saliency", "gradcam"]))
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    assert not any(p.grad is not None for p in model.module.parameters())
    assert all(p.requires_grad for p in model.module.parameters())


def test_few_steps_take_the_top_the_upper_half_and_all(pictures: Tensor) -> None:
    found = uh.explain(built(), pictures, 0, methods="saliency")
    (reading, *_) = Randomisation(steps=3, draws=1)(found)
    assert [stage["part"] for stage in reading.details["stages"]] == ["head", "norm", "scale"]
    assert reading.value == pytest.approx(reading.details["stages"][1]["spearman"])
    assert reading.error is None
    assert reading.controls["fresh"] is None
    assert reading.calls == pytest.approx(1 / 3 + 3 * 3)
    (reading, *_) = Randomisation(steps=1, draws=1, order="independent")(found)
    assert [stage["part"] for stage in reading.details["stages"]] == ["scale"]


def test_rows_and_single_outputs_can_be_asked() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
    found = uh.explain(uh.Model(net), torch.randn(2, 6), 0, methods="input_x_gradient")
    checked = Randomisation()(found)
    assert all(value is not None for value in checked.values)
    assert checked[0].controls["edges"] is None


def test_what_cannot_be_compared_is_undefined_with_its_reason(pictures: Tensor) -> None:
    model = built()
    maps = pictures[:, 0].clone()
    found = uh.explain(model, pictures, 0, methods=Given(maps, "elsewhere"))
    assert "the map was given" in (Randomisation()(found)[0].undefined or "")
    flat = uh.explain(model, pictures, 0, methods=Drawn(lambda x: torch.ones_like(x[:, 0]), "flat"))
    assert Randomisation()(flat)[0].undefined == "the map is the same everywhere"
    broken = uh.explain(model, pictures, 0, methods=Drawn(lambda x: x[:, 0] * torch.nan, "broken"))
    assert Randomisation()(broken)[0].undefined == "the map holds NaN or infinite values"
    bare = uh.Model(nn.Sequential(nn.Flatten(), nn.ReLU()))
    none = uh.explain(bare, pictures, 0, methods="saliency")
    assert Randomisation()(none)[0].undefined == "the model has no parameters"
    for check in (Randomisation(), Randomisation(order="independent")):
        one_colour = check(uh.explain(model, torch.zeros(1, 3, 12, 12), 0, methods=Drawn(edges, "edges")))
        assert one_colour[0].undefined == "the map is the same everywhere"


def test_an_input_without_a_map_does_not_spoil_the_others(pictures: Tensor) -> None:
    """The first picture is black: its input × gradient is zero whatever the weights."""
    pictures[0] = 0
    found = uh.explain(built(), pictures, 0, methods="input_x_gradient")
    first, *others = Randomisation(draws=1)(found)
    assert first.undefined == "the map is the same everywhere"
    assert all(reading.value is not None for reading in others)


@pytest.mark.parametrize(
    "wrong",
    [
        {"order": "up"}, {"how": "zero"}, {"sign": "both"}, {"measure": "l2"}, {"draws": 0}, {"steps": 0},
        {"noise": -1.0}, {"copies": 0}, {"measures": ("ssim",)},
    ],
)  # fmt: skip
def test_bad_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        Randomisation(**wrong)  # type: ignore[arg-type]


def test_methods_of_one_batch_share_what_is_found_about_the_model(pictures: Tensor) -> None:
    found = uh.explain(built(), pictures, 0, methods=["saliency", "input_x_gradient"])
    one, other = batches(found)
    first, second = (Randomisation(draws=1, steps=1).read(batch) for batch in (one, other))
    assert first[0].calls == pytest.approx(second[0].calls + 1 / 3)  # the pass that finds the parts


def test_efficient_randomisation_is_the_rise_of_entropy(pictures: Tensor) -> None:
    """Half zeros, half ones have ln 2; values spread evenly over 100 bins ln 100."""
    two = torch.tensor([0.0, 1.0] * 50)
    assert histogram_entropy(two, 100) == pytest.approx(math.log(2))
    assert histogram_entropy(torch.arange(100.0), 100) == pytest.approx(math.log(100))
    found = uh.explain(built(), pictures, 0, methods=["saliency", Drawn(edges, "edges")])
    checked = EfficientRandomisation()(found)
    assert checked.of("edges").values == [0.0] * 3
    assert not any(reading.passed for reading in checked.of("edges"))
    for reading in checked.of("saliency"):
        own, others = reading.details["entropy"], reading.details["random_entropies"]
        assert reading.value == pytest.approx(sum(o / own - 1 for o in others) / 3)
    flat = uh.explain(built(), pictures, 0, methods=Drawn(lambda x: torch.ones_like(x[:, 0]), "flat"))
    assert EfficientRandomisation()(flat)[0].undefined == "the map is the same everywhere"
    with pytest.raises(InvalidArgument):
        EfficientRandomisation(bins=1)


def test_what_adebayo_found_is_found_again_on_the_demo() -> None:
    """With the upper half random gradient, SmoothGrad and Grad-CAM change, guided backprop hardly; |IG| looks
    much as before where signed IG does not."""
    torch.set_num_threads(1)
    pictures = [draw(number, malignant=number % 2 == 0).image for number in range(4)]
    methods = [
        uh.Saliency("signed"), uh.SmoothGrad(n=8), uh.GradCAM(), uh.GuidedBackprop(),
        uh.IntegratedGradients(steps=8), Drawn(edges, "edges"),
    ]  # fmt: skip
    found = uh.explain(uh.load("demo:honest"), pictures, methods=methods)
    checked = Randomisation(steps=2, measures=("spearman",))(found)

    def stays(method: str, name: str = "spearman") -> float:
        half = [next(iter(r.details["counted"].values())) for r in checked.of(method)]
        return sum(at[name] for at in half) / len(half)

    assert stays("edges") == 1.0
    assert 0.6 < stays("guided_backprop") < 1
    for method in ("saliency", "smoothgrad", "gradcam"):
        assert stays(method) < 0.5 < stays("guided_backprop"), method
        assert all(reading.passed for reading in checked.of(method)), method
    for method in ("guided_backprop", "edges"):
        assert not any(reading.passed for reading in checked.of(method)), method
    assert stays("integrated_gradients", "spearman_abs") > 0.5
    assert stays("integrated_gradients") < stays("integrated_gradients", "spearman_abs") - 0.25
