"""The `Finding` of a group that is worse than the rest, in words."""

from collections.abc import Sequence

import numpy as np

from underhood.playbooks.figures import in_points, percent, points
from underhood.playbooks.finding import Effect, Finding, Severity
from underhood.playbooks.subgroups.described import Described
from underhood.playbooks.subgroups.gaps import LABEL, Gap
from underhood.playbooks.survey import Survey

SHOWN = 24  # rows of a finding
NAMES = {
    "accuracy": "gap in accuracy",
    "confidence": "gap in confidence less accuracy",
    "inside": "gap in relevance inside the mask",
}
UNITS = {"accuracy": "accuracy", "confidence": "probability", "inside": "relevance"}
REMEDIES = {
    "accuracy": "Look at the errors in this group; collect more labelled pictures of it and train with them, "
    "and see whether a shortcut that holds for the others fails here (playbook shortcuts).",
    "confidence": "Recalibrate for this group by itself (temperature scaling on its own held-out pictures), "
    "or do not act on the stated probabilities here.",
    "inside": "Look at what lies under the maps outside the subject in this group (playbook shortcuts), "
    "and train with crops or with that part varied.",
}


def group_finding(survey: Survey, found: Described, gaps: Sequence[Gap]) -> Finding:
    first, group = gaps[0], gaps[0].group
    number = found.index(group)
    labelled = int((~np.isnan(found.measures[0].values)).sum())
    sentences = [_claim(gap) for gap in gaps]
    return Finding(
        playbook="subgroups",
        key=f"{group.column}={group.value}",
        claim=f"For {group.name} ({group.count} rows): {'; '.join(sentences)}.",
        severity=_severity(first),
        effects=tuple(
            Effect(
                NAMES[gap.measure],
                gap.difference,
                gap.low,
                gap.high,
                UNITS[gap.measure],
                group.count,
                control=0.0,
            )
            for gap in gaps
        ),
        rows=_telling(survey, found, first),
        ruled_out=f"Against all other rows; {len(found.gaps)} comparisons, corrected by Holm: "
        f"p = {first.corrected:.2g}.",
        next_step=" ".join(dict.fromkeys(REMEDIES[gap.measure] for gap in gaps if gap.is_worse))
        or "What this group is better at, the others are worse at: look at what sets it apart.",
        prevalence=1.0 if group.column == LABEL else group.count / labelled,
        label=group.value if group.column == LABEL else None,
        arrays={"mean_map": found.own[number], "mean_map_of_rest": found.rest[number]},
        details={
            "column": group.column,
            "value": group.value,
            "rows": group.count,
            "calibration_error": found.calibrations[number].error,
            "relevance_moved": float(found.moved[number]),
            "relevance_moved_by_chance": float(found.moved_by_chance[number]),
            "gaps": [
                {"measure": g.measure, "group": g.value, "rest": g.rest, "p": g.p, "corrected": g.corrected}
                for g in gaps
            ],
        },
    )


def _claim(gap: Gap) -> str:
    within = f"[{points(gap.low)}, {points(gap.high)}]"
    if gap.measure == "accuracy":
        return (
            f"the model is right in {percent(gap.value)}, elsewhere in {percent(gap.rest)} "
            f"({points(gap.difference)} points {within})"
        )
    if gap.measure == "confidence":
        both = f"it is {_sure(gap.value)}, elsewhere {_sure(gap.rest)}"
        return f"{both} ({points(gap.difference)} points {within})"
    return (
        f"{percent(gap.value)} of its relevance lies inside the subject's mask, elsewhere "
        f"{percent(gap.rest)} ({points(gap.difference)} points {within})"
    )


def _sure(gap: float) -> str:
    way = "surer than it is right" if gap >= 0 else "right more often than it is sure"
    return f"{in_points(abs(gap))} {way}"


def _severity(gap: Gap) -> Severity:
    if not gap.is_worse:
        return "low"
    size = abs(gap.difference)
    return "high" if size >= 0.2 else "medium" if size >= 0.1 else "low"


def _telling(survey: Survey, found: Described, gap: Gap) -> tuple[int, ...]:
    """Rows of the group that show the gap: its surest errors, or the least relevance inside the mask."""
    rows = np.flatnonzero(gap.group.rows)
    if gap.measure == "inside":
        inside = next(m.values for m in found.measures if m.key == "inside")[rows]
        order = rows[np.argsort(np.where(np.isnan(inside), np.inf, inside), kind="stable")]
    else:
        wrong = rows[found.measures[0].values[rows] == 0]
        order = wrong[np.argsort(-survey.probability[wrong], kind="stable")]
    return tuple(int(survey.number[row]) for row in order[:SHOWN])
