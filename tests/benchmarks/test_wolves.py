"""Wolves and huskies: the model that learnt the background is found, the other one is let be."""

import numpy as np
import pytest

from benchmarks.wolves.scenes import CLASSES, SIZE, material, scenes
from tests.support.data import DATA

needs_pictures = pytest.mark.skipif(
    not (DATA / "coco" / "instances.json").is_file() or not (DATA / "concepts").is_dir(),
    reason=f"no objects and textures here: no coco and concepts in {DATA}; set UNDERHOOD_DATA",
)


@needs_pictures
def test_backgrounds_are_swapped_as_often_as_asked_and_masks_lie_on_the_object() -> None:
    of = material(DATA)
    assert all(sum(cutout.kind == kind for cutout in of.objects) >= 15 for kind in range(2))
    shown = scenes(of, 60, (0.5, 0.0), seed=0)
    swapped = shown.kind != shown.background
    assert 5 <= swapped[shown.kind == 0].sum() <= 25
    assert not swapped[shown.kind == 1].any()
    assert shown.images.shape == (60, SIZE, SIZE, 3)
    area = shown.masks.mean((1, 2))
    assert area.min() > 0.01
    assert area.max() < 0.8**2
    for axis in (1, 2):  # the box around each object is near the middle
        there = shown.masks.any(axis)
        first, last = there.argmax(1), SIZE - 1 - there[:, ::-1].argmax(1)
        assert np.abs((first + last) / 2 - SIZE / 2).max() < 0.25 * SIZE
    assert [row.label for row in shown.dataset("x")[:2]] == list(CLASSES)


@needs_pictures
def test_the_same_seed_draws_the_same_scenes() -> None:
    of = material(DATA)
    one, two = (scenes(of, 6, (0.5, 0.5), seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.images, two.images)


def test_textures_of_the_halves_are_disjoint() -> None:
    if not (DATA / "concepts").is_dir():
        pytest.skip(f"no textures in {DATA}; set UNDERHOOD_DATA")
    of = material(DATA)
    trained, audited = ({id(t) for kind in of.half(n).textures for t in kind} for n in (0, 1))
    assert trained
    assert audited
    assert not trained & audited


@pytest.fixture(scope="module")
def cases():
    from benchmarks.wolves.run import audited

    of = material(DATA)
    return {name: audited(name, of) for name in ("background", "object")}


@pytest.mark.slow
@needs_pictures
def test_one_model_learnt_the_background_and_the_other_the_object(cases) -> None:
    assert cases["background"].accuracy["usual"] > 0.8
    assert cases["background"].accuracy["swapped"] < 0.3
    assert cases["object"].accuracy["usual"] > 0.85
    assert cases["object"].accuracy["swapped"] > 0.85


@pytest.mark.slow
@needs_pictures
def test_errors_of_the_background_are_grouped_by_it_and_called_so(cases) -> None:
    from benchmarks.wolves.run import pictures

    shown, outcome = pictures(material(DATA)), cases["background"].outcomes["errors"]
    found = {finding.key: finding for finding in outcome.findings}
    assert found["looks at background"].severity == "high"
    (group,) = (finding for key, finding in found.items() if key.startswith("group"))
    swapped = shown.kind != shown.background
    rows = list(group.rows)
    assert swapped[rows].mean() > 0.7  # of all pictures 20 %
    assert swapped[rows].sum() > 0.7 * swapped.sum()


@pytest.mark.slow
@needs_pictures
def test_the_background_is_a_shortcut_and_its_region_is_outside_the_object(cases) -> None:
    from benchmarks.wolves.run import pictures

    shown, outcome = pictures(material(DATA)), cases["background"].outcomes["shortcuts"]
    first = outcome.findings[0]
    behind = ~shown.masks[list(first.rows[: len(first.masks)])]
    overlap = (first.masks & behind).sum((1, 2)) / (first.masks | behind).sum((1, 2))
    assert overlap.mean() >= 0.3


@pytest.mark.slow
@needs_pictures
@pytest.mark.parametrize("playbook", ["shortcuts", "errors"])
def test_the_model_that_learnt_the_object_is_let_be(cases, playbook: str) -> None:
    assert cases["object"].outcomes[playbook].findings == ()
