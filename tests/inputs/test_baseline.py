"""Baselines: what *absent* means, for each input by itself."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.toys import CN
from underhood.errors import InvalidArgument, UnknownName
from underhood.inputs import Baseline, Blur, Constant, Inpaint, Mean, Noise, Samples, as_baseline, gather
from underhood.inputs.baseline import NAMED, as_whole
from underhood.models import Model, Preprocess

PREPROCESS = Preprocess(size=None, crop=None)
SAMPLES = torch.rand(3, 3, 20, 30, generator=torch.Generator().manual_seed(0))


def pictures(count: int = 3, height: int = 20, width: int = 30) -> Tensor:
    torch.manual_seed(1)
    return PREPROCESS.normalise(torch.rand(count, 3, height, width))


def values(baseline: Any, inputs: Tensor, seed: int = 0) -> Tensor:
    return as_baseline(baseline).values(inputs, PREPROCESS, seed)


def grey(values: Tensor) -> Tensor:
    return PREPROCESS.denormalise(values)


# -- each name ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "baseline", [*NAMED, 0.3, SAMPLES], ids=lambda b: "samples" if b is SAMPLES else str(b)
)
def test_a_batch_has_the_baselines_of_its_inputs_one_by_one(baseline: Any) -> None:
    inputs = pictures()
    together = values(baseline, inputs)
    assert together.shape[1:] == inputs.shape
    assert together.dtype == torch.float32
    for i in range(len(inputs)):
        assert torch.equal(together[:, i], values(baseline, inputs[i : i + 1])[:, 0])


@pytest.mark.parametrize("name", NAMED)
def test_a_baseline_is_known_by_its_name_and_leaves_the_inputs_alone(name: str) -> None:
    inputs = pictures()
    before = inputs.clone()
    assert as_baseline(name).name == name
    values(name, inputs)
    hidden = torch.ones(len(inputs), 20, 30, dtype=torch.bool)
    as_baseline(name).hide(inputs, hidden, values(name, inputs)[0])
    assert torch.equal(inputs, before)


@pytest.mark.parametrize(("name", "level"), [("black", 0.0), ("grey", 0.5), ("white", 1.0), (0.25, 0.25)])
def test_constants_are_grey_levels(name: Any, level: float) -> None:
    assert torch.allclose(grey(values(name, pictures())), torch.tensor(level), atol=1e-6)


@pytest.mark.parametrize("name", ["zeros", "mean"])
def test_zero_in_the_networks_units_is_the_mean_colour(name: str) -> None:
    found = values(name, pictures())
    assert not found.any()
    assert torch.allclose(grey(found)[0, 0, :, 0, 0], torch.tensor(PREPROCESS.mean))


def test_a_given_mean_is_taken() -> None:
    mean = torch.rand(3, 20, 30)
    assert torch.equal(values(Mean(mean), pictures())[0, 2], mean)
    per_channel = torch.rand(3, 1, 1)
    assert torch.equal(values(Mean(per_channel), pictures())[0, 1], per_channel.expand(3, 20, 30))


def test_a_mean_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="needs a preprocessing"):
        Mean().values(torch.rand(2, 5), None, 0)


def test_samples_are_the_same_for_every_input() -> None:
    found = values(SAMPLES, pictures())
    assert found.shape == (3, 3, 3, 20, 30)
    assert all(torch.equal(found[:, i], SAMPLES) for i in range(3))
    with pytest.raises(InvalidArgument, match=r"shape \(3, 20, 30\), the inputs \(3, 20, 31\)"):
        values(SAMPLES, pictures(width=31))


# -- blur --------------------------------------------------------------------------------------------


def test_the_blur_of_a_constant_is_that_constant() -> None:
    flat = torch.full((1, 3, 17, 9), 0.7)
    assert torch.allclose(values("blur", flat)[0], flat, atol=1e-6)
    assert torch.allclose(values(Blur(3.0), flat)[0], flat, atol=1e-6)  # wider than the picture


def test_a_blur_keeps_a_ramp_in_the_middle_and_takes_away_detail() -> None:
    ramp = torch.linspace(0, 1, 60).expand(1, 3, 60, 60)
    assert torch.allclose(values("blur", ramp)[0][..., 15:45], ramp[..., 15:45], atol=1e-4)
    checks = ((torch.arange(60)[:, None] + torch.arange(60)) % 2).float().expand(1, 3, 60, 60)
    assert float(values("blur", checks).std()) < 0.01


def test_a_blur_has_the_width_it_is_given() -> None:
    point = torch.zeros(1, 1, 101, 101)
    point[0, 0, 50, 50] = 1
    spread = Blur(0.05).values(point, None, 0)[0, 0, 0].sum(0)
    sigma = (spread * (torch.arange(101) - 50) ** 2).sum().sqrt()
    assert float(sigma) == pytest.approx(0.05 * 101, rel=0.02)


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan")])
def test_a_blur_without_width_is_refused(sigma: float) -> None:
    with pytest.raises(InvalidArgument, match="sigma above 0"):
        Blur(sigma)


# -- noise -------------------------------------------------------------------------------------------


def test_noise_is_uniform_over_the_pixels_range_and_comes_from_the_seed() -> None:
    found = grey(values("noise", pictures()))
    assert found.shape[0] == 4
    assert -1e-6 <= float(found.min()) < 0.01
    assert 0.99 < float(found.max()) <= 1 + 1e-6
    assert float(found.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(found.std()) == pytest.approx(12**-0.5, abs=0.02)
    assert torch.equal(values("noise", pictures(), seed=3), values("noise", pictures(), seed=3))
    assert not torch.equal(values("noise", pictures(), seed=3), values("noise", pictures(), seed=4))
    assert not torch.equal(found[0], found[1])


def test_noise_without_pictures_has_each_inputs_own_range() -> None:
    rows = torch.tensor([[0.0, 10.0, 5.0], [-3.0, -2.0, -2.5]]).repeat(1, 50)
    found = Noise(20).values(rows, None, 0)
    for i, (low, high) in enumerate([(0, 10), (-3, -2)]):
        span = high - low
        assert low <= float(found[:, i].min()) < low + 0.01 * span
        assert high - 0.01 * span < float(found[:, i].max()) <= high


# -- inpainting --------------------------------------------------------------------------------------


def inpainted(picture: Tensor, hidden: Tensor) -> Tensor:
    return Inpaint().hide(picture[None], hidden[None], picture[None])[0]


def hole(height: int, width: int, *box: int) -> Tensor:
    top, left, bottom, right = box
    hidden = torch.zeros(height, width, dtype=torch.bool)
    hidden[top:bottom, left:right] = True
    return hidden


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [
        (64, 64, (20, 20, 44, 44)),
        (64, 64, (0, 0, 40, 64)),  # up to the edges
        (65, 33, (1, 1, 65, 33)),  # one row and column are left
        (4, 64, (0, 8, 4, 60)),
        (1, 50, (0, 5, 1, 45)),
        (7, 7, (3, 3, 4, 4)),
    ],
)
def test_inpainting_fills_a_constant_with_itself(height: int, width: int, box: tuple[int, ...]) -> None:
    flat = torch.tensor([0.3, -2.0, 5.0])[:, None, None].expand(3, height, width)
    assert torch.allclose(inpainted(flat, hole(height, width, *box)), flat, atol=1e-5)


def test_inpainting_goes_on_with_a_ramp() -> None:
    y, x = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    ramp = torch.stack([x, y, x + y])
    filled = inpainted(ramp, hole(64, 64, 24, 24, 40, 40))
    assert float((filled - ramp).abs().max()) < 0.1  # where the mean of the rest is off by up to 0.25


def test_inpainting_never_looks_under_the_mask_and_leaves_the_rest() -> None:
    hidden = hole(32, 48, 5, 7, 20, 30)
    picture = pictures(1, 32, 48)[0]
    other = torch.where(hidden, torch.full_like(picture, 1e6), picture)
    assert torch.equal(inpainted(picture, hidden), inpainted(other, hidden))
    assert torch.equal(inpainted(picture, hidden)[:, ~hidden], picture[:, ~hidden])


def test_inpainting_is_the_same_in_a_batch() -> None:
    inputs = pictures(3, 32, 48)
    masks = torch.stack([hole(32, 48, 5, 7, 20, 30), hole(32, 48, 0, 0, 32, 48), hole(32, 48, 0, 0, 0, 0)])
    together = Inpaint().hide(inputs, masks, inputs)
    for i in range(3):
        assert torch.allclose(together[i], inpainted(inputs[i], masks[i]), atol=1e-6)
    assert together.isfinite().all()


def test_inpainting_cannot_stand_for_a_whole_input() -> None:
    with pytest.raises(InvalidArgument, match="cannot stand for a whole input"):
        as_whole("inpaint")
    assert as_whole("blur") == Blur()


# -- hiding ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("baseline", ["zeros", "grey", "blur", "noise", "inpaint", "noisy_linear"])
def test_hiding_nothing_changes_nothing(baseline: str) -> None:
    inputs = pictures()
    nothing = torch.zeros(3, 20, 30, dtype=torch.bool)
    hidden = as_baseline(baseline).hide(inputs, nothing, values(baseline, inputs)[0])
    assert torch.equal(hidden, inputs)


def test_hidden_places_take_the_baselines_values_in_every_channel() -> None:
    inputs, absent = pictures(), values("grey", pictures())[0]
    mask = torch.rand(3, 20, 30) < 0.5
    hidden = Constant(0.5).hide(inputs, mask, absent)
    assert torch.equal(hidden, torch.where(mask[:, None], absent, inputs))


def test_rows_are_hidden_column_by_column() -> None:
    rows = torch.arange(6.0).reshape(2, 3)
    hidden = as_baseline("zeros").hide(rows, torch.tensor([[True, False, False]] * 2), torch.zeros(2, 3))
    assert hidden.tolist() == [[0, 1, 2], [0, 4, 5]]


@pytest.mark.parametrize("name", ["blur", "inpaint", "noisy_linear"])
def test_what_needs_pictures_says_so(name: str) -> None:
    rows, baseline = torch.ones(2, 5), as_baseline(name)
    with pytest.raises(InvalidArgument, match=f"'{name}' needs pictures"):
        baseline.hide(rows, torch.ones(2, 5, dtype=torch.bool), baseline.values(rows, None, 0)[0])


# -- from what the user writes -----------------------------------------------------------------------


def test_a_baseline_is_taken_as_it_is() -> None:
    own = Samples(SAMPLES)
    assert as_baseline(own) is own
    assert as_baseline(0) == Constant(0.0)


def test_an_unknown_name_is_answered_by_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'grey'"):
        as_baseline("gray")


def test_a_model_without_preprocessing_takes_constants_as_input_values() -> None:
    model = Model(CN())
    inputs = gather(model, CN.x0()).tensor
    assert torch.equal(Constant(4.0).values(inputs, model.preprocess, 0)[0], torch.full_like(inputs, 4.0))


def test_every_baseline_is_a_plain_record() -> None:
    assert all(isinstance(make(), Baseline) and make() == make() for make in NAMED.values())
