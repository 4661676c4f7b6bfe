"""How far maps move under noise, on models where it can be worked out by hand."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import underhood as uh
from underhood.checks import (
    AverageSensitivity,
    LocalLipschitz,
    MaxSensitivity,
    RankStability,
    RelativeInputStability,
    RelativeOutputStability,
    RelativeRepresentationStability,
    RetrainingStability,
    SeedStability,
    batches,
)
from underhood.checks.controls import edges
from underhood.checks.nearby import Nearby
from underhood.checks.sensitivity import Neighbourhood
from underhood.errors import InvalidArgument
from underhood.methods import Drawn, Given

OVER_NOISE: list[type[Neighbourhood]] = [
    MaxSensitivity,
    AverageSensitivity,
    LocalLipschitz,
    RelativeInputStability,
    RelativeOutputStability,
    RelativeRepresentationStability,
    RankStability,
]
EVERY = [*(check() for check in OVER_NOISE), SeedStability()]


class Linear(nn.Module):
    """S = w·x and -w·x, by way of a layer that changes nothing."""

    def __init__(self, w: Tensor):
        super().__init__()
        self.w, self.same, self.last = nn.Parameter(w), nn.Identity(), nn.Linear(1, 2, bias=False)
        self.last.weight.data = torch.tensor([[1.0], [-1.0]])

    def forward(self, x: Tensor) -> Tensor:
        return self.last((self.same(x).flatten(1) @ self.w.flatten())[:, None])


class Square(nn.Module):
    """S = 3·‖x‖²/2, whose gradient is 3x."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.5 * x.flatten(1).square().sum(1, keepdim=True)


class Nowhere(nn.Module):
    """Class 0 at one point alone."""

    def __init__(self, at: Tensor):
        super().__init__()
        self.at, self.same = at, nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.same(x)
        off = (x - self.at).flatten(1).abs().sum(1)
        return torch.stack([1 - 1000 * off, x.flatten(1).sum(1) * 0.01], 1)


@pytest.fixture
def row() -> Tensor:
    return torch.randn(1, 6, generator=torch.Generator().manual_seed(2)) + 3


@pytest.fixture
def net() -> uh.Model:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(96, 3)
    return uh.Model(nn.Sequential(*layers).eval())


@pytest.fixture
def pictures() -> Tensor:
    return torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def noise(x: Tensor, count: int, near: Nearby = Nearby()) -> Tensor:  # noqa: B008 - frozen
    """δ, (count, …), of one input."""
    return torch.stack(
        [near.spread(x) * near.unit_noise(tuple(x.shape[1:]), 0, number) for number in range(count)]
    )


W = torch.tensor([1.0, -2.0, 3.0, 0.5, -1.0, 4.0])


def test_a_map_that_does_not_depend_on_the_input_has_sensitivity_zero(row: Tensor) -> None:
    gradient = uh.explain(Linear(W), row, 0, methods=uh.Saliency("signed"))
    for check in OVER_NOISE[:-1]:
        found = check()(gradient)
        assert found.value == 0
        assert found[0].controls["shifted"] > 0
        assert found[0].passed
    assert RankStability()(gradient).value == pytest.approx(1.0)


def test_sensitivities_of_input_times_gradient_of_a_linear_model(row: Tensor) -> None:
    """Φ = w∘x, so that Φ(x + δ) - Φ(x) = w∘δ."""
    found = uh.explain(Linear(W), row, 0, methods="input_x_gradient")
    delta = noise(row, 10).double()
    moved, size = (W * delta).norm(dim=1), (W * row).norm()
    assert MaxSensitivity()(found).value == pytest.approx(float((moved / size).max()), rel=1e-5)
    average = AverageSensitivity()(found)
    assert average.value == pytest.approx(float((moved / size).mean()), rel=1e-5)
    assert average[0].error == pytest.approx(float((moved / size).std() / 10**0.5), rel=1e-4)
    assert LocalLipschitz()(found).value == pytest.approx(float((moved / delta.norm(dim=1)).max()), rel=1e-5)
    relative = (delta / row).norm(dim=1)
    assert RelativeInputStability()(found).value == pytest.approx(1.0, rel=1e-5)
    assert RelativeRepresentationStability(layer="same")(found).value == pytest.approx(1.0, rel=1e-5)
    scores = (delta @ W.double()).abs() * 2**0.5  # of both classes
    expected = float((relative / scores).max())
    assert RelativeOutputStability()(found).value == pytest.approx(expected, rel=1e-4)


def test_a_maximum_says_that_it_is_a_lower_bound(row: Tensor) -> None:
    found = uh.explain(Linear(W), row, 0, methods="input_x_gradient")
    few, many = (MaxSensitivity(draws=n)(found)[0] for n in (3, 30))
    assert few.value <= many.value
    assert many.error is None
    assert "lower bound" in many.details["bound"]


def test_local_lipschitz_of_a_linear_gradient_is_its_slope(row: Tensor) -> None:
    found = uh.explain(Square(), row, 0, methods=uh.Saliency("signed"))
    assert LocalLipschitz(radius=0.3)(found).value == pytest.approx(3.0, rel=1e-5)


def test_a_rectifier_moves_the_map_only_beyond_its_kink() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Linear(2, 1, bias=False))
    model[1].weight.data = torch.tensor([[1.0, 1.0]])
    found = uh.explain(model, torch.tensor([[1.0, 0.5]]), 0, methods=uh.Saliency("signed"))
    near, far = (MaxSensitivity(draws=40, radius=r, unit="input")(found)[0] for r in (0.49, 0.7))
    assert near.value == 0
    assert far.value == pytest.approx(0.5**0.5)  # the second unit is off: (1, 0) for (1, 1)
    assert far.details["changed_class"] == 0  # a single output is no class


def test_draws_that_change_the_class_are_counted_and_left_out() -> None:
    x = torch.tensor([[1.0, 0.98]])
    found = uh.explain(nn.Identity(), x, 0, methods="input_x_gradient")
    reading = MaxSensitivity(draws=50, radius=0.05, unit="input")(found)[0]
    delta = noise(x, 50, Nearby(0.05, unit="input"))
    kept = (x + delta).argmax(-1).flatten() == 0
    assert 5 < int(kept.sum()) < 45
    assert reading.details["changed_class"] == int((~kept).sum())
    assert reading.value == pytest.approx(float(delta[kept][:, 0].abs().max()), rel=1e-4)


@pytest.mark.parametrize("check", [check() for check in OVER_NOISE])
def test_a_prediction_that_every_draw_changes_leaves_them_undefined(check: Neighbourhood) -> None:
    x = torch.tensor([[1.0, 2.0, 4.0]])
    check = replace(check, layer="same") if hasattr(check, "layer") else check
    found = check(uh.explain(Nowhere(x), x, 1, methods="input_x_gradient"))
    assert found.value is None
    assert f"each of {check.draws} noisy copies changes the predicted class" in next(iter(found.undefined))


@pytest.mark.parametrize("check", EVERY)
def test_bad_maps_and_inputs_are_undefined_with_a_reason(check: uh.checks.Check, net: uh.Model) -> None:
    pictures = torch.randn(2, 3, 12, 12)
    pictures[1] = 0.3  # one colour
    nan = Drawn(lambda x: torch.full_like(x[:, 0], torch.nan), "nan")
    zero = Drawn(lambda x: torch.zeros_like(x[:, 0]), "zero")
    given = Given(torch.ones(2, 12, 12), "given")
    found = check(uh.explain(net, pictures, methods=["saliency", nan, zero, given]))
    assert found.of("saliency")[0].value is not None
    assert list(found.of("nan").undefined) == ["the map holds values that are not finite"]
    assert list(found.of("zero").undefined) == ["the map is zero everywhere"]
    [reason] = found.of("given").undefined
    assert reason.startswith("the map was given")
    if isinstance(check, Neighbourhood):
        assert "the input is the same everywhere" in str(found.of("saliency")[1].undefined)
        defined = type(check)(unit="input")(uh.explain(net, pictures[1:], methods="saliency"))
        assert defined.value is not None


def test_token_ids_take_no_noise() -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2))
    found = uh.explain(model, torch.tensor([[1, 2, 3]]), methods=uh.Occlusion())
    assert "whole numbers" in str(MaxSensitivity()(found)[0].undefined)


@pytest.mark.parametrize("check", EVERY)
def test_a_batch_equals_its_inputs_one_by_one_and_two_runs_are_the_same(
    check: uh.checks.Check, net: uh.Model, pictures: Tensor
) -> None:
    methods = ["gradcam", uh.SmoothGrad(n=4)]
    found = uh.explain(net, pictures, methods=methods)
    together, again = check(found), check(found)
    assert list(together) == list(again)
    for number, x in enumerate(pictures):
        alone_by = check(uh.explain(net, x, methods=methods))
        for method, alone in zip(("gradcam", "smoothgrad"), alone_by, strict=True):
            of_batch = together.of(method)[number]
            assert of_batch.value == pytest.approx(alone.value, rel=1e-3, abs=1e-4)
            assert of_batch.p == alone.p


def test_checks_and_methods_share_the_draws(net: uh.Model, pictures: Tensor) -> None:
    found = uh.explain(net, pictures, methods=["saliency", "gradcam"])
    for batch in batches(found):
        assert batch.run.outputs.shape == (3, 3)  # predicted, before anything is counted
        first = MaxSensitivity(draws=4).read(batch)[0]
        assert first.calls == 4 * 3  # forward and backward
        assert all(r.calls == 0 for r in AverageSensitivity(draws=4).read(batch))
        more = MaxSensitivity(draws=6).read(batch)[0]
        assert more.calls == 2 * 3
        fresh = MaxSensitivity(draws=6)(batch.explanations[0])[0]
        assert more.value == pytest.approx(fresh.value, rel=1e-4)
        assert RankStability(draws=4).read(batch)[0].calls == 4 * 3  # the orders were not looked at before
        assert LocalLipschitz(draws=4).read(batch)[0].calls == 0
        kept = sum(t.numel() for v in batch.memory.values() for t in _tensors(v))
        assert kept < pictures.numel()  # nothing of the noise, nor any map


def _tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    parts = value if isinstance(value, tuple) else getattr(value, "__dict__", {}).values()
    if isinstance(value, uh.Method):
        return []
    return [tensor for part in parts for tensor in _tensors(part)]


def test_the_model_and_the_random_state_stay_as_they_are(net: uh.Model, pictures: Tensor) -> None:
    before = {name: t.clone() for name, t in net.module.state_dict().items()}
    net.module.train()
    state, x = torch.get_rng_state(), pictures.clone()
    found = uh.explain(net, pictures, methods="gradcam")
    for check in EVERY:
        check(found)
    assert net.module.training
    assert all(torch.equal(before[name], t) for name, t in net.module.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(x, pictures)


@settings(max_examples=6)
@given(scale=st.floats(1e-6, 1e6), seed=st.integers(0, 99))
def test_relative_figures_do_not_depend_on_the_maps_scale(scale: float, seed: int) -> None:
    x = torch.randn(1, 1, 6, 5, generator=torch.Generator().manual_seed(seed))
    model = nn.Sequential(nn.Flatten(), nn.Linear(30, 1))  # has no class that a draw could change
    maps = [Drawn(lambda x, c=c: c * (x[:, 0] ** 3 + x[:, 0]), f"times {c}") for c in (1.0, scale)]
    if scale == 1.0:
        return
    found = uh.explain(model, x, methods=maps)
    for check in (MaxSensitivity(3), AverageSensitivity(3), RelativeInputStability(3), RankStability(3)):
        one, other = check(found).values
        assert one == pytest.approx(other, rel=1e-3)


@settings(max_examples=4)
@given(level=st.floats(-10, 10).filter(lambda c: abs(c) > 1e-3), seed=st.integers(0, 99))
def test_a_constant_map_never_moves_and_proves_nothing(level: float, seed: int) -> None:
    x = torch.randn(1, 1, 6, 5, generator=torch.Generator().manual_seed(seed))
    model = nn.Sequential(nn.Flatten(), nn.Linear(30, 1))  # has no class that a draw could change
    found = uh.explain(model, x, methods=Drawn(lambda x: torch.full_like(x[:, 0], level), "constant"))
    for check in OVER_NOISE[:-1]:
        reading = check(3)(found)[0]
        assert (reading.value, reading.passed, reading.p) == (0, None, None)
    assert "no order" in str(RankStability()(found)[0].undefined)


def test_order_is_kept_by_edges_and_lost_by_noise(net: uh.Model, pictures: Tensor) -> None:
    def hashed(x: Tensor) -> Tensor:
        return torch.frac(x[:, 0] * 1e4).abs()

    found = uh.explain(net, pictures, methods=[Drawn(edges, "edges"), Drawn(hashed, "hashed")])
    kept, lost = (RankStability(radius=0.05)(found).of(name) for name in ("edges", "hashed"))
    assert kept.value is not None
    assert kept.value > 0.95
    assert all(r.passed and r.controls["edges"] == pytest.approx(r.value) for r in kept)
    assert lost.value is not None
    assert abs(lost.value) < 0.1
    assert not any(r.passed for r in lost)


def test_seed_stability_is_one_without_chance_and_less_with(net: uh.Model, pictures: Tensor) -> None:
    found = SeedStability()(uh.explain(net, pictures, methods=["gradcam", uh.RISE(n=50, grid=3)]))
    assert all((r.value, r.error, r.calls) == (1.0, 0.0, 3 + 1) for r in found.of("gradcam"))
    assert "no chance" in found.of("gradcam")[0].sentence
    assert all(0 < r.value < 1 and r.calls == 3 * (50 + 1) for r in found.of("rise"))


def test_retraining_stability_compares_models_that_predict_the_same(pictures: Tensor) -> None:
    def trained(seed: int, bias: float = 0.0) -> uh.Model:
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
        )
        net[-1].bias.data = torch.tensor([9.0, bias])
        return uh.Model(net)

    found = uh.explain(trained(0), pictures, methods="saliency")
    same, other, opposed = trained(0), trained(1), trained(0, bias=99.0)
    assert RetrainingStability([same])(found).value == pytest.approx(1.0)
    assert RetrainingStability([same, other])(found).value < 0.9
    left = RetrainingStability([same, opposed])(found)[0]
    assert (left.value, left.details["other_class"]) == (pytest.approx(1.0), 1)
    assert "predicts another class" in str(RetrainingStability([opposed])(found)[0].undefined)
    unit = uh.explain(trained(0), pictures, uh.Unit("0", 1), methods="saliency")
    assert "other units" in str(RetrainingStability([same])(unit)[0].undefined)
    with pytest.raises(InvalidArgument, match="has 3 outputs"):
        RetrainingStability([uh.Model(nn.Sequential(nn.Flatten(), nn.Linear(432, 3)))])(found)
    assert "sha256" in RetrainingStability([same]).parameters()["models"][0]


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="at least one draw"):
        MaxSensitivity(draws=0)
    with pytest.raises(InvalidArgument, match="radius"):
        RankStability(radius=-1)
    with pytest.raises(InvalidArgument, match="'uniform' or 'gaussian'"):
        AverageSensitivity(noise="salt")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="epsilon"):
        RelativeInputStability(epsilon=0)
    with pytest.raises(InvalidArgument, match="list of Model"):
        RetrainingStability([])


def test_a_linear_model_has_no_layer_to_be_compared_with(row: Tensor) -> None:
    found = uh.explain(nn.Linear(6, 2), row, methods="input_x_gradient")
    assert "no layer before its last" in str(RelativeRepresentationStability()(found)[0].undefined)
