"""The shortcut benchmark's own judgement, and SpRAy, on cases whose answer is known."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from benchmarks.shortcuts.scored import first_right, overlap, scored
from benchmarks.shortcuts.spray import reduced, region, spray
from underhood.playbooks.finding import Finding


def masks(*spans: tuple[int, int]) -> np.ndarray:
    """One row of ten pixels each, true from one to the other."""
    return np.array([[[start <= x < end for x in range(10)]] for start, end in spans])


def finding(masks: np.ndarray | None, rows: tuple[int, ...] = (0, 1), **details: str) -> Finding:
    return Finding("shortcuts", "key", "", "high", (), rows, "", "", masks=masks, details=details)


def test_overlap_is_the_mean_of_intersection_over_union() -> None:
    assert overlap(masks((0, 4), (0, 2)), masks((2, 6), (0, 2))) == pytest.approx((2 / 6 + 1) / 2)
    assert overlap(masks((0, 4)), masks((0, 0))) == 0
    assert overlap(masks((0, 0)), masks((0, 0))) == 0


def test_a_finding_is_right_where_its_masks_overlap_the_mark_of_its_own_rows() -> None:
    true = masks((0, 0), (2, 6), (4, 8))
    found = finding(masks((2, 6), (4, 6)), rows=(1, 2, 0))  # more rows than masks
    assert scored("ruler", found, true).overlap == pytest.approx((1 + 0.5) / 2)
    assert scored("ruler", found, true).right
    assert not scored("ruler", finding(masks((2, 6), (4, 6)), rows=(0, 1)), true).right


def test_a_region_or_name_is_asked_for_by_kind() -> None:
    true = masks((0, 10), (0, 10))
    named = finding(None, whole_image="colour")
    assert scored("tint", named, true).right
    assert not scored("texture", named, true).right
    assert not scored("ruler", named, true).right
    assert not scored("ruler", finding(None), true).right
    assert not scored("tint", finding(true), true).right  # found, but not called by its name


def test_the_place_of_the_first_right_finding() -> None:
    true = masks((0, 4), (0, 4))
    wrong, right = finding(masks((6, 8), (6, 8))), finding(true)
    assert first_right("ruler", [wrong, right], true) == 1
    assert first_right("ruler", [wrong], true) is None


def blobs(places: np.ndarray) -> np.ndarray:
    """(n, 12, 12) maps with a round spot at each place (row, column), and some noise."""
    y, x = np.mgrid[:12, :12]
    away = (y - places[:, 0, None, None]) ** 2 + (x - places[:, 1, None, None]) ** 2
    return np.exp(-away / 3) + 0.05 * np.random.default_rng(1).random(away.shape)


def test_spray_finds_the_few_maps_of_one_class_that_look_elsewhere() -> None:
    random = np.random.default_rng(0)
    places = 6 + random.normal(0, 1, (120, 2))
    places[:15] = np.array([1, 10]) + random.normal(0, 0.2, (15, 2))
    classes = np.repeat([1, 0], 60)
    found = spray(blobs(places), classes)
    assert found is not None
    assert set(found.rows) == set(range(15))
    assert found.separation > 0.8
    where = region(found.mean, (24, 24))
    assert where[2:4, 20:22].all()
    assert not where[8:16].any()


def test_spray_has_nothing_to_say_of_a_handful() -> None:
    assert spray(blobs(np.full((10, 2), 6.0)), np.zeros(10, np.int64)) is None


def test_maps_are_made_small_and_of_equal_weight() -> None:
    maps = np.random.default_rng(0).random((3, 40, 60)) * np.array([1, 10, 100])[:, None, None]
    small = reduced(maps)
    assert small.shape == (3, 20, 20)
    np.testing.assert_allclose(small.sum((1, 2)), 1, rtol=1e-5)
    np.testing.assert_allclose(small[0, 0, 0], maps[0, :2, :3].sum() / maps[0].sum(), rtol=1e-5)
