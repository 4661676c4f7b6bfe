"""Explanations with their verdicts: in their order, none lost, whatever a check does."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import nn

import underhood as uh
from underhood.checks import LEVELS, Reading, suite, with_verdicts
from underhood.checks.reading import undefined
from underhood.checks.suite import Step, Suite
from underhood.checks.verdict import judged
from underhood.errors import BadModel, Cancelled, InvalidArgument
from underhood.methods import Explanation

FAILS = BadModel("the model fails on this.")
METHODS = ["saliency", "input_x_gradient", "gradcam"]


@pytest.fixture(scope="module")
def model() -> uh.Model:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 3))
    return uh.Model(net.eval())


@pytest.fixture(scope="module")
def found(model: uh.Model) -> uh.Explanations:
    pictures = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return uh.explain(model, pictures, [0, 1, 2], methods=METHODS)


@dataclass(frozen=True)
class Breaks(uh.checks.Check):
    """Fails for the input whose number it is given."""

    at: int
    error: Exception = FAILS
    key = "breaks"

    @property
    def card(self) -> uh.checks.CheckCard:
        return uh.checks.Gini().card

    def read(self, batch: uh.checks.Batch) -> list[Reading]:
        if any(e.subject.name == f"input {self.at}" for e in batch.explanations):
            raise self.error
        return [Reading(1.0, passed=True, sentence="It holds.") for _ in batch.explanations]


@pytest.fixture
def level_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    def given(*checks: uh.checks.Check) -> None:
        monkeypatch.setitem(LEVELS, "quick", Suite(tuple(Step(check) for check in checks)))

    return given


def test_explanations_keep_their_order_and_get_the_verdict_that_check_gives(found: uh.Explanations) -> None:
    checked = list(with_verdicts(iter(found), "quick"))
    assert [(e.subject.name, e.method) for e in checked] == [(e.subject.name, e.method) for e in found]
    said = {(v.subject, v.method): v.as_dict() for v in uh.check(found, "quick")}
    for explanation in checked:
        assert explanation.verdict == said[explanation.subject.name, explanation.method]
        record = json.loads(json.dumps(explanation.as_dict(), allow_nan=False))
        assert record["verdict"]["verdict"] in ("corroborated", "contested", "not to be trusted")
        assert record["verdict"]["because"]
    assert found[0].verdict is None
    assert found[0].as_dict()["verdict"] is None


def test_a_check_that_fails_is_undefined_for_that_input_alone(found: uh.Explanations, level_of: Any) -> None:
    level_of(Breaks(1), uh.checks.Gini())
    checked = list(with_verdicts(found, "quick"))
    assert len(checked) == len(found)
    for explanation in checked:
        assert explanation.verdict is not None
        readings = explanation.verdict["readings"]
        failed = explanation.subject.name == "input 1"
        told = "the check failed (the model fails on this)"
        assert readings["breaks"]["undefined"] == (told if failed else None)
        assert readings["gini"]["value"] is not None


def test_an_unforeseen_error_is_named_and_a_cancelled_run_stops(
    found: uh.Explanations, level_of: Any
) -> None:
    level_of(Breaks(1, ZeroDivisionError("division by zero")))
    reading = uh.check(found[3], "quick")[0].readings["breaks"]
    assert reading.undefined == "the check failed (ZeroDivisionError: division by zero)"
    level_of(Breaks(1, Cancelled("Stopped.")))
    with pytest.raises(Cancelled):
        list(with_verdicts(found, "quick"))


def test_no_more_is_explained_ahead_than_is_questioned_together(
    found: uh.Explanations, level_of: Any
) -> None:
    level_of(uh.checks.Gini())
    made = 0

    def endless() -> Iterator[Explanation]:
        nonlocal made
        while True:
            subject = replace(found[0].subject, name=f"input {made}")
            made += 1
            yield replace(found[0], subject=subject)

    checked = with_verdicts(endless(), "quick")
    for number in range(40):
        assert next(checked).subject.name == f"input {number}"
    assert made <= 48 + 2  # one group more is begun, to see that another input begins


def test_progress_goes_up_to_what_was_planned(found: uh.Explanations) -> None:
    seen: list[tuple[int, int]] = []
    list(with_verdicts(found[:3], "quick", lambda done, total: seen.append((done, total))))
    expected = [round(uh.checks.planned(found[i], methods=3, level="quick")) for i in range(3)]
    assert list(dict.fromkeys(total for _, total in seen)) == list(dict.fromkeys(expected))
    assert all(done <= total for done, total in seen)
    assert seen[-1][0] == seen[-1][1]


def test_what_is_not_finite_in_details_becomes_none() -> None:
    reading = Reading(1.0, details={"curve": [1.0, float("nan")], "more": {2: float("inf")}})
    assert reading.as_dict()["details"] == {"curve": [1.0, None], "more": {"2": None}}


def test_an_unknown_level_is_refused(found: uh.Explanations) -> None:
    with pytest.raises(InvalidArgument, match="one of quick, standard, full, not 'thorough'"):
        list(with_verdicts(found, "thorough"))
    assert suite.suite_of("full") is LEVELS["full"]


@pytest.mark.parametrize("outputs", [1, 2])
def test_models_of_one_and_two_outputs_get_a_verdict(outputs: int) -> None:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, outputs))
    found = uh.explain(net.eval(), torch.randn(1, 3, 8, 8), 0, methods=["saliency", "gradcam"])
    checked = list(with_verdicts(found, "quick"))
    assert all(e.verdict and 0 <= e.verdict["score"] <= 1 for e in checked)
    json.dumps([e.as_dict() for e in checked], allow_nan=False)


def reading(value: float, passed: bool | None, sentence: str) -> Reading:
    return Reading(value, skill=value, passed=passed, sentence=sentence)


SURE = reading(0.9, True, "Decided.")
HIT, MISSED = reading(0.6, True, "It hits."), reading(0.1, False, "It misses.")
FREE, BOUND = reading(0.1, True, "It changed."), reading(0.95, False, "It is unchanged.")
OPEN = undefined("it takes long")


@pytest.mark.parametrize(
    ("three", "word", "because"),
    [
        ((HIT, SURE, FREE), "corroborated", "It hits."),
        ((HIT, SURE, BOUND), "not to be trusted", "It is unchanged."),
        ((MISSED, SURE, FREE), "not to be trusted", "It misses."),
        (
            (HIT, SURE, OPEN),
            "contested",
            "Does the map depend on what the model has learned? Undefined, because",
        ),
        ((HIT, reading(0.05, None, "Undecided."), FREE), "not to be trusted", "Is there a decision"),
    ],
)
def test_the_reason_given_is_the_one_that_decides(
    found: uh.Explanations, three: tuple[Reading, ...], word: str, because: str
) -> None:
    asked: dict[str, Any] = {"confirmed_share": "controls", "decision": "certainty", "randomisation": "model"}
    verdict = judged(found[0], dict(zip(asked, three, strict=True)), asked)
    assert verdict.word == word
    assert verdict.because.startswith(because)
    assert because in verdict.paragraph
