"""What is known of each group that was compared: a table for people, and what would have been found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from underhood.inputs.random import SUBGROUPS, generator
from underhood.playbooks.figures import in_points, percent, points
from underhood.playbooks.statistics import detectable_drop, wilson
from underhood.playbooks.subgroups.calibration import Calibration, calibration
from underhood.playbooks.subgroups.gaps import Gap, Group, Measure
from underhood.playbooks.subgroups.relevance import distances
from underhood.playbooks.survey import Survey


@dataclass(frozen=True, eq=False)
class Described:
    """What is known of each group that was compared."""

    groups: Sequence[Group]
    measures: Sequence[Measure]
    gaps: Sequence[Gap]
    calibrations: Sequence[Calibration]
    moved: NDArray[np.float64]  # (g,), how far the mean map lies from that of the rest
    moved_by_chance: NDArray[np.float64]
    own: NDArray[np.float64]  # (g, h, w), mean maps
    rest: NDArray[np.float64]
    area: NDArray[np.float64]  # (n,), the masks' share of the picture

    @classmethod
    def of(
        cls,
        survey: Survey,
        groups: Sequence[Group],
        measures: Sequence[Measure],
        gaps: Sequence[Gap],
        area: NDArray[np.float64],
    ) -> "Described":
        seed, right = survey.settings.seed, measures[0].values
        calibrations = [
            calibration(survey.probability[group.rows].astype(np.float64), right[group.rows], seed=seed)
            for group in groups
        ]
        maps = distances(survey, groups, generator(seed, SUBGROUPS))
        return cls(groups, measures, gaps, calibrations, *maps, area=area)

    def index(self, group: Group) -> int:
        return [other.name for other in self.groups].index(group.name)

    def gap(self, group: Group, measure: str) -> Gap | None:
        return next((g for g in self.gaps if g.group is group and g.measure == measure), None)

    def table(self) -> list[dict[str, Any]]:
        return [self._row(number, group) for number, group in enumerate(self.groups)]

    def _row(self, number: int, group: Group) -> dict[str, Any]:
        right = self.measures[0].values[group.rows]
        low, high = wilson(float(right.sum()), group.count)
        known = self.calibrations[number]
        row: dict[str, Any] = {
            "group": group.name,
            "rows": group.count,
            "accuracy": f"{percent(right.mean())} [{percent(low)}, {percent(high)}]",
        }
        for measure in self.measures:
            if gap := self.gap(group, measure.key):
                row[f"{measure.name} against the rest"] = (
                    f"{points(gap.difference)} [{points(gap.low)}, {points(gap.high)}], p {gap.corrected:.2g}"
                )
        row["calibration error"] = (
            f"{percent(known.error)} [{percent(known.low)}, {percent(known.high)}] "
            f"(by chance {percent(known.by_chance)})"
        )
        if not np.isnan(self.area[group.rows]).all():
            row["mask covers"] = percent(float(np.nanmean(self.area[group.rows])))
        row["looks elsewhere"] = (
            f"{percent(self.moved[number])} of relevance (by chance {percent(self.moved_by_chance[number])})"
        )
        return row

    def power(self, level: float) -> str:
        """What drop in accuracy would have been found, in a group of middling size and in the smallest."""
        sizes = sorted(group.count for group in self.groups)
        right = self.measures[0].values
        labelled = int((~np.isnan(right)).sum())
        rate = float(np.nanmean(right))
        middle, least = sizes[len(sizes) // 2], sizes[0]

        def found(size: int) -> str:
            drop = detectable_drop(rate, size, labelled - size, alpha=level / len(self.gaps))
            return "no drop at all" if drop is None else f"one of {in_points(drop)}"

        smallest = "" if least == middle else f", and {found(least)} in the smallest, of {least}"
        return (
            f"Of drops in accuracy, {found(middle)} would have been found in 8 of 10 cases in a group of "
            f"{middle} rows{smallest}."
        )
