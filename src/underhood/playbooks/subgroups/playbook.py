"""Subgroups: is the model worse, less honest about its doubts, or looking elsewhere, for some inputs?"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from underhood.errors import InvalidArgument, UnknownName
from underhood.playbooks.columns import Column, read_columns
from underhood.playbooks.finding import Finding, Outcome, Severity
from underhood.playbooks.playbook import Playbook
from underhood.playbooks.subgroups.described import Described
from underhood.playbooks.subgroups.gaps import LABEL, Gap, Group, Measure, compared, too_small
from underhood.playbooks.subgroups.group_finding import group_finding
from underhood.playbooks.subgroups.relevance import shares_inside
from underhood.playbooks.survey import Survey

MOST_KINDS = 50  # of a column; more are no groups
RANK: dict[Severity, int] = {"high": 0, "medium": 1, "low": 2}


@dataclass(frozen=True)
class Subgroups(Playbook):
    """Groups are the labels and the kinds of each metadata column, each against all other rows.

    columns:  names of metadata columns; None for all.
    pairs:    columns that are also taken together, such as (("sex", "age"),), or "all" pairs.
    bins:     parts of a column of numbers, with about as many rows each.
    smallest: rows that a group needs to be compared; and its accuracy's 95 % interval is at most `widest`
              wide.
    level:    what the corrected p-values of all comparisons together may come to by chance.
    """

    key: ClassVar[str] = "subgroups"
    question: ClassVar[str] = "Is the model worse for some of the inputs than for the rest?"

    columns: tuple[str, ...] | None = None
    pairs: tuple[tuple[str, str], ...] | Literal["all"] = ()
    bins: int = 4
    smallest: int = 20
    widest: float = 0.3
    level: float = 0.05

    def __post_init__(self) -> None:
        if self.bins < 2 or self.smallest < 2:
            raise InvalidArgument("Subgroups need at least 2 bins and groups of at least 2 rows.")

    def __call__(self, survey: Survey) -> Outcome:
        labelled = survey.label >= 0
        if labelled.sum() < 2 * self.smallest:
            few = f"{int(labelled.sum())} rows with a label that the model knows are too few"
            advice = "Groups need labels: give a folder for each class, or a table of labels."
            return Outcome(self.key, f"Groups were not compared: {few}.", problems=(advice,))
        groups, problems = self._groups(survey, labelled)
        inside, area = shares_inside(survey)
        measures = measured(survey, labelled, inside)
        right = measures[0].values
        reasons = [too_small(group, right, self.smallest, self.widest) for group in groups]
        small = [reason for reason in reasons if reason]
        large = [g for g, reason in zip(groups, reasons, strict=True) if not reason]
        large = [group for group in large if group.count < labelled.sum()]  # there is a rest
        found = Described.of(survey, large, measures, compared(large, measures), area)
        findings = self._findings(survey, found)
        return Outcome(
            self.key,
            self._summary(found, len(findings)),
            tuple(findings),
            tables={"Groups": found.table(), "Too small to compare": [{"group": text} for text in small]},
            problems=(*problems, *([_named_small(small)] if small else [])),
            details={"comparisons": len(found.gaps), "groups": len(large), "too_small": small},
        )

    def _groups(self, survey: Survey, labelled: NDArray[np.bool_]) -> tuple[list[Group], list[str]]:
        """Those of the labels, of the columns, and of pairs of columns; and what could not be compared."""
        read = read_columns(survey, self.columns)
        binned = [column.binned(self.bins) for column in read.usable]
        columns = [column for column in binned if len(column.kinds) <= MOST_KINDS]
        problems = [
            *read.left_out,
            *(
                f"The column '{column.name}' was left out: it has too many values ({len(column.kinds)})."
                for column in binned
                if len(column.kinds) > MOST_KINDS
            ),
        ]
        if missing := int((~labelled).sum()):
            problems.append(f"{missing} rows were left out: they have no label that the model knows.")
        classes = Column(LABEL, np.maximum(survey.label, 0), survey.classes)
        every = [classes, *columns, *_together(columns, self.pairs)]
        return [group for column in every for group in _kinds(column, labelled)], problems

    def _findings(self, survey: Survey, found: Described) -> list[Finding]:
        """One for each group that is worse in something; where none of a column is, for what is better."""
        standing = [gap for gap in found.gaps if gap.corrected <= self.level]
        told = {(gap.group.column, gap.measure) for gap in standing if gap.is_worse}
        shown = [g for g in standing if g.is_worse or (g.group.column, g.measure) not in told]
        by_group: dict[str, list[Gap]] = {}
        for gap in sorted(shown, key=lambda gap: (not gap.is_worse, gap.corrected)):
            by_group.setdefault(gap.group.name, []).append(gap)
        findings = [group_finding(survey, found, gaps) for gaps in by_group.values()]
        return sorted(findings, key=lambda f: (RANK[f.severity], -abs(f.effects[0].value)))

    def _summary(self, found: Described, findings: int) -> str:
        if not found.gaps:
            return "No group is large enough to be compared with the rest."
        how = (
            f"{len(found.gaps)} comparisons of {len(found.groups)} groups, corrected for their number by Holm"
        )
        power = found.power(self.level)
        if not findings:
            return f"No gap between groups was found ({how}). {power}"
        differ = "1 group differs" if findings == 1 else f"{findings} groups differ"
        return f"{differ} from the rest ({how}). {power}"


def measured(survey: Survey, labelled: NDArray[np.bool_], inside: NDArray[np.float64]) -> list[Measure]:
    """What groups are compared in: accuracy, confidence beyond it, and relevance inside masks where given."""
    right = np.where(labelled, survey.predicted == survey.label, np.nan).astype(np.float64)
    measures = [
        Measure("accuracy", "accuracy", right, "share", "higher"),
        Measure(
            "confidence",
            "confidence less accuracy",
            survey.probability - right,
            "mean",
            "nearer 0",
            by_label=False,
        ),
    ]
    inside = np.where(labelled, inside, np.nan)
    if (~np.isnan(inside)).sum() > 1:
        measures.append(Measure("inside", "share of relevance inside the mask", inside, "mean", "higher"))
    return measures


def _together(columns: Sequence[Column], pairs: Sequence[tuple[str, str]] | Literal["all"]) -> list[Column]:
    by_name = {column.name: column for column in columns}
    for name in () if pairs == "all" else (name for pair in pairs for name in pair):
        if name not in by_name:
            raise UnknownName("metadata column that can be compared", name, by_name)
    names = combinations(by_name, 2) if pairs == "all" else pairs
    return [_pair(by_name[one], by_name[other]) for one, other in names]


def _pair(one: Column, other: Column) -> Column:
    kinds = [f"{a}, {b}" for a in one.kinds for b in other.kinds]
    codes = one.codes * len(other.kinds) + other.codes
    return Column(f"{one.name}, {other.name}", codes, tuple(kinds))


def _kinds(column: Column, among: NDArray[np.bool_]) -> list[Group]:
    groups = [Group(column.name, kind, (column.codes == i) & among) for i, kind in enumerate(column.kinds)]
    return [group for group in groups if group.count]


def _named_small(small: Sequence[str]) -> str:
    more = f"; and {len(small) - 10} more" if len(small) > 10 else ""
    return f"Too small to be compared: {'; '.join(small[:10])}{more}."
