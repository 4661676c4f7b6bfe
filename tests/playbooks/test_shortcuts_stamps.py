"""What is at one place in many pictures of a class, too faint to be seen in one."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from underhood.playbooks.shortcuts.matched_filter import Fields, Scale, correlation, structure
from underhood.playbooks.shortcuts.stamps import Stamps, agree, moved, share_with_each
from underhood.playbooks.shortcuts.templates import Stamp, template

SIDE = 40
FAINT = 0.75  # of the noise's standard deviation


def noise(count: int, seed: int) -> Tensor:
    """Coarse and fine, as pictures are: (n, 3, 40, 40) with a standard deviation of about 1."""
    random = np.random.default_rng(seed)
    parts = [
        torch.nn.functional.interpolate(
            torch.from_numpy(random.normal(size=(count, 3, side, side))).float(), SIDE, mode="bicubic"
        )
        for side in (5, 10, 20, 40)
    ]
    return sum(parts, torch.zeros(())) / 2


def ring() -> Tensor:
    """(40, 40) bool, over the middle."""
    away = torch.hypot(
        *(axis - SIDE / 2 for axis in torch.meshgrid(*[torch.arange(SIDE)] * 2, indexing="ij"))
    )
    return (away > 9) & (away < 13)


def planted(pictures: Tensor, every: int, seed: int, strength: float = FAINT) -> np.ndarray:
    """The ring, moved by up to two pixels, in some of the pictures; which, (n,)."""
    random = np.random.default_rng(seed)
    has = np.arange(len(pictures)) % every == 0
    for row in np.flatnonzero(has):
        pictures[row] += strength * ring().roll(random.integers(-2, 3, 2).tolist(), (0, 1))
    return has


def told(own: Tensor, others: Tensor, rows: Sequence[int] | None = None) -> np.ndarray:
    everything = torch.cat([own, others])
    mine, theirs = np.split(np.arange(len(everything)), [len(own)])
    stamps = Stamps.of(lambda some: everything[some], mine, theirs, 0)
    return stamps.masks(mine if rows is None else np.array(rows))


@pytest.mark.parametrize(("every", "strength"), [(2, FAINT), (8, 2 * FAINT)])
def test_a_stamp_is_told_and_where_it_is(every: int, strength: float) -> None:
    """Where half of the pictures have it, also one that is fainter than the noise."""
    own = noise(400, 1)
    has = planted(own, every, 2, strength)
    masks = told(own, noise(300, 3))
    there = masks.any((1, 2))
    assert there[has].mean() > 0.95
    assert there[~has].mean() < 0.03
    usual = masks[there].mean(0) > 0.5
    both, either = (usual & ring().numpy()).sum(), (usual | ring().numpy()).sum()
    assert both / either > 0.5


def bars(sides: np.ndarray) -> np.ndarray:
    """(n, 40, 40) bool: each along one of the four sides."""
    masks = np.zeros((len(sides), SIDE, SIDE), bool)
    for mask, side in zip(masks, sides, strict=True):
        np.rot90(mask, side)[2:8, 4:36] = True
    return masks


@pytest.mark.parametrize(("count", "least"), [(2, 0.5), (4, 0.4)])  # of all sides together 0.5 and 0.27
def test_of_a_stamp_that_is_never_whole_the_part_that_is_there_is_told(count: int, least: float) -> None:
    """Along one of several sides: all sides add up, and no picture has them."""
    own = noise(400, 1)
    sides = np.random.default_rng(2).integers(0, count, 200)
    own[:200] += 2 * torch.from_numpy(bars(sides))[:, None]
    masks = told(own, noise(300, 3))
    there = masks[:200].any((1, 2))
    true, found = bars(sides)[there], masks[:200][there]
    assert there.mean() > 0.8
    overlap = (true & found).sum((1, 2)) / (true | found).sum((1, 2))
    assert overlap.mean() > least
    assert masks[200:].any((1, 2)).mean() < 0.03


def test_a_stamp_that_is_whole_is_told_whole() -> None:
    own, others = noise(400, 1), noise(300, 3)
    planted(own, 2, 2)
    everything = torch.cat([own, others])
    stamps = Stamps.of(lambda some: everything[some], np.arange(400), np.arange(400, 700), 0)
    assert len(stamps.learned) == 2
    for placed in stamps.learned:
        assert (placed.least == -torch.inf).all()


def test_it_is_told_in_pictures_that_it_was_not_learned_from() -> None:
    own, more = noise(400, 1), noise(100, 4)
    planted(own, 2, 2)
    has = planted(more, 2, 5)
    others = noise(300, 3)
    everything = torch.cat([own, others, more])
    stamps = Stamps.of(lambda some: everything[some], np.arange(400), np.arange(400, 700), 0)
    there = stamps.masks(np.arange(700, 800)).any((1, 2))
    assert there[has].mean() > 0.95
    assert there[~has].mean() < 0.05


@pytest.mark.parametrize("seed", range(4))
def test_without_a_stamp_and_with_one_in_every_class_nothing_is_told(seed: int) -> None:
    own, others = noise(200, 10 + seed), noise(200, 20 + seed)
    assert not told(own, others).any()
    planted(own, 2, 1)
    planted(others, 2, 2)
    assert not told(own, others).any()


@pytest.mark.parametrize("others", [16, 32, 64, 128])
def test_few_pictures_of_other_classes_make_no_stamp(others: int) -> None:
    """Their mean is uncertain, and all of the class differ from it alike."""
    assert not told(noise(200, 1), noise(others, 2)).any()


def test_what_very_few_pictures_have_is_no_stamp() -> None:
    own = noise(60, 1)
    own[:4] += 3 * ring()
    assert not told(own, noise(200, 3)).any()


def test_a_pattern_all_over_the_picture_is_no_stamp() -> None:
    own = noise(200, 1)
    own[::2] += torch.from_numpy(np.random.default_rng(0).normal(size=(SIDE, SIDE))).float()
    assert not told(own, noise(200, 3)).any()


def test_two_halves_agree_on_the_same_template_alone() -> None:
    pictures = fields(noise(2, 1))
    first, second = (
        Stamp(one / norm, 0, 1) for one, norm in zip(pictures.spectra, norms(pictures), strict=True)
    )
    assert agree(first, first, pictures)
    assert not agree(first, second, pictures)


def test_a_stamp_at_the_edge_stays_there() -> None:
    own = noise(300, 1)
    random = np.random.default_rng(2)
    for row in range(0, 300, 2):
        down, right = random.integers(-2, 3, 2)
        own[row, :, 32 + down :, 32 + right :] += 3
    masks = told(own, noise(300, 3))
    assert masks[::2].any((1, 2)).mean() > 0.95
    assert not masks[:, :8].any()
    assert not masks[:, :, :8].any()
    corner = np.zeros((SIDE, SIDE), bool)
    corner[-2:, -2:] = True
    assert not moved(corner, [2, 2], 2).any()


@pytest.mark.parametrize("empty", [(True, True), (True, False), (False, True)])
def test_empty_pictures_have_no_stamp(empty: tuple[bool, bool]) -> None:
    own, others = (torch.zeros(40, 3, SIDE, SIDE) if one else noise(40, i) for i, one in enumerate(empty))
    assert not told(own, others).any()


def fields(pictures: Tensor) -> Fields:
    plain = structure(pictures)
    return Fields(plain, torch.fft.rfft2(plain), 2)


def norms(pictures: Fields) -> Tensor:
    return pictures.plain.flatten(1).norm(dim=1)


@given(st.integers(-2, 2), st.integers(-2, 2))
def test_a_template_is_found_where_it_was_moved_to_and_moved_back(down: int, right: int) -> None:
    picture = fields(noise(1, 1))
    spectrum = picture.spectra[0] / picture.plain.norm()
    shifted = picture.plain.roll((down, right), (2, 3))
    strength, shifts = correlation(torch.fft.rfft2(shifted), spectrum, picture.size, 2)
    assert shifts.tolist() == [[down, right]]
    assert strength[0] == pytest.approx(float(picture.plain.norm()), rel=1e-5)  # Cauchy-Schwarz: the most
    back = template(Fields(shifted, torch.fft.rfft2(shifted), 2), np.array([True]), shifts)
    alone = template(picture, np.array([True]), torch.zeros(1, 2, dtype=torch.long))
    assert back is not None
    assert alone is not None
    torch.testing.assert_close(back, alone, atol=1e-4, rtol=1e-4)


def test_noise_is_made_white_where_other_classes_have_most_of_it() -> None:
    others = structure(noise(300, 1))
    scale = Scale.of(others)
    energy = (torch.fft.rfft2(scale(others).plain).abs() ** 2).mean((0, 1))
    white = (scale(others).spectra.abs() ** 2).mean((0, 1))
    assert white.std() / white.mean() < 0.5 * energy.std() / energy.mean()


def test_large_pictures_are_taken_on_a_grid() -> None:
    assert structure(torch.zeros(2, 3, 150, 200)).shape == (2, 3, 38, 50)
    assert structure(torch.zeros(2, 1, 12, 12)).shape == (2, 1, 12, 12)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.8, 1.0])
def test_the_share_that_has_each_part_is_told_from_how_it_varies(share: float) -> None:
    random = torch.Generator().manual_seed(0)
    there = torch.rand(4000, 20, generator=random) < share
    parts, without = (torch.randn(4000, 20, generator=random) for _ in range(2))
    assert share_with_each(parts + 3 * there, without) == pytest.approx(share, abs=0.02)
