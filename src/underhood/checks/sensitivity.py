"""What checks on noisy copies have in common: the draws, what cannot be read, and figures of distance."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.check import Check
from underhood.checks.complexity import FLAT
from underhood.checks.controls import controls
from underhood.checks.intervals import p_value, skill
from underhood.checks.moves import Change, Moves, elsewhere
from underhood.checks.nearby import Nearby, Noise, Told, Unit, edges_nearby, told
from underhood.checks.reading import Reading, undefined
from underhood.errors import InvalidArgument, Unfit

HALF = 0.5  # least skill of a map that is said to stay: it moves less than half as far as to anywhere


@dataclass(frozen=True)
class Neighbourhood(Check):
    """A check on noisy copies of the input.

    draws: copies of each input; the first of them are the same whatever their number.
    radius, noise, unit: see `Nearby`.
    """

    draws: int = 10
    radius: float = 0.1
    noise: Noise = "uniform"
    unit: Unit = "std"

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise InvalidArgument(f"A check on noisy copies takes at least one draw, not {self.draws}.")
        self.near  # noqa: B018 - refuses what cannot be drawn

    @property
    def near(self) -> Nearby:
        return Nearby(self.radius, self.noise, self.unit)


@dataclass(frozen=True)
class Sensitivity(Neighbourhood):
    """The largest, or the mean, of how far the map moves over how far something else does."""

    change: ClassVar[Change] = "share"  # see `Moves`
    statistic: ClassVar[Literal["max", "mean"]] = "max"

    @abstractmethod
    def scale(self, batch: Batch, found: Told) -> Tensor:
        """(n, B) that the map's moves are divided by."""

    def said(self, value: float, shifted: float) -> str:
        """The figure in a sentence, beside that of a map laid elsewhere."""
        kind = "at most" if self.statistic == "max" else "on average"
        return (
            f"Where noise leaves the prediction as it is, the {self.card.name} is {value:.3g} {kind} over "
            f"{self.draws} draws ({shifted:.3g} for a map laid elsewhere)."
        )

    def read(self, batch: Batch) -> Sequence[Reading]:
        before = batch.run.engine.log.calls
        try:
            found = told(batch, self.near, self.draws)
            scale, kept = self.scale(batch, found), found.kept(batch)
        except Unfit as error:
            return [undefined(str(error))] * len(batch)
        calls = (batch.run.engine.log.calls - before) / len(batch)
        spread = self.near.spread(batch.run.inputs)
        edges, away = edges_nearby(batch, self.near, self.draws), elsewhere(batch, self.change)
        return [
            unreadable(batch.maps[row], spread[row], kept[:, row], calls)
            or self._reading(
                batch, row, kept[:, row], scale[:, row], (found.moves, edges), away[:, row], calls=calls
            )
            for row in range(len(batch))
        ]

    def _reading(  # noqa: PLR0917
        self,
        batch: Batch,
        row: int,
        kept: Tensor,
        scale: Tensor,
        moves: tuple[Moves, Moves | None],
        away: Tensor,
        *,
        calls: float,
    ) -> Reading:
        of_map, edges = (None if m is None else getattr(m, self.change)[:, row] for m in moves)
        assert of_map is not None
        scale, ratios = scale[kept], (of_map / scale)[kept]
        if not ratios.isfinite().all():
            return undefined("the method's map of a noisy input is not finite", calls=calls)
        value = float(self._over(ratios))
        others = (away * self._over(1 / scale)).tolist()
        shifted = sum(others) / len(others)
        p = p_value(value, others, "lower") if shifted > 0 else None
        better = skill(value, shifted, 0.0)
        return Reading(
            value,
            error=self._error(ratios),
            controls={
                "shifted": shifted,
                **dict.fromkeys(controls(batch.maps[:1], batch.run.inputs[:1]), 0.0),
                **({} if edges is None else {"edges": _finite(self._over(edges[kept] / scale))}),
            },
            p=p,
            skill=better,
            passed=None if better is None else better >= HALF,
            sentence=self.said(value, shifted),
            calls=calls,
            details={**self.told_of(batch, row, kept), "ratios": ratios.tolist()},
        )

    def told_of(self, batch: Batch, row: int, kept: Tensor) -> dict[str, Any]:
        return {
            **counted(kept),
            "noise": self.near.words(),
            "spread": float(self.near.spread(batch.run.inputs[row : row + 1])),
            "bound": "a lower bound: more draws can only raise it" if self.statistic == "max" else None,
        }

    def _over(self, values: Tensor) -> Tensor:
        return values.max() if self.statistic == "max" else values.mean()

    def _error(self, ratios: Tensor) -> float | None:
        return None if self.statistic == "max" else standard_error(ratios)


def unreadable(heatmap: Tensor, spread: Tensor, kept: Tensor, calls: float) -> Reading | None:
    """Why the stability of a map (*places) does not exist, over draws of which those `kept` (n,) count."""
    if not heatmap.isfinite().all():
        return undefined("the map holds values that are not finite", calls=calls)
    if not heatmap.any():
        return undefined(FLAT, calls=calls)
    if not spread > 0:
        return undefined(
            "the input is the same everywhere, and noise in units of its spread is none (unit='input' "
            "takes the radius as it is)", calls=calls
        )  # fmt: skip
    if not kept.any():
        return undefined(
            f"each of {len(kept)} noisy copies changes the predicted class", calls=calls, **counted(kept)
        )
    return None


def counted(kept: Tensor) -> dict[str, Any]:
    return {"draws": len(kept), "changed_class": int((~kept).sum())}


def standard_error(values: Tensor) -> float | None:
    """Of the mean; None for a single value."""
    return None if len(values) < 2 else float(values.std() / len(values) ** 0.5)


def _finite(value: Tensor) -> float | None:
    return float(value) if value.isfinite() else None
