"""How concentrated a map is. Complexity describes a map; it is no evidence that the map is right.

Gini: Hurley & Rickard 2009, "Comparing measures of sparsity", table I; of attributions, Chalasani et
al. 2020, "Concise explanations of neural networks using adversarial training".
Entropy: Bhatt et al. 2020, "Evaluating and aggregating feature-based model explanations", section 3.3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp

import torch
from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.controls import controls
from underhood.checks.correlated import NOT_FINITE
from underhood.checks.reading import Reading, undefined

FLAT = "the map is zero everywhere"


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
