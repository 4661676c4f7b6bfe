"""Infidelity: zero where a linear model's map keeps its promise, and what it is where it does not."""

import numpy as np
import pytest
import torch
from torch import nn

import underhood as uh
from tests.support.toys import Linear
from underhood.checks import Infidelity, batches
from underhood.errors import InvalidArgument
from underhood.methods import Given

GROUPS, NOISE = Infidelity(form="sensitivity"), Infidelity(perturbation="noise", form="sensitivity")


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def explained(model: nn.Module, x: torch.Tensor, maps: torch.Tensor, seed: int = 0) -> uh.Explanations:
    return uh.explain(uh.Model(model.eval()), x, 0, methods=Given(maps, "given"), seed=seed)


@pytest.mark.parametrize("shape", [(60,), (2, 12, 12)])
@pytest.mark.parametrize("scaling", ["optimal", "none"])
@pytest.mark.parametrize(("perturbation", "fill"), [("groups", "zeros"), ("groups", 0.7), ("noise", "zeros")])
def test_zero_for_a_linear_models_weights_under_any_perturbation(
    shape: tuple[int, ...], scaling: str, perturbation: str, fill: object
) -> None:
    w, x = drawn(*shape), drawn(2, *shape, seed=1)
    check = Infidelity(perturbation, scaling, "sensitivity", fill=fill)  # type: ignore[arg-type]
    for reading in check(explained(Linear(w, 2.0), x, w.expand_as(x))):
        assert reading.value == pytest.approx(0, abs=1e-8)
        assert reading.details["scale"] == pytest.approx(1, abs=1e-4)
        assert reading.skill == pytest.approx(1, abs=1e-6)
        assert reading.passed


def test_the_multiplied_form_keeps_its_promise_under_masks_alone() -> None:
    w, x = drawn(60), drawn(2, 60, seed=1)
    found = explained(Linear(w), x, w * x)
    for reading in Infidelity(scaling="none")(found):
        assert reading.value == pytest.approx(0, abs=1e-8)
        assert reading.details["form"] == "attribution"
    for reading in Infidelity(perturbation="noise")(found):
        assert reading.undefined is not None
        assert reading.undefined.startswith("a map of attributions says what hiding a part takes")
    for check in (GROUPS, NOISE):  # taken for a gradient, it does not
        assert all(r.value is not None and r.value > 0.01 for r in check(found))


def test_the_form_is_the_cards() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 36, 2))
    methods = ["saliency", "input_x_gradient", "gradcam", "guided_backprop"]
    found = uh.explain(uh.Model(net.eval()), drawn(1, 1, 8, 8), 0, methods=methods)
    assert [r.details["form"] for r in Infidelity()(found)] == [
        "sensitivity", "attribution", "attribution", "sensitivity",
    ]  # fmt: skip
    assert Infidelity(form="attribution")(found)[0].details["form"] == "attribution"


def test_a_zero_map_leaves_all_and_a_wrong_sign_is_told() -> None:
    w, x = drawn(20), drawn(1, 20, seed=1)
    zero = Infidelity()(explained(Linear(w), x, torch.zeros(1, 20)))[0]
    assert zero.details["left_over"] == pytest.approx(1)
    assert zero.passed is False
    opposite = Infidelity()(explained(Linear(w), x, -2 * w * x))[0]
    assert opposite.value == pytest.approx(0, abs=1e-8)
    assert opposite.details["scale"] == pytest.approx(-0.5, abs=1e-5)
    assert opposite.passed is False
    assert Infidelity(scaling="none")(explained(Linear(w), x, -2 * w * x))[0].passed is False


def test_figures_are_those_of_the_definition() -> None:
    """S = x1 + 3·x2 at (1, 1) with the map (2, 2), each part hidden alone: promised 2, 2, falls 1, 3."""
    found = explained(Linear(torch.tensor([1.0, 3.0])), torch.ones(1, 2), torch.full((1, 2), 2.0))
    plain = Infidelity(sizes=[0.5], scaling="none")(found)[0]
    assert plain.value == pytest.approx(((2 - 1) ** 2 + (2 - 3) ** 2) / 2)
    assert plain.details["scale"] == pytest.approx((2 * 1 + 2 * 3) / (4 + 4))
    assert plain.error == 0  # both parts, nothing left to chance


def test_several_fills_are_averaged_after_squaring() -> None:
    w, x = drawn(6), drawn(1, 6, seed=1)
    fills = drawn(3, 6, seed=2)
    found = explained(Linear(w), x, w * x)
    reading = Infidelity(sizes=[1 / 6], count=6, scaling="none", fill=fills)(found)[0]
    expected = (w * fills).square().mean()  # promised w·x, falls w·(x - b)
    assert reading.value == pytest.approx(float(expected), rel=1e-4)
    sensitive = Infidelity(form="sensitivity", fill=fills)(found)[0]
    assert sensitive.undefined is not None
    assert sensitive.undefined.startswith("how far a part is from its fill")


def test_the_error_is_the_spread_over_seeds_and_falls_with_the_count() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 1))
    x, maps = drawn(1, 10), drawn(1, 10, seed=1)

    def readings(count: int) -> tuple[float, float]:
        check = Infidelity(perturbation="noise", form="sensitivity", scaling="none", count=count)
        found = [check(explained(net, x, maps, seed=seed))[0] for seed in range(25)]
        spread = float(np.std([r.value for r in found], ddof=1))
        return spread, float(np.mean([r.error for r in found]))

    (spread, told), (_, fewer) = readings(64), readings(16)
    assert 0.6 * told < spread < 1.6 * told
    assert fewer == pytest.approx(2 * told, rel=0.3)


def test_undefined_where_nothing_can_be_said() -> None:
    x = drawn(1, 2, 12, 12)
    blind = nn.Sequential(nn.Flatten(), nn.Linear(288, 1))
    nn.init.zeros_(blind[1].weight)
    [moved] = GROUPS(explained(blind, x, drawn(1, 2, 12, 12)))
    assert moved.undefined == "the score does not change under any of these perturbations"
    [channels] = GROUPS(explained(Linear(drawn(2, 12, 12)), x, drawn(1, 12, 12)))
    assert channels.undefined is not None
    assert "one for all channels" in channels.undefined
    bad = drawn(1, 2, 12, 12)
    bad[0, 0, 0, 0] = torch.nan
    assert GROUPS(explained(Linear(drawn(2, 12, 12)), x, bad))[0].value is None
    with pytest.raises(InvalidArgument):
        Infidelity(sigma=0.0)


def test_a_batch_equals_its_explanations_and_shares_passes() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 64, 2))
    found = uh.explain(uh.Model(net.eval()), drawn(3, 1, 10, 10), 0, methods="saliency")
    for check in (GROUPS, NOISE):
        for one, together in zip(found, check(found), strict=True):
            alone = check(one)[0]
            assert alone.value == pytest.approx(together.value, rel=1e-3)
            assert alone.p == together.p
    [batch] = batches(found)
    assert NOISE.read(batch)[0].calls == pytest.approx(NOISE.count, abs=1)
    assert NOISE.read(batch)[0].calls == 0
