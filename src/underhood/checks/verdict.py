"""The verdict: is an explanation corroborated, contested, or not to be trusted, and why?

Seven questions are asked of it; the checks of each answer yes, no, or leave it open (None):

    controls      does hiding what it points to lower the score, more than hiding other places?
    certainty     is there a decision to explain?
    model         does it depend on what the model has learned?
    class         does it depend on the class that is asked about?
    stability     does it stay where nothing that matters changes?
    completeness  does it add up to what it promises?
    support       does a method of another family say the same?

A "no" to one of the first three is decisive: the map is *not to be trusted*, whatever else speaks for it. It
is *corroborated* where the first three are answered yes, the score is at least `CORROBORATED`, and at most
one other question is answered no. Otherwise it is *contested*.

The score is a probability that the map lies mostly on what causes the decision:

    score = σ((share · decided - MIDDLE) / WIDTH) · Π of DOUBT over the questions answered no,

where `share` is the confirmed share (0 where it is undefined) and `decided` how far the model is decided,
from 0 to 1. `docs/checks/verdict.md` tells how the constants were set, on planted causes, and how right they
are on others.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any, Literal, overload

from underhood.checks.card import Question
from underhood.checks.reading import Reading
from underhood.errors import UnknownName
from underhood.methods import Card, Explanation

Word = Literal["corroborated", "contested", "not to be trusted"]

QUESTIONS: dict[Question, str] = {
    "controls": "Does hiding what the map points to lower the score, more than hiding other places?",
    "certainty": "Is there a decision to explain?",
    "model": "Does the map depend on what the model has learned?",
    "class": "Does it depend on the class that is asked about?",
    "stability": "Does it stay where nothing that matters changes?",
    "completeness": "Does it add up to what it promises?",
    "support": "Does a method of another family say the same?",
}
DECISIVE: tuple[Question, ...] = ("controls", "certainty", "model")

MIDDLE, WIDTH = 0.25, 0.06  # set on the half of the planted causes that is for setting
CORROBORATED = 0.5
DOUBT: dict[Question, float] = {
    "controls": 0.2,
    "certainty": 0.2,
    "model": 0.1,
    "class": 0.7,
    "stability": 0.7,
    "completeness": 0.8,
    "support": 0.7,
}


@dataclass(frozen=True)
class Reason:
    """The answer to one question. answer: yes, no, or None where it is open or was not asked.

    checks: the keys of the readings behind it.
    """

    question: Question
    answer: bool | None
    sentence: str
    checks: tuple[str, ...] = ()

    @property
    def matters(self) -> bool:
        """Whether the answer bears on the verdict: an open question does only where it is decisive."""
        return self.answer is not None or self.question in DECISIVE

    @property
    def told(self) -> str:
        """The sentence, after the question where that is open."""
        asked = QUESTIONS[self.question] if self.answer is None else ""
        return f"{asked} {self.sentence}".strip()


@dataclass(frozen=True)
class Verdict:
    """What the checks say together of one explanation. score: 0 to 1, see the module's text."""

    method: str
    subject: str
    target: str
    word: Word
    score: float
    reasons: tuple[Reason, ...]
    readings: Mapping[str, Reading]
    level: str = ""

    @property
    def paragraph(self) -> str:
        """The verdict in plain words: what speaks for the map, what against it, what was not asked."""
        parts = [f"This map is {self.word}."]
        for answer, opening in ((False, "Against it: "), (True, "For it: "), (None, "Open: ")):
            told = [r.told for r in self.reasons if r.answer is answer and r.told and r.matters]
            if told:
                parts.append(opening + " ".join(told))
        return " ".join(parts)

    @property
    def because(self) -> str:
        """The sentence that decides: of what is corroborated the evidence for it; else the first answer that
        is no, or where none is, the first decisive question that is open."""
        doubts = [r for r in self.reasons if r.answer is False]
        doubts += [r for r in self.reasons if r.answer is None and r.matters]
        told = [r.told for r in doubts] if self.word != "corroborated" else []
        return told[0] if told else next(r.told for r in self.reasons if r.question == "controls")

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "verdict": self.word,
            "score": self.score,
            "because": self.because,
            "level": self.level,
            "paragraph": self.paragraph,
            "reasons": [
                {
                    "question": reason.question,
                    "asks": QUESTIONS[reason.question],
                    "answer": reason.answer,
                    "sentence": reason.told,
                    "matters": reason.matters,
                    "checks": list(reason.checks),
                }
                for reason in self.reasons
            ],
            "readings": {key: reading.as_dict() for key, reading in self.readings.items()},
        }


def judged(
    explanation: Explanation,
    readings: Mapping[str, Reading],
    questions: Mapping[str, Question],
    level: str = "",
) -> Verdict:
    """The verdict of these readings. questions: which one each check helps to answer."""
    known = _known(explanation.card)
    reasons = tuple(_answer(question, readings, questions, known) for question in QUESTIONS)
    score = _score(readings, reasons)
    return Verdict(
        method=explanation.method,
        subject=explanation.subject.name,
        target=explanation.target,
        word=_word(score, reasons),
        score=score,
        reasons=reasons,
        readings=readings,
        level=level,
    )


def _known(card: Card) -> dict[Question, Reason]:
    """What a method's card tells of all its maps, which no check has to find out again."""
    if card.randomisation:
        return {}
    told = f"Maps of {card.name} are known to change little when the model's weights are made random."
    return {"model": Reason("model", False, told)}


def _answer(
    question: Question,
    readings: Mapping[str, Reading],
    questions: Mapping[str, Question],
    known: Mapping[Question, Reason],
) -> Reason:
    """What is known from elsewhere; else no where any check says no, yes where one says yes and none no."""
    if question in known:
        return known[question]
    asked = {key: r for key, r in readings.items() if questions[key] == question}
    answers = [r.passed for r in asked.values() if r.passed is not None]
    answer = all(answers) if answers else None
    telling = {key: r for key, r in asked.items() if r.passed is answer} if answers else asked
    return Reason(question, answer, " ".join(r.sentence for r in telling.values()), tuple(asked))


def _score(readings: Mapping[str, Reading], reasons: Sequence[Reason]) -> float:
    share, decided = readings.get("confirmed_share"), readings.get("decision")
    evidence = (share.value or 0.0) if share else 0.0
    if decided is not None and decided.value is not None:
        evidence *= decided.value
    score = 1 / (1 + exp(-(evidence - MIDDLE) / WIDTH))
    for reason in reasons:
        if reason.answer is False:
            score *= DOUBT[reason.question]
    return score


def _word(score: float, reasons: Sequence[Reason]) -> Word:
    answers = {reason.question: reason.answer for reason in reasons}
    if any(answers[question] is False for question in DECISIVE):
        return "not to be trusted"
    others = [answer for question, answer in answers.items() if question not in DECISIVE]
    firm = all(answers[question] is True for question in DECISIVE)
    if firm and score >= CORROBORATED and others.count(False) <= 1:
        return "corroborated"
    return "contested"


class Verdicts(Sequence[Verdict]):
    """Verdicts on several explanations. `verdicts["gradcam"]` selects a method, `verdicts[0]` the first one;
    a selection that leaves a single one gives that `Verdict` itself."""

    def __init__(self, items: Iterable[Verdict]):
        self._items = tuple(items)

    @overload
    def __getitem__(self, key: int) -> Verdict: ...
    @overload
    def __getitem__(self, key: slice) -> "Verdicts": ...
    @overload
    def __getitem__(self, key: str) -> "Verdict | Verdicts": ...
    def __getitem__(self, key: int | slice | str) -> "Verdict | Verdicts":
        if isinstance(key, int):
            return self._items[key]
        if isinstance(key, slice):
            return Verdicts(self._items[key])
        chosen = [item for item in self._items if item.method == key]
        if not chosen:
            raise UnknownName("method among these verdicts", key, dict.fromkeys(v.method for v in self))
        return chosen[0] if len(chosen) == 1 else Verdicts(chosen)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return self.table()

    def table(self) -> str:
        """A line for each explanation: input, method, verdict, score, and the answer to each question."""
        words = {True: "yes", False: "no", None: "open"}
        head = ("input", "method", "verdict", "score", *QUESTIONS)
        rows = [
            (v.subject, v.method, v.word, f"{v.score:.2f}", *(words[r.answer] for r in v.reasons))
            for v in self
        ]
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        lines = (
            "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
        )
        return "\n".join(lines)
