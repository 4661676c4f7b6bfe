"""Is a property of the whole picture one that pictures of other classes have, too? And is it all over it?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from underhood.playbooks.shortcuts.exchanges import Pictures, Property

RARELY = 0.025  # of other classes' pictures are as far from their mean

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Oddness:
    """shift:  of the carriers' mean from that of other classes' pictures.
    unlike: share of the carriers farther from that mean than hardly any of those pictures (Mahalanobis).
    within: the same shift inside the subject, along that around it: 1 where it is as large.
    """

    shift: float
    unlike: float
    within: float


def oddness(exchange: Property, carriers: Pictures, others: Pictures) -> Oddness:
    mine, theirs = _measured(exchange, carriers), _measured(exchange, others)
    shift = mine.mean(0) - theirs.mean(0)
    on_subject, on_theirs = (_measured(exchange, _inside_out(some)).mean(0) for some in (carriers, others))
    limit = np.quantile(_distance(theirs, theirs), 1 - RARELY)
    return Oddness(
        float(np.linalg.norm(shift)),
        float((_distance(mine, theirs) > limit).mean()),
        float((on_subject - on_theirs) @ shift / max(shift @ shift, 1e-12)),
    )


def _distance(points: Floats, among: Floats) -> Floats:
    """(n,): squared Mahalanobis distances from the mean of others; equal ones need some spread added."""
    spread = np.cov(among.T, ddof=0).reshape(among.shape[1], -1)
    away = points - among.mean(0)
    inverse = np.linalg.inv(spread + (1e-3 * np.trace(spread) + 1e-9) * np.eye(len(spread)))
    return np.asarray(np.einsum("ij,jk,ik->i", away, inverse, away))


def _measured(exchange: Property, pictures: Pictures) -> Floats:
    found: Tensor = exchange.measure(pictures)
    return np.asarray(found.double().numpy())


def _inside_out(pictures: Pictures) -> Pictures:
    return Pictures.plain(pictures.inputs, ~pictures.subject)
