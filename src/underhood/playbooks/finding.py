"""What an audit says: `Finding`s, with their effect, their evidence, and what ruled out chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Severity = Literal["high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")


@dataclass(frozen=True)
class Effect:
    """A figure with its 95 % interval, beside what a control comes to.

    name:    what was done or measured, such as "removal".
    unit:    "log-odds", "share", "accuracy", …
    control: the same figure where chance alone is at work; None where there is no such thing.
    inputs:  how many inputs are behind it.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    inputs: int
    control: float | None = None
    control_low: float | None = None
    control_high: float | None = None


@dataclass(frozen=True, eq=False)
class Finding:
    """A claim about the model, with what is behind it.

    key:        names it within its audit, and stays the same when the audit is done again.
    claim:      one or a few plain sentences, with the figures.
    effects:    the main one first.
    prevalence: share of the inputs concerned (of the class in `label`, where there is one), 0 to 1.
    rows:       numbers of the data set's rows that show it, the most telling first.
    ruled_out:  what was done to rule out chance; next_step: what to do about it.
    masks:      (k, H, W) bool for the first k rows: the region that is meant, at the network's input size.
    arrays:     further arrays for the report, such as "region": (H, W), how often a place is in the region.
    details:    anything else, ready for JSON.
    """

    playbook: str
    key: str
    claim: str
    severity: Severity
    effects: tuple[Effect, ...]
    rows: tuple[int, ...]
    ruled_out: str
    next_step: str
    prevalence: float | None = None
    label: str | None = None
    masks: NDArray[np.bool_] | None = None
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one playbook came to.

    summary:  one sentence, also where nothing was found: then with what would have been found.
    tables:   by title, rows of cells by column, for the report.
    problems: what could not be done, and why, a sentence each.
    calls:    forward passes spent (a backward pass counts as two).
    """

    playbook: str
    summary: str
    findings: tuple[Finding, ...] = ()
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    calls: int = 0
