"""Marks of the shortcut benchmark: they change the picture where their mask says, and nowhere else."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from benchmarks.shortcuts import cut, marks, tuning
from benchmarks.shortcuts.paint import Draw, Mask, Planted, filled, painted

IN_PLACES: dict[str, Draw] = {**tuning.IN_PLACES, **marks.IN_PLACES}
OVER_ALL: dict[str, Draw] = {**tuning.OVER_ALL, **marks.OVER_ALL}
SHAPES = ((40, 40), (72, 96))


def plant(draw: Draw, shape: tuple[int, int], seed: int) -> tuple[Planted, Mask]:
    """A mark on a picture of middle grey noise, and where it changed it."""
    random = np.random.default_rng(seed)
    picture = random.integers(110, 150, (*shape, 3)).astype(np.uint8)
    before = picture.copy()
    found = draw(picture, random)
    assert np.array_equal(picture, before)
    assert found.picture.dtype == np.uint8
    return found, (found.picture != picture).any(2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", IN_PLACES)
def test_a_mark_changes_nothing_outside_its_mask_and_most_inside(name: str, shape: tuple[int, int]) -> None:
    for seed in range(20):
        found, changed = plant(IN_PLACES[name], shape, seed)
        assert not (changed & ~found.mask).any()
        assert changed[found.mask].mean() > 0.4
        assert 0.01 < found.mask.mean() < 0.45


@pytest.mark.parametrize("name", OVER_ALL)
def test_a_change_of_the_whole_picture_is_masked_as_such(name: str) -> None:
    found, changed = plant(OVER_ALL[name], (40, 40), 0)
    assert found.mask.all()
    assert changed.mean() > 0.8


@pytest.mark.parametrize("name", [*IN_PLACES, *OVER_ALL])
def test_the_same_seed_draws_the_same_mark(name: str) -> None:
    draw = {**IN_PLACES, **OVER_ALL}[name]
    one, two = (plant(draw, (40, 40), 7)[0].picture for _ in range(2))
    assert np.array_equal(one, two)


def test_paint_is_blended_and_masked_where_it_shows() -> None:
    opacity = np.zeros((4, 4))
    opacity[1, 2], opacity[3, 3] = 0.5, 0.05  # the second is too thin to count
    found = painted(np.full((4, 4, 3), 100, np.uint8), (200, 0, 100), opacity)
    assert found.picture[1, 2].tolist() == [150, 50, 100]
    assert np.argwhere(found.mask).tolist() == [[1, 2]]


def test_gaps_up_to_a_width_are_filled() -> None:
    letters = np.zeros((3, 12), dtype=bool)
    letters[:, [0, 3, 8]] = True  # gaps of 2 and of 4
    assert filled(letters, 2)[1].tolist() == [c in (0, 1, 2, 3, 8) for c in range(12)]
    assert filled(letters, 4)[1].tolist() == [c <= 8 for c in range(12)]


def test_ink_on_skin_is_cut_out_as_the_light_it_lets_through() -> None:
    random = np.random.default_rng(0)
    skin = np.full((300, 400, 3), (220, 170, 160)) + random.integers(-4, 5, (300, 400, 1))
    stroke = np.zeros((300, 400), dtype=bool)
    stroke[40:60, 50:250] = True
    inked = np.where(stroke[..., None], skin * (0.4, 0.4, 0.8), skin).astype(np.uint8)
    passes = cut.transmission(inked)
    np.testing.assert_allclose(passes[stroke].mean(0), (0.4, 0.4, 0.8), atol=0.02)
    assert passes[~stroke].mean() > 0.97
    seen = cut.ink(passes, inked)
    assert (seen & stroke).sum() / (seen | stroke).sum() > 0.8
    found = cut.cut_out(passes, seen)
    assert found is not None
    assert found.centre == pytest.approx((150 / 400, 50 / 300), abs=0.02)


def test_a_cut_out_darkens_as_it_did_and_only_there() -> None:
    found = cut.Cut(np.broadcast_to([0.5, 0.5, 1.0], (60, 90, 3)), (0.5, 0.1), 600)
    picture = np.full((72, 96, 3), 200, np.uint8)
    for seed in range(8):
        planted = cut.planted(picture, found, np.random.default_rng(seed))
        assert (planted.picture[planted.mask] == (100, 100, 200)).all()
        assert (planted.picture[~planted.mask] == 200).all()
        rows, columns = np.nonzero(planted.mask)
        assert abs(columns.mean() - 47.5) < 1
        assert {rows.min(), 71 - rows.max()} & {0, 1, 2}  # at the upper edge as it was, or mirrored


def test_faint_or_little_ink_is_not_cut_out() -> None:
    seen = np.zeros((100, 100), dtype=bool)
    seen[:20, :20] = True
    assert cut.cut_out(np.full((100, 100, 3), 0.9), seen) is None
    assert cut.cut_out(np.full((100, 100, 3), 0.4), np.zeros_like(seen)) is None
