"""Synthetic dermoscopy: pictures of skin lesions with known causes, true masks and artefacts.

The label of a picture is caused by its lesion alone. Artefacts are placed as asked for: at random,
or along with the label, which plants a shortcut for a model to fall for.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from underhood.demo import artefacts, lesion, skin
from underhood.demo.canvas import Grid, Mask, grid, smooth_noise, stream
from underhood.demo.factors import (
    ARTEFACTS,
    NEVER,
    Factors,
    Placement,
    draw_factors,
    with_artefacts,
)

SIZE = 128  # pixels along a side, of the pictures the demo models know


@dataclass(frozen=True)
class Dermoscopy:
    """One picture and everything that is known about it."""

    image: NDArray[np.uint8]  # (H, W, 3)
    lesion: Mask  # (H, W)
    artefacts: dict[str, Mask]  # each artefact in the picture, (H, W): where it shows
    factors: Factors
    seed: int

    @property
    def malignant(self) -> bool:
        return self.factors.malignant


@dataclass(frozen=True)
class DermoscopySet:
    """Pictures stacked along a first axis of length n."""

    images: NDArray[np.uint8]  # (n, H, W, 3)
    malignant: NDArray[np.bool_]  # (n,)
    lesion: NDArray[np.bool_]  # (n, H, W)
    artefacts: dict[str, NDArray[np.bool_]]  # every artefact, (n, H, W), all false where absent
    factors: tuple[Factors, ...]

    def __len__(self) -> int:
        return len(self.factors)


def draw(seed: int, *, malignant: bool | None = None, size: int = SIZE, **given: Any) -> Dermoscopy:
    """The picture with this seed (0 to 2**64 - 1); `given` factors replace those drawn by chance.

    >>> sample = draw(7, malignant=True, ruler=True, hairs=0)
    >>> sample.image.shape, sorted(sample.artefacts)
    ((128, 128, 3), ['ruler'])
    """
    rng = stream(seed, "factors")
    label = bool(rng.uniform() < 0.5) if malignant is None else malignant
    return render(replace(draw_factors(rng, label), **given), seed, size)


def draw_many(
    n: int,
    seed: int,
    *,
    ruler: Placement = NEVER,
    patch: Placement = NEVER,
    ink: Placement = NEVER,
    size: int = SIZE,
    only: Iterable[int] | None = None,
) -> Iterator[Dermoscopy]:
    """`n` pictures one by one, benign and malignant in turn, with artefacts placed as asked for.

    only: the numbers of those that are wanted, of the n; each is what it is among all of them.
    """
    placements = {"ruler": ruler, "patch": patch, "ink": ink}
    seeds = stream(seed, "camera").integers(0, 2**63, n)
    for i in range(n) if only is None else only:
        own_seed = int(seeds[i])
        rng = stream(own_seed, "factors")
        factors = draw_factors(rng, malignant=i % 2 == 1)
        yield render(with_artefacts(factors, rng, placements), own_seed, size)


def draw_set(
    n: int,
    seed: int,
    *,
    ruler: Placement = NEVER,
    patch: Placement = NEVER,
    ink: Placement = NEVER,
    size: int = SIZE,
) -> DermoscopySet:
    """`n` pictures at once; the arguments are those of `draw_many`."""
    samples = list(draw_many(n, seed, ruler=ruler, patch=patch, ink=ink, size=size))
    absent = np.zeros((size, size), dtype=np.bool_)
    return DermoscopySet(
        images=np.stack([s.image for s in samples]),
        malignant=np.array([s.malignant for s in samples]),
        lesion=np.stack([s.lesion for s in samples]),
        artefacts={name: np.stack([s.artefacts.get(name, absent) for s in samples]) for name in ARTEFACTS},
        factors=tuple(s.factors for s in samples),
    )


def render(factors: Factors, seed: int, size: int = SIZE) -> Dermoscopy:
    """The picture with these factors; `seed` decides all that the factors leave open."""
    paper = grid(size)
    tissue = skin.healthy(factors, stream(seed, "skin"), paper)
    shape = lesion.outline(factors, stream(seed, "shape"), paper)
    tissue = lesion.grow(tissue, shape, factors, stream(seed, "pigment"), paper)
    camera = stream(seed, "camera")
    picture = tissue.colours(_tint(camera))
    layers = _layers(factors, seed, paper)
    for layer in layers.values():
        picture = layer.over(picture)
    return Dermoscopy(
        image=_photograph(picture, factors, camera, paper),
        lesion=shape.mask,
        artefacts=_visible(layers),
        factors=factors,
        seed=seed,
    )


def _layers(factors: Factors, seed: int, paper: Grid) -> dict[str, artefacts.Layer]:
    """The artefacts of a picture, lowest first."""
    present = {
        "ink": factors.ink,
        "hair": factors.hairs > 0,
        "patch": factors.patch,
        "ruler": factors.ruler,
    }
    return {
        name: getattr(artefacts, name)(factors, stream(seed, name), paper)
        for name, there in present.items()
        if there
    }


def _visible(layers: dict[str, artefacts.Layer]) -> dict[str, Mask]:
    """Where each layer shows through those above it."""
    masks: dict[str, Mask] = {}
    for name, layer in reversed(layers.items()):
        masks[name] = layer.mask & ~np.logical_or.reduce([*masks.values(), ~layer.mask])
    return masks


def _tint(rng: np.random.Generator) -> skin.Colours:
    """The colour of the lamp: from creamy to cold and violet."""
    warmth, violet = rng.normal(0, 0.035), abs(rng.normal(0, 0.05))
    return skin.colour(1 + warmth, 1 - 0.5 * violet, 1 - warmth + violet)


def _photograph(
    picture: skin.Colours, factors: Factors, rng: np.random.Generator, paper: Grid
) -> NDArray[np.uint8]:
    """The picture as a camera records it: uneven light, dark corners, noise; (H, W, 3)."""
    light = 1 + 0.035 * smooth_noise(rng, paper.size, finest=0.4)
    from_middle = np.hypot(paper.x - 0.5, paper.y - 0.5)
    light *= 1.03 - 0.22 * from_middle**2
    if factors.vignette > 0:
        reach = 0.74 - 0.20 * factors.vignette
        light *= 0.5 - 0.5 * np.tanh((from_middle - reach) / 0.025)
    noise = 0.009 * rng.standard_normal((paper.size, paper.size), dtype=np.float32)
    exposed = np.clip(picture * light + noise, 0, 1)
    return np.ascontiguousarray((exposed * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))
