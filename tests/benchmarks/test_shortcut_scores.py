"""The shortcut benchmark's own judgement, and SpRAy, on cases whose answer is known."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from benchmarks.shortcuts import told
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
    assert not scored("tint", named, masks((0, 10), (0, 0), (0, 0))[[1, 2]]).right  # of pictures without it


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


def row(name: str, separation: float | None, right: bool | None = None, **given: object) -> dict:
    """A model's line of results; right: of its top finding, None where nothing was found."""
    found = (
        None if separation is None else {"separation": separation, "overlap_mean": 0.1, "overlap_each": 0.4}
    )
    top = {"key": "k", "right": right, "overlap": 0.5, "called": None}
    kinds = {"cheats": (True, "one class"), "clean": (False, "nowhere"), "idle": (False, "one class")}
    known = {
        "half": "set", "mark": "bar", "cheats": kinds[name][0], "placing": kinds[name][1], "seconds": 2.0,
        "base": "mnist", "prevalence": 0.3, "architecture": "cnn", "first_right": None,
        "accuracy": {"on its class": 0.9, "on the others": 0.4},
        "findings": [] if right is None else [top], "spray": {"lrp": found, "gradcam": found},
    }  # fmt: skip
    return known | given


def test_the_peers_threshold_keeps_cheating_and_clean_tuning_models_apart_best() -> None:
    rows = [row("cheats", 0.9), row("cheats", 0.6), row("cheats", 0.2), row("clean", 0.5), row("clean", None)]
    assert told.threshold("lrp", rows) == 0.6  # 2 of 3 against none; at 0.2 it is 3 of 3 against one of two
    report = [row("cheats", 0.7, half="report"), row("cheats", 0.5, half="report")]
    spotted = told.spotted("lrp", rows + report)
    assert [spotted(r) for r in report] == [True, False]
    assert not spotted(row("cheats", 0.9, mark="tint"))  # it has no names for what is all over the picture


def test_shares_are_counted_over_the_models_that_they_are_about() -> None:
    rows = [
        row("cheats", 0.1, right=True), row("cheats", 0.1, right=False), row("cheats", 0.1),
        row("clean", 0.1, right=False), row("clean", 0.1), row("idle", 0.1, right=True),
    ]  # fmt: skip
    text = told.headline(rows, rows)
    line = next(line for line in text.splitlines() if "shortcuts playbook" in line)
    assert [cell.split(":")[0].strip() for cell in line.split("|")[2:-1]] == [
        "1 of 3", "1 of 3", "1 of 2", "1 of 1",
    ]  # fmt: skip
    assert "finds something in 2 of 3" in text
    assert "33% (6% to 79%)" in line  # Wilson, 1 of 3
    missed = told.lists(rows)
    assert "top finding: 2." in missed
    assert "False alarms: 1." in missed
    assert "falls by 0.50" in missed
