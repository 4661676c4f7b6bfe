"""One patient, or object, on both sides of a split: other pictures of what the model has learned by heart."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from underhood.playbooks.figures import percent
from underhood.playbooks.finding import Effect, Finding, Severity
from underhood.playbooks.leakage.copies import asked_split
from underhood.playbooks.statistics import wilson
from underhood.playbooks.survey import Survey

# words of a column's name that say it tells whom, or what, the picture is of
WHOM = {"patient", "subject", "person", "participant", "individual", "case", "lesion", "specimen", "mrn"}
MANY = 20  # rows for each value, at most, of a column that tells them apart
SHOWN = 24  # rows of a finding

Names = NDArray[np.str_]


def known_findings(survey: Survey, together: str | None) -> list[Finding]:
    """Of columns that name patients or objects: by their own name, or as `together` says."""
    rows = [survey.dataset[int(number)] for number in survey.number]
    splits = np.array([row.split or "" for row in rows])
    if len(set(splits) - {""}) < 2:
        return []
    names = dict.fromkeys(name for row in rows for name in row.metadata)
    found = []
    for name in names:
        values = np.array([row.metadata.get(name, "").strip() for row in rows])
        if name == together or (_is_whom(name) and _tells_apart(values)):
            found.append(_finding(survey, name, values, splits))
    return [finding for finding in found if finding]


def _is_whom(name: str) -> bool:
    return bool(WHOM & set(re.split(r"[^a-z]+", name.lower())))


def _tells_apart(values: Names) -> bool:
    """A column such as lesion_type has a few values with many rows each."""
    given = values[values != ""]
    return len(given) > 0 and len(given) <= MANY * len(np.unique(given))


def _finding(survey: Survey, name: str, values: Names, splits: Names) -> Finding | None:
    asked = asked_split(splits)
    inside = (splits == asked) & (values != "")
    elsewhere = np.unique(values[(splits != asked) & (splits != "") & (values != "")])
    known = inside & np.isin(values, elsewhere)
    if not known.any():
        return None
    count, of = int(known.sum()), int((splits == asked).sum())
    (low, high), share = wilson(count, of), count / of
    severity: Severity = "high" if share >= 0.05 else "medium" if share >= 0.01 else "low"
    return Finding(
        playbook="leakage",
        key=f"known-{name}",
        claim=f"{count} of {of} pictures of the split '{asked}' ({percent(share)}) have a '{name}' that "
        f"is in another split too{_examples(values[known])}: what is measured on them is partly memory.",
        severity=severity,
        effects=(Effect(f"share with a known {name}", share, low, high, "share", of, control=0.0),),
        rows=tuple(int(n) for n in survey.number[known][:SHOWN]),
        ruled_out=f"Counted, not estimated: the same entry in '{name}'. A split by '{name}' has none.",
        next_step=f"Split again so that all pictures of one '{name}' are in one split, and measure anew.",
        prevalence=share,
    )


def _examples(values: Sequence[str] | Names) -> str:
    shown = list(dict.fromkeys(str(value) for value in values))
    return f" ({', '.join(shown[:3])}{', …' if len(shown) > 3 else ''})"
