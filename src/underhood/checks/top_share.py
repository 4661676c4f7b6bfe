"""Deletion in a single step: does the score fall when the map's highest places are hidden, more than when the
same patch of places is hidden elsewhere?

    fall = S(x) - S(x without the places M of highest relevance),   against 39 shifted, mirrored copies of M:

40 forward passes for a p-value of down to 1/40. One step of Samek et al. 2017 (see `deletion`); what moves is
the mask, which hides as much, in pieces as large, as the map's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.controls import COUNT, controls, moves, unclear
from underhood.checks.correlated import NO_PLACES, Kind, on_places, unreadable
from underhood.checks.deletion import UNUSUAL
from underhood.checks.intervals import against
from underhood.checks.reading import Reading, undefined
from underhood.checks.removal import TIES, UNMOVED, check_removal
from underhood.errors import InvalidArgument
from underhood.inputs import Absence
from underhood.inputs.baseline import BaselineLike, as_baseline
from underhood.inputs.random import PROBES, generator


@dataclass(frozen=True)
class TopShare(Check):
    """The fall of the score when the map's highest places are hidden.

    share:  of all places. For `fill` and `kind` see `Deletion`.
    shifts: copies of the mask elsewhere.
    """

    share: float = 0.1
    fill: BaselineLike = "zeros"
    kind: Kind = "signed"
    shifts: int = COUNT

    key = "top_share"

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InvalidArgument(f"The share hidden lies between 0 and 1, not at {self.share}.")
        check_removal(self.fill, None, self.kind, self.shifts)

    @property
    def card(self) -> CheckCard:
        return CARD

    def read(self, batch: Batch) -> Sequence[Reading]:
        maps = on_places(batch)
        if maps is None:
            return [undefined(NO_PLACES)] * len(batch)
        counted = maps.nan_to_num() if self.kind == "signed" else maps.nan_to_num().abs()
        score, log = batch.run.score, batch.run.engine.log
        before = log.calls
        mask = highest(counted, self.share, batch.run.seed)
        moved = moves(maps.ndim - 1, tuple(maps.shape[1:]), self.shifts, batch.run.seed)
        without = self._without(batch, torch.stack([mask, *(move(mask) for move in moved)]))  # (40, B)
        empty, controlled = self._controlled(batch, maps)
        falls, calls = score - without, (log.calls - before) / len(batch)

        def reading(row: int) -> Reading:
            reason = unreadable(maps[row])
            everything = torch.cat([without[:, row], score[row : row + 1], empty[row : row + 1]])
            if not reason and everything.amax() - everything.amin() <= 1e-6 * everything.abs().amax():
                reason = UNMOVED
            if reason:
                return undefined(reason, calls=calls)
            value, *shifted = falls[:, row].tolist()
            stands, tied = against(value, shifted, best=value), _tied(counted[row], mask[row])
            total = float(score[row] - empty[row])
            return Reading(
                value,
                error=None if tied else 0.0,
                controls={name: float(score[row] - other[row]) for name, other in controlled.items()},
                p=stands.p,
                passed=stands.passed,
                sentence=self._sentence(value, shifted, stands.p, stands.passed),
                calls=calls,
                details={
                    "share_of_fall": value / total if abs(total) > 1e-6 * float(score[row].abs()) else None,
                    "score": float(score[row]),
                    "all_hidden": float(empty[row]),
                    "shifted_mean": stands.mean,
                    "tied": tied,
                    "hidden": float(mask[row].float().mean()),
                },
            )

        return [reading(row) for row in range(len(batch))]

    def _without(self, batch: Batch, masks: Tensor) -> Tensor:
        """Scores (n, B) with masks (n, B, *places) hidden."""
        absence = Absence(batch.run.inputs, as_baseline(self.fill), batch.model.preprocess, batch.run.seed)
        variants = absence.variants(len(masks), lambda rows, numbers: masks[numbers, rows])
        return absence.averaged(batch.run.scores(variants, precision="float32"))

    def _controlled(self, batch: Batch, maps: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores (B,) with all hidden, and with what controls are highest at; once for all methods."""
        key = (self.key, as_baseline(self.fill), self.share)
        if key not in batch.memory:
            seed = batch.run.seed
            found = controls(maps, batch.run.inputs, seed)
            masks = [highest(control, self.share, seed) for control in found.values()]
            everything = torch.ones_like(maps, dtype=torch.bool)
            empty, *scores = self._without(batch, torch.stack([everything, *masks]))
            batch.memory[key] = empty, dict(zip(found, scores, strict=True))
        known: tuple[Tensor, dict[str, Tensor]] = batch.memory[key]
        return known

    def _sentence(self, value: float, shifted: list[float], p: float | None, passed: bool | None) -> str:
        hidden = f"Hiding the {self.share:.0%} of the input where the map is highest"
        size = f"{abs(value):.3g}"
        found = (
            f"{hidden} leaves the score as it is" if float(size) == 0
            else f"{hidden} {'lowers' if value > 0 else 'raises'} the score by {size}"
        )  # fmt: skip
        if p is None:
            return f"{found}; it was not hidden elsewhere."
        as_much = sum(s >= value for s in shifted)
        told = {True: "more than elsewhere", None: unclear(len(shifted)), False: "no better than elsewhere"}
        return (
            f"{found}: {told[passed]}. Hiding as much elsewhere leaves it as low or lower in {as_much} of "
            f"{len(shifted)} places."
        )


def highest(maps: Tensor, share: float, seed: int) -> Tensor:
    """The share of places where each map (B, *places) is highest, at least one, bool; ties at random."""
    flat = maps.flatten(1)
    count = max(1, round(share * flat.shape[1]))
    ties = torch.from_numpy(generator(seed, PROBES, TIES).permutation(flat.shape[1]))
    chosen = ties[flat[:, ties].argsort(dim=1, descending=True, stable=True)[:, :count]]
    return torch.zeros_like(flat, dtype=torch.bool).scatter(1, chosen, value=True).reshape(maps.shape)


def _tied(heatmap: Tensor, mask: Tensor) -> float:
    """The share of the hidden places that were chosen among equals."""
    lowest = heatmap[mask].amin()
    equal = heatmap == lowest
    return float((equal & mask).sum() / mask.sum()) if (equal & ~mask).any() else 0.0


CARD = CheckCard(
    name="Top share hidden",
    question="controls",
    asks="Does hiding what the map holds highest cost the score more than hiding as much elsewhere?",
    defined="The fall of the score when the tenth of the input where the map is highest is hidden.",
    better="higher",
    unit="score",
    range="any",
    controls="random, edge, centre and constant maps; the hidden places moved and mirrored in 39 ways",
    misleads=UNUSUAL + "It looks at the map's highest places only; a cause shown twice is not missed.",
    cost="40 forward passes, and 5 once per input",
    source="Samek et al. 2017, arXiv:1509.06321",
)
