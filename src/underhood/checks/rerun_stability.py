"""Does a map keep its order when the method is run with another seed, or the model trained again?

The mean rank correlation (Spearman) of the map with those of other seeds (Visani et al. 2022, "Statistical
stability indices for LIME"), or of other trainings of the model (Fel et al. 2022, "How good is your
explanation?").
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.complexity import FLAT
from underhood.checks.moves import Compared, Moves, order_elsewhere
from underhood.checks.nearby import same_class
from underhood.checks.rank_stability import COMMON, agreement
from underhood.checks.reading import Reading, undefined
from underhood.engine import Engine, Run
from underhood.errors import InvalidArgument, Unfit
from underhood.models import Model

ALIKE = 1e-5  # maps that differ by less than that share of their size are the same


@dataclass(frozen=True)
class SeedStability(Check):
    """The mean rank correlation of the map with those that other seeds give; 1 for methods without chance.

    seeds: how many others.
    """

    seeds: int = 3

    key = "seed_stability"

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InvalidArgument(f"Seed stability takes at least one other seed, not {self.seeds}.")

    @property
    def card(self) -> CheckCard:
        return SEED_STABILITY

    def read(self, batch: Batch) -> Sequence[Reading]:
        before = batch.run.engine.log.calls
        compared = Compared(batch.maps, self.seeds, ranked=True)
        try:
            for number in range(self.seeds):
                compare(compared, batch.explained(reseeded(batch.run, number + 1)), number)
                if number == 0 and chanceless(compared.moves):
                    break
        except Unfit as error:
            return [undefined(str(error))] * len(batch)
        calls, away = (batch.run.engine.log.calls - before) / len(batch), order_elsewhere(batch)
        moves = compared.moves.first(number + 1)
        if chanceless(moves):
            return [_exact(batch.maps[row], calls) for row in range(len(batch))]
        return [
            whole(batch.maps[row], calls)
            or agreement(
                moves,
                row,
                torch.ones(self.seeds, dtype=torch.bool),
                away[:, row],
                "Another seed",
                calls=calls,
                details={"seeds": self.seeds, "deterministic": False},
            )
            for row in range(len(batch))
        ]


def reseeded(run: Run, by: int) -> Run:
    """The same question with another seed; its passes are counted with the run's."""
    engine = Engine(run.engine.model, replace(run.engine.settings, seed=run.seed + by), run.engine.asked)
    engine.log = run.engine.log
    return Run(engine, run.inputs, run.target)


def compare(compared: Compared, maps: Tensor, number: int) -> None:
    rows = torch.arange(len(maps))
    compared.update(maps.flatten(1), rows, torch.full_like(rows, number))


def chanceless(moves: Moves) -> bool:
    """Whether another seed gave the same maps, but for rounding."""
    return bool((moves.share[0].nan_to_num(0.0) <= ALIKE).all())


def whole(heatmap: Tensor, calls: float) -> Reading | None:
    """Why a map cannot be compared with others."""
    if not heatmap.isfinite().all():
        return undefined("the map holds values that are not finite", calls=calls)
    return None if heatmap.any() else undefined(FLAT, calls=calls)


def _exact(heatmap: Tensor, calls: float) -> Reading:
    return whole(heatmap, calls) or Reading(
        1.0,
        passed=True,
        sentence="The method uses no chance: another seed gives the same map.",
        calls=calls,
        details={"deterministic": True},
    )


@dataclass(frozen=True, eq=False)
class RetrainingStability(Check):
    """The mean rank correlation of the map with those of other trainings of the model.

    models: the others, with the same inputs and classes. Those that predict another class are left out and
            counted.
    """

    models: Sequence[Model]

    key = "retraining_stability"

    def __post_init__(self) -> None:
        if not self.models or not all(isinstance(model, Model) for model in self.models):
            raise InvalidArgument("Retraining stability takes other trainings of the model: a list of Model.")

    @property
    def card(self) -> CheckCard:
        return RETRAINING_STABILITY

    def parameters(self) -> dict[str, Any]:
        return {"models": [f"{model.name}, sha256 {model.digest[:12]}" for model in self.models]}

    def read(self, batch: Batch) -> Sequence[Reading]:
        if batch.run.target.layer is not None:
            reason = "the target is a unit inside the network, and another training has other units"
            return [undefined(reason)] * len(batch)
        compared, same, calls = Compared(batch.maps, len(self.models), ranked=True), [], 0.0
        try:
            for number, model in enumerate(self.models):
                run = batch.asked_of(model)
                compare(compared, batch.explained(run), number)
                same.append(same_class(batch, checked(run.outputs, batch)))
                calls += run.engine.log.calls / len(batch)
        except Unfit as error:
            return [undefined(str(error))] * len(batch)
        kept, away = torch.stack(same), order_elsewhere(batch)  # (models, B)
        return [
            whole(batch.maps[row], calls)
            or _none_kept(kept[:, row], calls)
            or agreement(
                compared.moves,
                row,
                kept[:, row],
                away[:, row],
                "Training the model again",
                calls=calls,
                details={"models": len(kept), "other_class": int((~kept[:, row]).sum())},
            )
            for row in range(len(batch))
        ]


def checked(outputs: Tensor, batch: Batch) -> Tensor:
    classes = batch.run.outputs.shape[1]
    if outputs.shape[1] != classes:
        raise InvalidArgument(
            f"A model to compare with has {outputs.shape[1]} outputs, the model that was explained {classes}."
        )
    return outputs


def _none_kept(kept: Tensor, calls: float) -> Reading | None:
    if kept.any():
        return None
    return undefined(f"each of {len(kept)} other models predicts another class", calls=calls)


SEED_STABILITY = CheckCard(
    name="Seed stability",
    asks="Does another seed give the same map?",
    defined="The mean Spearman correlation of the map with those of other seeds; 1 without chance.",
    controls="the map's own copies, shifted and mirrored (p-value)",
    misleads="A method without chance passes whatever it shows.",
    cost="seeds × the method; once for a method without chance",
    source="Visani et al. 2022, arXiv:2001.11757",
    **COMMON,
)

RETRAINING_STABILITY = CheckCard(
    name="Retraining stability",
    asks="Does another training of the model give the same map?",
    defined="The mean Spearman correlation of the map with those of other trainings that predict the same.",
    controls="the map's own copies, shifted and mirrored (p-value)",
    misleads="Models that are equally right may be right for different reasons: a low figure may speak of "
    "the models rather than of the map.",
    cost="models × the method",
    source="Fel et al. 2022, arXiv:2009.04521",
    **COMMON,
)
