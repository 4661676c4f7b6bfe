"""A network that goes by what is around the subject, another in every picture, and one that does not."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.channels import SIDE, blob, model
from underhood.inputs.dataset import Dataset
from underhood.playbooks.finding import Outcome
from underhood.playbooks.shortcuts import Shortcuts
from underhood.playbooks.survey import surveyed

CLASSES = ("wolf", "husky")
SUBJECT = slice(8, 17)


def scenes() -> tuple[Tensor, list[str]]:
    """Snow (unit 0) or grass (unit 1) in patches anywhere around a subject (units 2 and 3)."""
    pictures = torch.zeros(96, 4, SIDE, SIDE)
    random = np.random.default_rng(0)
    for row in range(96):
        kind = row % 2
        pictures[row, kind] = torch.from_numpy(random.random((SIDE, SIDE)) < 0.3).float()
        pictures[row, :, SUBJECT, SUBJECT] = 0
    for kind in range(2):
        blob(pictures, range(kind, 96, 2), 2 + kind, 9, 9)
    return pictures, [CLASSES[row % 2] for row in range(96)]


def audited(head: list[list[float]], *, masks: bool) -> Outcome:
    pictures, labels = scenes()
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[SUBJECT, SUBJECT] = True
    dataset = Dataset.of(pictures, labels, masks=[mask] * 96 if masks else None)
    return Shortcuts()(surveyed(model(head, CLASSES), dataset))


@pytest.mark.parametrize("masks", [True, False])
def test_a_model_of_the_background_is_found(masks: bool) -> None:
    found = audited([[40.0, -40, 1, -1], [-40.0, 40, -1, 1]], masks=masks).findings
    assert {finding.details["kind"] for finding in found} == {"background"}
    assert "the background all around the subject" in found[0].claim
    assert found[0].masks is not None
    behind = np.ones((SIDE, SIDE), dtype=bool)
    behind[SUBJECT, SUBJECT] = False
    overlap = (found[0].masks[0] & behind).sum() / (found[0].masks[0] | behind).sum()
    assert overlap == 1 if masks else overlap > 0.5
    assert found[0].effects[1].value > 0.8


def test_a_model_of_the_subject_is_let_be() -> None:
    outcome = audited([[1.0, -1, 400, -400], [-1.0, 1, -400, 400]], masks=False)
    assert outcome.findings == ()
