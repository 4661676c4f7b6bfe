"""Marks of the shortcut benchmark: they change the picture where their mask says, and nowhere else."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from benchmarks.shortcuts import tuning
from benchmarks.shortcuts.paint import Draw, Mask, Planted, filled, painted

IN_PLACES: dict[str, Draw] = {**tuning.IN_PLACES}
OVER_ALL: dict[str, Draw] = {**tuning.OVER_ALL}
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
