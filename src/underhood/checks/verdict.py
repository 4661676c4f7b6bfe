"""The verdict: is an explanation corroborated, contested, or not to be trusted, and why?

Seven questions are asked of it. The checks of each answer yes or no; where they answer nothing, or some yes
and some no, the question stays open (None):

    controls      does hiding what it points to lower the score, more than hiding other places?
    certainty     is there a decision to explain?
    model         does it depend on what the model has learned?
    class         does it depend on the class that is asked about?
    stability     does it stay where nothing that matters changes?
    completeness  does it add up to what it promises?
    support       does a method of another family say the same?

The score is meant as the probability that the map lies mostly on what causes the decision:

    score = σ((skill · decided - MIDDLE) / WIDTH) · Π doubt,

where `skill` is how far the confirmed share is above that of moved copies of the map, 0 to 1 (0 where it is
undefined), `decided` how far the model is decided, 0 to 1, whichever class leads, and each question answered
no has its factor in `DOUBT`. With `DECISIVE` or less a "no" alone is enough: the map is *not to be trusted*,
as it is where the score falls below `LOW`. It is *corroborated* where the score is at least `HIGH`, hiding
and randomisation speak for it, and at most one question is answered no. Otherwise it is *contested*.
`docs/checks/verdict.md` tells how the constants were set, on planted causes, and how right they are on
others.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, prod
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
DECISIVE = 0.2  # doubt from which on a "no" alone is enough
NEEDED: tuple[Question, ...] = ("controls", "model")  # without these a map is not corroborated
HIGH, LOW = 0.5, 0.2
DECIDED = 0.6  # margin from which on a model counts as decided: 80 % against 20 %
MIDDLE, WIDTH = 0.22, 0.06  # fitted to the half of the planted causes that is for setting
DOUBT: dict[Question, float] = {
    "controls": 0.2,
    "certainty": 0.2,
    "model": 0.8,
    "class": 0.7,
    "stability": 0.7,
    "completeness": 0.9,
    "support": 0.9,
}
TOO_LITTLE = "What speaks for it is too little to rely on."
UNCHANGED, OF_UNCHANGED = 0.9, 0.1  # likeness to random weights' map that counts as the same; its doubt


@dataclass(frozen=True)
class Reason:
    """The answer to one question. answer: yes, no, or None where it is open or was not asked.

    checks: the keys of the readings behind it; doubt: what the score is multiplied by.
    """

    question: Question
    answer: bool | None
    sentence: str
    checks: tuple[str, ...] = ()
    doubt: float = 1.0

    @property
    def matters(self) -> bool:
        """Whether the answer bears on the verdict: an open question does where its answer is needed, and that
        there may be no decision always does."""
        return self.answer is not None or self.question in (*NEEDED, "certainty")

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
        parts = [f"This map is {self.word}.", *([TOO_LITTLE] if self._says_too_little else [])]
        for answer, opening in ((False, "Against it: "), (True, "For it: "), (None, "Open: ")):
            told = [r.told for r in self.reasons if r.answer is answer and r.told and r.matters]
            if told:
                parts.append(opening + " ".join(told))
        return " ".join(parts)

    @property
    def because(self) -> str:
        """The sentence that decides."""
        told = self._deciding().told
        return f"{TOO_LITTLE} {told}" if self._says_too_little else told

    @property
    def _says_too_little(self) -> bool:
        return self.word == "not to be trusted" and self._deciding().answer is True

    def _deciding(self) -> Reason:
        """Of what is corroborated, the evidence. Else the gravest doubt; where none is grave enough, what
        keeps the score low, or an open question whose answer is needed."""
        asked = {reason.question: reason for reason in self.reasons}
        gravest = min(self.reasons, key=lambda reason: reason.doubt)
        if self.word == "corroborated":
            return asked["controls"]
        if gravest.doubt < 1 and (self.word == "contested" or gravest.doubt <= DECISIVE):
            return gravest
        decided = self.readings.get("decision")
        if self.score < LOW and decided and decided.value is not None and abs(decided.value) < LOW:
            return asked["certainty"]
        left_open = [asked[question] for question in NEEDED if asked[question].answer is None]
        return left_open[0] if left_open and self.score >= LOW else asked["controls"]

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
    return {"model": Reason("model", False, told, doubt=OF_UNCHANGED)}


def _answer(
    question: Question,
    readings: Mapping[str, Reading],
    questions: Mapping[str, Question],
    known: Mapping[Question, Reason],
) -> Reason:
    """What is known from elsewhere; else what the checks say that say anything, where they agree."""
    if question in known:
        return known[question]
    asked = {key: r for key, r in readings.items() if questions[key] == question}
    telling = {key: r for key, r in asked.items() if r.passed is not None} or asked
    answers = {r.passed for r in telling.values()}
    answer = answers.pop() if len(answers) == 1 else None
    doubt = _doubt(question, asked) if answer is False else 1.0
    sentences = dict.fromkeys(reading.sentence for reading in telling.values())  # each once
    return Reason(question, answer, " ".join(sentences), tuple(asked), doubt)


def _doubt(question: Question, asked: Mapping[str, Reading]) -> float:
    likeness = asked["randomisation"].value if "randomisation" in asked else None
    return OF_UNCHANGED if likeness is not None and likeness >= UNCHANGED else DOUBT[question]


def _score(readings: Mapping[str, Reading], reasons: Sequence[Reason]) -> float:
    share, decided = readings.get("confirmed_share"), readings.get("decision")
    evidence = max(0.0, share.skill or 0.0) if share else 0.0
    if decided is not None and decided.value is not None:
        evidence *= min(1.0, abs(decided.value) / DECIDED)
    score = 1 / (1 + exp(-(evidence - MIDDLE) / WIDTH))
    return score * prod(reason.doubt for reason in reasons)


def _word(score: float, reasons: Sequence[Reason]) -> Word:
    if score < LOW or any(reason.doubt <= DECISIVE for reason in reasons):
        return "not to be trusted"
    answers = {reason.question: reason.answer for reason in reasons}
    backed = all(answers[question] is True for question in NEEDED)
    if score >= HIGH and backed and list(answers.values()).count(False) <= 1:
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
        return tabled((v.subject, v.method, v.as_dict()) for v in self)


def tabled(verdicts: Iterable[tuple[str, str, Mapping[str, Any]]]) -> str:
    """The table of verdicts as plain data, each with its input and method."""
    words = {True: "yes", False: "no", None: "open"}
    head = ("input", "method", "verdict", "score", *QUESTIONS)
    rows = [
        (subject, method, v["verdict"], f"{v['score']:.2f}", *(words[r["answer"]] for r in v["reasons"]))
        for subject, method, v in verdicts
    ]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = (
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    )
    return "\n".join(lines)
