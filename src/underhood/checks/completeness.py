"""Does the map add up to what its method promises?

    gap = |Σ_i R_i - (S(x) - S(x'))| / |S(x) - S(x')|

Completeness: Sundararajan et al. 2017, "Axiomatic attribution for deep networks", section 3; for groups, the
efficiency of Shapley values. Where a method hands back the score itself, S(x') is 0.
Conservation: Bach et al. 2015, "On pixel-wise explanations for non-linear classifier decisions by
layer-wise relevance propagation", equation 2: from layer to layer nothing is lost,

    leak = max_l |Σ R^(l+1) - Σ R^(l)| / |S(x)|.

A sum that holds says nothing of how it is shared out, and one that fails says that the numbers of the map
cannot be read as shares.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.correlated import NOT_FINITE
from underhood.checks.reading import Reading, undefined
from underhood.errors import InvalidArgument
from underhood.methods import Explanation

NO_PROMISE = "its method promises no sum"
NOT_TOLD = "its method does not tell what its values should add up to"
NO_LAYERS = "its method does not hand the score back layer by layer"
NOTHING = "the score is the same without the input, so there is nothing to add up to"
CONDITIONS = r"(for ReLU networks without biases|where every rule conserves[^,]*|in expectation)"


@dataclass(frozen=True)
class Completeness(Check):
    """By what share of S(x) - S(x') the map's sum misses it.

    tolerance: the gap up to which the promise counts as kept.
    """

    tolerance: float = 0.05

    key = "completeness"

    def __post_init__(self) -> None:
        _valid(self.tolerance)

    @property
    def card(self) -> CheckCard:
        return COMPLETENESS

    def read(self, batch: Batch) -> Sequence[Reading]:
        return [self._reading(explanation) for explanation in batch.explanations]

    def _reading(self, explanation: Explanation) -> Reading:
        promise, told = explanation.card.conserves, explanation.diagnostics
        if promise is None:
            return undefined(NO_PROMISE)
        named = told.get("score_difference", told.get("score"))
        total = _total(explanation)
        if named is None or total is None:
            return undefined(NOT_TOLD)
        if not np.isfinite(total):
            return undefined(NOT_FINITE)
        mass = float(np.abs(explanation.values.astype(np.float64)).sum())
        if not abs(named) > 1e-6 * max(abs(explanation.score), mass):
            return undefined(NOTHING)
        gap = abs(total - named) / abs(named)
        only = re.search(CONDITIONS, promise)
        kept = gap <= self.tolerance
        unless = f", which it promises only {only[1]}" if only and not kept else ""
        return Reading(
            gap,
            passed=True if kept else None if only else False,
            sentence=f"The map's values {'add up' if kept else 'do not add up'} to what they should explain: "
            f"{total:.4g} for {named:.4g}, a gap of {gap:.1%}{unless}.",
            details={"sum": total, "named": float(named), "promise": promise, "tolerance": self.tolerance,
                     "relative_standard_error": told.get("relative_standard_error")},
        )  # fmt: skip


@dataclass(frozen=True)
class Conservation(Check):
    """The most that is lost or gained between two layers, as a share of the score.

    tolerance: the leak up to which the score counts as conserved.
    """

    tolerance: float = 0.05

    key = "conservation"

    def __post_init__(self) -> None:
        _valid(self.tolerance)

    @property
    def card(self) -> CheckCard:
        return CONSERVATION

    def read(self, batch: Batch) -> Sequence[Reading]:
        return [self._reading(explanation) for explanation in batch.explanations]

    def _reading(self, explanation: Explanation) -> Reading:
        told = explanation.diagnostics
        leak = told.get("largest_leak")
        if leak is None:
            return undefined(NO_LAYERS)
        if not np.isfinite(leak):
            return undefined(NOT_FINITE)
        kept = leak <= self.tolerance
        where = told["largest_leak_before"]
        return Reading(
            float(leak),
            passed=True if kept else None,
            sentence=f"On its way back through the layers {leak:.1%} of the score is lost or gained at most, "
            f"before {where}.",
            details={"where": where, "layers": dict(told["layers"]), "tolerance": self.tolerance},
        )


def _total(explanation: Explanation) -> float | None:
    """The sum of the values: of groups once each, of a layer's before they were stretched over the input."""
    told, values = explanation.diagnostics, explanation.values.astype(np.float64)
    if explanation.grid is not None:
        if "completeness_gap" in told:
            return float(told["score_difference"] + told["completeness_gap"])
        return told.get("sum")
    groups = explanation.arrays.get("groups")
    if groups is None:
        return float(values.sum())
    _, first = np.unique(groups, return_index=True)
    return float(values.reshape(-1, groups.size)[0, first].sum())


def _valid(tolerance: float) -> None:
    if not tolerance > 0:
        raise InvalidArgument(f"The tolerance is a share above 0, not {tolerance}: sums are rounded.")


COMPLETENESS = CheckCard(
    name="Completeness",
    question="completeness",
    asks="Does the map add up to the score that it should explain?",
    defined="The distance of the map's sum from S(x) - S(x'), or from S(x) where its method hands back the "
    "score, as a share of it.",
    better="lower",
    unit="share",
    range="0 and up",
    controls="none: the sum is right or wrong",
    misleads="A wrong map can add up: dividing the score evenly does. Where the score is near the "
    "baseline's, small gaps become large shares.",
    cost="no passes",
    source="Sundararajan et al. 2017, arXiv:1703.01365",
)
CONSERVATION = CheckCard(
    name="Conservation",
    question="completeness",
    asks="Is the score conserved on its way back through the layers?",
    defined="The largest difference between the relevance of one layer and the next, as a share of "
    "the score.",
    better="lower",
    unit="share",
    range="0 and up",
    controls="none: the sum is right or wrong",
    misleads="What biases contribute is lost by design; what is conserved can still be put in the wrong "
    "place.",
    cost="no passes",
    source="Bach et al. 2015, doi:10.1371/journal.pone.0130140",
)
