"""Leakage: is the label told by what lies beside the subject, by copies across splits, or by metadata?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from underhood.errors import InvalidArgument, UnknownName
from underhood.inputs.random import LEAKAGE, generator
from underhood.playbooks.columns import read_columns
from underhood.playbooks.finding import Finding, Outcome
from underhood.playbooks.leakage.copies import copies_findings
from underhood.playbooks.leakage.duplicates import Duplicates, find_duplicates
from underhood.playbooks.leakage.known_ones import known_findings
from underhood.playbooks.leakage.seen import look_at_parts, power, table_of_parts
from underhood.playbooks.leakage.seen_finding import seen_finding
from underhood.playbooks.leakage.telling import telling
from underhood.playbooks.leakage.telling_finding import table_of_columns, telling_findings
from underhood.playbooks.playbook import Playbook
from underhood.playbooks.sample import balanced
from underhood.playbooks.survey import Survey

RANK = {"high": 0, "medium": 1, "low": 2}
FEWEST = 20  # labelled rows


@dataclass(frozen=True)
class Leakage(Playbook):
    """count:      pictures of which parts are shown, as many of each class as there are.
    border:     width of the border, as a share of the shorter side.
    neighbours: of each picture by features, among which its copies are looked for.
    together:   a metadata column, such as a patient's number, of whose rows one alone is asked for parts,
                and which should be in one split alone.
    draws:      shuffles of the labels.
    level:      what the corrected p-values of all comparisons of a kind may come to by chance.
    """

    key: ClassVar[str] = "leakage"
    question: ClassVar[str] = "Is the label told by something that should not tell it?"

    count: int = 1000
    border: float = 0.1
    neighbours: int = 5
    together: str | None = None
    draws: int = 999
    level: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.border < 0.5:
            raise InvalidArgument(f"The border is between 0 and half of the shorter side, not {self.border}.")
        if self.count < 2 or self.neighbours < 1 or self.draws < 19:
            raise InvalidArgument("Leakage needs a count of 2, 1 neighbour and 19 draws at least.")

    def __call__(self, survey: Survey) -> Outcome:
        if len(survey) < 2 or survey.inputs([0]).ndim != 4:
            needs = "Leakage was not looked for: it needs at least two inputs, and pictures."
            return Outcome(self.key, needs, problems=(needs,))
        before = survey.engine.log.calls
        found = find_duplicates(survey, self.neighbours)
        parts, metadata = self.parts(survey, found), self.metadata(survey)
        findings = [
            *parts.findings,
            *copies_findings(survey, found),
            *known_findings(survey, self.together),
            *metadata.findings,
        ]
        findings.sort(key=lambda finding: RANK[finding.severity])
        return Outcome(
            self.key,
            _summary(len(findings), found, parts.power),
            tuple(findings),
            tables={**parts.tables, **metadata.tables},
            problems=(*parts.problems, *metadata.problems),
            details={
                "same": int(found.exact.sum()),
                "nearly_same": int((~found.exact).sum()),
                "likeness_threshold": found.threshold,
            },
            calls=int(survey.engine.log.calls - before),
        )

    def parts(self, survey: Survey, found: Duplicates) -> "Part":
        """What parts of pictures tell; of those that are copies or belong together, one is asked."""
        first = (found.clusters(len(survey)) == np.arange(len(survey))) & self._first_together(survey)
        rows = balanced(
            np.where(first, survey.label, -1), self.count, generator(survey.settings.seed, LEAKAGE)
        )
        if reason := _too_few(survey.label[rows]):
            return Part(problems=(f"Parts of pictures were not shown to the model: {reason}.",))
        seen = look_at_parts(survey, rows, self.border, self.draws)
        findings = [seen_finding(survey, rows, one, self.level) for one in seen]
        return Part(
            [finding for finding in findings if finding],
            {"Parts of pictures": table_of_parts(seen)},
            power=power(seen, self.level),
        )

    def _first_together(self, survey: Survey) -> NDArray[np.bool_]:
        """(n,): the first row of each value of the column `together`."""
        if self.together is None:
            return np.ones(len(survey), dtype=np.bool_)
        metadata = [survey.dataset[int(number)].metadata for number in survey.number]
        known = dict.fromkeys(name for row in metadata for name in row)
        if self.together not in known:
            raise UnknownName("metadata column", self.together, known)
        kinds = [row.get(self.together, "") or f"row {i}" for i, row in enumerate(metadata)]
        first = np.zeros(len(survey), dtype=np.bool_)
        first[np.unique(kinds, return_index=True)[1]] = True
        return first

    def metadata(self, survey: Survey) -> "Part":
        """Which columns tell the label."""
        columns, labelled = read_columns(survey), survey.label >= 0
        if not columns.usable:
            return Part(problems=columns.left_out)
        if reason := _too_few(survey.label[labelled]):
            return Part(problems=(*columns.left_out, f"Metadata were not compared with labels: {reason}."))
        # So many shuffles that the smallest p stands after correction.
        draws = max(self.draws, int(2 * len(columns.usable) / self.level))
        label, seed = survey.label[labelled], survey.settings.seed
        found = [telling(column.of(labelled), label, draws=draws, seed=seed) for column in columns.usable]
        return Part(
            telling_findings(found, self.level),
            {"Metadata and label": table_of_columns(found)},
            columns.left_out,
        )


@dataclass(frozen=True)
class Part:
    """What one of the playbook's questions came to."""

    findings: Sequence[Finding] = ()
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    power: str = ""


def _too_few(label: NDArray[np.int64]) -> str | None:
    if len(np.unique(label)) < 2:
        return "it takes pictures of two classes at least"
    return f"it takes {FEWEST} labelled pictures at least" if len(label) < FEWEST else None


def _summary(findings: int, found: Duplicates, power: str) -> str:
    same, nearly = int(found.exact.sum()), int((~found.exact).sum())
    leaks = {0: "No leak was found.", 1: "1 leak was found."}.get(findings, f"{findings} leaks were found.")
    copies = f"{same} pairs of pictures are the same, {nearly} nearly so."
    return " ".join(text for text in (leaks, copies, power) if text)
