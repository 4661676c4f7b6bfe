"""The rules that join readings to a verdict, on readings that were made up."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import underhood as uh
from underhood.checks import Reading, Verdict
from underhood.checks.card import Question
from underhood.checks.reading import undefined
from underhood.checks.verdict import DECISIVE, DOUBT, HIGH, LOW, NEEDED, QUESTIONS, UNCHANGED, judged
from underhood.methods import Explanation, Given

ASKED: dict[str, Question] = {
    "confirmed_share": "controls",
    "top_share": "controls",
    "decision": "certainty",
    "randomisation": "model",
    "class_sensitivity": "class",
    "rank_stability": "stability",
    "completeness": "completeness",
    "agreement": "support",
    "gini": "description",
}
VALUES = {"confirmed_share": 0.9, "decision": 0.95, "randomisation": 0.1}
RANK = {"not to be trusted": 0, "contested": 1, "corroborated": 2}
ANSWERS = st.sampled_from([False, None, True])
STRONG = dict.fromkeys(ASKED, True)


def _explained() -> Explanation:
    model = uh.Model(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    return uh.explain(model, torch.ones(1, 1, 2, 2), 0, methods=Given(torch.ones(1, 2, 2)))[0]


EXPLANATION = _explained()


@pytest.fixture
def explanation() -> Explanation:
    return EXPLANATION


def verdict_of(
    explanation: Explanation, answers: dict[str, bool | None], values: dict[str, float] | None = None
) -> Verdict:
    """Of readings with these answers; what is not among them was not asked."""
    known = VALUES | (values or {})
    readings = {
        key: Reading(value, skill=value, passed=answer, sentence=f"About {key} it says {answer is True}.")
        for key, answer in answers.items()
        for value in [known.get(key, 0.5)]
    }
    return judged(explanation, readings, ASKED, "standard")


def test_a_map_for_which_everything_speaks_is_corroborated(explanation: Explanation) -> None:
    verdict = verdict_of(explanation, STRONG)
    assert verdict.word == "corroborated"
    assert verdict.score > 0.99
    assert {r.question for r in verdict.reasons} == set(QUESTIONS)
    assert verdict.paragraph.startswith(
        "This map is corroborated. For it: About confirmed_share it says True."
    )
    assert verdict.because.startswith("About confirmed_share")


@pytest.mark.parametrize("question", [q for q, doubt in DOUBT.items() if doubt <= DECISIVE])
def test_one_decisive_no_is_enough(explanation: Explanation, question: Question) -> None:
    answers = STRONG | {key: False for key, of in ASKED.items() if of == question}
    verdict = verdict_of(explanation, answers)
    assert verdict.word == "not to be trusted"
    assert "Against it: " in verdict.paragraph
    assert verdict.because in verdict.paragraph


@pytest.mark.parametrize("question", NEEDED)
def test_without_an_answer_that_is_needed_nothing_is_corroborated(
    explanation: Explanation, question: Question
) -> None:
    answers = STRONG | {key: None for key, of in ASKED.items() if of == question}
    verdict = verdict_of(explanation, answers)
    assert verdict.word == "contested"
    assert QUESTIONS[question] in verdict.paragraph


def test_one_doubt_is_forgiven_and_two_are_not(explanation: Explanation) -> None:
    one = verdict_of(explanation, STRONG | {"agreement": False})
    two = verdict_of(explanation, STRONG | {"agreement": False, "completeness": False})
    assert one.word == "corroborated"
    assert two.word == "contested"
    assert two.score < one.score < 1


def test_checks_that_disagree_leave_a_question_open(explanation: Explanation) -> None:
    verdict = verdict_of(explanation, STRONG | {"top_share": False})
    (controls,) = (r for r in verdict.reasons if r.question == "controls")
    assert controls.answer is None
    assert controls.doubt == 1.0
    assert verdict.word == "contested"
    assert "top_share" in controls.sentence
    assert "confirmed_share" in controls.sentence


def test_little_of_the_effect_confirmed_is_not_to_be_trusted(explanation: Explanation) -> None:
    verdict = verdict_of(explanation, STRONG, {"confirmed_share": 0.05})
    assert verdict.score < LOW
    assert verdict.word == "not to be trusted"


def test_maps_known_to_stay_with_random_weights_are_not_to_be_trusted(explanation: Explanation) -> None:
    """Without asking anew, and whatever the check says; so are those that are seen to stay."""
    known = replace(explanation, card=replace(explanation.card, randomisation=False))
    assert verdict_of(known, STRONG).word == "not to be trusted"
    assert "are known to change little" in verdict_of(known, STRONG).paragraph
    stays = verdict_of(explanation, STRONG | {"randomisation": False}, {"randomisation": UNCHANGED + 0.05})
    assert stays.word == "not to be trusted"


def test_the_more_the_model_is_decided_either_way_the_more_a_map_can_show(explanation: Explanation) -> None:
    def score(decided: float) -> float:
        read = {"decision": decided, "confirmed_share": 0.5}
        return verdict_of(explanation, STRONG | {"decision": None}, read).score

    assert score(0.0) < 0.03
    assert score(0.0) < score(0.2) < score(0.4) < score(0.6) == score(0.9)
    assert score(-0.4) == score(0.4)


def test_undefined_readings_count_for_nothing(explanation: Explanation) -> None:
    readings = {key: undefined("it was not asked") for key in ASKED}
    verdict = judged(explanation, readings, ASKED)
    assert verdict.word == "not to be trusted"
    assert verdict.score < 0.03
    assert all(r.answer is None for r in verdict.reasons)
    assert "Undefined, because it was not asked." in verdict.paragraph
    assert verdict.paragraph.count("it was not asked") == sum(r.matters for r in verdict.reasons)


def test_no_readings_at_all_are_no_evidence(explanation: Explanation) -> None:
    verdict = judged(explanation, {}, {})
    assert verdict.word == "not to be trusted"
    json.dumps(verdict.as_dict(), allow_nan=False)


@settings(max_examples=150)
@given(
    answers=st.fixed_dictionaries(dict.fromkeys(ASKED, ANSWERS)),
    share=st.floats(0, 1),
    more=st.floats(0, 1),
    decided=st.floats(-1, 1),
    better=st.sampled_from(list(ASKED)),
)
def test_more_evidence_never_lowers_score_or_verdict(
    answers: dict[str, bool | None], share: float, more: float, decided: float, better: str
) -> None:
    one = EXPLANATION
    values = {"confirmed_share": share, "decision": decided}
    plain = verdict_of(one, answers, values)
    assert 0 <= plain.score <= 1
    assert json.loads(json.dumps(plain.as_dict(), allow_nan=False))["score"] == plain.score
    for word in ("None", "nan", "  "):
        assert word not in plain.paragraph
    stronger = verdict_of(one, answers, values | {"confirmed_share": max(share, more)})
    surer = verdict_of(one, answers, values | {"decision": 1.0})
    backed = verdict_of(one, answers | {better: True}, values)
    for other in (stronger, surer, backed):
        assert other.score >= plain.score
        assert RANK[other.word] >= RANK[plain.word]
    if plain.word == "corroborated":
        assert plain.score >= HIGH
        assert all(r.answer for r in plain.reasons if r.question in NEEDED)


JARGON = ("spearman", "softmax", "logit", "bootstrap", "torus", "morf", "lerf", "aopc", "ssim", "ridge",
          "hyperparameter", "nan", "none", "inf ", "tensor", "monte")  # fmt: skip


@pytest.mark.parametrize("level", ["quick", "standard"])
def test_the_paragraph_of_a_real_map_is_in_plain_words(level: Any) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    found = uh.explain(net, torch.rand(1, 3, 8, 8), methods=["gradcam", "occlusion", "guided_backprop"])
    for verdict in uh.check(found, level):
        words = verdict.paragraph.lower()
        assert not [word for word in JARGON if word in words]
        assert verdict.paragraph.endswith(".")
        assert verdict.because in verdict.paragraph
