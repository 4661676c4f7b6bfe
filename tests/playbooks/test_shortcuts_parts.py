"""The parts of the shortcuts playbook, each against what is known of it."""

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

import underhood as uh
from underhood.engine import Engine, Settings
from underhood.playbooks.shortcuts.asked import Asked
from underhood.playbooks.shortcuts.evidence import detectable_share, detectable_shift, effect, net, p_value
from underhood.playbooks.shortcuts.exchanges import (
    Colour,
    Contrast,
    Pictures,
    Texture,
    Within,
    places,
)
from underhood.playbooks.shortcuts.moves import elsewhere
from underhood.playbooks.shortcuts.sampling import in_turn, outside
from underhood.playbooks.shortcuts.scan import matched, scan
from underhood.playbooks.shortcuts.subject import middle
from underhood.playbooks.shortcuts.trials import Change, Trial, alike_at, place_removed, place_transplanted
from underhood.playbooks.shortcuts.words import cast, described, shape_of


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def of(inputs: Tensor) -> Pictures:
    return Pictures.plain(inputs, middle(*inputs.shape[2:]).expand(len(inputs), -1, -1))


class Additive(nn.Module):
    """The second class leads by the weighted sum of the first channel."""

    def __init__(self, weights: Tensor):
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: Tensor) -> Tensor:
        lead = (x[:, 0] * self.weights).sum((1, 2))
        return torch.stack([-lead / 2, lead / 2], 1)


def asked(weights: Tensor) -> Asked:
    return Asked(Engine(uh.Model(Additive(weights).eval()), Settings(precision="float32")), 1)


# -- exchanges ----------------------------------------------------------------------------------------


def test_the_middle_is_half_of_the_picture() -> None:
    assert middle(200, 160).float().mean() == pytest.approx(0.64 * np.pi / 4, abs=0.002)


def test_places_leave_the_subject_alone_and_reach_every_side() -> None:
    onto, other = of(torch.zeros(2, 3, 48, 60)), of(torch.ones(2, 3, 48, 60))
    union = torch.zeros(48, 60, dtype=torch.bool)
    for place in places(48, 60):
        changed = place(onto, other)
        assert not changed[:, :, onto.subject[0]].any()
        union |= changed[0, 0].bool()
    assert (union == ~onto.subject[0]).all()


def test_colour_gives_the_surroundings_of_the_other_picture() -> None:
    onto, other = of(drawn(3, 3, 40, 40)), of(drawn(3, 3, 40, 40, seed=1) + 2)
    changed = Pictures.plain(Colour()(onto, other), onto.subject)
    torch.testing.assert_close(Colour().measure(changed), Colour().measure(other))
    shift = changed.inputs - onto.inputs
    torch.testing.assert_close(shift, shift[..., :1, :1].expand_as(shift))


def test_contrast_gives_the_spread_and_keeps_the_mean() -> None:
    onto, other = of(drawn(3, 3, 40, 40) + 1), of(1.7 * drawn(3, 3, 40, 40, seed=1))
    changed = Pictures.plain(Contrast()(onto, other), onto.subject)
    torch.testing.assert_close(Contrast().measure(changed), Contrast().measure(other))
    torch.testing.assert_close(Colour().measure(changed), Colour().measure(onto))


def test_texture_gives_fine_noise_all_over_and_keeps_what_is_coarse() -> None:
    flat, noisy = of(torch.zeros(1, 3, 64, 64)), of(drawn(1, 3, 64, 64) + 5)
    changed = Texture()(flat, noisy)
    assert abs(float(changed.mean())) < 0.05
    quarters = changed.unfold(2, 32, 32).unfold(3, 32, 32).std((4, 5))
    assert (quarters > 0.5).all()


def test_texture_keeps_the_frequency_of_stripes() -> None:
    x = torch.arange(60).float()
    stripes = torch.sin(2 * np.pi * x / 6).expand(1, 3, 60, 60).contiguous()
    everywhere = torch.ones(1, 60, 60, dtype=torch.bool)
    changed = Texture()(Pictures.plain(torch.zeros(1, 3, 60, 60), everywhere), of(stripes))
    spectrum = torch.fft.rfft2(changed[0, 0]).abs()
    spectrum[0, 0] = 0
    row, column = divmod(int(spectrum.argmax()), spectrum.shape[1])
    assert abs(column - 60 / 6) <= 2
    assert min(row, 60 - row) <= 2


def test_a_texture_is_the_others_own_around_the_subjects_and_noise_like_it_on_them() -> None:
    onto, other = of(torch.zeros(1, 3, 64, 64)), of(drawn(1, 3, 64, 64))
    given, fine = Texture()(onto, other), Texture()._fine(other.inputs)
    around = ~onto.subject[0]
    assert torch.equal(given[:, :, around], fine[:, :, around])
    assert not torch.equal(given[:, :, ~around], fine[:, :, ~around])
    assert float(given[:, :, ~around].std()) == pytest.approx(1, rel=0.2)


def test_a_thing_in_the_other_picture_is_no_texture_of_it() -> None:
    flat, other = of(torch.zeros(1, 3, 64, 64)), of(drawn(1, 3, 64, 64))
    thing = torch.zeros(1, 64, 64, dtype=torch.bool)
    thing[:, :12, :30] = True
    given = Texture()(flat, Pictures(other.inputs, other.subject, thing))
    assert not given[:, :, (thing & ~flat.subject)[0]].any()
    assert given[:, :, ~(thing | flat.subject)[0]].all()


def test_within_keeps_to_the_subject() -> None:
    onto, other = of(torch.zeros(1, 3, 40, 40)), of(torch.ones(1, 3, 40, 40))
    assert (Within(Colour())(onto, other)[0, 0].bool() == onto.subject[0]).all()


# -- scan ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [[0] * 8 + [1] * 8, [0, 0, 0, 1, 1, 2, 2, 2], [0] * 9 + [1] * 2])
def test_partners_are_of_another_class(classes: list[int]) -> None:
    found = np.array(classes)
    assert (found[matched(found)] != found).all()


def test_the_place_that_an_additive_model_reads_carries_all_of_the_difference() -> None:
    weights = torch.zeros(36, 36)
    weights[:6, :6] = 1
    x = 0.1 * drawn(20, 3, 36, 36)
    x[::2, 0, :6, :6] = 1
    x[1::2, 0, :6, :6] = -1
    classes = (np.arange(20) + 1) % 2
    spots = places(36, 36)
    found = scan(asked(weights).engine, of(x), classes, matched(classes), spots)
    share = dict(zip(found.names, found.share.T, strict=True))
    np.testing.assert_allclose(share["window 0 0"], 1, atol=1e-4)
    np.testing.assert_allclose(share["top"], 1, atol=1e-4)
    np.testing.assert_allclose(share["window 4 4"], 0, atol=1e-4)


# -- moves --------------------------------------------------------------------------------------------


def boxed(*bounds: tuple[int, int, int, int], size: int = 40) -> Tensor:
    masks = torch.zeros(len(bounds), size, size, dtype=torch.bool)
    for mask, (top, bottom, left, right) in zip(masks, bounds, strict=True):
        mask[top:bottom, left:right] = True
    return masks


def test_another_place_has_the_same_size_and_hardly_overlaps() -> None:
    masks = boxed((0, 6, 0, 40), (2, 8, 30, 36), (16, 24, 15, 25), (0, 40, 0, 40))
    other, possible = elsewhere(masks)
    assert possible.tolist() == [True, True, True, False]
    assert (other.sum((1, 2)) == masks.sum((1, 2)))[:3].all()
    assert ((other & masks).sum((1, 2)) <= 0.3 * masks.sum((1, 2)))[:3].all()
    assert other[0].any(1).nonzero()[:, 0].tolist() == list(range(34, 40))  # the opposite side


# -- trials -------------------------------------------------------------------------------------------


def test_trials_of_an_additive_model_come_to_its_weights() -> None:
    weights = torch.zeros(40, 40)
    weights[2:8, 30:36] = 1 / 36
    carriers, others = torch.zeros(5, 3, 40, 40), torch.full((5, 3, 40, 40), -1.0)
    carriers[:, 0, 2:8, 30:36] = 3
    masks = boxed(*[(2, 8, 30, 36)] * 5)
    put = place_transplanted(asked(weights), of(others), of(carriers), masks, of(others.flip(0)))
    np.testing.assert_allclose(put.change.moved, 4, atol=1e-5)
    np.testing.assert_allclose(put.change.turned, 1)
    np.testing.assert_allclose(put.controls["another place"].moved, 0, atol=1e-5)
    np.testing.assert_allclose(put.controls["other pictures"].moved, 0, atol=1e-5)
    taken = place_removed(asked(weights), of(carriers), masks, of(others))
    np.testing.assert_allclose(taken.change.moved, 3, atol=1e-5)
    np.testing.assert_allclose(taken.controls["another place"].moved, 0, atol=1e-5)
    np.testing.assert_allclose(taken.controls["second fill"].moved, 4, atol=1e-5)


def test_a_control_is_the_picture_that_looks_most_alike_there() -> None:
    donors = of(torch.zeros(2, 3, 40, 40))
    donors.inputs[0, :, 2:8, 30:36] = 1
    donors.inputs[1, :, 2:8, 30:36] = -1
    pool = of(torch.stack([donors.inputs[1] + 0.1, 5 - donors.inputs[0], donors.inputs[0] - 0.1]))
    found = alike_at(donors, boxed(*[(2, 8, 30, 36)] * 2), pool)
    assert torch.equal(found.inputs, pool.inputs[[2, 0]])


# -- evidence -----------------------------------------------------------------------------------------


def change(values: list[float]) -> Change:
    return Change(np.array(values), np.array(values))


def test_the_hardest_control_counts() -> None:
    trial = Trial(
        change([1.0] * 10),
        {"a": change([0.0] * 10), "b": change([0.25] * 10), "second fill": change([1.0] * 10)},
    )
    assert net(trial, "turned", 0).value == pytest.approx(0.75)


def test_the_value_lies_in_its_interval_where_some_give_more_often() -> None:
    """Six donors give once and turn nothing, six give nine times and turn all: a half, not nine tenths."""
    donor = np.repeat(np.arange(12), [1] * 6 + [9] * 6)
    turned = (donor >= 6).astype(float)
    told = effect("transplant", Trial(Change(turned, turned), donor=donor), "turned", "share", 0)
    assert told.value == pytest.approx(0.5)
    assert told.low < told.value < told.high


def test_a_control_that_few_donors_allow_is_none() -> None:
    turned, donor = np.ones(64), np.arange(64) % 8
    beside, other = np.where(donor < 3, 1.0, np.nan), np.zeros(64)
    controls = {"another place": Change(beside, beside), "other pictures": Change(other, other)}
    assert net(Trial(Change(turned, turned), controls, donor), "turned", 0).value == 1
    assert net(Trial(Change(turned, turned), controls), "turned", 0).value == 0  # 24 pictures are enough


@pytest.mark.parametrize("times", [1, 8])
def test_what_one_picture_does_to_several_counts_once(times: int) -> None:
    """Student's t-interval over four donors, however many pictures each of them gives to."""
    turned, donor = np.tile([1.0, 1, 0, 1], times), np.tile(np.arange(4), times)
    trial = Trial(Change(turned, turned), donor=donor)
    reach = scipy.stats.t.ppf(0.975, 3) * 0.5 / 4**0.5
    assert net(trial, "turned", 0).low == pytest.approx(0.75 - reach, abs=1e-4)
    told = effect("transplant", trial, "turned", "share", 0)
    assert (told.low, told.high) == pytest.approx((0.75 - reach, 0.75 + reach), abs=1e-4)
    assert told.inputs == 4 * times


def test_few_pictures_prove_nothing() -> None:
    assert net(Trial(change([1.0] * 3)), "turned", 0).low == -np.inf


def test_the_sign_test_is_the_binomial_one() -> None:
    assert p_value(change([1.0] * 5 + [0.0] * 5), np.zeros(10)) == pytest.approx(0.5**5)
    assert p_value(change([0.0] * 10), np.zeros(10)) == 1


@pytest.mark.parametrize(("inputs", "control"), [(64, 0.05), (200, 0.2)])
def test_the_power_that_is_told_is_met_by_simulation(inputs: int, control: float) -> None:
    """A thing that turns the told share beyond its control has an interval above `worth` 80 times in 100."""
    worth = 0.1
    share = detectable_share(inputs, control, worth)
    assert share is not None
    random = np.random.default_rng(0)
    turned = random.random((4000, inputs)) < share + control
    beside = random.random((4000, inputs)) < control
    lead = turned.astype(float) - beside
    low = lead.mean(1) - 1.96 * lead.std(1, ddof=1) / np.sqrt(inputs)
    assert (low >= worth).mean() == pytest.approx(0.8, abs=0.04)


def test_the_shift_that_is_told_is_met_by_simulation() -> None:
    shift = detectable_shift(2.0, 50)
    assert shift is not None
    random = np.random.default_rng(0)
    values = shift + 2.0 * random.standard_normal((4000, 50))
    low = values.mean(1) - 1.96 * values.std(1, ddof=1) / np.sqrt(50)
    assert (low > 0).mean() == pytest.approx(0.8, abs=0.03)


def test_too_few_pictures_have_no_power() -> None:
    assert detectable_share(3, 0.0, 0.1) is None
    assert detectable_shift(1.0, 3) is None


# -- sampling and words -------------------------------------------------------------------------------


def test_a_maps_share_outside_the_middle() -> None:
    maps = np.zeros((2, 10, 10), np.float32)
    maps[0, 5, 5] = 3
    maps[1, 0, 0] = 2
    assert outside(maps) == pytest.approx([0, 1])
    assert outside(np.ones((1, 32, 32), np.float32)) == pytest.approx(1 - 0.64 * np.pi / 4, abs=0.01)


def test_groups_take_turns() -> None:
    order = in_turn(np.array([0, 0, 0, 1, 1]), np.array([3.0, 1, 2, 5, 4], np.float32))
    assert order.tolist() == [1, 4, 2, 3, 0]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((0, 40, 0, 6), ("a straight band", "along the left border")),
        ((34, 40, 0, 40), ("a straight band", "along the bottom border")),
        ((32, 38, 31, 39), ("a small spot", "in the lower right corner")),
        ((2, 8, 16, 24), ("a small spot", "near the top edge")),
        ((18, 22, 4, 36), ("a long bar", "across the picture")),
        ((16, 24, 16, 24), ("a small spot", "in the middle")),
    ],
)
def test_things_in_words(bounds: tuple[int, int, int, int], expected: tuple[str, str]) -> None:
    assert shape_of(boxed(bounds)[0].numpy()) == expected


def test_a_frame_in_words() -> None:
    mask = np.ones((40, 40), dtype=bool)
    mask[5:35, 5:35] = False
    assert shape_of(mask) == ("a frame", "along the border")


def test_bands_at_several_sides_are_along_the_border() -> None:
    masks = [mask.numpy() for mask in boxed((0, 40, 0, 6), (0, 40, 34, 40), (0, 6, 0, 40), (34, 40, 0, 40))]
    assert described(masks) == ("a straight band", "along the border")


@pytest.mark.parametrize(
    ("difference", "name"),
    [
        ((0.2, 0.1, -0.2), "yellowish"),
        ((0.3, 0.0, 0.0), "reddish"),
        ((-0.1, -0.1, 0.2), "bluish"),
        ((-0.3, -0.3, -0.3), "darker"),
        ((0.3,), "lighter"),
    ],
)
def test_a_colour_cast_in_words(difference: tuple[float, ...], name: str) -> None:
    assert cast(difference) == name
