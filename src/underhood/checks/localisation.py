"""Does the map lie where the cause is known to be? For inputs with a mask of the true cause.

PointingGame: Zhang et al. 2018, "Top-down neural attention by excitation backprop", section 4.2.
RelevanceMass, RelevanceRank: Arras et al. 2022, "CLEVR-XAI: a benchmark data set for the ground truth
    evaluation of neural network explanations", section 3.3.
IoU: of the mask and the places above a share of the map's maximum, as Zhou et al. 2016, "Learning deep
    features for discriminative localization", section 3.2, choose their regions.

Each turns a map into weights on its places, which are summed under the mask. A place is not the cause because
a person would look there: a model that uses something else is explained rightly by a map that misses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.controls import COUNT, controls, moves
from underhood.checks.correlated import NO_PLACES, check_choice, on_places, unreadable
from underhood.checks.intervals import Against, against
from underhood.checks.masks import check_mask, inside, intersection_over_union, masks_of, widened
from underhood.checks.reading import Reading, undefined
from underhood.checks.similarity import figure, seats
from underhood.errors import InvalidArgument

Kind = Literal["positive", "magnitude"]
KINDS = ("positive", "magnitude")
Weigh = Callable[[Tensor, Tensor], Tensor]  # of maps and masks (B, *places): weights (B, *places)
Compare = Callable[[Tensor, Tensor], Tensor]  # of weights and masks (B, *places): figures (B,)

EMPTY = "the mask is empty"
FULL = "the mask covers everything"
NOT_POSITIVE = "no place of the map has positive relevance"


@dataclass(frozen=True, eq=False)
class PointingGame(Check):
    """Whether the map's highest place is in the mask; where several are highest, the share that is.

    mask:      of the true cause, (*places), or one for each input in their order, (n, *places).
    tolerance: how many places from the mask still count as a hit.
    kind:      "positive" looks at values above 0 alone, "magnitude" at both signs.
    """

    mask: Tensor = field(repr=False)
    tolerance: float = 0.0
    kind: Kind = "positive"

    key = "pointing_game"

    def __post_init__(self) -> None:
        check_mask(self.mask)
        if self.tolerance < 0:
            raise InvalidArgument(f"The tolerance is a number of places from 0 on, not {self.tolerance}.")
        check_choice("kind of map", self.kind, KINDS)

    @property
    def card(self) -> CheckCard:
        return POINTING

    def read(self, batch: Batch) -> Sequence[Reading]:
        def peaks(maps: Tensor, _: Tensor) -> Tensor:
            return _normalised((maps == _most(maps)).double())

        masks = masks_of(batch, self.mask)
        return _readings(
            batch, masks, self.kind, peaks, inside, "highest place", widened(masks, self.tolerance)
        )


@dataclass(frozen=True, eq=False)
class RelevanceMass(Check):
    """The share of the map's relevance that lies in the mask. For the fields see `PointingGame`."""

    mask: Tensor = field(repr=False)
    kind: Kind = "positive"

    key = "relevance_mass"

    def __post_init__(self) -> None:
        check_mask(self.mask)
        check_choice("kind of map", self.kind, KINDS)

    @property
    def card(self) -> CheckCard:
        return MASS

    def read(self, batch: Batch) -> Sequence[Reading]:
        masks = masks_of(batch, self.mask)
        return _readings(batch, masks, self.kind, lambda maps, _: _normalised(maps), inside, "relevance")


@dataclass(frozen=True, eq=False)
class RelevanceRank(Check):
    """Of as many highest places as the mask has, the share in it. For the fields see `PointingGame`."""

    mask: Tensor = field(repr=False)
    kind: Kind = "positive"

    key = "relevance_rank"

    def __post_init__(self) -> None:
        check_mask(self.mask)
        check_choice("kind of map", self.kind, KINDS)

    @property
    def card(self) -> CheckCard:
        return RANK

    def read(self, batch: Batch) -> Sequence[Reading]:
        def highest(maps: Tensor, masks: Tensor) -> Tensor:
            rows = [
                seats(heatmap.flatten(), max(1, int(mask.sum()))).reshape(heatmap.shape)
                for heatmap, mask in zip(maps, masks, strict=True)
            ]
            return _normalised(torch.stack(rows))

        return _readings(batch, masks_of(batch, self.mask), self.kind, highest, inside, "highest places")


@dataclass(frozen=True, eq=False)
class IoU(Check):
    """Intersection over union of the mask and the places above `threshold` times the map's maximum.

    For the other fields see `PointingGame`.
    """

    mask: Tensor = field(repr=False)
    threshold: float = 0.2
    kind: Kind = "positive"

    key = "iou"

    def __post_init__(self) -> None:
        check_mask(self.mask)
        if not 0 < self.threshold < 1:
            raise InvalidArgument(f"The threshold is a share between 0 and 1, not {self.threshold}.")
        check_choice("kind of map", self.kind, KINDS)

    @property
    def card(self) -> CheckCard:
        return IOU

    def read(self, batch: Batch) -> Sequence[Reading]:
        def region(maps: Tensor, _: Tensor) -> Tensor:
            return (maps > self.threshold * _most(maps)).double()

        masks = masks_of(batch, self.mask)
        return _readings(batch, masks, self.kind, region, intersection_over_union, "region")


def _readings(  # noqa: PLR0917
    batch: Batch,
    masks: Tensor,
    kind: Kind,
    weigh: Weigh,
    compare: Compare,
    what: str,
    targets: Tensor | None = None,
) -> list[Reading]:
    """targets: what has to be hit, where it is not the masks themselves."""
    maps, seed = on_places(batch), batch.run.seed
    if maps is None:
        return [undefined(NO_PLACES)] * len(batch)
    hit = masks if targets is None else targets
    weights = weigh(_relevance(maps, kind), masks)
    own = compare(weights, hit)
    shape = tuple(maps.shape[1:])
    shifted = torch.stack([compare(move(weights), hit) for move in moves(len(shape), shape, COUNT, seed)])
    others = {
        name: compare(weigh(_relevance(control, kind), masks), hit)
        for name, control in controls(maps, batch.run.inputs, seed).items()
    }

    def reading(row: int) -> Reading:
        reason = (
            (None if masks[row].any() else EMPTY)
            or (FULL if hit[row].all() else None)
            or unreadable(maps[row])
            or (None if _relevance(maps[row], kind).amax() > 0 else NOT_POSITIVE)
        )
        if reason:
            return undefined(reason)
        value = float(own[row])
        stands = against(value, shifted[:, row].tolist(), best=1.0)
        return Reading(
            value,
            controls={name: figure(values[row]) for name, values in others.items()},
            p=stands.p,
            skill=stands.skill,
            passed=stands.passed,
            sentence=_sentence(value, what, stands),
            details={"mask_share": float(masks[row].double().mean()), "shifted_mean": stands.mean},
        )

    return [reading(row) for row in range(len(batch))]


def _relevance(maps: Tensor, kind: Kind) -> Tensor:
    return maps.double().clamp(min=0) if kind == "positive" else maps.double().abs()


def _most(maps: Tensor) -> Tensor:
    """The highest value of each map, (B, 1, …)."""
    return maps.flatten(1).amax(1).reshape(-1, *[1] * (maps.ndim - 1))


def _normalised(weights: Tensor) -> Tensor:
    total = weights.flatten(1).sum(1).reshape(-1, *[1] * (weights.ndim - 1))
    return weights / total


def _sentence(value: float, what: str, stands: Against) -> str:
    place = "regions overlap by" if what == "region" else f"share of the map's {what} on the true cause:"
    return f"The {place} {value:.0%}; its shifted copies reach {stands.mean:.0%}, p = {stands.p:.3f}."


CONTROLS = "random, edge, centre and constant maps; the map shifted on a torus and mirrored in 39 ways"
MISLEADS = (
    "The mask is where the cause should be, which the model need not have used; a large one is hit by chance."
)


def _card(name: str, asks: str, defined: str, source: str) -> CheckCard:
    return CheckCard(
        name=name,
        question="truth",
        asks=asks,
        defined=defined,
        better="higher",
        unit="share",
        range="0 to 1",
        controls=CONTROLS,
        misleads=MISLEADS,
        cost="no passes",
        source=source,
    )


POINTING = _card(
    "Pointing game",
    "Is the map highest on the true cause?",
    "1 where the map's highest place is in the mask or within the tolerance of it, else 0; the share of the "
    "highest places that are, where several are.",
    "Zhang et al. 2018, arXiv:1608.00507",
)
MASS = _card(
    "Relevance mass accuracy",
    "How much of the relevance lies on the true cause?",
    "The sum of the map in the mask over its sum everywhere, of positive values or of magnitudes.",
    "Arras et al. 2022, arXiv:2003.07258",
)
RANK = _card(
    "Relevance rank accuracy",
    "Do the highest places lie on the true cause?",
    "Of the K highest places, K being the number of places in the mask, the share that lies in it.",
    "Arras et al. 2022, arXiv:2003.07258",
)
IOU = _card(
    "Intersection over union",
    "Does the map mark the region of the true cause?",
    "The places in the mask and above a share of the map's maximum, over those in either.",
    "Zhou et al. 2016, arXiv:1512.04150",
)
