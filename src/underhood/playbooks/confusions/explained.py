"""A pair of confused classes: what speaks for the one rather than the other, and what they share."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from underhood.inputs.random import CONFUSIONS
from underhood.playbooks.confusions.pairs import Confused
from underhood.playbooks.confusions.shared_units import Doubles, Evidence, Overlap, evidence, overlap
from underhood.playbooks.contrasts import Contrasts, contrasted, joined
from underhood.playbooks.figures import between, percent
from underhood.playbooks.finding import Effect, Finding, Severity
from underhood.playbooks.places import brightest, places
from underhood.playbooks.playbook import Playbook
from underhood.playbooks.portions import PICTURES, drawn, portions
from underhood.playbooks.statistics import wilson
from underhood.playbooks.survey import Indices, Survey

COMPARED = 300  # other pairs of classes whose units are compared


@dataclass(frozen=True, eq=False)
class Explained:
    """Rows are the survey's.

    right:     pictures of the first and of the second class that the model gets right.
    confused:  those of either that it takes for the other.
    contrasts: why the first rather than the second, of the right ones, first to second, and the confused.
    units:     most active units of both; evidence: what units add for either, on all these pictures.
    """

    survey: Survey
    counts: Confused
    right: tuple[Indices, Indices]
    confused: Indices
    contrasts: Contrasts
    units: Overlap
    evidence: Evidence

    @property
    def names(self) -> tuple[str, str]:
        return self.survey.classes[self.counts.a], self.survey.classes[self.counts.b]

    @cached_property
    def maps(self) -> Mapping[str, Tensor]:
        """Contrast maps (k, h, w): above 0 speaks for the class named; for the wrong one on the confused."""
        first, second = (len(rows) for rows in self.right)
        maps = self.contrasts.maps
        is_first = torch.from_numpy(self.survey.predicted[self.confused] == self.counts.a)
        confused = torch.where(is_first[:, None, None], maps[first + second :], -maps[first + second :])
        return {"first": maps[:first], "second": -maps[first : first + second], "wrong": confused}

    @cached_property
    def where(self) -> Mapping[str, str]:
        """In words, where what speaks for each lies."""
        return {name: places(maps.relu()).words() for name, maps in self.maps.items() if len(maps)}

    @property
    def way(self) -> str:
        """Which of the two is taken for the other more; empty where that may be chance."""
        counts, (first, second) = self.counts, self.names
        if not counts.is_asymmetric:
            return ""
        more = counts.a_as_b * counts.of_b > counts.b_as_a * counts.of_a
        return f"{first} taken for {second}" if more else f"{second} taken for {first}"

    def line(self) -> dict[str, Any]:
        units = self.units
        return {
            "classes": ", ".join(self.names),
            "evidence for the first": self.where.get("first"),
            "for the second": self.where.get("second"),
            "for the wrong one": self.where["wrong"],
            "most active units shared": f"{len(units.shared)} of {len(units.a)}",
            "Jaccard": round(units.jaccard, 4),
            "by chance": round(units.chance, 4),
            "p": round(units.p, 4),
            "other pairs": None if units.typical is None else round(units.typical, 4),
            "units": ", ".join(map(str, units.shared)),
            "evidence shared": round(self.evidence.shared, 4),
            "units for both": ", ".join(map(str, self.evidence.both[:10])),
        }

    def claim(self) -> str:
        counts, units, (first, second) = self.counts, self.units, self.names
        low, high = counts.interval
        way = f", mostly {self.way}" if self.way else ""
        others = "" if units.typical is None else f"; other pairs of classes {units.typical:.2f}"
        return (
            f"{counts.count} of {counts.of} pictures of {first} and {second} are taken for the other "
            f"({percent(counts.rate, 1)} {between(low, high, 1)}; over all other pairs "
            f"{percent(counts.rest_rate, 1)}){way}. What speaks for the wrong class lies "
            f"{self.where['wrong']}. Of their {len(units.a)} most active units the two share "
            f"{len(units.shared)} (Jaccard {units.jaccard:.2f}{others}); {percent(self.evidence.shared)} of "
            "the evidence for them goes through the same units."
        )


def explained(survey: Survey, counts: Confused, means: Doubles, sample: int, units: int) -> Explained:
    """means: (C, K) of the features of each class."""
    label, predicted, (a, b) = survey.label, survey.predicted, (counts.a, counts.b)
    seed = survey.settings.seed

    def some(where: Any, number: int) -> Indices:
        return drawn(np.flatnonzero(where), sample, seed, CONFUSIONS, a, b, number)

    right = some((label == a) & (predicted == a), 0), some((label == b) & (predicted == b), 1)
    wrong = some(((label == a) & (predicted == b)) | ((label == b) & (predicted == a)), 2)
    contrasts = _contrasts(survey, np.concatenate([*right, wrong]), a, b)
    return Explained(
        survey,
        counts,
        right,
        wrong,
        contrasts,
        overlap(means, a, b, top_of(means.shape[1], units), _others(means, a, b)),
        evidence(contrasts.units_of, contrasts.units_against),
    )


def top_of(layer: int, most: int) -> int:
    """How many units are the most active of a layer: a tenth of it, and no more than asked for."""
    return max(1, min(most, layer // 10))


def _contrasts(survey: Survey, rows: Indices, a: int, b: int) -> Contrasts:
    of, against = (torch.full((len(rows),), each) for each in (a, b))
    return joined(
        [
            contrasted(survey.engine, survey.inputs(part), of[: len(part)], against[: len(part)])
            for part in portions(rows, PICTURES)
        ]
    )


def _others(means: Doubles, a: int, b: int) -> list[tuple[int, int]]:
    present = np.flatnonzero(np.isfinite(means).all(1)).tolist()
    return list(islice((pair for pair in combinations(present, 2) if pair != (a, b)), COMPARED))


def finding(pair: Explained, playbook: Playbook, shown: int) -> Finding:
    survey, counts, (first, second) = pair.survey, pair.counts, pair.names
    order = np.argsort(-survey.probability[pair.confused], kind="stable")
    rows, maps = pair.confused[order], pair.maps["wrong"][order]
    regions = brightest(maps.relu(), tuple(survey.inputs(rows[:1]).shape[-2:])).numpy()
    rate = wilson(counts.count, counts.of)
    return Finding(
        playbook.key,
        f"{first} and {second} confused",
        pair.claim(),
        _severity(counts.rate),
        (
            Effect(
                "confused", counts.rate, *rate, "share", counts.of, counts.rest_rate, *counts.rest_interval
            ),
            Effect("beyond other pairs", counts.rate - counts.rest_rate, *counts.beyond, "share", counts.of),
        ),
        tuple(int(number) for number in survey.number[rows]),
        f"Compared with all other pairs of classes together (Fisher's exact test, p = {counts.p:.2g}, "
        "corrected for the number of confused pairs); a finding also takes twice their rate or more.",
        f"Add training pictures of {first} and {second} that agree in what the model takes for both; if "
        "people cannot tell them apart either, make them one class.",
        prevalence=counts.rate,
        masks=regions[:shown],
        arrays={
            "region": regions.mean(0, dtype=np.float32),
            "contrast": maps[:shown].numpy(),
            **{f"mean contrast, {name}": of.mean(0).numpy() for name, of in pair.maps.items() if len(of)},
        },
        details={
            "classes": list(pair.names),
            "most active units": {first: list(pair.units.a), second: list(pair.units.b)},
            "shared": list(pair.units.shared),
            "Jaccard": pair.units.jaccard,
            "Jaccard by chance": pair.units.chance,
            "units for both": list(pair.evidence.both),
            "evidence shared": pair.evidence.shared,
        },
    )


def _severity(rate: float) -> Severity:
    return "high" if rate >= 0.2 else "medium" if rate >= 0.05 else "low"
