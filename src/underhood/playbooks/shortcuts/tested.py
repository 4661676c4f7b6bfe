"""Candidates under test, and which of them are findings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from underhood.playbooks.shortcuts.asked import Asked
from underhood.playbooks.shortcuts.candidates import Candidate
from underhood.playbooks.shortcuts.evidence import Net, hardest, net, p_value
from underhood.playbooks.shortcuts.exchanges import Around, Exchange, Pictures, Subject, Within, stacked
from underhood.playbooks.shortcuts.outline import outlined
from underhood.playbooks.shortcuts.sampling import Chosen, Looked, drawn_from_others, pictures
from underhood.playbooks.shortcuts.trials import (
    Trial,
    alike_at,
    place_removed,
    place_transplanted,
    property_removed,
    property_transplanted,
)
from underhood.playbooks.statistics import holm
from underhood.playbooks.survey import Indices, Survey

ALPHA = 0.05
MOSTLY = 0.6  # of a thing's pixels, outside the subject
PARTLY, STRONGLY = 0.25, 0.22  # or so many, where it turns that many pictures: no part of a subject does
LARGEST = 0.4  # of the picture: what is larger is no thing in it
# Of pictures, that a property must turn, as honest models know light and dark skin apart, too; and where only
# what is around the subject gets it, as the subject's own colour may be what should decide.
OVER_ALL = {"background": 0.4, "colour": 0.42, "contrast": 0.42, "texture": 0.25}
SPARED = {"colour": 0.15}
SURELY = 0.55  # of pictures: with so many, the second is not asked for, as half of a tint may not be enough
ROOM = 0.1  # of the picture: larger things must turn as many more pictures, as more in them is natural
EVERYWHERE = 0.15  # of a property's effect: as much it must have where it is put on the subject alone


@dataclass(frozen=True, eq=False)
class Tested:
    """A candidate with its trials.

    rows:    of the survey, of the carriers; masks: (k, H, W) of the thing in each, None for a property.
    middle:  the transplant of a property onto the subject alone; around: onto all but the subject. For a
             background the middle is the subject's own transplant.
    outside: share of the thing outside the subject; area: of the picture.
    oddness: how far the carriers' property is from its median over pictures of all classes.
    p:       corrected for the number of candidates tested.
    """

    candidate: Candidate
    chosen: Chosen
    rows: Indices
    recipients: Indices
    transplant: Trial
    removal: Trial
    seed: int
    raw_p: float
    p: float = 1.0
    masks: NDArray[np.bool_] | None = None
    middle: Trial | None = None
    around: Trial | None = None
    outside: float = 1.0
    area: float = 1.0
    oddness: float = 0.0

    @cached_property
    def put(self) -> Net:
        return net(self.transplant, "turned", self.seed)

    @cached_property
    def taken(self) -> Net:
        return net(self.removal, "turned", self.seed)

    @property
    def prevalence(self) -> float:
        """Share of the pictures drawn by chance that rely on it."""
        return float(self.candidate.relying[self.chosen.by_chance].mean())

    @property
    def share_turned(self) -> float:
        return self.put.value

    @property
    def weight(self) -> float:
        return self.share_turned * self.prevalence

    def is_finding(self, worth: float) -> bool:
        return not self.candidate.guess and self.p < ALPHA and self.works(worth) and self.is_suspicious

    def works(self, worth: float) -> bool:
        """It turns the pictures that it is given to, and its own lose by its removal."""
        if self.candidate.kind == "place":
            least = worth * max(1, self.area / ROOM)
        else:
            least = max(worth, OVER_ALL[self.candidate.kind])
        return self.put.low >= least and net(self.removal, "moved", self.seed).low > 0

    @property
    def is_suspicious(self) -> bool:
        """Mostly outside the subject, or all over the picture; or a background that decides more."""
        if self.candidate.kind == "place":
            strong = self.outside >= PARTLY and self.put.low >= STRONGLY
            return (self.outside >= MOSTLY or strong) and self.area <= LARGEST
        assert self.middle is not None
        if self.candidate.kind == "background":
            return self.put.low > net(self.middle, "turned", self.seed).value
        assert self.around is not None
        spared = net(self.around, "turned", self.seed).low
        if self.put.low < SURELY and spared < SPARED.get(self.candidate.kind, -np.inf):
            return False
        whole, part = (net(trial, "moved", self.seed) for trial in (self.transplant, self.middle))
        return part.low > 0 and part.value >= EVERYWHERE * whole.value


@dataclass(frozen=True, eq=False)
class Scene:
    """Who takes part in a candidate's trials.

    recipients: pictures of other classes; pool: more of them, to choose controls from.
    carriers:   pictures that rely on it; turn: (n,), which of them is given to each recipient.
    partners:   a recipient for each carrier.
    """

    asked: Asked
    recipients: Pictures
    pool: Pictures
    carriers: Pictures
    turn: Tensor
    partners: Pictures

    @classmethod
    def of(cls, asked: Asked, recipients: Pictures, pool: Pictures, carriers: Pictures) -> "Scene":
        count = len(carriers)
        partners = recipients[torch.arange(count) % len(recipients)]
        return cls(asked, recipients, pool, carriers, torch.arange(len(recipients)) % count, partners)


def tested(survey: Survey, looked: Looked, candidate: Candidate, pairs: int) -> Tested:
    chosen = looked.chosen
    recipients = drawn_from_others(survey, candidate.target, chosen.rows, pairs, survey.settings.seed)
    onto = pictures(survey, recipients)
    scene = Scene.of(
        Asked(survey.engine, candidate.target),
        onto,
        stacked([looked.others, onto]),
        looked.own[torch.from_numpy(candidate.carriers)],
    )
    if candidate.places is not None:
        found = _place(scene, candidate)
    else:
        found = _property(scene, candidate, stacked([looked.own, onto]))
    return Tested(
        candidate,
        chosen,
        rows=chosen.rows[candidate.carriers],
        recipients=recipients,
        seed=survey.settings.seed,
        raw_p=_p(found["transplant"], found["removal"]),
        **found,
    )


def _place(scene: Scene, candidate: Candidate) -> dict[str, Any]:
    carriers, asked = scene.carriers, scene.asked
    assert candidate.places is not None
    masks = outlined(asked, carriers.inputs, candidate.places & ~carriers.subject)
    alike = alike_at(carriers, masks, scene.pool)
    donors, theirs = carriers[scene.turn], alike[scene.turn]
    size = masks.sum((1, 2)).clamp(min=1)
    return {
        "masks": masks.numpy(),
        "transplant": place_transplanted(asked, scene.recipients, donors, masks[scene.turn], theirs),
        "removal": place_removed(asked, carriers, masks, scene.partners),
        "outside": float(((masks & ~carriers.subject).sum((1, 2)) / size).median()),
        "area": float(masks.float().mean((1, 2)).median()),
    }


def _property(scene: Scene, candidate: Candidate, everyone: Pictures) -> dict[str, Any]:
    exchange = candidate.exchange
    assert exchange is not None
    usual = exchange.measure(everyone).median(0).values
    donors = scene.carriers[scene.turn]
    theirs = scene.recipients[torch.arange(len(scene.recipients)).roll(len(scene.recipients) // 2)]

    def put(how: Exchange) -> Trial:
        return property_transplanted(scene.asked, scene.recipients, donors, how, theirs)

    removal = property_removed(scene.asked, scene.carriers, exchange, scene.partners)
    if candidate.kind == "background":
        masks = ~scene.carriers.subject
        return {
            "masks": masks.numpy(),
            "transplant": put(exchange),
            "middle": put(Subject()),
            "removal": removal,
            "area": float(masks.float().mean((1, 2)).median()),
        }
    return {
        "transplant": put(exchange),
        "middle": put(Within(exchange)),
        "around": put(Around(exchange)),
        "removal": removal,
        "oddness": float((exchange.measure(scene.carriers).mean(0) - usual).norm()),
    }


def _p(put: Trial, taken: Trial) -> float:
    """The smaller of the two, twice: either way is enough."""
    found = []
    for trial in (put, taken):
        control = hardest(trial, "turned")
        found.append(p_value(trial.change, None if control is None else control[1]))
    return min(1.0, 2 * min(found))


def corrected(found: Sequence[Tested]) -> list[Tested]:
    values = holm([one.raw_p for one in found])
    return [replace(one, p=float(p)) for one, p in zip(found, values, strict=True)]


def without_doubles(found: Sequence[Tested]) -> list[Tested]:
    """One for each cause, the weightiest first: what the same pictures rely on is one thing.

    A property of the whole picture takes the place of a thing that does little more: the thing has the
    property too. Of a property that speaks for one class, its absence speaks for another: the odder is meant.
    A background is meant only where nothing else is found, as it holds all else.
    """
    kept: list[Tested] = []
    smaller = [one for one in found if one.candidate.kind != "background"]
    for one in sorted(smaller or found, key=lambda t: -t.weight):
        rival = next((k for k in kept if _same(k, one)), None)
        if rival is None:
            kept.append(one)
        elif rival.masks is not None and one.masks is None and one.share_turned >= 0.8 * rival.share_turned:
            kept[kept.index(rival)] = one
    oddest: dict[str, Tested] = {}
    for one in sorted(kept, key=lambda t: t.oddness):
        oddest[one.candidate.kind] = one
    return [one for one in kept if one.masks is not None or oddest[one.candidate.kind] is one]


def _same(first: Tested, second: Tested) -> bool:
    if first.candidate.target != second.candidate.target:
        return False
    mine, other = first.candidate.relying, second.candidate.relying
    either = (mine | other).sum()
    return bool(either) and bool((mine & other).sum() >= 0.5 * min(mine.sum(), other.sum()))
