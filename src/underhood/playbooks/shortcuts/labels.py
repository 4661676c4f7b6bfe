"""How what is relied on goes with the data's labels."""

from typing import Any

import numpy as np

from underhood.playbooks.shortcuts.tested import Tested
from underhood.playbooks.shortcuts.words import percent
from underhood.playbooks.statistics import wilson
from underhood.playbooks.survey import Survey

FEW = 4  # pictures drawn by chance: of fewer no share is told


def by_label(survey: Survey, one: Tested) -> list[dict[str, Any]]:
    """For each label the share of its pictures that are called the finding's class and rely on it.

    The share called so is counted over all pictures, that of them relying over those drawn by chance.
    """
    target, chosen = one.candidate.target, one.chosen
    rows, relying = chosen.rows[chosen.by_chance], one.candidate.relying[chosen.by_chance]
    found = []
    for label in np.unique(survey.label[survey.label >= 0]).tolist():
        there = survey.label == label
        called = float((survey.predicted[there] == target).mean())
        drawn = relying[survey.label[rows] == label]
        if called and len(drawn) < FEW:
            continue
        low, high = wilson(int(drawn.sum()), len(drawn)) if called else (0.0, 0.0)
        share = called * float(drawn.mean()) if called else 0.0
        found.append(
            {
                "label": survey.classes[label],
                "share": share,
                "low": called * low,
                "high": called * high,
                "pictures": int(there.sum()),
            }
        )
    return sorted(found, key=lambda row: -float(row["share"]))


def in_words(rates: list[dict[str, Any]], shown: int = 3) -> str:
    """A sentence, or nothing where there are not two labels to compare."""
    if len(rates) < 2:
        return ""
    parts = [f"{percent(rate['share'])} of the images labelled “{rate['label']}”" for rate in rates[:shown]]
    return f" It is relied on in {', '.join(parts[:-1])} and {parts[-1]}."
