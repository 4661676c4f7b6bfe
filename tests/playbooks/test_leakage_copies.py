"""Planted copies are found, whatever was done to them, and alike pictures that are none are not."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.playbooks.fake_survey import fake_survey
from tests.support.counted_shares import assert_counted
from underhood.demo.dermoscopy import draw_many
from underhood.demo.models import load
from underhood.inputs.dataset import Dataset
from underhood.playbooks.finding import Finding
from underhood.playbooks.leakage import Leakage
from underhood.playbooks.leakage.copies import copies_findings
from underhood.playbooks.leakage.duplicates import find_duplicates
from underhood.playbooks.leakage.known_ones import known_findings
from underhood.playbooks.leakage.neighbours import nearest
from underhood.playbooks.leakage.thumbnails import likeness, thumbnail
from underhood.playbooks.survey import Survey, surveyed

Picture = NDArray[np.uint8]


def shifted(picture: Picture) -> Picture:
    """By 5 and 3 of 128 pixels; edges repeated."""
    return np.pad(picture, ((5, 0), (3, 0), (0, 0)), mode="edge")[: len(picture), : picture.shape[1]]


def brighter(picture: Picture) -> Picture:
    return np.clip(picture * 0.9 + 35, 0, 255).astype(np.uint8)


def jpeg(picture: Picture) -> Picture:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=30)
    return np.asarray(Image.open(file))


def mirrored(picture: Picture) -> Picture:
    return np.ascontiguousarray(picture[:, ::-1])


CHANGES = {"same": np.copy, "shifted": shifted, "brighter": brighter, "jpeg": jpeg, "mirrored": mirrored}


@pytest.fixture(scope="module")
def lesions() -> Survey:
    """40 different lesions for training; for testing ten others, and one copy of each kind of change."""
    drawn = list(draw_many(50, seed=3))
    pictures = [sample.image for sample in drawn] + [
        change(drawn[2 * number].image) for number, change in enumerate(CHANGES.values())
    ]
    malignant = [sample.malignant for sample in drawn] + [drawn[2 * i].malignant for i in range(len(CHANGES))]
    data = Dataset.of(
        pictures,
        ["malignant" if m else "benign" for m in malignant],
        splits=["train"] * 40 + ["test"] * (10 + len(CHANGES)),
    )
    return surveyed(load("honest"), data)


def test_copies_are_found_whatever_was_done_to_them_and_nothing_else(lesions: Survey) -> None:
    found = find_duplicates(lesions)
    assert found.pairs.tolist() == [[2 * number, 50 + number] for number in range(len(CHANGES))]
    assert found.exact.tolist() == [True, False, False, False, False]
    assert found.by_chance == 0


def test_copies_across_splits_are_a_finding_with_their_pairs(lesions: Survey) -> None:
    (finding,) = copies_findings(lesions, find_duplicates(lesions))
    assert finding.key == "copies-across-splits"
    assert finding.claim.startswith("5 of 15 pictures of the split 'test' (33 %) are in another split too")
    assert "1 pair the very same, 4 pairs nearly so" in finding.claim
    assert finding.rows[:2] == (0, 50)
    assert_counted(finding.effects[0])
    assert finding.details["pairs"][0] == {"one": "picture 0", "other": "picture 50", "likeness": "the same"}
    assert finding.severity == "high"


def planted(labels: Any, splits: list[str] | None) -> list[Finding]:
    """Noise pictures of which the last is the first again."""
    random = np.random.default_rng(0)
    pictures = [torch.from_numpy(random.random((3, 24, 24)).astype(np.float32)) for _ in range(30)]
    pictures.append(pictures[0].clone())
    features = np.stack([p.numpy().reshape(-1)[:40] for p in pictures])
    survey = fake_survey(labels, labels, np.full(31, 0.9), sources=pictures, splits=splits, features=features)
    return copies_findings(survey, find_duplicates(survey))


def test_a_copy_under_another_label_is_a_finding_without_any_split() -> None:
    (finding,) = planted(np.array([0, 1] * 15 + [1]), None)
    assert finding.key == "copies-with-two-labels"
    assert finding.rows == (0, 30)
    assert finding.effects[0].value == pytest.approx(2 / 31)
    assert_counted(finding.effects[0])


def test_a_copy_within_a_split_and_a_label_does_no_harm() -> None:
    assert planted(np.array([0, 1] * 15 + [0]), ["train"] * 31) == []


def of_patients(patients: list[str], column: str = "patient_id") -> Survey:
    """Half of the rows for training, half for testing."""
    count = len(patients)
    label = np.arange(count) % 2
    splits = ["train"] * (count // 2) + ["test"] * (count // 2)
    metadata = [{column: patient, "lesion_type": "nevus"} for patient in patients]
    return fake_survey(label, label, np.full(count, 0.9), splits=splits, metadata=metadata)


def test_patients_in_two_splits_are_a_finding() -> None:
    train, test = [f"p{i // 2}" for i in range(40)], [f"q{i // 2}" for i in range(37)] + ["p3", "p3", ""]
    (finding,) = known_findings(of_patients(train + test), None)
    assert finding.key == "known-patient_id"
    assert finding.claim.startswith(
        "2 of 40 pictures of the split 'test' (5 %) have a 'patient_id' that is in"
    )
    assert finding.rows == (77, 78)
    assert_counted(finding.effects[0])
    assert finding.severity == "high"


def test_patients_in_one_split_each_are_none_and_other_columns_are_not_meant() -> None:
    apart = [f"p{i // 2}" for i in range(80)]
    assert known_findings(of_patients(apart), None) == []
    both = [f"p{i % 40}" for i in range(80)]
    assert known_findings(of_patients(both, "camera"), None) == []
    assert len(known_findings(of_patients(both, "camera"), "camera")) == 1
    assert known_findings(of_patients(["p1"] * 80), None) == []  # one value for all tells none apart


def test_pictures_of_one_colour_are_no_copies_unless_the_same() -> None:
    flat = [torch.full((3, 24, 24), level) for level in (0.1, 0.5, 0.9)]
    small = np.concatenate([thumbnail(x[None], 24) for x in flat])
    assert not small.any()
    assert likeness(small[:2], small[1:]).max() == 0


def test_likeness_is_one_for_itself_and_its_mirror_image_and_nothing_for_noise() -> None:
    x = torch.rand(40, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    small = thumbnail(x, 48)
    assert likeness(small, small) == pytest.approx(1, abs=1e-3)
    assert likeness(small, small[:, :, ::-1].copy()) == pytest.approx(1, abs=1e-3)
    assert likeness(small[:20], small[20:]).max() < 0.5


def test_neighbours_are_those_of_brute_force() -> None:
    random = np.random.default_rng(0)
    features = random.normal(3, 1, (300, 20)).astype(np.float32)
    standard = (features - features.mean(0)) / features.std(0)
    standard /= np.linalg.norm(standard, axis=1, keepdims=True)
    cosine = standard @ standard.T - 2 * np.eye(300)
    expected = np.argsort(-cosine, axis=1)[:, :4]
    assert np.mean(nearest(features, 4) == expected) > 0.995


def test_a_projection_keeps_what_is_near() -> None:
    random = np.random.default_rng(0)
    features = random.normal(0, 1, (200, 600)).astype(np.float32)
    features[100:] = features[:100] + random.normal(0, 0.1, (100, 600))
    assert np.array_equal(nearest(features, 1)[:, 0], (np.arange(200) + 100) % 200)


def test_copies_of_copies_are_one_cluster() -> None:
    random = np.random.default_rng(0)
    pictures = [torch.from_numpy(random.random((3, 24, 24)).astype(np.float32)) for _ in range(12)]
    pictures += [pictures[3].clone(), pictures[3].clone(), pictures[5].clone()]
    features = np.stack([p.numpy().reshape(-1)[:40] for p in pictures])
    label = np.zeros(15, int)
    survey = fake_survey(label, label, np.full(15, 0.9), sources=pictures, features=features)
    expected = [*range(12), 3, 3, 5]
    assert find_duplicates(survey).clusters(15).tolist() == expected


def test_equal_features_do_not_hide_a_copy() -> None:
    """Twenty rows with the same features: which of them are neighbours is arbitrary, and none is its own."""
    near = nearest(np.ones((20, 3), np.float32), 5)
    assert near.shape == (20, 5)
    assert not (near == np.arange(20)[:, None]).any()


def test_leakage_finds_them_too(lesions: Survey) -> None:
    outcome = Leakage(count=20, draws=19)(lesions)
    assert "copies-across-splits" in {finding.key for finding in outcome.findings}
    assert outcome.details["same"] == 1
    assert outcome.details["nearly_same"] == 4
