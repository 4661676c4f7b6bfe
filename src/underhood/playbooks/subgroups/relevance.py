"""Where the model looks, of many inputs: mean maps of groups, and the share inside the subject's mask."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from underhood.methods.cam import upsample
from underhood.playbooks.subgroups.gaps import Group
from underhood.playbooks.survey import AT_ONCE, Survey

Floats = NDArray[np.float64]


def shares_inside(survey: Survey) -> tuple[Floats, Floats]:
    """Each row's share of relevance inside its mask, and the mask's share of the picture, (n,) each.

    NaN where there is no mask, and the first also where the map is empty.
    """
    inside, area = np.full(len(survey), np.nan), np.full(len(survey), np.nan)
    masked = [row for row in range(len(survey)) if survey.dataset[int(survey.number[row])].mask is not None]
    for start in range(0, len(masked), AT_ONCE):
        rows = masked[start : start + AT_ONCE]
        masks = survey.masks(rows)
        if masks is None:
            continue
        maps = upsample(torch.from_numpy(np.asarray(survey.maps[rows], np.float32)), tuple(masks.shape[-2:]))
        whole = maps.sum((1, 2))
        within = (maps * masks).sum((1, 2)) / whole
        inside[rows] = within.where(whole > 0, torch.nan).numpy()
        area[rows] = masks.float().mean((1, 2)).numpy()
    return inside, area


def mean_maps(survey: Survey, memberships: NDArray[np.bool_]) -> Floats:
    """(g, h, w): the mean map of each of `memberships` (g, n), every map first brought to a sum of 1."""
    total = np.zeros((len(memberships), *survey.maps.shape[1:]))
    count = np.zeros(len(memberships))
    for start in range(0, len(survey), 1024):
        rows = slice(start, min(start + 1024, len(survey)))
        maps = np.asarray(survey.maps[rows], np.float64)
        sums = maps.sum((1, 2))
        members = (memberships[:, rows] & (sums > 0)).astype(np.float64)
        total += np.einsum("gn,nhw->ghw", members / np.maximum(sums, 1e-30), maps)
        count += members.sum(1)
    return total / np.maximum(count, 1)[:, None, None]


def distances(
    survey: Survey, groups: Sequence[Group], random: np.random.Generator, draws: int = 5
) -> tuple[NDArray[np.float64], NDArray[np.float64], Floats, Floats]:
    """How far each group's mean map lies from that of all other rows, 0 (the same) to 1, and how far that
    of as many rows drawn at random does, (g,) each; and both mean maps, (g, h, w).

    The distance is the share of relevance that would have to move: half of Σ |a - b|.
    """
    members = np.array([group.rows for group in groups], dtype=np.bool_).reshape(len(groups), len(survey))
    own, rest = mean_maps(survey, members), mean_maps(survey, ~members)
    chance = []
    for _ in range(draws):
        drawn = members[:, random.permutation(len(survey))]
        chance.append(_moved(mean_maps(survey, drawn), mean_maps(survey, ~drawn)))
    return _moved(own, rest), np.array(np.mean(chance, axis=0)), own, rest


def _moved(one: Floats, other: Floats) -> NDArray[np.float64]:
    return np.abs(one - other).sum((1, 2)) / 2
