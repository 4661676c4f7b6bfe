"""The maps that a method makes of other models: of the same one with random weights, or trained otherwise."""

import torch
from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.controls import edges
from underhood.checks.likeness import Likeness, Sign, named
from underhood.checks.similarity import figure
from underhood.checks.weights import Part, parts
from underhood.engine import Moments, Run
from underhood.engine.passes import Log
from underhood.errors import BadModel, Unfit
from underhood.inputs import Variants
from underhood.inputs.random import PROBES, normal
from underhood.inputs.variants import broadcast_as
from underhood.models import Model

FLAT = "the map is the same everywhere"
NOT_FINITE = "the map holds NaN or infinite values"
NO_OTHER = "with random weights the map is the same everywhere or not finite"


def unusable(heatmap: Tensor) -> str | None:
    """Why nothing can be compared with a map."""
    if not heatmap.isfinite().all():
        return NOT_FINITE
    return FLAT if heatmap.amax() == heatmap.amin() else None


def parts_of(batch: Batch, log: Log) -> list[Part]:
    """The model's parts; found once for all methods."""
    key = ("randomisation", "parts")
    if key not in batch.memory:
        engine = batch.run.engine.quiet()
        engine.log = log
        batch.memory[key] = parts(engine, batch.run.inputs[0])
    found: list[Part] = batch.memory[key]
    if not found:
        raise Unfit("the model has no parameters")
    return found


def maps_of(batch: Batch, model: Model, noise: float, copies: int, log: Log) -> Tensor:
    """The method's maps (B, *places) of another model, NaN where it has none; passes are added to `log`."""
    run = batch.asked_of(model)
    run.engine.log = log
    try:
        return _explained(batch, run, noise, copies)
    except BadModel:  # such as scores that are not finite
        rows = torch.arange(len(batch)).split(1)
        return torch.cat([_or_nan(batch, run.selected(row), noise, copies) for row in rows])


def _or_nan(batch: Batch, run: Run, noise: float, copies: int) -> Tensor:
    try:
        return _explained(batch, run, noise, copies)
    except BadModel:
        return torch.full_like(batch.maps[:1], torch.nan)


def _explained(batch: Batch, run: Run, noise: float, copies: int) -> Tensor:
    if not noise:
        return batch.explained(run)
    x, moments = run.inputs, Moments(len(run))
    spread = noise * (x.flatten(1).amax(1) - x.flatten(1).amin(1))  # (B,)

    def noisy(rows: Tensor, numbers: Tensor) -> Tensor:
        shape = tuple(x.shape[1:])
        drawn = torch.stack([normal(shape, run.seed, PROBES, n) for n in numbers.tolist()])
        return x[rows] + broadcast_as(spread[rows], x) * drawn

    run.map(Variants(x, copies, noisy), batch.explained, moments)
    return moments.mean


def edges_stay(x: Tensor, sign: Sign) -> float | None:
    """The figure for a map that knows nothing of the model: 1, or none where the picture has no edges."""
    if x.ndim != 3:
        return None
    drawn = edges(x[None])
    return figure(Likeness(drawn, ["spearman"]).to(drawn)[named("spearman", sign)][0])
