"""What the page says of each finding and each check, ready for the templates."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from underhood.playbooks.finding import Finding, Outcome
from underhood.playbooks.registry import PLAYBOOKS, playbook
from underhood.playbooks.shortcuts.words import percent
from underhood.reports import words
from underhood.reports.audit import effects
from underhood.reports.audit.answer import KIND, WORD
from underhood.reports.audit.names import fit
from underhood.reports.audit.records import Example, Purse, Record, Shelf, examples, records, regions

TABLE_ROWS, COLUMNS = 40, 16
FINDINGS = 60  # shown in full; more are counted
LINES = 100  # of what could not be read or done
CLAIM = 4000  # letters
FACTS = 80  # further figures and parameters of one thing


@dataclass(frozen=True)
class Card:
    """One finding. lead, claim: the first sentence, and the rest."""

    number: int
    kind: str
    severity: str
    asks: str
    lead: str
    claim: str
    label: str
    prevalence: str
    share: float | None
    concerned: str
    effects: tuple[effects.Shown, ...]
    examples: list[Example]
    records: list[Record]
    rows: int
    regions: list[tuple[str, str, str]]
    ruled_out: str
    next_step: str
    details: list[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    title: str
    columns: list[str]
    cells: list[list[tuple[str, bool]]]  # text, whether it is a number
    rows: int


@dataclass(frozen=True)
class Check:
    """One playbook: findings as (number on the page, severity)."""

    key: str
    asks: str
    summary: str
    findings: list[int]
    kind: str
    tables: list[Table]
    details: list[tuple[str, str]]
    calls: str


def cards(shelf: Shelf, findings: Sequence[Finding]) -> Iterator[Card]:
    """One after the other: the pictures of one finding are held at a time."""
    purse = Purse()
    for number, finding in enumerate(findings[:FINDINGS], start=1):
        lead, claim = split(finding.claim)
        rows = records(shelf, finding)
        share = finding.prevalence
        if share is not None and not np.isfinite(share):
            share = None
        yield Card(
            number=number,
            kind=KIND[finding.severity],
            severity=WORD[finding.severity],
            asks=_asks(finding.playbook),
            lead=lead,
            claim=claim,
            label="" if finding.label is None else fit(finding.label),
            prevalence="" if share is None else percent(share),
            share=None if share is None else 100 * share,
            concerned=_concerned(finding),
            effects=effects.shown(finding.effects),
            examples=examples(shelf.survey, finding, rows, purse),
            records=rows,
            rows=len(finding.rows),
            regions=list(regions(finding)),
            ruled_out=finding.ruled_out,
            next_step=finding.next_step,
            details=facts(finding.details)[:FACTS],
        )


def checks(outcomes: Sequence[Outcome], findings: Sequence[Finding]) -> Iterator[Check]:
    for outcome in outcomes:
        own = [n for n, f in enumerate(findings, start=1) if f.playbook == outcome.playbook]
        yield Check(
            key=outcome.playbook,
            asks=_asks(outcome.playbook),
            summary=outcome.summary,
            findings=[n for n in own if n <= FINDINGS],
            kind=KIND[findings[own[0] - 1].severity] if own else "firm",
            tables=[table(title, rows) for title, rows in outcome.tables.items() if rows],
            details=facts(outcome.details)[:FACTS],
            calls=f"{outcome.calls:,}",
        )


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """The first rows and columns, with how many there are."""
    kept = rows[:TABLE_ROWS]
    columns = list(dict.fromkeys(str(column) for row in kept for column in row))[:COLUMNS]
    return Table(
        title=fit(title),
        columns=[fit(words.spaced(column)) for column in columns],
        cells=[[cell(row.get(column, "")) for column in columns] for row in kept],
        rows=len(rows),
    )


def cell(value: Any) -> tuple[str, bool]:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        return ("" if value is None else fit(words.describe(value)), False)
    if isinstance(value, int | np.integer):
        return (f"{value:,}".replace("-", "−"), True)
    return (words.describe(value), True)


def split(claim: str) -> tuple[str, str]:
    """The first sentence, and the others."""
    first, *others = re.split(r"(?<=[.!?])\s+(?=\S)", fit_text(claim), maxsplit=1)
    return first, others[0] if others else ""


def fit_text(text: str) -> str:
    """A text of some length; one without an end is cut."""
    return text if len(text) <= CLAIM else text[:CLAIM] + " …"


def facts(mapping: Mapping[str, Any], under: str = "") -> list[tuple[str, str]]:
    """Nested entries flat: `versions torch`; a line for each row of a table; of long values the first few."""
    found: list[tuple[str, str]] = []
    for key, value in mapping.items():
        name = f"{under} {words.spaced(str(key))}".strip()
        if isinstance(value, Mapping):
            found += facts(value, name)
        elif isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
            found += [(fit(f"{name} {i}"), fit_text(_clean(_told(row)))) for i, row in enumerate(value, 1)]
        elif value not in (None, "", [], ()) if not isinstance(value, np.ndarray) else True:
            found.append((fit(name), fit_text(_clean(words.describe(value)))))
    return found


def _told(row: Mapping[str, Any]) -> str:
    return "; ".join(f"{words.spaced(str(key))}: {words.describe(value)}" for key, value in row.items())


def said(problems: Sequence[str]) -> list[str]:
    return [fit_text(_clean(problem)) for problem in problems[:LINES]]


def _clean(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _asks(key: str) -> str:
    """A playbook's question; of one that is not known here, its name."""
    return (
        playbook(key).question if key in PLAYBOOKS else words.spaced(key)[:1].upper() + words.spaced(key)[1:]
    )


def _concerned(finding: Finding) -> str:
    return "of the pictures" if finding.label is None else f"of the class {fit(finding.label)}"
