"""How certain the map is: an interval for each group of places.

The map that is shown is one draw: of a method's own sampling, of its seed, of the model's training (deep
ensembles, Lakshminarayanan et al. 2017), or of the units that dropout leaves (Gal & Ghahramani 2016). With s
the standard deviation of a group's relevance over K further draws, the mean over all possible draws lies in

    Φ_g ± t · s,   t the quantile of Student's distribution of K - 1 degrees of freedom,

with the level's probability, where draws are normal; where a method tells its own standard error, in
Φ_g ± z · s. The figure is the share of |Φ| in groups whose interval excludes 0, so that their sign is
certain; of maps without sign, the mean over groups, so that it is certain on which side of it they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.dropout import dropouts, dropped
from underhood.checks.intervals import of_noise, student
from underhood.checks.reading import Reading, undefined
from underhood.checks.rerun_stability import ALIKE, reseeded, whole
from underhood.engine import Run
from underhood.errors import InvalidArgument, Unfit
from underhood.inputs.grouping import Grouping, Labels, as_grouping, elements, patches
from underhood.methods.method import plain
from underhood.models import Model

By = Literal["auto", "draws", "seeds", "models", "dropout"]
BY = ("auto", "draws", "seeds", "models", "dropout")
TOLD = 1024  # groups of which the intervals are told one by one
WORDS = {
    "draws": "the method's own draws",
    "seeds": "{} other seeds",
    "models": "{} other trainings of the model",
    "dropout": "{} draws of the model's dropout",
}


@dataclass(frozen=True, eq=False)
class Uncertainty(Check):
    """The share of the map's relevance whose sign, or side of the mean, is certain.

    by:       "draws", the standard error that the method tells; "seeds", the method with other seeds;
              "models", other trainings of the model; "dropout", the model with its dropout at work; "auto":
              models where they are given, else draws where the method tells them, else seeds.
    models:   at least two.
    draws:    seeds, or draws of dropout.
    grouping: labels of the places; a number for patches of that size; None for about 14 × 14 patches of
              a picture, elements of a row, and elements where the method tells its standard error. Where a
              group has several elements with a standard error each, that of their sum is taken as large as
              it can be.
    level:    of the intervals.
    """

    by: By = "auto"
    models: Sequence[Model] = ()
    draws: int = 6
    grouping: Grouping | Tensor | int | None = None
    level: float = 0.95

    key = "uncertainty"

    def __post_init__(self) -> None:
        if self.by not in BY:
            raise InvalidArgument(f"An uncertainty is by {', '.join(BY)}, not {self.by!r}.")
        if self.draws < 2:
            raise InvalidArgument(f"A spread takes at least 2 draws, not {self.draws}.")
        if not 0 < self.level < 1:
            raise InvalidArgument(f"A level lies between 0 and 1, not at {self.level}.")
        if isinstance(self.grouping, int) and self.grouping < 1:
            raise InvalidArgument(f"A patch has a size of at least 1, not {self.grouping}.")
        if (self.models or self.by == "models") and len(self.models) < 2:
            raise InvalidArgument("A spread over trainings takes at least two other models.")

    @property
    def card(self) -> CheckCard:
        return UNCERTAINTY

    def parameters(self) -> dict[str, Any]:
        models = [f"{model.name}, sha256 {model.digest[:12]}" for model in self.models]
        return {"by": self.by, "models": models, "draws": self.draws, "grouping": plain(self.grouping),
                "level": self.level}  # fmt: skip

    def read(self, batch: Batch) -> Sequence[Reading]:
        by = self._by(batch)
        if by == "draws":
            return [self._of_draws(batch, row) for row in range(len(batch))]
        runs = self._runs(batch, by)
        if isinstance(runs, str):
            return [undefined(runs)] * len(batch)
        return self._of_runs(batch, by, runs)

    def _by(self, batch: Batch) -> By:
        if self.by != "auto":
            return self.by
        if self.models:
            return "models"
        return "draws" if all("standard_error" in e.arrays for e in batch.explanations) else "seeds"

    def _runs(self, batch: Batch, by: By) -> Iterator[Run] | str:
        """The runs whose maps are compared, or why there are none."""
        if by == "dropout":
            if not dropouts(batch.model.module):
                return "the model has no dropout layers"
            models = (dropped(batch.model, batch.run.seed, number) for number in range(self.draws))
            return map(batch.asked_of, models)
        if by == "models":
            if batch.run.target.layer is not None:
                return "the target is a unit inside the network, and another training has other units"
            return map(batch.asked_of, self.models)
        return (reseeded(batch.run, number + 1) for number in range(self.draws))

    def _of_runs(self, batch: Batch, by: By, runs: Iterator[Run]) -> list[Reading]:
        own, before, calls, found = batch.run.engine.log, batch.run.engine.log.calls, 0.0, []
        groups = self._groups(batch.maps[0], default=_patches)
        try:
            for run in runs:
                maps = batch.explained(run)
                calls += 0.0 if run.engine.log is own else run.engine.log.calls
                found.append(summed(maps, groups))
                if by == "seeds" and len(found) == 1 and _same(batch.maps, maps):
                    reason = "the method uses no chance, and no other models were given to compare with"
                    return [undefined(reason, calls=(own.calls - before) / len(batch))] * len(batch)
        except Unfit as error:
            return [undefined(str(error))] * len(batch)
        calls = (calls + own.calls - before) / len(batch)
        sums, spread = summed(batch.maps, groups), torch.stack(found).std(0)  # (B, G)
        return [
            whole(batch.maps[row], calls)
            or self._reading(batch, sums[row], spread[row], len(found) - 1, by=by, calls=calls)
            for row in range(len(batch))
        ]

    def _of_draws(self, batch: Batch, row: int) -> Reading:
        explanation = batch.explanations[row]
        if "standard_error" not in explanation.arrays:
            return undefined("the method tells no standard error")
        if bad := whole(batch.maps[row], 0.0):
            return bad
        error = torch.from_numpy(explanation.arrays["standard_error"])
        values, error = _on_places(batch.values[row], error, batch.maps[row], batch.reduction)
        groups = self._groups(values, default=elements)
        sums, spread = (summed(t[None], groups)[0] for t in (values, error))
        return self._reading(batch, sums, spread, None, by="draws", calls=0.0)

    def _groups(self, heatmap: Tensor, default: Any) -> Labels:
        shape = tuple(heatmap.shape)
        if self.grouping is None:
            return default(shape)
        if isinstance(self.grouping, int):
            return patches((shape[0], shape[1]), self.grouping) if len(shape) == 2 else elements(shape)
        groups = as_grouping(self.grouping, shape)
        if not isinstance(groups, Labels):
            raise InvalidArgument("The groups may not overlap; give labels or patches.")
        return groups

    def _reading(
        self,
        batch: Batch,
        sums: Tensor,
        spread: Tensor,
        freedom: int | None,
        *,
        by: By,
        calls: float,
    ) -> Reading:
        signed = batch.method.card.signed
        quantile = student(self.level, freedom)
        half, middle = quantile * spread, torch.zeros(()) if signed else sums.mean()
        certain, weight = (sums - middle).abs() > half, sums.abs()
        if not weight.sum() > 0:
            return undefined("every group's relevance is 0", calls=calls)
        value = float((weight * certain).sum() / weight.sum())
        what = "sign" if signed else "place above or below the mean"
        details: dict[str, Any] = {"by": by, "groups": len(sums), "certain_groups": int(certain.sum()),
                                   "level": self.level, "middle": float(middle)}  # fmt: skip
        if len(sums) <= TOLD:
            details |= {"values": sums.tolist(), "half_widths": half.tolist()}
        over = WORDS[by].format(None if freedom is None else freedom + 1)
        return Reading(
            value,
            error=None,
            controls={"noise": of_noise(quantile, freedom)} if signed else {},
            passed=value >= 0.5,
            sentence=f"{value:.0%} of the map's relevance lies where its {what} is certain "
            f"({self.level:.0%} intervals over {over}).",
            calls=calls,
            details=details,
        )


def summed(maps: Tensor, groups: Labels) -> Tensor:
    """Sums over groups, (B, G), float64, of maps (B, *places)."""
    total = torch.zeros(len(maps), groups.count, dtype=torch.float64)
    return total.index_add_(1, groups.numbers.flatten(), maps.flatten(1).double())


def _same(maps: Tensor, others: Tensor) -> bool:
    return bool((maps - others).abs().max() <= ALIKE * maps.abs().max())


def _patches(shape: tuple[int, ...]) -> Labels:
    return (
        patches((shape[0], shape[1]), max(1, round(min(shape) / 14))) if len(shape) == 2 else elements(shape)
    )


def _on_places(values: Tensor, error: Tensor, heatmap: Tensor, reduction: str) -> tuple[Tensor, Tensor]:
    """A map (*places) and its standard error, from what the method gives for each channel."""
    if values.shape == heatmap.shape:
        return values, error
    if reduction == "max":  # the error of the channel that is shown
        return heatmap, error.gather(0, values.abs().argmax(0, keepdim=True))[0]
    return heatmap, error.sum(0)  # as large as it can be


UNCERTAINTY = CheckCard(
    name="Certain share",
    question="certainty",
    asks="How much of the map would stay with other draws, seeds or trainings?",
    defined="The share of |map| in groups whose interval excludes 0 (or, without signs, the mean).",
    better="higher",
    unit="share",
    range="0 (nothing is certain) to 1 (all of it is)",
    controls="what a map of noise alone would have, worked out",
    misleads="It tells how much chance there is in the map, not whether the map is right; a fixed mistake is "
    "certain.",
    cost="nothing where the method tells its standard error; else draws × the method",
    source="Lakshminarayanan et al. 2017, arXiv:1612.01474; Gal & Ghahramani 2016, arXiv:1506.02142; "
    "Slack et al. 2021, arXiv:2008.05030",
)
