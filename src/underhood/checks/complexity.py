"""How concentrated a map is. Complexity describes a map; it is no evidence that the map is right.

Gini: Hurley & Rickard 2009, "Comparing measures of sparsity", table I; of attributions, Chalasani et
al. 2020, "Concise explanations of neural networks using adversarial training".
Entropy: Bhatt et al. 2020, "Evaluating and aggregating feature-based model explanations", section 3.3.
Effective complexity: Nguyen & Martínez 2020, "On quantitative aspects of model interpretability",
section 2.4,

    min k  such that  |S(x) - S(the k highest parts alone)| ≤ ε · |S(x) - S(x')|.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp

import torch
from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.controls import COUNT, controls
from underhood.checks.correlated import KINDS, NOT_FINITE, Kind, check_choice
from underhood.checks.reading import Reading, undefined
from underhood.checks.removal import Curves, Parts, Protocol, check_parts, even_counts, removed
from underhood.errors import InvalidArgument, Unfit
from underhood.inputs.baseline import BaselineLike, as_baseline

FLAT = "the map is zero everywhere"
NOTHING = "the score is the same without the input, so there is nothing to keep"


@dataclass(frozen=True)
class Gini(Check):
    """The Gini index of |map|: 0 for a constant map, (n-1)/n where a single place of n has it all."""

    key = "gini"

    @property
    def card(self) -> CheckCard:
        return GINI

    def read(self, batch: Batch) -> Sequence[Reading]:
        return _readings(batch, gini, _spread)


@dataclass(frozen=True)
class Entropy(Check):
    """Of |map| as a distribution over the places: 0 where one has it all, log n for a constant map of n."""

    key = "entropy"

    @property
    def card(self) -> CheckCard:
        return ENTROPY

    def read(self, batch: Batch) -> Sequence[Reading]:
        return _readings(batch, entropy, _as_many)


@dataclass(frozen=True)
class EffectiveComplexity(Check):
    """The smallest share of the parts that, shown alone, keeps the score.

    tolerance: how much of S(x) - S(x'), the score without anything, may be missing.
    steps:     of the shares that are tried; None for one part at a time. For the rest see `Deletion`.
    """

    tolerance: float = 0.1
    fill: BaselineLike = "zeros"
    grouping: Parts = None
    steps: int | None = 16
    kind: Kind = "signed"
    shifts: int = COUNT

    key = "effective_complexity"

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1:
            raise InvalidArgument(f"The tolerance is a share between 0 and 1, not {self.tolerance}.")
        if self.steps is not None and self.steps < 1:
            raise InvalidArgument(f"Parts are hidden in at least one step, not {self.steps}.")
        as_baseline(self.fill)
        check_parts(self.grouping)
        check_choice("kind of map", self.kind, KINDS)

    @property
    def card(self) -> CheckCard:
        return EFFECTIVE

    def read(self, batch: Batch) -> Sequence[Reading]:
        protocol = Protocol(
            as_baseline(self.fill), self.grouping, lambda parts: even_counts(parts, self.steps), ("LeRF",),
            self._least, better="lower", along="parts", kind=self.kind, shifts=self.shifts, best=None,
        )  # fmt: skip
        return [_enough(reading) for reading in removed(batch, protocol)]

    def _least(self, curves: Curves) -> Tensor:
        """The smallest share shown with which all but the tolerance of the score is there, (K,)."""
        curve = curves["LeRF"]
        whole, empty = curve.scores[:, :1], curve.scores[:, -1:]
        if not (whole - empty).abs().min() > 1e-6 * curve.scores.abs().amax():
            raise Unfit(NOTHING)
        kept = (whole - curve.scores).abs() <= self.tolerance * (whole - empty).abs()
        return torch.where(kept, 1 - curve.hidden, 1.0).amin(1)


def gini(values: Tensor) -> float | None:
    """Of |values|; None where all are zero."""
    ordered = values.double().abs().flatten().sort().values
    total, n = ordered.sum(), len(ordered)
    if not total > 0:
        return None
    ranks = torch.arange(1, n + 1, dtype=torch.float64)
    return float(1 - 2 * ((ordered / total) * (n - ranks + 0.5) / n).sum())


def entropy(values: Tensor) -> float | None:
    """Of |values| made to sum to 1, in nats; None where all are zero."""
    magnitudes = values.double().abs().flatten()
    if not magnitudes.sum() > 0:
        return None
    return float(torch.special.entr(magnitudes / magnitudes.sum()).sum())


def _readings(
    batch: Batch, figure: Callable[[Tensor], float | None], told: Callable[[float], str]
) -> list[Reading]:
    others = controls(batch.maps, batch.run.inputs, batch.run.seed)

    def reading(row: int) -> Reading:
        if not batch.maps[row].isfinite().all():
            return undefined(NOT_FINITE)
        value = figure(batch.maps[row])
        if value is None:
            return undefined(FLAT)
        known = {name: figure(control[row]) for name, control in others.items()}
        return Reading(value, controls=known, sentence=told(value))

    return [reading(row) for row in range(len(batch))]


def _spread(value: float) -> str:
    return f"Relevance is {'concentrated' if value > 0.6 else 'spread out'} (Gini {value:.2f})."


def _as_many(value: float) -> str:
    return f"Relevance is as spread out as over {exp(value):.0f} equal places (entropy {value:.2f})."


def _enough(reading: Reading) -> Reading:
    if reading.value is None:
        return reading
    told = (
        f"The {reading.value:.0%} of the input that the map calls most important is enough to keep the score"
    )
    beside = "" if reading.p is None else (
        f"; of shifted copies {reading.details['shifted_mean']:.0%} is needed, p = {reading.p:.3f}"
    )  # fmt: skip
    return replace(reading, sentence=f"{told}{beside}.")


GINI = CheckCard(
    name="Gini index",
    question="description",
    asks="How concentrated is the map?",
    defined="The Gini index of the magnitudes of the map's values.",
    better=None,
    unit="none",
    range="0 (all alike) to 1 (all in one place)",
    controls="random, edge, centre and constant maps",
    misleads="A sharp map is not a true one: edges are sharp too.",
    cost="no passes",
    source="Hurley & Rickard 2009, arXiv:0811.4706; Chalasani et al. 2020, arXiv:1810.06583",
)
ENTROPY = replace(
    GINI,
    name="Entropy",
    defined="The entropy of the magnitudes of the map's values, made to sum to 1.",
    unit="nats",
    range="0 (all in one place) to log n (all alike)",
    source="Bhatt et al. 2020, arXiv:2005.00631",
)
EFFECTIVE = replace(
    GINI,
    name="Effective complexity",
    question="controls",
    asks="How little of the input, chosen by the map, is enough to keep the score?",
    defined="The smallest share of the parts that, shown alone, keeps the score but for a tolerance.",
    better="lower",
    unit="share",
    range="0 to 1",
    controls="random, edge, centre and constant maps; the map shifted on a torus and mirrored in 39 ways",
    misleads="The model is shown inputs of which most is hidden; another fill can change the answer. The "
    "score can pass by its old value on its way to another one.",
    cost="44 forward passes for each step, of map, controls and shifted copies",
    source="Nguyen & Martínez 2020, arXiv:2007.07584",
)
