"""How much of what the model looks at lies on the subject: on its errors, and where it is right."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from underhood.checks.intervals import Interval, bootstrap
from underhood.inputs.random import ERRORS, generator
from underhood.playbooks.errors.apart import Apart, apart
from underhood.playbooks.places import inside, torch_of
from underhood.playbooks.portions import PICTURES, portions
from underhood.playbooks.statistics import holm
from underhood.playbooks.survey import Floats, Indices, Survey

FEWEST = 5  # errors that are compared
LESS = 0.1  # of the relevance on the subject than where the model is right, to be of note
Pair = tuple[int, int]  # true class, predicted class


@dataclass(frozen=True)
class OnSubject:
    """Of inputs with a mask: share of the relevance, and of the picture, that is on the subject, (k,)."""

    rows: Indices
    relevance: Floats
    area: Floats


def on_subject(survey: Survey, rows: Indices) -> OnSubject:
    """Of the rows that have a mask with anything in it, and a map that is not zero."""
    masked = np.array(
        [row for row in rows if survey.dataset[int(survey.number[row])].mask is not None], dtype=np.int64
    )
    relevance, area = [np.zeros(0, dtype=np.float32)], [np.zeros(0, dtype=np.float32)]
    for part in portions(masked, PICTURES):
        masks = survey.masks(part)
        assert masks is not None  # each of them has one
        relevance.append(inside(torch_of(survey.maps[part]), masks))
        area.append(masks.float().mean((1, 2)).numpy())
    found = OnSubject(masked, np.concatenate(relevance), np.concatenate(area))
    usable = np.isfinite(found.relevance) & (found.area > 0)
    return OnSubject(found.rows[usable], found.relevance[usable], found.area[usable])


@dataclass(frozen=True)
class Gaze:
    """Of some errors: the relevance on the subject against that of the right ones, and against the area.

    pair:   the errors' classes; None for all errors.
    apart:  share on the subject against that of pictures that it rightly takes for the same class.
    excess: mean share of the relevance less share of the picture, with its interval; a map that knows nothing
            of the subject has 0. p: of so low an excess, by signs dealt anew.
    """

    pair: Pair | None
    rows: Indices
    relevance: float
    interval: Interval
    area: float
    apart: Apart | None
    excess: float
    excess_interval: Interval
    p: float
    p_apart: float = 1.0  # both corrected for the number of comparisons
    p_excess: float = 1.0

    @property
    def less_than_right_ones(self) -> bool:
        """And not clearly more than what an even map has there."""
        if self.apart is None or self.excess_interval.low > 0:
            return False
        return self.p_apart <= 0.05 and self.apart.high < 0 and self.apart.value <= -LESS

    @property
    def less_than_chance(self) -> bool:
        return self.p_excess <= 0.05 and self.excess_interval.high < 0


def gazes(survey: Survey, found: OnSubject, pairs: Sequence[Pair], shuffles: int) -> list[Gaze]:
    """Of all errors, and of each of the pairs, where there are enough; corrected for their number."""
    asked = [_gaze(survey, found, pair, shuffles, number) for number, pair in enumerate([None, *pairs])]
    compared = [one for one in asked if one is not None]
    p = holm([one.apart.p if one.apart else 1.0 for one in compared] + [one.p for one in compared])
    return [
        replace(one, p_apart=float(p[number]), p_excess=float(p[len(compared) + number]))
        for number, one in enumerate(compared)
    ]


def _gaze(survey: Survey, found: OnSubject, pair: Pair | None, shuffles: int, number: int) -> Gaze | None:
    label, predicted, seed = survey.label[found.rows], survey.predicted[found.rows], survey.settings.seed
    wrong = label != predicted
    chosen = wrong if pair is None else wrong & (label == pair[0]) & (predicted == pair[1])
    if chosen.sum() < FEWEST:
        return None
    relevance, area = found.relevance.astype(np.float64), found.area.astype(np.float64)
    among = chosen | ~wrong
    excess = relevance[chosen] - area[chosen]
    interval, around = bootstrap(relevance[chosen].tolist(), seed=seed), bootstrap(excess.tolist(), seed=seed)
    assert interval is not None  # there are enough
    assert around is not None
    signs = generator(seed, ERRORS, 4, number).choice([-1.0, 1.0], (shuffles, len(excess)))
    p = (1 + ((signs * excess).mean(1) <= excess.mean() + 1e-12).sum()) / (1 + shuffles)
    return Gaze(
        pair,
        found.rows[chosen],
        float(relevance[chosen].mean()),
        interval,
        float(area[chosen].mean()),
        apart(relevance[among], chosen[among], predicted[among], shuffles, seed, ERRORS, 3, number),
        float(excess.mean()),
        around,
        float(p),
    )
