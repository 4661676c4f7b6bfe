"""The page of a comparison: two versions of a model on the same data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from underhood.playbooks.compare import Comparison, Stayed
from underhood.playbooks.finding import SEVERITIES, Effect, Finding
from underhood.reports import shell, words
from underhood.reports.audit import effects, view
from underhood.reports.audit.answer import KIND, WORD, counted, ranked_findings
from underhood.reports.audit.names import fit


@dataclass(frozen=True)
class Line:
    """A finding in one of the lists; how: what became of its effect."""

    kind: str
    severity: str
    lead: str
    claim: str
    how: str
    effects: tuple[effects.Shown, ...]
    next_step: str


def pieces(comparison: Comparison) -> Iterator[str]:
    now = ranked_findings([*comparison.new, *(one.after for one in comparison.stayed)])
    changed = [
        {"picture": one.picture, "label": one.label, "before": one.before, "after": one.after}
        for one in comparison.changed
    ]
    return iter(
        shell.environment()
        .get_template("comparison.html.j2")
        .stream(
            before=fit(comparison.before),
            after=fit(comparison.after),
            models=[fit(name) for name in comparison.models],
            kind=KIND[now[0].severity] if now else "firm",
            headline=headline(comparison),
            found=counted(now) if now else "",
            accuracy=accuracy(comparison),
            lists=[
                ("new", "New", [line(f) for f in ranked_findings(comparison.new)]),
                ("stayed", "Stayed", [_stayed(one) for one in _ranked(comparison.stayed)]),
                ("gone", "Gone", [line(f) for f in ranked_findings(comparison.gone)]),
            ],
            changed=view.table("Pictures called something else", changed),
            changed_of=len(changed),
            pictures=comparison.pictures,
            one_sided=[fit(key) for key in comparison.one_sided],
            **shell.assets("audit"),
        )
    )


def headline(comparison: Comparison) -> str:
    new, stayed, gone = (len(found) for found in (comparison.new, comparison.stayed, comparison.gone))
    if new:
        return f"The new version has {counted(ranked_findings(comparison.new))} the old one had not."
    if gone and not stayed:
        return "What was found in the old version is gone."
    if gone:
        return f"{gone} of {gone + stayed} findings are gone; nothing new came."
    if stayed:
        return "The new version has the findings of the old one."
    return "Nothing was found in either version."


def accuracy(comparison: Comparison) -> str:
    found = comparison.accuracy
    if found is None:
        return "Not known: no picture has a label."
    low, high = (f"{100 * bound:+.1f}".replace("-", "−") for bound in (found.low, found.high))
    doubt = " Chance alone may account for that." if found.low <= 0 <= found.high else ""
    if found.difference == 0:
        doubt = " No difference was seen."
    return (
        f"{words.percent(found.before)} right before, {words.percent(found.after)} after: "
        f"{100 * found.difference:+.1f} points ({low} to {high}).{doubt}".replace("-", "−")
    )


def line(finding: Finding, how: str = "", shown: Sequence[Effect] | None = None) -> Line:
    lead, claim = view.split(finding.claim)
    return Line(
        KIND[finding.severity],
        WORD[finding.severity],
        lead,
        claim,
        how,
        effects.shown(finding.effects[:1] if shown is None else shown),
        finding.next_step,
    )


def _stayed(one: Stayed) -> Line:
    """With the main effect before and after, where it is the same figure."""
    both = []
    if one.moved is not None:
        both = [
            replace(found.effects[0], name=f"{effects.named(found.effects[0])}, {when}")
            for found, when in ((one.before, "before"), (one.after, "after"))
        ]
    return line(one.after, one.how, both or None)


def _ranked(stayed: Sequence[Stayed]) -> list[Stayed]:
    return sorted(stayed, key=lambda one: SEVERITIES.index(one.after.severity))
