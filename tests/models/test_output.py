"""Scores are found in whatever a network returns, or refused with a sentence."""

from collections import namedtuple
from typing import Any

import pytest
import torch

from underhood.errors import BadModel
from underhood.models.output import scores_of

SCORES = torch.arange(6.0).reshape(2, 3)
OTHER = torch.ones(2, 9)
Named = namedtuple("Named", ["logits", "aux_logits"])


class Record:
    logits = SCORES


@pytest.mark.parametrize(
    "output",
    [
        SCORES,
        (SCORES, OTHER),
        [SCORES],
        ("text", SCORES),
        Named(SCORES, OTHER),
        {"logits": SCORES, "features": OTHER},
        {"features": OTHER, "out": SCORES},
        {"anything": SCORES},
        {"anything": SCORES, "note": "text"},
        Record(),
        SCORES[:, :, None, None],
    ],
)
def test_scores_are_found(output: Any) -> None:
    assert torch.equal(scores_of(output, len(SCORES)), SCORES)


def test_scores_are_found_in_a_transformers_output() -> None:
    outputs = pytest.importorskip("transformers.modeling_outputs")
    output = outputs.ImageClassifierOutput(loss=torch.tensor(0.0), logits=SCORES, hidden_states=(OTHER,))
    assert torch.equal(scores_of(output, len(SCORES)), SCORES)


def test_one_output_for_each_input_is_a_column() -> None:
    assert scores_of(torch.tensor([1.0, 2.0]), 2).tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (None, "NoneType"),
        ("nonsense", "str"),
        ({}, "with keys"),
        ({"a": SCORES, "b": OTHER}, r"keys \['a', 'b'\]"),  # which of the two is not for us to guess
        (torch.tensor(1.0), "a single number for the whole batch"),
        (SCORES.long(), "not floating-point"),
        (torch.zeros(2, 3, 4, 4), r"\(2, 3, 4, 4\)"),
    ],
)
def test_nonsense_is_refused_by_a_sentence(output: Any, words: str) -> None:
    with pytest.raises(BadModel, match=words):
        scores_of(output, 2)
