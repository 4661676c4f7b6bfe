"""The synthetic pictures are what they say they are."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from underhood.demo.dermoscopy import Dermoscopy, draw, draw_set, render
from underhood.demo.factors import (
    ALWAYS,
    AT_RANDOM,
    NEVER,
    PATTERNS,
    SIDES,
    WITH_BENIGN,
    WITH_MALIGNANT,
)
from underhood.demo.sheet import sheet

SEEDS = range(4)
PRESENT: dict[str, dict[str, Any]] = {
    "ruler": {"ruler": True},
    "patch": {"patch": True},
    "ink": {"ink": True},
    "hair": {"hairs": 8},
}


def test_same_seed_same_bits():
    first, second = draw(5, ruler=True), draw(5, ruler=True)
    assert np.array_equal(first.image, second.image)
    assert first.factors == second.factors
    assert np.array_equal(first.artefacts["ruler"], second.artefacts["ruler"])


def test_another_seed_another_picture():
    assert not np.array_equal(draw(5).image, draw(6).image)


def test_a_set_is_drawn_again_from_its_seed():
    first, second = (draw_set(4, 9, ruler=AT_RANDOM, ink=AT_RANDOM) for _ in range(2))
    assert np.array_equal(first.images, second.images)
    assert first.factors == second.factors


@pytest.mark.parametrize("artefact", PRESENT)
def test_masks_cover_what_was_drawn(artefact: str):
    for seed in SEEDS:
        bare = draw(seed, hairs=0, vignette=0.0)
        dressed = draw(seed, **({"hairs": 0, "vignette": 0.0} | PRESENT[artefact]))
        differs = (bare.image != dressed.image).any(axis=2)
        mask = dressed.artefacts[artefact]
        assert mask.any()
        assert not (differs & ~mask).any()
        assert differs[mask].mean() > 0.9


def test_masks_do_not_overlap():
    sample = draw(3, ruler=True, patch=True, ink=True, hairs=9)
    assert set(sample.artefacts) == set(PRESENT)
    assert sum(mask.astype(int) for mask in sample.artefacts.values()).max() == 1


@pytest.mark.parametrize("side", SIDES)
def test_the_ruler_lies_along_its_side(side: str):
    rows, columns = np.nonzero(draw(1, ruler=True, ruler_side=side).artefacts["ruler"])
    middle = {"left": (64, 10), "right": (64, 118), "top": (10, 64), "bottom": (118, 64)}[side]
    assert np.allclose((rows.mean(), columns.mean()), middle, atol=6)


def test_the_ruler_stays_off_the_lesion():
    pictures = draw_set(16, 4, ruler=ALWAYS)
    shared = (pictures.lesion & pictures.artefacts["ruler"]).sum() / pictures.lesion.sum()
    assert shared < 0.01


def test_lesion_mask_holds_the_dark_pixels():
    for seed in SEEDS:
        sample = draw(seed, malignant=False, hairs=0, vignette=0.0, pigment=0.8)
        grey = sample.image.mean(axis=2)
        assert grey[sample.lesion].mean() < grey[~sample.lesion].mean() - 25


def test_label_does_not_depend_on_artefacts():
    for seed in SEEDS:
        bare = draw(seed)
        assert draw(seed, ruler=True, patch=True, ink=True, hairs=9).malignant == bare.malignant
        assert np.array_equal(draw(seed, ruler=True).lesion, bare.lesion)


def test_label_is_caused_by_each_malignant_factor():
    factors = draw(0, irregularity=0.45, variegation=0.45, asymmetry=0.45).factors
    assert not factors.malignant
    for cause in ("irregularity", "variegation", "asymmetry"):
        assert replace(factors, **{cause: 0.9}).malignant


def test_labels_are_balanced_and_as_asked_for():
    assert draw_set(10, 1).malignant.sum() == 5
    assert draw(8, malignant=True).malignant
    assert not draw(8, malignant=False).malignant


def test_placements_tie_the_ruler_to_the_label():
    for placement, share in ((ALWAYS, 1.0), (NEVER, 0.0)):
        pictures = draw_set(6, 2, ruler=placement)
        assert pictures.artefacts["ruler"].any(axis=(1, 2)).mean() == share
    for placement, agree in ((WITH_MALIGNANT, True), (WITH_BENIGN, False)):
        pictures = draw_set(24, 2, ruler=placement)
        same = pictures.artefacts["ruler"].any(axis=(1, 2)) == pictures.malignant
        assert same.mean() > 0.9 if agree else same.mean() < 0.1


def test_moving_the_rulers_leaves_the_lesions_alone():
    here, there = (draw_set(6, 3, ruler=placement) for placement in (WITH_MALIGNANT, WITH_BENIGN))
    assert np.array_equal(here.lesion, there.lesion)
    assert np.array_equal(here.malignant, there.malignant)


def border_irregularity(sample: Dermoscopy) -> float:
    """Perimeter squared over area, 1 for a disc if lengths are measured on the pixel grid."""
    mask = np.pad(sample.lesion, 1)
    perimeter = sum((mask != np.roll(mask, 1, axis)).sum() for axis in (0, 1))
    return float(perimeter**2 / (16 * mask.sum()))


def colour_spread(sample: Dermoscopy) -> float:
    return float(sample.image[sample.lesion].astype(float).std(axis=0).mean())


def mirror_difference(sample: Dermoscopy) -> float:
    """The share of the lesion that its turn by half a circle about its middle does not cover."""
    rows, columns = np.nonzero(sample.lesion)
    turned_rows = np.rint(2 * rows.mean() - rows).astype(int)
    turned_columns = np.rint(2 * columns.mean() - columns).astype(int)
    return float(1 - sample.lesion[turned_rows, turned_columns].mean())


@pytest.mark.parametrize(
    ("factor", "measure"),
    [
        ("irregularity", border_irregularity),
        ("variegation", colour_spread),
        ("asymmetry", mirror_difference),
    ],
)
def test_factor_raises_what_it_names(factor: str, measure: Any):
    calm = {"irregularity": 0.1, "variegation": 0.1, "asymmetry": 0.1, "hairs": 0, "vignette": 0.0}
    measured = [
        np.mean([measure(draw(seed, **(calm | {factor: level}))) for seed in range(8)])
        for level in (0.0, 0.5, 1.0)
    ]
    assert measured[0] < measured[1] < measured[2]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_pattern_draws_a_lesion(pattern: str):
    sample = draw(2, pattern=pattern, malignant=False)
    assert sample.lesion.mean() > 0.05
    assert sample.factors.diagnosis.endswith(("nevus", "keratosis"))


def test_size_changes_the_resolution_not_the_picture():
    small, large = (render(draw(4).factors, 4, size) for size in (64, 128))
    shrunk = large.image.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small.image).mean() < 6
    assert (large.lesion[::2, ::2] == small.lesion).mean() > 0.98


def test_sheet_shows_a_row_per_factor_and_artefact():
    assert sheet(size=32).size == (5 * 32, 8 * 32)
