"""PartitionSHAP: Owen values over a hierarchy of groups (Owen 1977, "Values of games with a priori unions").

What a branch adds to the score is shared between its two halves l and r as Shapley values of these two:
with f(T) the score where T is kept along with what surrounds the branch,

    φ(l) = ½ (f(l) - f(∅)) + ½ (f(l ∪ r) - f(r)),

and so on down to single groups. The branches with the largest effects are opened first; where the budget
ends, a branch's value is divided equally over its groups (Lundberg's shap.explainers.Partition).
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Union

import torch
from torch import Tensor

from underhood.engine import Run
from underhood.errors import InvalidArgument
from underhood.inputs.baseline import BaselineLike, as_whole
from underhood.inputs.grouping import places
from underhood.inputs.players import GroupingLike, centroids, check_grouping, players, squares
from underhood.methods.card import Card
from underhood.methods.coalitions import Game, Payoff, played
from underhood.methods.method import Attribution, Method

Tree = Union[int, Sequence["Tree"]]  # a group's number, or two trees  # noqa: UP007 - is recursive
AT_ONCE = 8  # branches opened together, with two coalitions each


@dataclass(frozen=True)
class PartitionSHAP(Method):
    """Owen values of groups, opened where the effect is largest; in units of the score.

    n:         coalitions shown to the model at most, among them none and all of the groups.
    hierarchy: nested pairs of group numbers, such as ((0, 1), (2, 3)); by default groups are halved again and
               again along the longer side of what they cover.
    grouping:  as for `KernelSHAP`; by default square patches, 32 along the shorter side of a picture.
    baseline:  what absent groups are filled with.
    """

    n: int = 500
    hierarchy: Tree | None = None
    grouping: GroupingLike = None
    baseline: BaselineLike = "zeros"

    key = "partition_shap"

    def __post_init__(self) -> None:
        if self.n < 2:
            raise InvalidArgument(f"PartitionSHAP takes a number of coalitions from 2 on, not {self.n}.")
        check_grouping(self.grouping)
        as_whole(self.baseline)

    @property
    def card(self) -> Card:
        return CARD

    def attribute(self, run: Run) -> Attribution:
        grouping, shape = self.grouping, places(run.inputs)
        if grouping is None and len(shape) == 2:
            every = [squares(shape, max(1, round(min(shape) / 32)))] * len(run)
        else:
            every = players(run.engine.model, run.inputs, grouping, about=1024)
        return played(run, every, as_whole(self.baseline), self._play)

    def _play(self, game: Game) -> Payoff:
        tree = halved(centroids(game.players.groups)) if self.hierarchy is None else self.hierarchy
        root = Branch.of(tree, game.count)
        values, opened, shared = owen(game, root, (self.n - 2) // 2)
        return Payoff(
            values,
            diagnostics={
                "coalitions": 2 + 2 * opened,
                "groups_that_share": shared,
                **game.completeness(values),
            },
        )


@dataclass(frozen=True)
class Branch:
    """Part of a hierarchy: the groups (M,) in it, bool, and its two halves unless it is a single group."""

    groups: Tensor
    halves: tuple["Branch", "Branch"] | None = None

    @classmethod
    def of(cls, tree: Tree, count: int) -> "Branch":
        """The whole hierarchy of so many groups, checked."""
        root = cls._part(tree, count)
        if not root.groups.all():
            missing = int((~root.groups).nonzero()[0])
            raise InvalidArgument(f"The hierarchy leaves out group {missing} of {count}.")
        return root

    @classmethod
    def _part(cls, tree: Tree, count: int) -> "Branch":
        if isinstance(tree, int):
            if not 0 <= tree < count:
                raise InvalidArgument(f"The hierarchy names group {tree}; there are groups 0 to {count - 1}.")
            return cls(torch.arange(count) == tree)
        if not isinstance(tree, Sequence) or len(tree) != 2:
            raise InvalidArgument(f"A hierarchy consists of pairs and group numbers, not of {tree!r}.")
        left, right = (cls._part(half, count) for half in tree)
        if (left.groups & right.groups).any():
            twice = int((left.groups & right.groups).nonzero()[0])
            raise InvalidArgument(f"The hierarchy names group {twice} twice.")
        return cls(left.groups | right.groups, (left, right))


def halved(points: Tensor) -> Tree:
    """Groups at points (M, axes), halved again and again along the axis on which they lie furthest apart."""

    def half(groups: Tensor) -> Tree:
        if len(groups) == 1:
            return int(groups[0])
        at = points[groups]
        axis = int((at.amax(0) - at.amin(0)).argmax())
        order = groups[at[:, axis].argsort(stable=True)]
        middle = len(order) // 2
        return half(order[:middle]), half(order[middle:])

    return half(torch.arange(len(points)))


@dataclass(order=True)
class Part:
    """What a branch adds, where some groups are present: a `weight` of its Owen value."""

    rank: float
    number: int  # so that equal ranks come in order
    branch: Branch = field(compare=False)
    present: Tensor = field(compare=False)  # (M,)
    without: float = field(compare=False)  # v(present)
    with_it: float = field(compare=False)  # v(present and the branch)
    weight: float = field(compare=False)

    @property
    def value(self) -> float:
        return self.weight * (self.with_it - self.without)


def owen(game: Game, root: Branch, openings: int) -> tuple[Tensor, int, int]:
    """Owen values (M,) by so many openings of branches; how many it took, and how many groups share."""
    values, shared = torch.zeros(game.count, dtype=torch.float64), torch.zeros(game.count, dtype=torch.bool)
    queue: list[Part] = []
    opened = number = 0

    def put(branch: Branch, present: Tensor, without: float, with_it: float, weight: float) -> None:
        nonlocal number
        part = Part(-abs(weight * (with_it - without)), number, branch, present, without, with_it, weight)
        number += 1
        if branch.halves is None:
            values[branch.groups] += part.value
        else:
            heapq.heappush(queue, part)

    put(root, torch.zeros(game.count, dtype=torch.bool), game.empty, game.full, 1.0)
    while queue and opened < openings:
        parts = _largest(queue, min(AT_ONCE, openings - opened))
        opened += len(parts)
        halves = [part.branch.halves for part in parts if part.branch.halves]
        asked = [
            part.present | half.groups for part, pair in zip(parts, halves, strict=True) for half in pair
        ]
        worth = game.worth(torch.stack(asked), "float32").reshape(-1, 2).tolist()
        for part, (left, right), (of_left, of_right) in zip(parts, halves, worth, strict=True):
            none, both, half = part.without, part.with_it, part.weight / 2
            put(left, part.present, none, of_left, half)
            put(left, part.present | right.groups, of_right, both, half)
            put(right, part.present, none, of_right, half)
            put(right, part.present | left.groups, of_left, both, half)
    for part in queue:
        values[part.branch.groups] += part.value / int(part.branch.groups.sum())
        shared |= part.branch.groups
    return values, opened, int(shared.sum())


def _largest(queue: list[Part], count: int) -> list[Part]:
    """Taken off the queue: the largest and others that are not much smaller, so many at most."""
    parts = [heapq.heappop(queue)]
    while queue and len(parts) < count and queue[0].rank <= parts[0].rank / 4:
        parts.append(heapq.heappop(queue))
    return parts


CARD = Card(
    name="Partition SHAP",
    question="attribution",
    answers="How much each part adds to the score, shared down a hierarchy of parts (Owen values).",
    misleads="Depends on the hierarchy; parts that were not opened show the mean of what is in them, and "
    "inputs with parts absent are unlike the data the model has seen.",
    signed=True,
    conserves="S(x) - S(x'), over groups",
    resolution="region",
    unit="score per group",
    needs="nothing but scores",
    cost="500 forward",
    source="Owen 1977; for models: Lundberg & Lee 2017, arXiv:1705.07874",
)
