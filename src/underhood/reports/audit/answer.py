"""The first screen: is anything wrong, how sure is that, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass

from underhood.playbooks.finding import SEVERITIES, Finding, Outcome, Severity
from underhood.playbooks.statistics import wilson
from underhood.playbooks.survey import Survey
from underhood.reports import words
from underhood.reports.audit import Audited
from underhood.reports.audit.effects import clear

WORD: dict[Severity, str] = {"high": "serious", "medium": "moderate", "low": "minor"}
KIND: dict[Severity, str] = {"high": "doubted", "medium": "mixed", "low": "slight"}

# what a finding of a playbook comes to: as a fact, and as a suspicion
COMES_TO = {
    "shortcuts": ("relies on something it should not", "may rely on something it should not"),
    "leakage": ("was given data that tell the answer", "may have been given data that tell the answer"),
    "subgroups": ("serves some groups worse than others", "may serve some groups worse than others"),
    "errors": ("makes errors that look alike", "makes some errors that look alike"),
    "confusions": ("mixes up classes in a regular way", "may mix up classes in a regular way"),
    "trust": ("gives maps that cannot be relied on", "gives maps that may not be relied on"),
}


@dataclass(frozen=True)
class Answer:
    """kind: for shape and colour; wrong, sure, next_step: one or two sentences each."""

    kind: str
    headline: str
    wrong: str
    sure: str
    next_step: str


def ranked(outcomes: Sequence[Outcome]) -> list[Finding]:
    return ranked_findings([finding for outcome in outcomes for finding in outcome.findings])


def ranked_findings(findings: Sequence[Finding]) -> list[Finding]:
    """By severity; within one those of shortcuts first, and of a playbook as it ranked them."""
    place = {key: index for index, key in enumerate(COMES_TO)}
    return sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), place.get(f.playbook, len(place))))


def answer(audit: Audited, findings: Sequence[Finding], problems: int = 0) -> Answer:
    """problems: how many things could not be read or done."""
    if not len(audit.survey) or not audit.outcomes:
        return _nothing_checked(audit.survey)
    if not findings:
        return _nothing_found(audit.outcomes, problems)
    worst = findings[0].severity
    same = [finding for finding in findings if finding.severity == worst]
    return Answer(
        kind=KIND[worst],
        headline=_headline(findings[0]),
        wrong=_wrong(findings),
        sure=_sure(findings) + _undone(problems),
        next_step=_next_step(worst, len(same)),
    )


def scope(survey: Survey) -> str:
    """How many pictures, and how often the model is right on those with a label."""
    pictures = f"{len(survey):,} picture{'' if len(survey) == 1 else 's'}"
    known = survey.label >= 0
    count = int(known.sum())
    if not count:
        return f"{pictures}, none with a label of the model's"
    right = int((survey.predicted[known] == survey.label[known]).sum())
    low, high = wilson(right, count)
    of = "" if count == len(survey) else f" the {count:,} with a label of"
    return (
        f"The model is right on {words.percent(right / count)} of{of} {pictures} "
        f"(95 % interval {words.percent(low)} to {words.percent(high)})"
    )


def counted(findings: Sequence[Finding]) -> str:
    """`1 serious finding and 2 minor ones`."""
    counts = [
        (WORD[severity], sum(f.severity == severity for f in findings))
        for severity in SEVERITIES
        if any(f.severity == severity for f in findings)
    ]
    (word, first), *others = counts
    parts = [f"{first} {word} finding{'' if first == 1 else 's'}"]
    parts += [f"{count} {other}{' one' if count == 1 else ' ones'}" for other, count in others]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _headline(first: Finding) -> str:
    if first.severity == "low":
        return "Nothing serious was found."
    surely, maybe = COMES_TO.get(first.playbook, ("has a problem", "may have a problem"))
    return f"This model {surely if first.severity == 'high' else maybe}."


def _wrong(findings: Sequence[Finding]) -> str:
    said = {"high": "Yes", "medium": "Perhaps", "low": "Hardly"}[findings[0].severity]
    return f"{said}: {counted(findings)}."


def _sure(findings: Sequence[Finding]) -> str:
    """How many of the main effects are apart from their controls."""
    tested = [known for f in findings if f.effects and (known := clear(f.effects[0])) is not None]
    if not tested:
        return "No finding was measured against a control; read how each was arrived at."
    apart, count = sum(tested), len(tested)
    if count == 1:
        said = "stands clear of" if apart else "cannot be told from"
        text = f"The main effect {said} its control (95 % intervals)."
    else:
        text = f"{apart} of {count} main effects stand clear of their controls (95 % intervals)."
    rest = len(findings) - count
    if rest:
        text += f" {rest} finding{'' if rest == 1 else 's'} had nothing to compare with."
    return text


def _next_step(worst: Severity, count: int) -> str:
    which = f"the {count} {WORD[worst]} findings are" if count > 1 else f"the {WORD[worst]} finding is"
    if worst == "high":
        says = "Each finding says" if count > 1 else "The finding says"
        return f"Do not rely on this model until {which} dealt with. {says} how."
    if worst == "medium":
        return f"Look before you rely on it: {which} explained below, with what to do."
    return "Nothing urgent. Each finding says what could be done."


def _undone(problems: int) -> str:
    if not problems:
        return ""
    return f" {problems:,} thing{'' if problems == 1 else 's'} could not be read or done."


def _nothing_found(outcomes: Sequence[Outcome], problems: int) -> Answer:
    keys = {outcome.playbook for outcome in outcomes}
    for outcome in outcomes:  # of pictures of which none was changed, nothing is known
        if outcome.playbook == "shortcuts" and not outcome.calls:
            return _shortcuts_not_tested(outcome, problems)
    headline = "No shortcut found" if "shortcuts" in keys else "Nothing wrong was found"
    headline += ", and nothing else wrong." if keys - {"shortcuts", "trust"} and "shortcuts" in keys else "."
    asked = len(outcomes)
    said = next((outcome.summary for outcome in outcomes if outcome.playbook == "shortcuts"), "")
    reach = said.removeprefix("No shortcut found. ")
    unsure = "No shortcut found" in reach  # without a figure of what would have been
    return Answer(
        kind="slight" if unsure else "firm",
        headline=headline,
        wrong=f"Not that {'this check' if asked == 1 else f'these {asked} checks'} could find.",
        sure=(reach or "Each check below says what it would have found.") + _undone(problems),
        next_step="Nothing now. Audit again when the model or the data change.",
    )


def _shortcuts_not_tested(outcome: Outcome, problems: int) -> Answer:
    return Answer(
        kind="mixed",
        headline="Shortcuts could not be looked for.",
        wrong=f"Unknown. {outcome.summary}",
        sure="Not at all, of shortcuts; what was found otherwise is said with each check below."
        + _undone(problems),
        next_step="Audit with more pictures.",
    )


def _nothing_checked(survey: Survey) -> Answer:
    why = "No playbook was run." if len(survey) else "No picture could be read."
    return Answer(
        kind="mixed",
        headline="Nothing was checked.",
        wrong=f"Unknown. {why}",
        sure="Not at all: there is nothing to go by.",
        next_step="See what could not be read or done, and audit again.",
    )
