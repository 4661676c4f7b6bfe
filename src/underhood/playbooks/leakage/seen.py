"""What the model, and a simple classifier, make of parts of pictures that should not be enough."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from underhood.playbooks.figures import percent
from underhood.playbooks.leakage.matches import Matches, matches
from underhood.playbooks.leakage.reader import read_by_simple_classifier
from underhood.playbooks.leakage.views import Colours, View, cells_of, views
from underhood.playbooks.statistics import detectable_drop, holm
from underhood.playbooks.survey import AT_ONCE, Survey

Indices = NDArray[np.int64]
NOTABLE = 0.05  # accuracy above chance: less is no leak worth a word
ENOUGH = 0.5  # share of what the model has above chance, from which on it needs little more than a view


@dataclass(frozen=True, eq=False)
class Seen:
    """What was made of one view: `by_model` and `by_classifier` (None where it could not be fitted), against
    `whole`, what the model makes of the whole pictures. p: both corrected for all views, by Holm.

    told: (k,) the model's classes.
    """

    view: View
    by_model: Matches
    by_classifier: Matches | None
    whole: Matches
    told: Indices
    p_model: float = 1.0
    p_classifier: float = 1.0

    @property
    def kept(self) -> float:
        """Share of what the model is better than chance with the whole pictures, that it keeps."""
        return self.by_model.excess / self.whole.excess if self.whole.excess > NOTABLE else 0.0

    def stands(self, level: float) -> tuple[bool, bool]:
        """Whether the view tells the class to the model, and to the simple classifier."""
        found = [
            m is not None and p <= level and m.low > m.chance and m.excess >= NOTABLE
            for m, p in ((self.by_model, self.p_model), (self.by_classifier, self.p_classifier))
        ]
        if self.view.is_beside:
            return found[0], found[1]
        # The subject itself is in these views: they are remarkable only where nothing else is needed.
        return found[0] and self.kept >= ENOUGH, found[1] and self._suffices(self.by_classifier)

    def _suffices(self, seen: Matches | None) -> bool:
        return (
            seen is not None and self.whole.excess > NOTABLE and seen.accuracy >= self.whole.accuracy - 0.02
        )


def look_at_parts(survey: Survey, rows: Indices, border: float, draws: int) -> list[Seen]:
    """Every view of `rows`, which have labels; read once, and never all held."""
    masked = all(survey.dataset[int(survey.number[row])].mask is not None for row in rows)
    colours = Colours.of(survey.model.preprocess, survey.inputs(rows[:AT_ONCE]))
    asked = views(border, colours, masked)
    told: list[list[Indices]] = [[] for _ in asked]
    cells: list[list[NDArray[np.float32]]] = [[] for _ in asked]
    for some in np.array_split(rows, max(1, -(-len(rows) // AT_ONCE))):
        inputs, masks = survey.inputs(some), survey.masks(some) if masked else None
        for number, view in enumerate(asked):
            shown = view.show(inputs, masks)
            told[number].append(survey.engine.outputs(shown).argmax(1).numpy())
            cells[number].append(cells_of(shown).numpy())
    label, seed = survey.label[rows], survey.settings.seed
    whole = matches(survey.predicted[rows], label, draws=draws, seed=seed)
    seen = []
    for view, classes, figures in zip(asked, told, cells, strict=True):
        by_model = np.concatenate(classes)
        by_classifier = read_by_simple_classifier(np.concatenate(figures), label, seed=seed)
        seen.append(
            Seen(
                view,
                matches(by_model, label, draws=draws, seed=seed),
                None if by_classifier is None else matches(by_classifier, label, draws=draws, seed=seed),
                whole,
                by_model,
            )
        )
    return _corrected(seen)


def _corrected(seen: Sequence[Seen]) -> list[Seen]:
    p = holm([m.p if m else 1.0 for one in seen for m in (one.by_model, one.by_classifier)])
    return [
        replace(one, p_model=float(model), p_classifier=float(classifier))
        for one, model, classifier in zip(seen, p[::2], p[1::2], strict=True)
    ]


def table_of_parts(seen: Sequence[Seen]) -> list[dict[str, Any]]:
    return [
        {
            "shown": one.view.shown,
            "the model is right in": told(one.by_model),
            "a simple classifier is right in": "—" if one.by_classifier is None else told(one.by_classifier),
            "largest class": percent(one.by_model.majority),
            "labels shuffled": percent(one.by_model.shuffled),
            "whole pictures": percent(one.whole.accuracy),
        }
        for one in seen
    ]


def told(found: Matches) -> str:
    return f"{percent(found.accuracy)} [{percent(found.low)}, {percent(found.high)}]"


def power(seen: Sequence[Seen], level: float) -> str:
    """What accuracy would have been found."""
    one = seen[0].by_model
    rise = detectable_drop(1 - one.chance, one.rows, alpha=level / (2 * len(seen)))
    least = one.chance + max(NOTABLE, rise or 1 - one.chance)
    return f"Parts that tell the class in {percent(least)} or more would have been found in 8 of 10 cases."
