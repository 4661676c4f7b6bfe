"""Copies that do harm: a picture on both sides of a split, or the same one under two labels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from underhood.playbooks.figures import percent
from underhood.playbooks.finding import Effect, Finding, Severity
from underhood.playbooks.leakage.duplicates import Duplicates
from underhood.playbooks.statistics import wilson
from underhood.playbooks.survey import Survey

SHOWN = 12  # pairs of a finding
LISTED = 100  # pairs in its details

Flags = NDArray[np.bool_]


def copies_findings(survey: Survey, found: Duplicates) -> list[Finding]:
    splits = np.array([survey.dataset[int(n)].split or "" for n in survey.number])
    one, other = found.pairs.T
    across = (splits[one] != splits[other]) & (splits[one] != "") & (splits[other] != "")
    disagree = (
        (survey.label[one] != survey.label[other]) & (survey.label[one] >= 0) & (survey.label[other] >= 0)
    )
    findings = []
    if across.any():
        findings.append(_across_splits(survey, found, across, splits))
    if disagree.any():
        findings.append(_two_labels(survey, found, disagree))
    return findings


def _across_splits(survey: Survey, found: Duplicates, across: Flags, splits: NDArray[np.str_]) -> Finding:
    asked = asked_split(splits)
    of_split = np.flatnonzero(splits == asked)
    pairs = found.pairs[across]
    ends = pairs[np.isin(pairs, of_split)]
    if not len(ends):  # between two other splits
        asked = str(splits[pairs[0, 0]])
        of_split = np.flatnonzero(splits == asked)
        ends = pairs[np.isin(pairs, of_split)]
    twins = np.unique(ends)
    low, high = wilson(len(twins), len(of_split))
    share = len(twins) / len(of_split)
    return Finding(
        playbook="leakage",
        key="copies-across-splits",
        claim=f"{len(twins)} of {len(of_split)} pictures of the split '{asked}' ({percent(share)}) are in "
        f"another split too ({_kinds(found, across)}).{_easier(survey, twins, of_split)}",
        severity="high" if share >= 0.05 else "medium" if share >= 0.01 else "low",
        effects=(
            Effect("share with a copy in another split", share, low, high, "share", len(of_split),
                   control=found.by_chance),
        ),
        rows=_rows(survey, found, across),
        ruled_out=_ruled_out(found),
        next_step=f"Take the copies out of '{asked}', or keep all copies of a picture (and all pictures of a "
        "patient or object) in one split, and measure the accuracy again.",
        prevalence=share,
        details={"pairs": _listed(survey, found, across)},
    )  # fmt: skip


def _two_labels(survey: Survey, found: Duplicates, disagree: Flags) -> Finding:
    rows = np.unique(found.pairs[disagree])
    share = len(rows) / len(survey)
    low, high = wilson(len(rows), len(survey))
    severity: Severity = "high" if share >= 0.05 else "medium" if share >= 0.01 else "low"
    return Finding(
        playbook="leakage",
        key="copies-with-two-labels",
        claim=f"{len(rows)} pictures ({percent(share)}) are there more than once with different labels "
        f"({_kinds(found, disagree)}): at least one label of each is wrong.",
        severity=severity,
        effects=(
            Effect("share with a copy under another label", share, low, high, "share", len(survey),
                   control=found.by_chance),
        ),
        rows=_rows(survey, found, disagree),
        ruled_out=_ruled_out(found),
        next_step="Look at these pairs, and correct the labels or take the pictures out.",
        prevalence=share,
        details={"pairs": _listed(survey, found, disagree)},
    )  # fmt: skip


def asked_split(splits: NDArray[np.str_]) -> str:
    """The split that should hold nothing known: by its name, else the smallest."""
    names, counts = np.unique(splits[splits != ""], return_counts=True)
    for wanted in ("test", "val"):
        for name in names:
            if wanted in name.lower():
                return str(name)
    return str(names[int(np.argmin(counts))])


def _easier(survey: Survey, twins: NDArray[np.int64], of_split: NDArray[np.int64]) -> str:
    """How the accuracy on the copies compares with that on the rest of the split."""
    others = np.setdiff1d(of_split, twins)
    mine, rest = (rows[survey.label[rows] >= 0] for rows in (twins, others))
    if min(len(mine), len(rest)) < 10:
        return ""
    shares = [percent(float((survey.predicted[r] == survey.label[r]).mean())) for r in (mine, rest)]
    return f" The model is right in {shares[0]} of them, and in {shares[1]} of the others of that split."


def _kinds(found: Duplicates, which: Flags) -> str:
    exact = int((found.exact & which).sum())
    near = int(which.sum()) - exact
    counts = ((exact, "the very same"), (near, "nearly so"))
    return ", ".join(f"{n} {'pair' if n == 1 else 'pairs'} {how}" for n, how in counts if n)


def _ruled_out(found: Duplicates) -> str:
    return (
        "The very same by sha256 of what the network sees; nearly so by features, then by pixels: a likeness "
        f"of {found.threshold:.2f} or more, which {percent(found.by_chance)} of random pairs reach."
    )


def _order(found: Duplicates, which: Flags) -> NDArray[np.int64]:
    chosen = np.flatnonzero(which)
    return chosen[np.argsort(-found.likeness[chosen], kind="stable")]


def _rows(survey: Survey, found: Duplicates, which: Flags) -> tuple[int, ...]:
    """Pair after pair."""
    ends = found.pairs[_order(found, which)[:SHOWN]].ravel()
    return tuple(dict.fromkeys(int(survey.number[row]) for row in ends))


def _listed(survey: Survey, found: Duplicates, which: Flags) -> list[dict[str, Any]]:
    def name(row: int) -> str:
        return survey.dataset[int(survey.number[row])].name

    return [
        {
            "one": name(int(found.pairs[pair, 0])),
            "other": name(int(found.pairs[pair, 1])),
            "likeness": "the same" if found.exact[pair] else round(float(found.likeness[pair]), 3),
        }
        for pair in _order(found, which)[:LISTED]
    ]
