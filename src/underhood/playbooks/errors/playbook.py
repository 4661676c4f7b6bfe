"""What do the model's errors have in common?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from underhood.inputs.random import ERRORS
from underhood.playbooks.errors import groups as error_groups
from underhood.playbooks.errors import looks as error_looks
from underhood.playbooks.errors.alike import FEWEST, grouped, points
from underhood.playbooks.errors.background import OnSubject, gazes, on_subject
from underhood.playbooks.errors.groups import Group
from underhood.playbooks.errors.mistakes import Mistakes, explained
from underhood.playbooks.figures import between, percent
from underhood.playbooks.finding import SEVERITIES, Finding, Outcome
from underhood.playbooks.labelled import left_out, no_labels
from underhood.playbooks.nearest import nearest, training
from underhood.playbooks.places import places, torch_of
from underhood.playbooks.playbook import Playbook
from underhood.playbooks.portions import drawn
from underhood.playbooks.statistics import wilson
from underhood.playbooks.survey import Indices, Survey

PAIRS = 10  # of true and predicted class, whose looks are compared


@dataclass(frozen=True)
class Errors(Playbook):
    """Explains mispredictions, groups those that are alike, and says which groups are more than chance.

    sample:     errors that are explained and grouped, at most; all of them are counted.
    among:      labelled pictures that error rates are taken over, at most.
    neighbours: training pictures named for each error.
    shuffles:   of what is wrong and what is right, to see what chance makes of them.
    shown:      pictures that a finding comes with maps of, at most.
    """

    sample: int = 1000
    among: int = 50_000
    neighbours: int = 5
    shuffles: int = 199
    shown: int = 12

    key = "errors"
    question = "What do the model's errors have in common?"

    def __post_init__(self) -> None:
        self.need(sample=10, among=10, neighbours=1, shuffles=19, shown=1)

    def __call__(self, survey: Survey) -> Outcome:
        labelled = np.flatnonzero(survey.label >= 0)
        if not len(labelled):
            return no_labels(self.key, "Errors")
        wrong = labelled[survey.label[labelled] != survey.predicted[labelled]]
        if not len(wrong):
            return Outcome(self.key, _flawless(len(labelled)), problems=tuple(left_out(survey)))
        before = survey.engine.log.calls
        mistakes = self._studied(survey, labelled, wrong)
        return self._told(mistakes, round(survey.engine.log.calls - before))

    def _studied(self, survey: Survey, labelled: Indices, wrong: Indices) -> Mistakes:
        seed = survey.settings.seed
        compared = drawn(labelled, self.among, seed, ERRORS, 5)
        groups = grouped(
            points(survey, compared, seed, ERRORS, 6),
            survey.label[compared] != survey.predicted[compared],
            self.sample,
            self.shuffles,
            seed,
        )
        rows = compared[groups.members]
        subjects = self._on_subject(survey, rows, np.setdiff1d(labelled, wrong, assume_unique=True))
        mistakes = Mistakes(
            survey,
            labelled,
            wrong,
            compared,
            rows,
            groups,
            explained(survey, rows),
            places(torch_of(survey.maps[rows])),
            nearest(survey.features, rows, training(survey), self.neighbours),
            subjects,
            (),
        )
        pairs = [pair for pair, _ in mistakes.pairs(rows).most_common(PAIRS)]
        found = gazes(survey, subjects, pairs if len(pairs) > 1 else [], max(999, self.shuffles))
        return replace(mistakes, gazes=tuple(found))

    def _on_subject(self, survey: Survey, rows: Indices, right: Indices) -> OnSubject:
        others = drawn(right, 2 * self.sample, survey.settings.seed, ERRORS, 7)
        return on_subject(survey, np.union1d(rows, others))

    def _told(self, mistakes: Mistakes, calls: int) -> Outcome:
        groups = [Group(mistakes, number) for number in range(len(mistakes.groups.around))]
        background = [
            error_looks.finding(mistakes, one, self, self.shown) for one in error_looks.flagged(mistakes)
        ]
        findings = background + [
            error_groups.finding(group, self, self.shuffles, self.shown)
            for group in groups
            if group.is_systematic
        ]
        findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
        return Outcome(
            self.key,
            _summary(mistakes, groups, background),
            tuple(findings),
            tables={
                "Groups of errors that look alike": [group.line() for group in groups],
                "Errors": [mistakes.line(place) for place in range(len(mistakes.rows))],
                "Relevance on the subject": [error_looks.line(mistakes, one) for one in mistakes.gazes],
            },
            problems=(*left_out(mistakes.survey), *_too_few(mistakes)),
            details={
                "labelled": len(mistakes.labelled),
                "errors": len(mistakes.wrong),
                "explained": len(mistakes.rows),
            },
            calls=calls,
        )


def _flawless(count: int) -> str:
    return (
        f"The model gets all {count} labelled pictures right, so there are no errors to look at; an error "
        f"rate above {percent(wilson(0, count).high, 1)} would most likely have shown."
    )


def _summary(mistakes: Mistakes, groups: Sequence[Group], background: Sequence[Finding]) -> str:
    wrong, labelled = len(mistakes.wrong), len(mistakes.labelled)
    low, high = wilson(wrong, labelled)
    said = (
        f"The model gets {wrong} of {labelled} labelled pictures wrong ({percent(wrong / labelled, 1)} "
        f"{between(low, high, 1)}){_grouped(len(mistakes.rows), groups)}"
    )
    if background:
        return f"{said}, and it looks at the background."
    return f"{said}." if len(mistakes.gazes) == 0 else f"{said}, and it does not look at the background."


def _grouped(explained: int, groups: Sequence[Group]) -> str:
    if explained < FEWEST:
        return ", too few to say what they share"
    if not groups:
        return "; no errors look alike enough to be a group"
    systematic = sum(group.is_systematic for group in groups)
    return (
        f"; of {_counted(len(groups), 'group')} of errors that look alike {systematic or 'none'} "
        f"{'are' if systematic > 1 else 'is'} more than chance"
    )


def _too_few(mistakes: Mistakes) -> list[str]:
    explained, wrong = len(mistakes.rows), len(mistakes.wrong)
    said = []
    if explained < wrong:
        said.append(f"Of {wrong} errors {explained}, drawn by chance, were explained and grouped.")
    if explained < FEWEST:
        said.append(f"{_counted(explained, 'error')} cannot be grouped; that takes {FEWEST}.")
    if len(mistakes.on_subject.rows) and not mistakes.gazes:
        said.append("Too few errors have a mask and a map to say whether they look at the background.")
    return said


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
