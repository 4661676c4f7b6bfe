"""What may be a shortcut: things at places, and properties of the whole picture, and who has them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from underhood.playbooks.shortcuts.exchanges import (
    WHOLES,
    Background,
    Place,
    Property,
)
from underhood.playbooks.shortcuts.novelty import LARGEST
from underhood.playbooks.shortcuts.sampling import Chosen
from underhood.playbooks.shortcuts.wholes import Whole

Kind = Literal["place", "background"] | Whole
CARRIES = 0.08  # of the difference between two pictures, that goes with one thing: less is too little
ALONE = 0.6  # of the largest share: the smallest place with as much is the place
NOVEL = 0.12  # of that difference, from which on a picture relies on what is novel in it
NEW = 1e-6  # of a property that is not novel there is none
COLOURED = (1, 3)  # channels: others are no colours
STEADY = 0.3  # of the pictures: so often what is steady is at a place
LITTLE_ELSE = 0.7  # of a picture's mask, that is at such places: then the rest of them is in it, too
FEW = 4  # pictures that rely most on a thing tell from which share on one does
ENOUGH = 6  # pictures kept for the tests, that rely on it: of fewer nothing is claimed


@dataclass(frozen=True, eq=False)
class Candidate:
    """carriers: positions in the chosen rows that rely on it, kept for the tests, the strongest first;
    share: (k,) of every chosen row, how much it relies on it; least: from which share on it does.
    places: (H, W) of each carrier.
    """

    kind: Kind
    target: int
    carriers: NDArray[np.int64]
    share: NDArray[np.float32]
    least: float = CARRIES
    places: Tensor | None = None
    exchange: Property | None = None
    guess: bool = False  # too few pictures rely on it: tested to tell what would have been found
    novel: bool = False  # no picture of another class has its like, so that it may lie on the subject, too

    @property
    def relying(self) -> NDArray[np.bool_]:
        return self.share >= self.least


@dataclass(frozen=True, eq=False)
class Seen:
    """What the chosen rows of a class rely on, by share: (k, places), (k,) novel things, the background."""

    places: NDArray[np.float32]
    novel: NDArray[np.float32]
    background: NDArray[np.float32]


def candidates(chosen: Chosen, seen: Seen, places: list[Place], channels: int, most: int) -> list[Candidate]:
    found = [_at_places(chosen, seen.places, places, most)]
    if chosen.novel.any():
        found.append(_novel(chosen, seen.novel, most))
    found += _of_property(chosen, "background", seen.background, Background(), most)
    for kind, times in chosen.wholes.items():
        if kind != "colour" or channels in COLOURED:
            found += _of_property(chosen, kind, times, WHOLES[kind], most, least=NEW)
    return found


def _at_places(chosen: Chosen, share: NDArray[np.float32], places: list[Place], most: int) -> Candidate:
    best = share.max(1)
    carriers, least, guess = _carriers(chosen, best, most)
    masks = torch.stack([_place(share[row], places) for row in carriers.tolist()])
    return Candidate("place", chosen.target, carriers, best, least, masks, guess=guess)


def _novel(chosen: Chosen, share: NDArray[np.float32], most: int) -> Candidate:
    """What has no like in the pictures of other classes, wherever it is."""
    there = np.where(chosen.novel.flatten(1).any(1).numpy(), share, 0)
    carriers, least, guess = _carriers(chosen, there, most, NOVEL)
    masks = steadied(chosen.novel[torch.from_numpy(carriers)])
    return Candidate("place", chosen.target, carriers, there, least, masks, guess=guess, novel=True)


def steadied(masks: Tensor) -> Tensor:
    """Masks (k, H, W) of one thing: what is at one place again and again is there in all that have little
    else, though it be too faint in some to be seen; as long as it is no larger than things are."""
    steady = masks.float().mean(0) >= STEADY
    here = (masks & steady).sum((1, 2)) > LITTLE_ELSE * masks.sum((1, 2))
    grown = masks | steady & here[:, None, None]
    return torch.where((grown.float().mean((1, 2)) <= LARGEST)[:, None, None], grown, masks)


def _place(share: NDArray[np.float32], places: list[Place]) -> Tensor:
    """The smallest place with most of the largest share; where that is all the surroundings, those windows of
    it that matter."""
    enough = np.flatnonzero(share >= ALONE * share.max())
    smallest = min(enough, key=lambda k: (int(places[k].mask.sum()), -share[k]))
    if places[smallest].name != "surroundings":
        return places[smallest].mask
    parts = share[:-1]
    chosen = [place.mask for place, s in zip(places[:-1], parts, strict=True) if s >= parts.max() / 2]
    return torch.stack(chosen).any(0)


def _of_property(
    chosen: Chosen,
    kind: Kind,
    share: NDArray[np.float32],
    exchange: Property,
    most: int,
    *,
    least: float | None = None,
) -> list[Candidate]:
    """None, where too few pictures rely on it."""
    carriers, least, guess = _carriers(chosen, share, most, least)
    novel = kind != "background"
    found = Candidate(kind, chosen.target, carriers, share, least, exchange=exchange, novel=novel)
    return [] if guess else [found]


def _carriers(
    chosen: Chosen, share: NDArray[np.float32], most: int, least: float | None = None
) -> tuple[NDArray[np.int64], float, bool]:
    """Positions, kept for the tests, that rely on it; the share from which on; whether that is a guess."""
    if least is None:
        first = np.sort(share[~chosen.testing])[::-1]
        least = max(CARRIES, float(np.median(first[: max(FEW, len(first) // 10)])) / 2)
    relying = share >= least
    kept = np.flatnonzero(chosen.testing)
    kept = kept[np.argsort(-share[kept], kind="stable")]
    good = kept[relying[kept]]
    if len(good) >= ENOUGH and (relying & ~chosen.testing).sum() >= ENOUGH // 2:
        return good[:most], least, False
    return kept[: 2 * FEW], least, True
