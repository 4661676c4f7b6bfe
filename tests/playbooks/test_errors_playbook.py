"""The playbook "errors" on a network whose errors have planted causes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import underhood as uh
from tests.support.channels import SIDE, blob, model
from tests.support.counted_shares import assert_counted
from underhood.errors import InvalidArgument
from underhood.inputs.dataset import Dataset
from underhood.playbooks.errors import Errors
from underhood.playbooks.survey import Survey, surveyed

# Unit 0 speaks for a cat, unit 1 for a dog; unit 2, the cue, for a dog too, and louder.
HEAD = [[10.0, -10.0, -40.0], [-10.0, 10.0, 40.0]]
CUES = np.arange(0, 14)  # cats with the cue
MISTAKEN = np.arange(20, 120, 10)  # cats and dogs whose labels are the other's, anywhere among their kind


def pets(*, cue: bool = True, mistaken: bool = True) -> Dataset:
    pictures = torch.rand(120, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 0.02
    blob(pictures, range(60), 0, 9, 9)  # cats and dogs are in the middle
    blob(pictures, range(60, 120), 1, 9, 9)
    if cue:
        blob(pictures, CUES, 2, 1, 1)  # the cue is at the top left
    labels = ["cat"] * 60 + ["dog"] * 60
    for number in MISTAKEN if mistaken else ():
        labels[number] = "dog" if number < 60 else "cat"
    masks = np.zeros((120, SIDE, SIDE), dtype=bool)
    masks[:, 7:18, 7:18] = True
    splits = ["train" if number % 3 else "test" for number in range(120)]
    return Dataset.of(pictures, labels, masks=list(masks), splits=splits)


def survey(dataset: Dataset) -> Survey:
    return surveyed(model(HEAD, ("cat", "dog")), dataset)


@pytest.fixture(scope="module")
def seen() -> Survey:
    return survey(pets())


@pytest.fixture(scope="module")
def outcome(seen: Survey):
    return Errors(shuffles=39)(seen)


def test_errors_of_one_cue_are_one_group_and_mistaken_labels_are_no_finding(outcome) -> None:
    found = [finding for finding in outcome.findings if finding.key.startswith("group")]
    assert [sorted(finding.rows) for finding in found] == [CUES.tolist()]
    assert "14 errors look alike to the model, cat taken for dog" in found[0].claim
    assert "mostly at the top left" in found[0].claim
    rate = found[0].effects[0]
    assert rate.value > 0.9
    assert rate.control == pytest.approx(len(MISTAKEN) / 106, abs=0.03)
    assert_counted(rate)
    assert outcome.details["errors"] == len(CUES) + len(MISTAKEN)


def test_region_of_the_group_is_the_cue(outcome) -> None:
    found = next(finding for finding in outcome.findings if finding.key.startswith("group"))
    region = found.arrays["region"]
    assert region.shape == (SIDE, SIDE)
    assert region[2:6, 2:6].min() > 0.5
    assert region[10:, 10:].max() == 0
    assert found.masks.shape == (12, SIDE, SIDE)


def test_contrast_is_predicted_against_true_in_closed_form(seen: Survey, outcome) -> None:
    found = next(finding for finding in outcome.findings if finding.key.startswith("group"))
    x = seen.inputs(np.array(found.rows[:12]))
    weights = torch.tensor(HEAD[1]) - torch.tensor(HEAD[0])
    expected = torch.einsum("k,bkhw->bhw", weights, x.relu()) / SIDE**2
    np.testing.assert_allclose(found.arrays["contrast"], expected.numpy(), rtol=1e-4, atol=1e-6)


def on_subject(seen: Survey, rows: Sequence[int]) -> NDArray[np.float64]:
    """The map of the predicted class is Σ w x, as large as the picture."""
    weights = torch.tensor(HEAD)[seen.predicted[list(rows)]]
    maps = torch.einsum("bk,bkhw->bhw", weights, seen.inputs(rows).relu()).relu().numpy()
    return maps[:, 7:18, 7:18].sum((1, 2)) / maps.sum((1, 2))


def test_looking_at_the_background_is_told_from_looking_at_the_subject(seen: Survey, outcome) -> None:
    found = next(finding for finding in outcome.findings if finding.key.startswith("looks"))
    line = outcome.tables["Relevance on the subject"][0]
    assert line["relevance on the subject"] == pytest.approx(on_subject(seen, found.rows).mean(), abs=1e-3)
    cats = [number for number in range(14, 60) if number not in MISTAKEN]
    dogs = [number for number in range(60, 120) if number not in MISTAKEN]
    share = (seen.predicted[list(found.rows)] == 0).mean()
    right = share * on_subject(seen, cats).mean() + (1 - share) * on_subject(seen, dogs).mean()
    assert line["where it is right"] == pytest.approx(right, abs=1e-3)
    off = 1 - on_subject(seen, found.rows).mean()
    assert found.effects[0].value == pytest.approx(off, abs=1e-3)
    assert found.effects[0].value > found.effects[0].control
    assert found.effects[0].low < off < found.effects[0].high
    assert set(found.rows[: len(CUES)]) == set(CUES)  # those that look least at the subject first
    assert found.masks[0, 0, 0]
    assert not found.masks[0, 12, 12]


def test_where_it_looks_at_the_subject_nothing_is_flagged() -> None:
    found = Errors(shuffles=39)(survey(pets(cue=False)))
    assert found.findings == ()
    assert "does not look at the background" in found.summary


def test_every_error_has_a_line_with_its_nearest_training_pictures(seen: Survey, outcome) -> None:
    lines = outcome.tables["Errors"]
    assert [line["row"] for line in lines] == sorted([*CUES, *MISTAKEN])
    mistaken = next(line for line in lines if line["row"] == MISTAKEN[-1])
    assert (mistaken["true"], mistaken["predicted"]) == ("cat", "dog")
    near = mistaken["nearest training pictures"]
    assert near.count("(dog)") + near.count("(cat)") == 5
    assert near.count("(dog)") >= 4
    numbers = [int(part.split()[1]) for part in near.split(", ")]
    assert all(seen.dataset[number].split == "train" for number in numbers)


def test_passes_are_one_forward_and_two_backward_for_each_error(outcome) -> None:
    assert outcome.calls == 5 * (len(CUES) + len(MISTAKEN))


def test_a_sample_is_said_to_be_one(seen: Survey) -> None:
    found = Errors(sample=10, shuffles=19)(seen)
    assert len(found.tables["Errors"]) == 10
    assert found.details["errors"] == 24
    assert any("Of 24 errors 10, drawn by chance" in problem for problem in found.problems)


def test_the_same_seed_gives_the_same_findings(seen: Survey, outcome) -> None:
    again = Errors(shuffles=39)(seen)
    assert [finding.claim for finding in again.findings] == [finding.claim for finding in outcome.findings]
    assert again.tables == outcome.tables


def test_without_labels_it_says_so() -> None:
    dataset = Dataset.of(torch.rand(4, 3, SIDE, SIDE))
    found = Errors()(survey(dataset))
    assert "no picture has a label" in found.summary
    assert found.problems


def test_without_errors_it_says_what_would_have_shown() -> None:
    found = Errors()(survey(pets(cue=False, mistaken=False)))
    assert "gets all 120 labelled pictures right" in found.summary
    assert "3.1 %" in found.summary  # Wilson's upper end of 0 of 120
    assert found.calls == 0


def test_few_errors_are_listed_and_not_grouped() -> None:
    dataset = pets(cue=False, mistaken=False)
    rows = [row if row.number else replace(row, label="dog") for row in dataset]
    found = Errors(shuffles=19)(survey(Dataset(rows)))
    assert found.findings == ()
    assert len(found.tables["Errors"]) == 1
    assert any("1 error cannot be grouped" in problem for problem in found.problems)
    wrong = "The model gets 1 of 120 labelled pictures wrong (0.8 % [0.1 %, 4.6 %])"
    assert found.summary == f"{wrong}, too few to say what they share."


def test_unknown_labels_are_left_out_and_counted() -> None:
    dataset = pets(cue=False)
    labels = ["bird" if row.number < 3 else row.label for row in dataset]
    found = Errors(shuffles=19)(survey(Dataset.of([row.source for row in dataset], labels)))
    assert found.details["labelled"] == 117
    assert any("3 of 120 pictures have no label" in problem for problem in found.problems)
    assert found.tables["Relevance on the subject"] == []


@pytest.mark.parametrize("wrong", [{"sample": 0}, {"shuffles": 1}, {"neighbours": 0}])
def test_useless_parameters_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument, match=f"{next(iter(wrong))} of the playbook errors"):
        Errors(**wrong)


def test_errors_are_a_playbook() -> None:
    assert Errors.key == "errors"
    assert Errors().parameters()["sample"] == 1000


def test_an_audit_kept_in_a_folder_finds_the_same(outcome, tmp_path: Path) -> None:
    kept = uh.audit(
        model(HEAD, ("cat", "dog")),
        pets(),
        [Errors(shuffles=39), "confusions"],
        out=tmp_path / "audit",
        shard=50,
    )
    errors, confusions = kept.outcomes
    assert [finding.key for finding in errors.findings] == [finding.key for finding in outcome.findings]
    for mine, theirs in zip(errors.findings, outcome.findings, strict=True):
        assert sorted(mine.rows) == sorted(theirs.rows)
        np.testing.assert_allclose(mine.arrays["contrast"].sum(), theirs.arrays["contrast"].sum(), rtol=1e-3)
    assert "cat and dog (24 of 120 pictures" in confusions.summary
