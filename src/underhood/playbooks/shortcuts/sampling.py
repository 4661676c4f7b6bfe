"""Which pictures are looked at closely: of each predicted class some by chance, and those that seem to rely
on what is around the subject."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from underhood.inputs.random import CLUSTERS, generator
from underhood.playbooks.shortcuts.clusters import Groups, map_groups
from underhood.playbooks.shortcuts.exchanges import Pictures, surroundings
from underhood.playbooks.shortcuts.novelty import Masks, Novelty, Read, enlarged
from underhood.playbooks.shortcuts.position import shares, zones
from underhood.playbooks.shortcuts.stamps import Stamps
from underhood.playbooks.shortcuts.subject import subjects
from underhood.playbooks.shortcuts.wholes import Times, Whole, Wholes
from underhood.playbooks.survey import AT_ONCE, Floats, Indices, Survey, log_odds

SMALLEST = 12  # pixels along a side
BY_CHANCE, BY_LOSS, BY_NOVELTY = 0.4, 0.25, 0.25  # of the pictures looked at; the rest by their maps
FAMILIAR = 256  # pictures of other classes, that novelty is told against
SCREENED = 256  # pictures of a class
ADDED_UP = 512  # pictures of a class, and of others, in which stamps are looked for
ENOUGH = 16  # pictures of other classes by label, too; where there are fewer, predictions alone count


@dataclass(frozen=True, eq=False)
class Chosen:
    """Rows of the survey predicted as one class, to look at closely.

    by_chance: (k,) whether a row was drawn by chance alone; testing: (k,) whether it is kept for the tests.
    groups:    of the maps of all rows of the class.
    novel:     (k, H, W), what in them has no like in pictures of other classes.
    wholes:    by property of the whole picture, (k,): how novel it is, 0 where other classes have its like.
    """

    target: int
    rows: Indices
    by_chance: NDArray[np.bool_]
    testing: NDArray[np.bool_]
    groups: Groups
    novel: Tensor
    wholes: Mapping[Whole, Times]
    of: int


@dataclass(frozen=True, eq=False)
class Looked:
    """The chosen rows' pictures, and those that are looked at for other classes."""

    chosen: Chosen
    own: Pictures
    others: Pictures


def often_predicted(survey: Survey, least: int, most: int) -> list[int]:
    """Classes with at least so many pictures, the most frequent first; all of the others come to as many."""
    classes, counts = np.unique(survey.predicted, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [int(classes[i]) for i in order[:most] if counts[i] >= least and len(survey) - counts[i] >= least]


def chosen(survey: Survey, target: int, count: int, seed: int, read: Read) -> Chosen:
    """Some by chance, those that lose most when all around the middle is another's, those with most that is
    novel, and those that look most outside the middle, every group of maps its turn.

    read: the survey's inputs, or what remembers them.
    """
    rows = np.flatnonzero(survey.predicted == target)
    random = generator(seed, CLUSTERS, 2, target)
    maps = np.asarray(survey.maps[rows], dtype=np.float32)
    groups = map_groups(maps, seed)
    shuffled = random.permutation(len(rows))
    many = drawn_from_others(survey, target, rows[:0], ADDED_UP, seed)
    own, others = rows[shuffled[:SCREENED]], many[:FAMILIAR]
    wholes = Wholes(read, own, others)
    novelty = Novelty.of(read, own, others, seed)
    stamps = Stamps.of(read, rows[shuffled[:ADDED_UP]], many, seed)
    if len(rows) <= count:
        taken, by_chance = shuffled, np.ones(len(rows), bool)
    else:
        chance, rest = np.split(shuffled, [round(BY_CHANCE * count)])
        screened = rest[:SCREENED]
        lost = around_lost(survey, target, rows[screened], seed)
        by_loss = screened[np.argsort(-lost, kind="stable")[: round(BY_LOSS * count)]]
        screened = screened[~np.isin(screened, by_loss)]
        unlike = things(novelty, stamps, rows[screened]).mean((1, 2))
        unlike += np.any([*wholes.novel(rows[screened]).values()], 0)
        by_novelty = screened[np.argsort(-unlike, kind="stable")[: round(BY_NOVELTY * count)]]
        rest = rest[~np.isin(rest, [*by_loss, *by_novelty])]
        by_map = rest[in_turn(groups.labels[rest], -outside(maps[rest]))]
        taken = np.concatenate([chance, by_loss, by_novelty, by_map])[:count]
        by_chance = np.arange(len(taken)) < len(chance)
    testing = random.permutation(len(taken)) % 2 == 1
    height, width = survey.inputs([0]).shape[2:]
    novel = enlarged(things(novelty, stamps, rows[taken]), (height, width))
    whole = wholes.novel(rows[taken])
    return Chosen(target, rows[taken], by_chance, testing, groups, novel, whole, len(rows))


def things(novelty: Novelty, stamps: Stamps, rows: Indices) -> Masks:
    """(k, h, w): what is novel place by place is seen in the picture itself; a stamp, where nothing is."""
    masks = novelty.masks(rows)
    unseen = ~masks.any((1, 2))
    masks[unseen] = stamps.masks(rows[unseen])
    return masks


def of_others(survey: Survey, target: int) -> Indices:
    """Rows neither predicted nor labelled as a class: one of it that was missed may have the thing, too."""
    others = np.flatnonzero(survey.predicted != target)
    apart = others[survey.label[others] != target]
    return apart if len(apart) >= ENOUGH else others


def around_lost(survey: Survey, target: int, rows: Indices, seed: int) -> Floats:
    """(k,): what each of the class's rows loses in log-odds when all around its subject is another's."""
    others = drawn_from_others(survey, target, rows, AT_ONCE, seed)
    found, given = [], pictures(survey, others)
    for start in range(0, len(rows), len(others)):
        some = rows[start : start + len(others)]
        own, of = pictures(survey, some), given[: len(some)]
        before = torch.from_numpy(np.asarray(survey.scores[some], dtype=np.float32))
        after = survey.engine.outputs(surroundings(*own.inputs.shape[2:])(own, of))
        classes = torch.full((len(some),), target)
        found.append((log_odds(before, classes) - log_odds(after, classes)).numpy())
    return np.concatenate(found)


def outside(maps: Floats) -> Floats:
    """(n,): the share of a map's relevance outside the middle."""
    return shares(maps, ~zones()["the middle"])


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
    return Pictures.plain(inputs, subjects(survey, rows, (height, width)))


def drawn_from_others(survey: Survey, target: int, besides: Indices, count: int, seed: int) -> Indices:
    """Rows of other classes, by chance; those `besides` only where there are too few others."""
    random = generator(seed, CLUSTERS, 3, target)
    rows = random.permutation(of_others(survey, target))
    used = np.isin(rows, besides)
    return np.concatenate([rows[~used], rows[used]])[:count]


def recipients(survey: Survey, target: int, count: int, seed: int) -> Indices:
    """Rows of other classes, by chance: where there are enough, such as nothing was compared with."""
    compared = drawn_from_others(survey, target, np.array([], np.int64), ADDED_UP, seed)
    return drawn_from_others(survey, target, compared, count, seed)


def have_places(inputs: Tensor) -> bool:
    """Whether these are pictures, (B, C, H, W), large enough for things in them."""
    return inputs.ndim == 4 and min(inputs.shape[2:]) >= SMALLEST
