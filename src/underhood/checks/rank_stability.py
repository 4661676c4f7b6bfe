"""Does a map keep its order where nothing that matters changes?

The mean rank correlation (Spearman) of the map with maps of slightly noisy inputs (Ghorbani et al. 2019,
"Interpretation of neural networks is fragile"); `rerun_stability` has other seeds and other trainings.

The control is what the map has in common with its own copies, shifted and mirrored: a smooth map, or one
that is high in the middle, agrees with itself wherever it is laid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.intervals import p_value, skill
from underhood.checks.moves import Moves, order_elsewhere
from underhood.checks.nearby import edges_nearby, told
from underhood.checks.reading import Reading, undefined
from underhood.checks.sensitivity import HALF, Neighbourhood, counted, standard_error, unreadable
from underhood.errors import Unfit

SAME = "the map is the same everywhere, so it has no order"
NO_CONTROLS: Mapping[str, float | None] = {}


@dataclass(frozen=True)
class RankStability(Neighbourhood):
    """The mean rank correlation of the map with maps of noisy inputs: 1 where its order stays."""

    draws: int = 6

    key = "rank_stability"

    @property
    def card(self) -> CheckCard:
        return RANK_STABILITY

    def read(self, batch: Batch) -> Sequence[Reading]:
        before = batch.run.engine.log.calls
        try:
            found = told(batch, self.near, self.draws, ranked=True)
            kept = found.kept(batch)
        except Unfit as error:
            return [undefined(str(error))] * len(batch)
        calls = (batch.run.engine.log.calls - before) / len(batch)
        spread = self.near.spread(batch.run.inputs)
        edges, away = edges_nearby(batch, self.near, self.draws, ranked=True), order_elsewhere(batch)
        return [
            unreadable(batch.maps[row], spread[row], kept[:, row], calls)
            or agreement(
                found.moves,
                row,
                kept[:, row],
                away[:, row],
                "Noise that leaves the prediction as it is",
                controls={} if edges is None else {"edges": mean_of(edges.order[:, row][kept[:, row]])},
                calls=calls,
                details={**counted(kept[:, row]), "noise": self.near.words(), "spread": float(spread[row])},
            )
            for row in range(len(batch))
        ]


def agreement(
    moves: Moves,
    row: int,
    kept: Tensor,
    away: Tensor,
    cause: str,
    *,
    calls: float,
    details: dict[str, Any],
    controls: Mapping[str, float | None] = NO_CONTROLS,
) -> Reading:
    """A reading of a map's rank correlations with those `kept` (n,) of the maps that should be like it.

    away: its rank correlations with its own moved copies; cause: what made the other maps, in words.
    """
    order, magnitude = moves.order[kept, row], moves.magnitude[kept, row]
    defined, others = order[~order.isnan()], away.tolist()
    details = {**details, "flat_maps": len(order) - len(defined)}
    if away.isnan().all():
        return undefined(SAME, calls=calls)
    if not len(defined):
        return undefined("every map it is compared with is the same everywhere", calls=calls, **details)
    value, shifted = float(defined.mean()), sum(others) / len(others)
    p, better = p_value(value, others, "higher"), skill(value, shifted, 1.0)
    likeness = f"likeness {value:z.2f}, 1 is the same; moved copies come to {shifted:z.2f}"
    return Reading(
        value,
        error=standard_error(defined),
        controls={"shifted": shifted, "constant": None, **controls},
        p=p,
        skill=better,
        passed=None if better is None else better >= HALF,
        sentence=f"{cause} {_word(value)} ({likeness}).",
        calls=calls,
        details={**details, "of_magnitudes": mean_of(magnitude), "correlations": defined.tolist()},
    )


def _word(value: float) -> str:
    if value > 0.9:
        return "leaves the map's order nearly as it is"
    return "changes the map's order somewhat" if value > 0.5 else "gives the map another order"


def mean_of(values: Tensor) -> float | None:
    """Of those that exist."""
    defined = values[~values.isnan()]
    return float(defined.mean()) if len(defined) else None


COMMON: dict[str, Any] = {
    "question": "stability",
    "better": "higher",
    "unit": "rank correlation",
    "range": "-1 (reversed) to 1 (the same order)",
}

RANK_STABILITY = CheckCard(
    name="Rank stability",
    asks="Does the map keep its order under noise that changes nothing?",
    defined="The mean Spearman correlation of the map with maps of noisy copies of the input.",
    controls="the map's own copies, shifted and mirrored (p-value); a map of edges",
    misleads="A map that never looks at the model is stable too, as edges are.",
    cost="draws × the method",
    source="Ghorbani et al. 2019, arXiv:1710.10547; Alvarez-Melis & Jaakkola 2018, arXiv:1806.08049",
    **COMMON,
)
