"""Which classes does the model confuse, and what do they have in common for it?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from underhood.playbooks.confusions.explained import Explained, explained, finding
from underhood.playbooks.confusions.pairs import Confused, confused, counted
from underhood.playbooks.confusions.shared_units import class_means
from underhood.playbooks.figures import between, percent
from underhood.playbooks.finding import Outcome
from underhood.playbooks.labelled import left_out, no_labels
from underhood.playbooks.playbook import Playbook
from underhood.playbooks.statistics import wilson
from underhood.playbooks.survey import Survey

LISTED = 100  # pairs in the table, at most


@dataclass(frozen=True)
class Confusions(Playbook):
    """Counts which classes are taken for each other, and explains the pairs most confused.

    pairs:  that are explained, at most.
    sample: pictures of each class, and confused ones, that a pair is explained on, at most.
    units:  of the layer that count as most active for a class, at most; a tenth of a small layer.
    shown:  pictures that a finding comes with maps of, at most.
    """

    pairs: int = 10
    sample: int = 64
    units: int = 10
    shown: int = 12

    key = "confusions"
    question = "Which classes does the model confuse, and what do they have in common for it?"

    def __post_init__(self) -> None:
        self.need(pairs=1, sample=1, units=1, shown=1)

    def __call__(self, survey: Survey) -> Outcome:
        if not (survey.label >= 0).any():
            return no_labels(self.key, "Confusions")
        counts = counted(survey.label, survey.predicted, len(survey.classes))
        found = confused(counts)
        if not found:
            return Outcome(
                self.key,
                f"None of {counts.sum()} labelled pictures is taken for another class, so none are confused.",
                problems=tuple(_problems(self, survey, found)),
            )
        before = survey.engine.log.calls
        means = class_means(survey.features, survey.label, len(survey.classes))
        pairs = [explained(survey, pair, means, self.sample, self.units) for pair in found[: self.pairs]]
        findings = [finding(pair, self, self.shown) for pair in pairs if pair.counts.stands_out]
        return Outcome(
            self.key,
            _summary(pairs[0], len(found), len(findings)),
            tuple(findings),
            tables={
                "Confused pairs": [_line(survey, pair) for pair in found[:LISTED]],
                "What confused pairs share": [pair.line() for pair in pairs],
            },
            problems=tuple(_problems(self, survey, found)),
            details={"confused pairs": len(found), "labelled": int(counts.sum())},
            calls=round(survey.engine.log.calls - before),
        )


def _summary(first: Explained, count: int, findings: int) -> str:
    counts = first.counts
    way = f", mostly {first.way}" if first.way else ""
    said = (
        f"{count} {'pair' if count == 1 else 'pairs'} of classes confused at all, most often "
        f"{' and '.join(first.names)} ({counts.count} of {counts.of} pictures{way})"
    )
    if not counts.rest_of:
        return f"{said}; of two classes there is no other pair to compare with."
    if findings:
        return f"{said}; {findings} by more than chance, and at least twice as often as the rest."
    return f"{said}; none stands out from the rest."


def _problems(asked: Confusions, survey: Survey, found: Sequence[Confused]) -> list[str]:
    said = left_out(survey)
    if len(found) > asked.pairs:
        said.append(f"Of {len(found)} confused pairs the {asked.pairs} most frequent were explained.")
    if len(found) > LISTED:
        said.append(f"The table lists the {LISTED} most frequent of {len(found)} confused pairs.")
    return said


def _line(survey: Survey, pair: Confused) -> dict[str, Any]:
    return {
        "first": survey.classes[pair.a],
        "second": survey.classes[pair.b],
        "confused": pair.count,
        "rate": _share(pair.count, pair.of),
        "first taken for second": _share(pair.a_as_b, pair.of_a),
        "second taken for first": _share(pair.b_as_a, pair.of_b),
        "one way more than the other": "yes" if pair.is_asymmetric else "no",
        "p against other pairs": round(pair.p, 4),
    }


def _share(hits: int, of: int) -> str:
    low, high = wilson(hits, of)
    return f"{hits} of {of}: {percent(hits / of, 1)} {between(low, high, 1)}" if of else "0 of 0"
