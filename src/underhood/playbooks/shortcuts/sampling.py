"""Which pictures are looked at closely: of each predicted class, half by chance, half by their maps."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from underhood.inputs.random import CLUSTERS, generator
from underhood.playbooks.shortcuts.clusters import Groups, map_groups
from underhood.playbooks.shortcuts.exchanges import Pictures
from underhood.playbooks.shortcuts.subject import middle, subjects
from underhood.playbooks.survey import Floats, Indices, Survey


@dataclass(frozen=True, eq=False)
class Chosen:
    """Rows of the survey predicted as one class, to look at closely.

    by_chance: (k,) whether a row was drawn by chance alone; testing: (k,) whether it is kept for the tests.
    groups:    of the maps of all rows of the class.
    """

    target: int
    rows: Indices
    by_chance: NDArray[np.bool_]
    testing: NDArray[np.bool_]
    groups: Groups
    of: int


def often_predicted(survey: Survey, least: int, most: int) -> list[int]:
    """Classes with at least so many pictures, the most frequent first; all of the others come to as many."""
    classes, counts = np.unique(survey.predicted, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [int(classes[i]) for i in order[:most] if counts[i] >= least and len(survey) - counts[i] >= least]


def chosen(survey: Survey, target: int, count: int, seed: int) -> Chosen:
    """Half of them by chance, and half those that look most outside the middle, every group its turn."""
    rows = np.flatnonzero(survey.predicted == target)
    random = generator(seed, CLUSTERS, 2, target)
    maps = np.asarray(survey.maps[rows], dtype=np.float32)
    groups = map_groups(maps, seed)
    shuffled = random.permutation(len(rows))
    if len(rows) <= count:
        taken, by_chance = shuffled, np.ones(len(rows), bool)
    else:
        first = shuffled[: count // 2]
        rest = shuffled[count // 2 :]
        more = rest[in_turn(groups.labels[rest], -outside(maps[rest]))[: count - len(first)]]
        taken = np.concatenate([first, more])
        by_chance = np.arange(count) < len(first)
    testing = random.permutation(len(taken)) % 2 == 1
    return Chosen(target, rows[taken], by_chance, testing, groups, len(rows))


def outside(maps: Floats) -> Floats:
    """(n,): the share of a map's relevance outside the middle."""
    grid = 8 * max(maps.shape[1:])  # finer than the map, as the middle cuts its cells
    inside = middle(grid, grid).float()[None, None]
    weights = 1 - F.adaptive_avg_pool2d(inside, maps.shape[1:])[0, 0].numpy()
    whole = np.maximum(maps.sum((1, 2)), 1e-12)
    return np.asarray((maps * weights).sum((1, 2)) / whole, dtype=np.float32)


def in_turn(groups: Indices, order: Floats) -> Indices:
    """Positions, the first of every group in `order`, then the second of every group, …"""
    rank = np.empty(len(groups), np.int64)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        rank[members[np.argsort(order[members], kind="stable")]] = np.arange(len(members))
    return np.lexsort((order, rank))


def pictures(survey: Survey, rows: Indices) -> Pictures:
    inputs = survey.inputs(rows)
    height, width = inputs.shape[2:]
    return Pictures(inputs, subjects(survey, rows, (height, width)))


def drawn_from_others(survey: Survey, target: int, besides: Indices, count: int, seed: int) -> Indices:
    """Rows predicted as another class, by chance; those `besides` only where there are too few others."""
    random = generator(seed, CLUSTERS, 3, target)
    rows = random.permutation(np.flatnonzero(survey.predicted != target))
    used = np.isin(rows, besides)
    return np.concatenate([rows[~used], rows[used]])[:count]


def at_least_channels(inputs: torch.Tensor) -> bool:
    """Whether these are pictures at all: (B, C, H, W), large enough to have places."""
    return inputs.ndim == 4 and min(inputs.shape[2:]) >= 12
