"""Does a map depend on what the model has learned? Its likeness to the map of random weights.

Adebayo et al. 2018, "Sanity checks for saliency maps", section 3. The weights are drawn anew part by part
from the top (cascading), or one part alone at a time (independent), and the map made again. One that hardly
changes shows the picture rather than the model. Every parameter belongs to a part; see `weights` for the
parts and for how they are drawn.

With `noise`, every map is the mean over noisy copies of the input, of the model as it is too (smooth MPRT,
Hedström et al. 2024, "Sanity checks revisited", section 4.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.controls import edges
from underhood.checks.likeness import MEASURES, SIGNS, Figures, Likeness, Measure, Sign, named
from underhood.checks.reading import Reading, undefined
from underhood.checks.remade import NO_OTHER, edges_stay, maps_of, parts_of, unusable
from underhood.checks.similarity import figure
from underhood.checks.weights import DRAWS, Draw, Part, Redrawn
from underhood.engine.passes import Log
from underhood.errors import InvalidArgument, Unfit
from underhood.models import Model

SHOWS_INPUT = "it shows the input more than what the model has learned."


@dataclass(frozen=True)
class Stage:
    """label: the part that is drawn anew, in a cascade with all parts above it; counted: for the value."""

    label: str
    parameters: tuple[str, ...]
    counted: bool


@dataclass(frozen=True)
class Randomisation(Check):
    """The map's likeness to that of random weights: 1 where nothing changes.

    order:    "cascading" from the top down, or "independent", each part alone.
    steps:    so many stages, spread evenly over the parts, and the two of the value; None: every part.
    draws:    how often random weights are drawn; the curve is of the first. The value is the mean over draws,
              and their spread its Monte-Carlo error; between draws the maps of untrained models are compared.
    how:      random weights are drawn as "normal", or by each module's own "reset".
    measure:  of the value: "spearman", "ssim" or "hog"; measures: those that are computed.
    sign:     of the value: "signed", the maps as they are, or "abs". Both are in the details.
    limit:    the greatest likeness that passes.
    noise:    standard deviation of the noise in maps' inputs, as a share of each input's range; 0 for none.
    copies:   noisy copies whose maps are averaged.

    The value of a cascade is the likeness with the upper half of its parts random; it passes where that and
    the likeness with all of them random are within the limit. Of independent parts it is their mean. A map
    that does no more than turn its sign, as it may where a random layer does, shows the same as before: of
    maps with both signs the value is the mean of |likeness|; the details keep its sign.
    """

    order: Literal["cascading", "independent"] = "cascading"
    steps: int | None = None
    draws: int = 3
    how: Draw = "normal"
    measure: Measure = "spearman"
    sign: Sign = "signed"
    limit: float = 0.6
    measures: tuple[Measure, ...] = MEASURES
    noise: float = 0.0
    copies: int = 16

    key = "randomisation"

    def __post_init__(self) -> None:
        if self.order not in ("cascading", "independent"):
            raise InvalidArgument(f"order is cascading or independent, not {self.order!r}.")
        if self.how not in DRAWS:
            raise InvalidArgument(f"Weights are drawn as normal or by reset, not {self.how!r}.")
        if self.sign not in SIGNS:
            raise InvalidArgument(f"sign is signed or abs, not {self.sign!r}.")
        if self.measure not in self.measures or not set(self.measures) <= set(MEASURES):
            raise InvalidArgument(f"measure is one of the measures, {', '.join(MEASURES)}: {self.measure!r}.")
        if self.draws < 1 or self.copies < 1 or (self.steps is not None and self.steps < 1):
            raise InvalidArgument("Randomisation takes at least one step, one draw and one copy.")
        if not self.noise >= 0:
            raise InvalidArgument(f"The noise's standard deviation is 0 or more, not {self.noise}.")

    @property
    def card(self) -> CheckCard:
        return RANDOMISATION

    def read(self, batch: Batch) -> Sequence[Reading]:
        try:
            return self._read(batch)
        except Unfit as error:
            return [undefined(str(error))] * len(batch)

    def _read(self, batch: Batch) -> Sequence[Reading]:
        log = Log()
        found = _Found(parts_of(batch, log), log)
        own = self._maps(batch, batch.model, found.log) if self.noise else batch.maps
        likeness = Likeness(own, self.measures)
        for draw in range(self.draws):
            redrawn = Redrawn(batch.model, self.how, batch.run.seed, draw)
            for stage in self.stages(found.parts):
                if draw == 0 or stage.counted:
                    maps = self._maps(batch, redrawn.of(stage.parameters), found.log)
                    found.at.setdefault(stage, []).append(likeness.to(maps))
            if self.order == "cascading":
                found.untrained.append(maps)
        pairs = combinations(found.untrained, 2)
        found.fresh = [Likeness(a, self.measures).to(b) for a, b in pairs]
        return [self._reading(batch, own, row, found) for row in range(len(batch))]

    def _maps(self, batch: Batch, model: Model, log: Log) -> Tensor:
        return maps_of(batch, model, self.noise, self.copies, log)

    def stages(self, parts: Sequence[Part]) -> list[Stage]:
        """What is drawn anew in each, in order."""
        last = len(parts)
        count = min(self.steps or last, last)
        at = {last} | {1 + i * (last - 1) // max(1, count - 1) for i in range(count - 1)}
        if self.order == "independent":
            return [Stage(parts[n - 1].name, parts[n - 1].parameters, True) for n in sorted(at)]
        counted = {(last + 1) // 2, last}
        return [
            Stage(parts[n - 1].name, tuple(p for part in parts[:n] for p in part.parameters), n in counted)
            for n in sorted(at | counted)
        ]

    def _reading(self, batch: Batch, own: Tensor, row: int, found: "_Found") -> Reading:
        calls, heatmap, x = found.log.calls / len(batch), own[row], batch.run.inputs[row]
        if problem := unusable(heatmap):
            return undefined(problem, calls=calls)
        name, up_to_sign = named(self.measure, self.sign), self.sign == "signed" and bool((heatmap < 0).any())
        counted = [stage for stage in found.at if stage.counted]
        likeness = [found.likeness(stage, name, row, up_to_sign) for stage in counted]
        details = found.details(row, name) | {
            "order": self.order,
            "drawn": self.how,
            "up_to_sign": up_to_sign,
        }
        if likeness[0] is None or (self.order == "independent" and None in likeness):
            return undefined(NO_OTHER, calls=calls, **details)
        value, error = likeness[0] if self.order == "cascading" else _joined([v for v in likeness if v])
        passed = all(v is None or v.mean <= self.limit for v in likeness)
        fresh = _likeness([pair[name][row] for pair in found.fresh], up_to_sign)
        return Reading(
            value,
            error=error,
            controls={"edges": edges_stay(x, self.sign), "fresh": fresh.mean if fresh else None},
            passed=passed,
            sentence=_sentence(value, passed)
            if passed or value > self.limit
            else self._not_the_value(value, counted, likeness),
            calls=calls,
            details={**details, "like_edges": _like_edges(heatmap, x)},
        )

    def _not_the_value(
        self, value: float, counted: Sequence[Stage], likeness: Sequence["_Mean | None"]
    ) -> str:
        """Said where the value passes, but the likeness at another stage does not."""
        most, label = max((v.mean, stage.label) for v, stage in zip(likeness, counted, strict=True) if v)
        if self.order == "cascading":
            which, other = "all of the model's weights", "with those of the upper half of its layers"
        else:
            which, other = f"the weights of {label}", "on average over parts"
        return (
            f"With {which} made random the likeness to this map is {most:z.2f} (1 is the same; {value:z.2f} "
            f"{other}): {SHOWS_INPUT}"
        )


class _Mean(NamedTuple):
    mean: float
    error: float | None


@dataclass
class _Found:
    """at: each stage's likenesses, one for each draw; untrained: the maps where all weights are random;
    fresh: the likenesses of those to each other."""

    parts: Sequence[Part]
    log: Log
    at: dict[Stage, list[Figures]] = field(default_factory=dict)
    untrained: list[Tensor] = field(default_factory=list)
    fresh: list[Figures] = field(default_factory=list)

    def likeness(self, stage: Stage, name: str, row: int, up_to_sign: bool) -> _Mean | None:
        return _likeness([figures[name][row] for figures in self.at[stage]], up_to_sign)

    def details(self, row: int, name: str) -> dict[str, Any]:
        curve = [_plain(figures[0], row) for figures in self.at.values()]
        return {
            "stages": [
                {"part": stage.label, "parameters": len(stage.parameters), **point}
                for stage, point in zip(self.at, curve, strict=True)
            ],
            "counted": {s.label: _plain(_over(f), row) for s, f in self.at.items() if s.counted},
            "fresh": _plain(_over(self.fresh), row) if self.fresh else {},
            "undefined_stages": sum(point[name] is None for point in curve),
            "parts": len(self.parts),
            "unused": [part.name for part in self.parts if not part.used],
        }


def _likeness(figures: Sequence[Tensor], up_to_sign: bool) -> _Mean | None:
    """The mean over draws, of those that are defined, with its standard error."""
    defined = [float(v.abs() if up_to_sign else v) for v in figures if not v.isnan()]
    values = torch.tensor(defined, dtype=torch.float64)
    if not len(values):
        return None
    return _Mean(float(values.mean()), float(values.std() / len(values) ** 0.5) if len(values) > 1 else None)


def _joined(parts: Sequence[_Mean]) -> _Mean:
    """Of independent parts."""
    errors = [part.error for part in parts if part.error is not None]
    error = sum(e * e for e in errors) ** 0.5 / len(parts) if len(errors) == len(parts) else None
    return _Mean(sum(part.mean for part in parts) / len(parts), error)


def _over(figures: Sequence[Figures]) -> Figures:
    """The mean of those that are defined."""
    return {name: torch.stack([f[name] for f in figures]).nanmean(0) for name in figures[0]}


def _plain(figures: Figures, row: int) -> dict[str, float | None]:
    return {name: figure(values[row]) for name, values in figures.items()}


def _like_edges(heatmap: Tensor, x: Tensor) -> float | None:
    """Rank correlation of |map| with the picture's edges."""
    if x.ndim != 3:
        return None
    return figure(Likeness(heatmap.abs()[None], ["spearman"]).to(edges(x[None]))["spearman"][0])


def _sentence(value: float, passed: bool) -> str:
    said = f"With the model's weights made random the likeness to this map is {value:z.2f} (1 is the same)"
    if passed:
        return f"{said}: it depends on what the model has learned."
    return f"{said}: {SHOWS_INPUT}"


RANDOMISATION = CheckCard(
    name="Parameter randomisation",
    question="model",
    asks="Does the map depend on what the model has learned?",
    defined="Spearman's rank correlation of the map with that of the same model with the upper half of its "
    "layers random, up to its sign for maps with both signs; mean over draws of the weights.",
    better="lower",
    unit="none",
    range="0 to 1 (unchanged); down to -1 for maps of one sign",
    controls="an edge map, which stays the same; maps of untrained models against each other",
    misleads="That a map changes does not make it right; and one that is the input times something may keep "
    "its magnitudes where its signs change.",
    cost="6 explanations of the method, and one for each step of the curve",
    source="Adebayo et al. 2018, arXiv:1810.03292; Hedström et al. 2024, arXiv:2401.06465",
)
