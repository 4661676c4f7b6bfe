"""How far a map can be believed: the verdict that an explanation carries, in words for the page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from underhood.checks import LEVELS, CheckCard
from underhood.methods.explanation import Explanation
from underhood.reports import words

KINDS = {"corroborated": "firm", "contested": "mixed", "not to be trusted": "doubted"}
ANSWERS = {True: "yes", False: "no", None: "open"}
HEADINGS = {False: "Against it", True: "For it", None: "Open"}  # in the order in which they are read


@dataclass(frozen=True)
class Figure:
    """One check's reading: its value and, a line each, what belongs to it."""

    name: str
    asks: str
    value: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Trust:
    """kind: "firm", "mixed" or "doubted", for shape and colour; parts: what speaks against the map, for it,
    and what is open; questions: each with its answer."""

    word: str
    kind: str
    score: str
    share: float
    level: str
    parts: tuple[tuple[str, str], ...]
    questions: tuple[tuple[str, str], ...]
    figures: tuple[Figure, ...]


def trust(item: Explanation) -> Trust | None:
    """What the page says of the verdict; None where none was made."""
    verdict = item.verdict
    if verdict is None:
        return None
    reasons = verdict["reasons"]
    parts = {
        heading: " ".join(r["sentence"] for r in reasons if r["answer"] is answer and r["matters"])
        for answer, heading in HEADINGS.items()
    }
    return Trust(
        word=verdict["verdict"],
        kind=KINDS[verdict["verdict"]],
        score=score(verdict),
        share=100 * verdict["score"],
        level=verdict["level"],
        parts=tuple((heading, text) for heading, text in parts.items() if text),
        questions=tuple((r["asks"], ANSWERS[r["answer"]]) for r in reasons),
        figures=tuple(_figure(key, reading) for key, reading in verdict["readings"].items()),
    )


def score(verdict: Mapping[str, Any]) -> str:
    return f"{verdict['score']:.2f}"


def _figure(key: str, reading: Mapping[str, Any]) -> Figure:
    card = _cards().get(key)
    if reading["undefined"] is not None:
        value = "undefined"
    else:
        value = words.number(reading["value"]) + _error(reading["error"])
    return Figure(
        name=card.name if card else words.spaced(key),
        asks=card.asks if card else "",
        value=value,
        lines=tuple(_lines(reading, card)),
    )


def _error(error: float | None) -> str:
    return f" ± {words.number(error, 2)}" if error else ""


def _lines(reading: Mapping[str, Any], card: CheckCard | None) -> Iterator[str]:
    if reading["sentence"]:
        yield reading["sentence"]
    controls = {name: value for name, value in reading["controls"].items() if value is not None}
    if controls:
        yield "Controls: " + ", ".join(f"{words.spaced(k)} {words.number(v)}" for k, v in controls.items())
    bounds = reading["details"].get("interval")
    known = isinstance(bounds, list) and len(bounds) == 2 and None not in bounds
    facts = [
        f"{card.better} is better" if card and card.better else "",
        f"interval {words.number(bounds[0])} to {words.number(bounds[1])}" if known else "",
        f"p = {words.number(reading['p'], 2)}" if reading["p"] is not None else "",
        f"skill {words.number(reading['skill'], 2)}" if reading["skill"] is not None else "",
        f"{reading['calls']:.0f} passes" if reading["calls"] else "",
    ]
    told = ", ".join(fact for fact in facts if fact)
    if told:
        yield told[:1].upper() + told[1:]


@cache
def _cards() -> dict[str, CheckCard]:
    """The cards of all levels' checks."""
    return {step.check.key: step.check.card for suite in LEVELS.values() for step in suite.steps}
