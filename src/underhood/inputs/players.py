"""Players: the groups of places that LIME and every Shapley method keep or leave out together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from underhood.errors import InvalidArgument, MissingExtra
from underhood.inputs.gather import displayed
from underhood.inputs.grouping import Grouping, Labels, as_grouping, elements, patches, places, superpixels
from underhood.models import Model

GroupingLike = Grouping | Tensor | Sequence[Grouping | Tensor] | int | None


@dataclass(frozen=True)
class Players:
    """One input's groups, each place in one of them, and what they are in words."""

    groups: Labels
    words: str


def players(model: Model, inputs: Tensor, grouping: GroupingLike, about: int) -> list[Players]:
    """Each input's players.

    grouping: for all inputs the same: a `Grouping`, or labels like the input's places; a list of these,
              one for each input; a number of superpixels; or None for about so many superpixels of a
              picture, the elements of anything else.
    """
    shape = places(inputs)
    if isinstance(grouping, Sequence):
        if len(grouping) != len(inputs):
            raise InvalidArgument(f"There are {len(grouping)} groupings for {len(inputs)} inputs.")
        return [_given(one, shape) for one in grouping]
    if isinstance(grouping, Grouping | Tensor):
        return [_given(grouping, shape)] * len(inputs)
    if len(shape) == 1 and grouping is None:
        return [Players(elements(shape), f"{shape[0]} elements")] * len(inputs)
    if len(shape) != 2:
        raise InvalidArgument(
            f"Inputs of shape {tuple(inputs.shape[1:])} have no superpixels to be counted; as the grouping "
            "give the number of each element's group, a tensor."
        )
    return [_of_picture(model, x, shape, grouping or about) for x in inputs]


def check_grouping(grouping: GroupingLike) -> None:
    """Refuse, before anything runs, what no input could be grouped by."""
    if isinstance(grouping, int) and grouping < 2:
        raise InvalidArgument(f"A grouping by superpixels takes a number from 2 on, not {grouping}.")
    for one in grouping if isinstance(grouping, Sequence) else [grouping]:
        if isinstance(one, Grouping) and not isinstance(one, Labels):
            raise InvalidArgument(
                "The groups may not overlap, as windows do; give labels, patches or superpixels."
            )


def _given(grouping: Grouping | Tensor, shape: tuple[int, ...]) -> Players:
    groups = as_grouping(grouping, shape)
    assert isinstance(groups, Labels)  # see check_grouping
    return Players(groups, f"{groups.count} given groups")


def _of_picture(model: Model, x: Tensor, shape: tuple[int, ...], about: int) -> Players:
    """Superpixels; square patches where there are none, or scikit-image is not installed."""
    picture = displayed(model, x)
    if picture is not None:
        try:
            found = superpixels(picture, about)
        except MissingExtra:
            pass
        else:
            if found.count > about / 2:  # of noise, for one, it makes very few
                return Players(found, f"{found.count} superpixels")
    return squares(shape, math.ceil(math.sqrt(shape[0] * shape[1] / about)))


def squares(shape: tuple[int, ...], size: int) -> Players:
    """Patches of `size` pixels side by side."""
    groups = patches((shape[0], shape[1]), size)
    return Players(groups, f"{groups.count} patches of {size} × {size}")


def at_most(model: Model, x: Tensor, most: int) -> Players:
    """The most players of one input (1, …), by `players`, that are no more than so many."""
    for about in range(most, 1, -1):
        [found] = players(model, x, None, about)
        if found.groups.count <= most:
            break
    return found


def centroids(groups: Labels) -> Tensor:
    """The mean place of each group, (groups, axes)."""
    numbers = groups.numbers.flatten()
    at = torch.cartesian_prod(*(torch.arange(float(n)) for n in groups.shape)).reshape(len(numbers), -1)
    total = torch.zeros(groups.count, at.shape[1]).index_add_(0, numbers, at)
    return total / torch.bincount(numbers)[:, None]
