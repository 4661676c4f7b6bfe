"""Where the maps' relevance is, beside what size alone would give each place."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from underhood.playbooks.shortcuts.subject import middle
from underhood.playbooks.survey import Floats, Survey

BORDER = 1 / 6  # of the side
FINE = 96  # places along the side of the maps that shares are counted on
AT_MOST = 4096  # maps of a class


def zones() -> dict[str, NDArray[np.bool_]]:
    """By name, (FINE, FINE)."""
    wide = round(BORDER * FINE)
    rows, columns = np.mgrid[:FINE, :FINE]
    top, bottom = rows < wide, rows >= FINE - wide
    left, right = columns < wide, columns >= FINE - wide
    return {
        "the middle": middle(FINE, FINE).numpy(),
        "the border": top | bottom | left | right,
        "the corners": (top | bottom) & (left | right),
        "the top": top,
        "the bottom": bottom,
        "the left": left,
        "the right": right,
    }


def shares(maps: Floats, zone: NDArray[np.bool_]) -> Floats:
    """(n,): the share of each map's relevance in a zone, its cells shared out by area."""
    weights = F.adaptive_avg_pool2d(torch.from_numpy(zone).float()[None, None], maps.shape[1:])[0, 0].numpy()
    whole = np.maximum(maps.sum((1, 2)), 1e-12)
    return np.asarray((maps * weights).sum((1, 2)) / whole, dtype=np.float32)


def looked_at(survey: Survey, target: int) -> list[dict[str, Any]]:
    """For each zone the mean share of the relevance of the class's maps, the zone's size, and their ratio."""
    rows = np.flatnonzero(survey.predicted == target)[:AT_MOST]
    maps = np.asarray(survey.maps[rows], dtype=np.float32)
    found: list[dict[str, Any]] = []
    for name, zone in zones().items():
        share, size = float(shares(maps, zone).mean()), float(zone.mean())
        found.append(
            {
                "class": survey.classes[target],
                "place": name,
                "relevance": round(share, 3),
                "size": round(size, 3),
                "times its size": round(share / size, 2),
            }
        )
    return found
