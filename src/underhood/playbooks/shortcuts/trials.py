"""A thing is taken away where it is, and put where it is not; each beside the same done to something else."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from underhood.playbooks.shortcuts.asked import Asked
from underhood.playbooks.shortcuts.exchanges import Exchange, Pictures, Property, widened
from underhood.playbooks.shortcuts.moves import elsewhere
from underhood.playbooks.shortcuts.outline import filled
from underhood.playbooks.survey import Indices

Floats = NDArray[np.float64]
COARSE = 32  # places along a side, on which pictures are compared


@dataclass(frozen=True, eq=False)
class Change:
    """Of each picture (n,): by how much the log-odds moved the way that was meant, NaN where nothing could be
    done, and whether the picture changed sides."""

    moved: Floats
    turned: Floats


@dataclass(frozen=True, eq=False)
class Trial:
    """An operation, and its controls by name.

    donor: (n,) which picture gave to each, where some give to more than one.
    """

    change: Change
    controls: Mapping[str, Change] = field(default_factory=dict)
    donor: Indices | None = None

    def __len__(self) -> int:
        return len(self.change.moved)


def place_transplanted(
    asked: Asked, recipients: Pictures, donors: Pictures, masks: Tensor, others: Pictures
) -> Trial:
    """The donors' things put into recipients at the same place; controls: another place of the same donors,
    and the same place of the pictures of other classes that look most like the donor there."""
    masks = widened(masks, 1)
    other_masks, possible = elsewhere(masks)
    changed = [
        torch.where(m[:, None], of.inputs, recipients.inputs)
        for m, of in ((masks, donors), (other_masks, donors), (masks, others))
    ]
    change, mirror, other = _changes(asked, recipients.inputs, changed, sign=1)
    return Trial(change, {"another place": _where(mirror, possible), "other pictures": other})


def place_removed(asked: Asked, pictures: Pictures, masks: Tensor, others: Pictures) -> Trial:
    """The things filled from around them, and (as "second") from other pictures; controls: mirrored."""
    masks = widened(masks, 1)
    other_masks, possible = elsewhere(masks)
    changed = [
        filled(pictures.inputs, masks),
        filled(pictures.inputs, other_masks),
        torch.where(masks[:, None], others.inputs, pictures.inputs),
    ]
    change, mirror, second = _changes(asked, pictures.inputs, changed, sign=-1)
    return Trial(change, {"another place": _where(mirror, possible), "second fill": second})


def property_transplanted(
    asked: Asked, recipients: Pictures, donors: Pictures, exchange: Exchange, others: Pictures
) -> Trial:
    """The donors' property put on recipients; control: that of any pictures of other classes."""
    changed = [exchange(recipients, donors), exchange(recipients, others)]
    change, other = _changes(asked, recipients.inputs, changed, sign=1)
    return Trial(change, {"other pictures": other})


def property_removed(asked: Asked, pictures: Pictures, exchange: Property, others: Pictures) -> Trial:
    """The property of other pictures put on these; control: that of the next one of these."""
    following = pictures[torch.arange(len(pictures)).roll(1)]
    changed = [exchange.replaced(pictures, others), exchange.replaced(pictures, following)]
    change, own = _changes(asked, pictures.inputs, changed, sign=-1)
    return Trial(change, {"its own kind": own})


def _changes(asked: Asked, inputs: Tensor, changed: list[Tensor], *, sign: int) -> list[Change]:
    before, *after = asked.scores(inputs, *changed)
    found = []
    for scores in after:
        moved = sign * (asked.lead(scores) - asked.lead(before))
        turned = (scores.argmax(1) == asked.target) == (sign > 0)
        found.append(Change(moved.double().numpy(), turned.double().numpy()))
    return found


def _where(change: Change, possible: Tensor) -> Change:
    there = possible.numpy()
    return Change(np.where(there, change.moved, np.nan), np.where(there, change.turned, np.nan))


def alike_at(donors: Pictures, masks: Tensor, pool: Pictures) -> Pictures:
    """Of the pool, for each donor the picture that looks most like it under its mask (B, H, W)."""
    small = (min(masks.shape[1], COARSE), min(masks.shape[2], COARSE))
    own, others = (F.adaptive_avg_pool2d(part.inputs, small) for part in (donors, pool))
    weights = F.adaptive_avg_pool2d(masks.float()[:, None], small)
    nearest = [
        int(((others - x) ** 2 * w).sum((1, 2, 3)).argmin()) for x, w in zip(own, weights, strict=True)
    ]
    return pool[torch.tensor(nearest)]
