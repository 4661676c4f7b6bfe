"""Gaps between a group and the rest: how large, how sure, corrected for how many were looked for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from underhood.playbooks.statistics import fisher_p, holm, newcombe, subset_p, wilson

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

LABEL = "label"  # stands for a column, beside those of the metadata


@dataclass(frozen=True, eq=False)
class Group:
    """Some of the survey's rows: those with `value` in `column`. rows: (n,) bool."""

    column: str
    value: str
    rows: Flags

    @property
    def name(self) -> str:
        return f"{self.column} = {self.value}"

    @property
    def count(self) -> int:
        return int(self.rows.sum())


@dataclass(frozen=True, eq=False)
class Measure:
    """A figure of each row, of which groups have a mean.

    kind:   "share" of rows that are so (0 or 1 each), or a "mean" of amounts.
    values: (n,), NaN where it is not known.
    better: in which direction.
    by_label: whether labels can be compared in it. A model whose confidence is right on the whole is surer
            than right of rare classes, so that a gap between labels tells nothing there.
    """

    key: str
    name: str
    values: Floats
    kind: Literal["share", "mean"]
    better: Literal["higher", "nearer 0"]
    by_label: bool = True


@dataclass(frozen=True)
class Gap:
    """What a group has, less what the rest has. corrected: p by Holm, for all gaps that were compared."""

    group: Group
    measure: str
    value: float
    rest: float
    low: float
    high: float
    p: float
    better: Literal["higher", "nearer 0"]
    corrected: float = 1.0

    @property
    def difference(self) -> float:
        return self.value - self.rest

    @property
    def is_worse(self) -> bool:
        if self.better == "higher":
            return self.difference < 0
        return abs(self.value) > abs(self.rest)


def too_small(group: Group, right: Floats, smallest: int, widest: float) -> str | None:
    """Why the group is too small to be compared; None where it is not."""
    if group.count < smallest:
        return f"{group.name}: {group.count} rows, fewer than {smallest}"
    interval = wilson(float(right[group.rows].sum()), group.count)
    if interval.high - interval.low > widest:
        return (
            f"{group.name}: {group.count} rows, whose accuracy is only known to be "
            f"{100 * interval.low:.0f} to {100 * interval.high:.0f} %"
        )
    return None


def compared(groups: Sequence[Group], measures: Sequence[Measure]) -> list[Gap]:
    """Every group against all other rows in every measure; both sides need two rows at least."""
    asked = [(g, m) for g in groups for m in measures if m.by_label or g.column != LABEL]
    found = [gap for group, measure in asked if (gap := _gap(group, measure))]
    corrected = holm([gap.p for gap in found])
    return [replace(gap, corrected=float(p)) for gap, p in zip(found, corrected, strict=True)]


def _gap(group: Group, measure: Measure) -> Gap | None:
    known = ~np.isnan(measure.values)
    mine, others = measure.values[group.rows & known], measure.values[~group.rows & known]
    if min(len(mine), len(others)) < 2:
        return None
    if measure.kind == "share":
        counts = int(mine.sum()), len(mine), int(others.sum()), len(others)
        (low, high), p = newcombe(*counts), fisher_p(*counts)
    else:
        low, high = _pooled(mine, others)
        p = subset_p(measure.values[known], group.rows[known])
    return Gap(
        group, measure.key, float(mine.mean()), float(others.mean()), low, high, p, better=measure.better
    )


def _pooled(mine: Floats, others: Floats) -> tuple[float, float]:
    """Student's interval of a difference of means, of one spread: a small group's own is too uncertain."""
    from scipy.special import stdtrit  # quantile of Student's t

    freedom = len(mine) + len(others) - 2
    squares = ((mine - mine.mean()) ** 2).sum() + ((others - others.mean()) ** 2).sum()
    error = np.sqrt(squares / freedom * (1 / len(mine) + 1 / len(others)))
    difference, reach = mine.mean() - others.mean(), stdtrit(freedom, 0.975) * error
    return float(difference - reach), float(difference + reach)
