"""Is it the right thing? What was found, beside where the mark is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.shortcuts.planted import over_all
from underhood.playbooks.finding import Finding

Masks = NDArray[np.bool_]  # (k, H, W)
RIGHT = 0.3  # mean overlap with the mark from which on it is the right region
MOSTLY = 0.5  # of a finding's pictures have the change that it names
NAMES = {  # what a change of the whole picture may be called
    "tint": ("colour",),
    "texture": ("texture",),
    "cast": ("colour",),
    "weave": ("texture",),
    "grain": ("texture",),
    "contrast": ("contrast",),
}


@dataclass(frozen=True)
class Score:
    """overlap: None where there is no region; called: the name given to a change of the whole picture."""

    right: bool
    overlap: float | None = None
    called: str | None = None


def overlap(found: Masks, true: Masks) -> float:
    """Intersection over union, the mean over pictures (k, H, W); 0 where a picture has no mark."""
    both, either = (found & true).sum((1, 2)), (found | true).sum((1, 2))
    return float((both / np.maximum(either, 1)).mean())


def scored(mark: str, finding: Finding, true: Masks) -> Score:
    """true: (n, H, W), where the mark is in each of the data set's rows."""
    called = name_of(finding)
    region = None
    if finding.masks is not None and len(finding.masks):
        region = overlap(finding.masks, true[list(finding.rows[: len(finding.masks)])])
    if over_all(mark):
        theirs = true[list(finding.rows)].any((1, 2)).mean()
        return Score(called in NAMES[mark] and bool(theirs >= MOSTLY), region, called)
    return Score(called is None and region is not None and region >= RIGHT, region, called)


def name_of(finding: Finding) -> str | None:
    """What the finding says of the whole picture, if that is what it is about."""
    details: Mapping[str, Any] = finding.details
    found = details.get("whole_image")
    return str(found) if found else None


def first_right(mark: str, findings: Sequence[Finding], true: Masks) -> int | None:
    """Place of the first right finding, from 0; None where there is none."""
    return next((i for i, finding in enumerate(findings) if scored(mark, finding, true).right), None)
