"""What is known of a survey's mispredictions: explanations, groups, nearest training pictures, masks."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from underhood.playbooks.contrasts import Contrasts, contrasted, joined
from underhood.playbooks.errors.alike import Grouped
from underhood.playbooks.errors.background import Gaze, OnSubject, Pair
from underhood.playbooks.nearest import Nearest
from underhood.playbooks.places import Places, brightest
from underhood.playbooks.portions import PICTURES, portions
from underhood.playbooks.survey import Indices, Survey


@dataclass(frozen=True, eq=False)
class Mistakes:
    """Rows are the survey's; a place counts within `rows`.

    labelled, wrong: all rows with a known label, and those of them that are mispredicted.
    compared:        labelled rows, of which `groups` gives the error rates.
    rows:            (m,) the mispredictions that were explained and grouped, in order.
    explained:       of each why its predicted class, rather than its true one.
    gazes:           where they look, all of them and pair by pair of classes; empty without masks.
    """

    survey: Survey
    labelled: Indices
    wrong: Indices
    compared: Indices
    rows: Indices
    groups: Grouped
    explained: Contrasts
    places: Places
    nearest: Nearest
    on_subject: OnSubject
    gazes: tuple[Gaze, ...]

    @cached_property
    def size(self) -> tuple[int, ...]:
        """(H, W) of the network's input."""
        return tuple(self.survey.inputs(self.rows[:1]).shape[-2:])

    def prevalence(self, count: int) -> float:
        """Share of the labelled pictures that so many of the explained errors stand for."""
        return count / len(self.rows) * len(self.wrong) / len(self.labelled)

    def pair_name(self, pair: Pair) -> str:
        """Such as "wolf → husky": what it is, and what it is taken for."""
        return " → ".join(self.survey.classes[of] for of in pair)

    def pairs(self, rows: Indices) -> Counter[Pair]:
        """True and predicted class, by how often; the first found first where they are as frequent."""
        label, predicted = self.survey.label[rows].tolist(), self.survey.predicted[rows].tolist()
        return Counter(zip(label, predicted, strict=True))

    def numbers(self, rows: Indices) -> tuple[int, ...]:
        """Of the data set."""
        return tuple(int(number) for number in self.survey.number[rows])

    def share(self, row: int) -> float | None:
        """Of the row's relevance on its subject; None where that is not known."""
        at = int(np.searchsorted(self.on_subject.rows, row))
        if at == len(self.on_subject.rows) or self.on_subject.rows[at] != row:
            return None
        return float(self.on_subject.relevance[at])

    def arrays(self, at: Indices) -> Mapping[str, NDArray[Any]]:
        """(k, h, w) each: what speaks for the predicted and for the true class, and their difference."""
        found = self.explained
        return {
            "predicted": found.of[at].relu().numpy(),
            "true": found.against[at].relu().numpy(),
            "contrast": found.maps[at].numpy(),
        }

    def regions(self, at: Indices) -> NDArray[np.bool_]:
        """(k, H, W): where what speaks for the predicted rather than the true class is strongest."""
        return brightest(self.explained.maps[at].relu(), self.size).numpy()

    def often(self, at: Indices) -> NDArray[np.float32]:
        """(H, W): how often a place is in those regions."""
        total = np.zeros(self.size, dtype=np.float32)
        for part in portions(at, PICTURES):
            total += self.regions(part).sum(0)
        total /= len(at)
        return total

    def line(self, place: int) -> dict[str, Any]:
        """One error, for a table."""
        survey, row, group = self.survey, int(self.rows[place]), int(self.groups.group[place])
        share = self.share(row)
        return {
            "picture": self._name(row),
            "row": int(survey.number[row]),
            "true": survey.classes[int(survey.label[row])],
            "predicted": survey.classes[int(survey.predicted[row])],
            "probability": round(float(survey.probability[row]), 4),
            "group": group + 1 if group >= 0 else None,
            "looked": self.places.of(np.array([place])).words(),
            "on the subject": None if share is None else round(share, 4),
            "nearest training pictures": self._near(place),
        }

    def _near(self, place: int) -> str:
        """Their names and labels, such as "a.png (cat), b.png (dog)"."""
        near = [int(row) for row in self.nearest.rows[place] if row >= 0]
        labels = (self.survey.dataset[int(self.survey.number[row])].label or "no label" for row in near)
        return ", ".join(f"{self._name(row)} ({label})" for row, label in zip(near, labels, strict=True))

    def _name(self, row: int) -> str:
        return self.survey.dataset[int(self.survey.number[row])].name


def explained(survey: Survey, rows: Indices) -> Contrasts:
    """Why the predicted rather than the true class, of each of the rows."""
    predicted, label = torch.from_numpy(survey.predicted), torch.from_numpy(survey.label)
    return joined(
        [
            contrasted(survey.engine, survey.inputs(part), predicted[part], label[part])
            for part in portions(rows, PICTURES)
        ]
    )
