"""The page, piece by piece."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from underhood.playbooks.survey import Survey
from underhood.reports import shell, words
from underhood.reports.audit import Audited, view
from underhood.reports.audit.answer import answer, ranked, scope
from underhood.reports.audit.names import fit
from underhood.reports.audit.records import Shelf

NAMED = 12  # classes


def pieces(audit: Audited, folder: Path) -> Iterator[str]:
    """The page in order; `folder` is where it will lie."""
    survey, findings = audit.survey, ranked(audit.outcomes)
    problems = every_problem(audit)
    by_key = {check.key: check for check in view.checks(audit.outcomes, findings)}
    return iter(
        shell.environment()
        .get_template("audit.html.j2")
        .stream(
            answer=answer(audit, findings, len(problems)),
            scope=scope(survey) if len(survey) else "",
            model=fit(survey.model.name),
            data=fit(survey.dataset.name),
            when=fit(audit.provenance.get("time", "")),
            cards=view.cards(shelf(audit, folder), findings),
            findings=len(findings),
            shown=view.FINDINGS,
            checks=[check for key, check in by_key.items() if key != "trust"],
            trust=by_key.get("trust"),
            problems=view.said(problems),
            problems_of=len(problems),
            about=about(survey),
            provenance=view.facts(recorded(audit.provenance)),
            short=words.short,
            **shell.assets("audit"),
        )
    )


def every_problem(audit: Audited) -> list[str]:
    """Of the audit and of each playbook, each once."""
    own = (problem for outcome in audit.outcomes for problem in outcome.problems)
    return list(dict.fromkeys((*audit.problems, *own)))


def recorded(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """With a row for each playbook and its parameters."""
    told = dict(provenance)
    asked = told.pop("playbooks", None) or ()
    return {**told, "playbook": {one["key"]: words.describe(one["parameters"]) for one in asked}}


def shelf(audit: Audited, folder: Path) -> Shelf:
    """Where the rows of the audit are found, with their digests as they were recorded."""
    store = getattr(audit, "store", None)
    return Shelf(audit.survey, folder, None if store is None else store.records)


def about(survey: Survey) -> list[tuple[str, str]]:
    """Model and data in a few rows."""
    classes = [fit(name) for name in survey.classes[:NAMED]]
    more = len(survey.classes) - len(classes)
    dataset = survey.dataset
    return [
        ("model", fit(survey.model.name)),
        ("classes", f"{len(survey.classes):,}: {', '.join(classes)}{f' and {more:,} more' if more else ''}"),
        ("data", fit(dataset.name)),
        ("pictures", f"{len(dataset):,} listed, {len(survey):,} read"),
        ("with a label of the model's", f"{int((survey.label >= 0).sum()):,}"),
    ]
