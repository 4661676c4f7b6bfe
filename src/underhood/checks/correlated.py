"""Readings of a figure that depends on a map through its sums over groups: own, controls, shifted copies."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.controls import controls, unclear
from underhood.checks.intervals import Against, against
from underhood.checks.probes import Probes, moved_sums, pooled
from underhood.checks.reading import Reading, undefined
from underhood.checks.similarity import figure as number
from underhood.errors import UnknownName
from underhood.inputs.grouping import places

Kind = Literal["signed", "magnitude"]
KINDS = ("signed", "magnitude")
Figure = Callable[[Tensor], Tensor]  # of group sums (…, B, G): (…, B), NaN where there is none

NOT_FINITE = "the map holds values that are not finite"
FLAT = "the map is the same everywhere"
UNMOVED = "it makes no difference to the score which of these parts are hidden"
NO_FIGURE = "the map holds the same under all of these parts"
NO_PLACES = "the map has no places in the input"


def correlated(
    batch: Batch,
    found: Probes,
    figure: Figure,
    kind: Kind,
    *,
    error: Callable[[Probes, Tensor], Tensor] | None = None,
    about: Callable[[Tensor], Sequence[Mapping[str, Any]]] | None = None,
    other: bool = True,
) -> list[Reading]:
    """A reading for each explanation; `error` and `about` take the maps' own sums (B, G).

    other: whether the figure of the other kind, signed or magnitude, is worth telling.
    """
    maps = on_places(batch)
    if maps is None:
        return [undefined(NO_PLACES, calls=found.calls)] * len(batch)
    counted = maps if kind == "signed" else maps.abs()
    others = controls(maps, batch.run.inputs, batch.run.seed)
    sums = pooled(counted, found.groups)
    own, errors = figure(sums), error(found, sums) if error else torch.zeros(len(batch))
    compared = {name: figure(pooled(control, found.groups)) for name, control in others.items()}
    shifted = figure(moved_sums(counted, found.groups, seed=batch.run.seed))  # (39, B)
    second = figure(pooled(maps.abs() if kind == "signed" else maps, found.groups)) if other else own
    moved, told = _moved(batch, found), about(sums) if about else [{}] * len(batch)

    def reading(row: int) -> Reading:
        reason = unreadable(maps[row]) or (None if moved[row] else UNMOVED)
        if reason or own[row].isnan():
            return undefined(reason or NO_FIGURE, calls=found.calls)
        value = float(own[row])
        stands = against(value, shifted[:, row].tolist(), best=1.0)
        named = {("magnitude" if kind == "signed" else "signed"): number(second[row])} if other else {}
        return Reading(
            value,
            error=number(errors[row]),
            controls={name: number(values[row]) for name, values in compared.items()},
            p=stands.p,
            skill=stands.skill,
            passed=stands.passed,
            sentence=sentence(value, stands, len(shifted)),
            calls=found.calls,
            details={**named, "groups": found.groups.count, "subsets": len(found.hidden),
                     "shifted_mean": stands.mean, **told[row]},
        )  # fmt: skip

    return [reading(row) for row in range(len(batch))]


def sentence(value: float, stands: Against, copies: int) -> str:
    beside = "" if stands.p is None else f"; its shifted copies reach {stands.mean:z.2f}, p = {stands.p:.3f}"
    figures = f"correlation {value:z.2f}{beside}"
    if stands.passed is None:
        return f"When parts are hidden the score goes with the map ({figures}): {unclear(copies)}."
    told = "follows" if stands.passed else "does not follow"
    return f"The score {told} the map when parts are hidden ({figures})."


def check_choice(what: str, value: str | None, choices: Sequence[str | None]) -> None:
    """Refuse, before anything runs, a word that a parameter does not know."""
    if value not in choices:
        raise UnknownName(what, str(value), [str(choice) for choice in choices if choice])


def on_places(batch: Batch) -> Tensor | None:
    """The heatmaps (B, *places), channels that are left added up; None where they lie in no such places."""
    shape = places(batch.run.inputs)
    maps = batch.maps.float()
    if maps.shape[1:] == batch.run.inputs.shape[1:]:
        maps = maps.reshape(len(maps), -1, *shape).sum(1)
    return maps if tuple(maps.shape[1:]) == shape else None


def unreadable(heatmap: Tensor) -> str | None:
    """Why nothing can be said of a map, or None."""
    if not heatmap.isfinite().all():
        return NOT_FINITE
    return FLAT if heatmap.amax() == heatmap.amin() else None


def jackknife(a: Tensor, b: Tensor) -> Tensor:
    """Standard error of Pearson's correlation of (…, n) and (…, n), leaving out one at a time."""
    n = a.shape[-1]
    a, b = (t.double() - t.double().mean(-1, keepdim=True) for t in (a, b))
    ab, aa, bb = ((x * y).sum(-1, keepdim=True) - n / (n - 1) * x * y for x, y in ((a, b), (a, a), (b, b)))
    without = ab / (aa * bb).sqrt()
    off = without - without.mean(-1, keepdim=True)
    return ((n - 1) / n * off.square().sum(-1)).sqrt()


def _moved(batch: Batch, found: Probes) -> Tensor:
    """For each input whether the score changes from subset to subset, beyond rounding in float32."""
    score = batch.run.score.double()
    largest = torch.maximum(score.abs(), (score - found.falls).abs().amax(0))
    return found.falls.amax(0) - found.falls.amin(0) > 1e-6 * largest
