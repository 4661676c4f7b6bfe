"""Candidates are put to the test: who takes part, and what is done with them."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from underhood.playbooks.shortcuts.asked import Asked
from underhood.playbooks.shortcuts.candidates import Candidate
from underhood.playbooks.shortcuts.evidence import hardest, p_value
from underhood.playbooks.shortcuts.exchanges import (
    Colour,
    Contrast,
    Exchange,
    Pictures,
    Subject,
    Within,
    stacked,
)
from underhood.playbooks.shortcuts.outline import outlined
from underhood.playbooks.shortcuts.sampling import Looked, pictures, recipients
from underhood.playbooks.shortcuts.tested import Tested
from underhood.playbooks.shortcuts.trials import (
    Trial,
    alike_at,
    place_removed,
    place_transplanted,
    property_removed,
    property_transplanted,
)
from underhood.playbooks.shortcuts.within import within
from underhood.playbooks.survey import Survey

MEASURED = (Colour, Contrast)  # of a texture that is novel it is known already that it is all over


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
    given = recipients(survey, candidate.target, pairs, survey.settings.seed)
    onto = pictures(survey, given)
    scene = Scene.of(
        Asked(survey.engine, candidate.target),
        onto,
        stacked([looked.others, onto]),
        looked.own[torch.from_numpy(candidate.carriers)],
    )
    found = _property(scene, candidate) if candidate.places is None else _place(scene, candidate)
    return Tested(
        candidate,
        chosen,
        rows=chosen.rows[candidate.carriers],
        recipients=given,
        seed=survey.settings.seed,
        raw_p=_p(found["transplant"], found["removal"]),
        **found,
    )


def _place(scene: Scene, candidate: Candidate) -> dict[str, Any]:
    carriers, asked = scene.carriers, scene.asked
    assert candidate.places is not None
    if candidate.novel:
        masks = candidate.places
    else:
        masks = outlined(asked, carriers.inputs, candidate.places & ~carriers.subject)
    alike = alike_at(carriers, masks, scene.pool)
    donors, theirs = carriers[scene.turn], alike[scene.turn]
    put = place_transplanted(asked, scene.recipients, donors, masks[scene.turn], theirs)
    size = masks.sum((1, 2)).clamp(min=1)
    return {
        "masks": masks.numpy(),
        "transplant": replace(put, donor=scene.turn.numpy()),
        "removal": place_removed(asked, carriers, masks, scene.partners),
        "outside": float(((masks & ~carriers.subject).sum((1, 2)) / size).median()),
        "area": float(masks.float().mean((1, 2)).median()),
    }


def _property(scene: Scene, candidate: Candidate) -> dict[str, Any]:
    exchange = candidate.exchange
    assert exchange is not None
    donors = scene.carriers[scene.turn]
    theirs = scene.recipients[torch.arange(len(scene.recipients)).roll(len(scene.recipients) // 2)]

    def put(how: Exchange) -> Trial:
        trial = property_transplanted(scene.asked, scene.recipients, donors, how, theirs)
        return replace(trial, donor=scene.turn.numpy())

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
        "removal": removal,
        "within": within(exchange, scene.carriers, scene.pool) if isinstance(exchange, MEASURED) else 1.0,
    }


def _p(put: Trial, taken: Trial) -> float:
    """The smaller of the two, twice: either way is enough."""
    found = []
    for trial in (put, taken):
        control = hardest(trial, "turned")
        found.append(p_value(trial.change, None if control is None else control[1]))
    return min(1.0, 2 * min(found))
