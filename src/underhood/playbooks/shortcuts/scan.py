"""Which place, or which property, carries the difference between two pictures? Pictures of different
predicted classes exchange one thing at a time, both ways, and the model is asked again."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from underhood.engine import Engine
from underhood.playbooks.shortcuts.exchanges import Exchange, Pictures
from underhood.playbooks.survey import Indices, log_odds

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scan:
    """share: (n, K), of the lead in log-odds that a picture has over its partner, for its own class, the part
    that goes and comes with each exchange; the mean of what the picture loses and the partner gains."""

    names: tuple[str, ...]
    share: Floats


def matched(classes: Indices) -> Indices:
    """For each picture one of another class; as evenly as can be."""
    order = np.argsort(classes, kind="stable")
    sizes = np.unique(classes, return_counts=True)[1]
    partner = np.empty(len(classes), np.int64)
    shift = int(sizes.max())
    if 2 * shift <= len(classes):
        partner[order] = np.roll(order, -shift)
        return partner
    for row in range(len(classes)):  # one class is more than half: its pictures share the others
        others = np.flatnonzero(classes != classes[row])
        partner[row] = others[row % len(others)]
    return partner


def scan(
    engine: Engine, pictures: Pictures, classes: Indices, partner: Indices, exchanges: Sequence[Exchange]
) -> Scan:
    """Each picture (of predicted `classes`, as numbers) against its partner."""
    own, other = torch.from_numpy(classes), torch.from_numpy(partner)
    pairs = _once(partner)
    scores = engine.outputs(pictures.inputs)
    lead = log_odds(scores, own) - log_odds(scores[other], own)
    usable = usual_lead(lead, own)
    first, second = pictures[pairs[:, 0]], pictures[pairs[:, 1]]
    shares = []
    for exchange in exchanges:
        changed = engine.outputs(torch.cat([exchange(first, second), exchange(second, first)]))
        shares.append(_share(scores, changed, own, pairs, exchange.replaces) / usable)
    return Scan(tuple(e.name for e in exchanges), torch.stack(shares, 1).numpy())


def usual_lead(lead: Tensor, classes: Tensor) -> Tensor:
    """(n,): each lead, or its class's median where that is more: of pairs that hardly differ no shares can be
    told."""
    usable = lead.clone()
    for one in classes.unique():
        members = classes == one
        usable[members] = usable[members].clamp(min=float(lead[members].median()))
    return usable.clamp(min=1e-6)


def _once(partner: Indices) -> Tensor:
    """The pairs (m, 2), each once."""
    both = {tuple(sorted((row, int(other)))) for row, other in enumerate(partner)}
    return torch.tensor(sorted(both))


def _share(scores: Tensor, changed: Tensor, own: Tensor, pairs: Tensor, replaces: bool) -> Tensor:
    """(n,): what each picture loses and its partner gains of its class's log-odds, mean over its pairs.

    Only what the partner gains, where an exchange leaves the picture its own.
    """
    total, times = torch.zeros(len(own)), torch.zeros(len(own))
    parts = changed.split(len(pairs))
    for side in (0, 1):
        mine, theirs = pairs[:, side], pairs[:, 1 - side]
        without, given = parts[side], parts[1 - side]  # I with theirs, they with mine
        lost = log_odds(scores[mine], own[mine]) - log_odds(without, own[mine])
        gained = log_odds(given, own[mine]) - log_odds(scores[theirs], own[mine])
        total.index_add_(0, mine, (lost + gained) / 2 if replaces else gained)
        times.index_add_(0, mine, torch.ones(len(pairs)))
    return total / times.clamp(min=1)
