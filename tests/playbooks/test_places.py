"""Where maps have their relevance, of maps whose answer is known."""

import numpy as np
import pytest
import torch

from underhood.playbooks.places import BORDER, NINTHS, brightest, inside, places


@pytest.mark.parametrize("side", [6, 7, 16])
def test_an_even_map_is_spread_as_the_area_is(side: int) -> None:
    found = places(torch.ones(1, side, side))
    assert found.ninths[0].tolist() == pytest.approx([1 / 9] * 9, abs=1e-6)
    assert found.border[0] == pytest.approx(BORDER, abs=1e-6)
    assert found.words() == "at no one place of the picture"


@pytest.mark.parametrize("ninth", range(9))
def test_the_ninth_with_the_relevance_is_named(ninth: int) -> None:
    maps = torch.zeros(1, 6, 6)
    row, column = divmod(ninth, 3)
    maps[0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = 3.0
    assert places(maps).words().startswith(f"mostly {NINTHS[ninth]} (")


def test_a_ring_is_the_border() -> None:
    maps = torch.ones(1, 12, 12)
    maps[:, 1:-1, 1:-1] = 0
    assert "along the border" in places(maps).words()


def test_maps_without_relevance_do_not_count() -> None:
    maps = torch.zeros(2, 6, 6)
    maps[0, :2, :2] = 1
    assert "at the top left" in places(maps).words()
    assert places(maps[1:]).words() == "nowhere: the maps are zero"


def test_share_under_a_mask_is_its_area_for_an_even_map_and_all_for_one_inside() -> None:
    maps, masks = torch.ones(3, 4, 4), torch.zeros(3, 32, 32, dtype=torch.bool)
    masks[:, 8:24, 8:24] = True
    maps[1] = 0
    maps[1, 1:3, 1:3] = 1.0
    maps[2] = 0
    share = inside(maps, masks)
    assert share[0] == pytest.approx(0.25)
    assert share[1] > 0.7  # bilinear upsampling lets some out
    assert np.isnan(share[2])


def test_brightest_places_reach_half_of_the_highest() -> None:
    maps = torch.tensor([[[0.0, 1.0], [0.4, 0.6]], [[0.0, 0.0], [0.0, 0.0]]])
    assert brightest(maps, (2, 2)).tolist() == [[[False, True], [False, True]], [[False] * 2] * 2]
