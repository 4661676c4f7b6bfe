"""What may be a shortcut: things at places, and properties of the whole picture, and who has them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from underhood.playbooks.shortcuts.exchanges import (
    Background,
    Colour,
    Contrast,
    Place,
    Property,
    Texture,
)
from underhood.playbooks.shortcuts.novelty import LARGEST
from underhood.playbooks.shortcuts.sampling import Chosen

Kind = Literal["place", "background", "colour", "contrast", "texture"]
CARRIES = 0.08  # of the difference between two pictures, that goes with one thing: less is too little
ALONE = 0.6  # of the largest share: the smallest place with as much is the place
NOVEL = 0.12  # of that difference, from which on a picture relies on what is novel in it
STEADY = 0.3  # of the pictures: so often what is steady is at a place
LITTLE_ELSE = 0.7  # of a picture's mask, that is at such places: then the rest of them is in it, too
FEW = 4


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
    """What the chosen rows of a class rely on, by share: (k, places), (k,) what is novel, (k, properties)."""

    places: NDArray[np.float32]
    novel: NDArray[np.float32]
    properties: NDArray[np.float32]


def candidates(
    chosen: Chosen, seen: Seen, places: list[Place], properties: list[Property], most: int
) -> list[Candidate]:
    found = [_at_places(chosen, seen.places, places, most)]
    if chosen.novel.any():
        found.append(_novel(chosen, seen.novel, most))
    for kind, exchange, values in _by_kind(properties, seen.properties):
        candidate = _of_property(chosen, kind, exchange, values, most)
        if candidate is not None:
            found.append(candidate)
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


def _by_kind(
    properties: list[Property], share: NDArray[np.float32]
) -> list[tuple[Kind, Property, NDArray[np.float32]]]:
    """Textures of several corners count as the least of them: they must be in all."""
    found: list[tuple[Kind, Property, NDArray[np.float32]]] = []
    textures = [k for k, exchange in enumerate(properties) if isinstance(exchange, Texture)]
    for k, exchange in enumerate(properties):
        if isinstance(exchange, Background):
            found.append(("background", exchange, share[:, k]))
        elif isinstance(exchange, Colour):
            found.append(("colour", exchange, share[:, k]))
        elif isinstance(exchange, Contrast):
            found.append(("contrast", exchange, share[:, k]))
    if textures:
        found.append(("texture", Texture(as_is=True), share[:, textures].min(1)))
    return found


def _of_property(
    chosen: Chosen, kind: Kind, exchange: Property, share: NDArray[np.float32], most: int
) -> Candidate | None:
    carriers, least, guess = _carriers(chosen, share, most)
    return None if guess else Candidate(kind, chosen.target, carriers, share, least, exchange=exchange)


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
    if len(good) >= FEW and (relying & ~chosen.testing).sum() >= FEW // 2:
        return good[:most], least, False
    return kept[: 2 * FEW], least, True
