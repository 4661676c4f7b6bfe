"""Does the score fall as the map says it should, where random parts of the input are hidden?

All are correlations over subsets s of groups hidden: of Σ_{i∈s} R_i, what the map R holds under them,
with S(x) - S(x without s), by how much the score falls. See `probes` for how subsets are drawn and shared.

FaithfulnessCorrelation: Bhatt et al. 2020, "Evaluating and aggregating feature-based model explanations",
    definition 3: subsets of one size.
SensitivityN: Ancona et al. 2018, "Towards better understanding of gradient-based attribution methods",
    section 4.1: for each of several sizes n, over subsets within one input.
FaithfulnessEstimate: Alvarez-Melis & Jaakkola 2018, "Towards robust interpretability with
    self-explaining neural networks", section 4.2: single groups, each hidden on its own.
MonotonicityCorrelation: Nguyen & Martínez 2020, "On quantitative aspects of model interpretability",
    section 2.3: the rank correlation of |R_i| with E[(S(x) - S(x without i))²] over single groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.correlated import KINDS, Kind, check_choice, correlated, jackknife
from underhood.checks.probes import COUNT_OF_EACH, MOST, SIZES, Probes, grouped, numbers, probes, subsets
from underhood.checks.reading import Reading
from underhood.checks.similarity import figure, spearman
from underhood.errors import InvalidArgument
from underhood.inputs.baseline import BaselineLike, as_baseline
from underhood.inputs.grouping import Grouping


@dataclass(frozen=True)
class FaithfulnessCorrelation(Check):
    """Over subsets of one size.

    size:     of a subset, as a share of the groups; count: subsets.
    fill:     what stands for hidden parts, see `underhood.inputs.as_baseline`.
    kind:     "signed" or "magnitude" of the map; the other is among the details.
    grouping: about 7 × 7 patches of a picture and single elements of a row, where none is given.
    """

    size: float = 0.25
    count: int = 2 * COUNT_OF_EACH
    fill: BaselineLike = "zeros"
    kind: Kind = "signed"
    grouping: Grouping | Tensor | None = None

    key = "faithfulness_correlation"

    def __post_init__(self) -> None:
        _valid((self.size,), self.count, self.fill)
        check_choice("kind of map", self.kind, KINDS)

    @property
    def card(self) -> CheckCard:
        return CORRELATION

    def read(self, batch: Batch) -> Sequence[Reading]:
        found = probes(batch, self.count, (self.size,), self.fill, self.grouping)
        return correlated(batch, found, lambda sums: _over_sizes(found, sums), self.kind, error=_error)


@dataclass(frozen=True)
class SensitivityN(Check):
    """The mean correlation over several sizes n; the curve is among the details.

    sizes: n as shares of the groups; count: subsets of each. For the rest see `FaithfulnessCorrelation`.
    """

    sizes: Sequence[float] = SIZES
    count: int = COUNT_OF_EACH
    fill: BaselineLike = "zeros"
    kind: Kind = "signed"
    grouping: Grouping | Tensor | None = None

    key = "sensitivity_n"

    def __post_init__(self) -> None:
        _valid(self.sizes, self.count, self.fill)
        check_choice("kind of map", self.kind, KINDS)

    @property
    def card(self) -> CheckCard:
        return SENSITIVITY_N

    def read(self, batch: Batch) -> Sequence[Reading]:
        found = probes(batch, self.count, self.sizes, self.fill, self.grouping)

        def curve(sums: Tensor) -> list[dict[str, object]]:
            n, values = found.sizes.unique().tolist(), found.correlations(found.under(sums))
            return [{"n": n, "curve": [figure(v) for v in one]} for one in values]

        return correlated(
            batch, found, lambda sums: _over_sizes(found, sums), self.kind, error=_error, about=curve
        )


@dataclass(frozen=True)
class FaithfulnessEstimate(Check):
    """Over all single groups, each hidden on its own. For the fields see `FaithfulnessCorrelation`."""

    fill: BaselineLike = "zeros"
    kind: Kind = "signed"
    grouping: Grouping | Tensor | None = None

    key = "faithfulness_estimate"

    def __post_init__(self) -> None:
        as_baseline(self.fill)
        check_choice("kind of map", self.kind, KINDS)

    @property
    def card(self) -> CheckCard:
        return ESTIMATE

    def read(self, batch: Batch) -> Sequence[Reading]:
        found = singles(batch, self.fill, self.grouping)
        return correlated(batch, found, lambda sums: _over_sizes(found, sums), self.kind)


@dataclass(frozen=True)
class MonotonicityCorrelation(Check):
    """Whether groups of more relevance matter more, in whichever direction.

    fill: of several, such as "noise", the expectation is taken. For the rest see `FaithfulnessCorrelation`.
    """

    fill: BaselineLike = "zeros"
    grouping: Grouping | Tensor | None = None

    key = "monotonicity_correlation"

    def __post_init__(self) -> None:
        as_baseline(self.fill)

    @property
    def card(self) -> CheckCard:
        return MONOTONICITY

    def read(self, batch: Batch) -> Sequence[Reading]:
        found = singles(batch, self.fill, self.grouping)
        matter = found.squares.T @ found.hidden.double()  # (B, G), group by group
        return correlated(batch, found, lambda sums: spearman(sums.abs(), matter), "signed", other=False)


def singles(batch: Batch, fill: BaselineLike, grouping: Grouping | Tensor | None) -> Probes:
    """Every group hidden on its own."""
    groups = grouped(batch, grouping).count
    if groups > MOST // 2:
        raise InvalidArgument(f"{groups} groups are too many to hide one by one; give a coarser grouping.")
    return probes(batch, groups, (1 / groups,), fill, grouping)


def _over_sizes(found: Probes, sums: Tensor) -> Tensor:
    """The mean correlation over the sizes at which there is one: (…, B)."""
    return found.correlations(found.under(sums)).nanmean(-1)


def _error(found: Probes, sums: Tensor) -> Tensor:
    """Monte-Carlo standard error of `_over_sizes` of group sums (B, G): (B,)."""
    promised, squares = found.under(sums), []
    for n in found.sizes.unique():
        of = (found.sizes == n).nonzero().flatten()
        error = jackknife(promised[:, of], found.falls.T[:, of])
        squares.append(torch.zeros_like(error) if found.complete[of[0]] else error.square())
    stacked = torch.stack(squares, -1)
    return stacked.nansum(-1).sqrt() / stacked.isfinite().sum(-1)


def _valid(sizes: Sequence[float], count: int, fill: BaselineLike) -> None:
    """Refuse, before anything runs, what nothing could be drawn by."""
    numbers(sizes, 1)
    subsets(1, 1, count, 0)
    as_baseline(fill)
    if count < 3:
        raise InvalidArgument(f"A correlation needs at least 3 subsets, got {count}.")


COST = "as many forward passes as subsets, shared by all methods and checks with the same fill and groups"
SHIFTED = "random, edge, centre and constant maps; the map shifted on a torus and mirrored in 39 ways"
UNUSUAL = (
    "The model is shown inputs with holes, which are none it knows: another fill can change the answer. "
)
CORRELATION = CheckCard(
    name="Faithfulness correlation",
    question="controls",
    asks="Does the score fall most where the parts are hidden that the map calls important?",
    defined="Pearson's correlation, over random subsets of one size, of the map's sum in a subset with the "
    "fall of the score when it is hidden.",
    better="higher",
    unit="none",
    range="-1 to 1",
    controls=SHIFTED,
    misleads=UNUSUAL + "For one size alone it can be high by chance.",
    cost=COST,
    source="Bhatt et al. 2020, arXiv:2005.00631",
)
SENSITIVITY_N = CheckCard(
    name="Sensitivity-n",
    question="controls",
    asks="Does the score fall as the map says, however many parts are hidden?",
    defined="The mean, over sizes n, of Pearson's correlation, over random subsets of n groups, of the "
    "map's sum in a subset with the fall of the score when it is hidden.",
    better="higher",
    unit="none",
    range="-1 to 1",
    controls=SHIFTED,
    misleads=UNUSUAL + "Where parts act together, no map can reach 1 for every n.",
    cost=COST,
    source="Ancona et al. 2018, arXiv:1711.06104",
)
ESTIMATE = CheckCard(
    name="Faithfulness estimate",
    question="controls",
    asks="Does the score fall most for the single parts that the map calls most important?",
    defined="Pearson's correlation, over the groups, of the map's sum in a group with the fall of the score "
    "when that group alone is hidden.",
    better="higher",
    unit="none",
    range="-1 to 1",
    controls=SHIFTED,
    misleads=UNUSUAL + "What is shown twice in a picture is never missed, as only one of it is hidden.",
    cost="a forward pass for each group, " + COST.split(", ")[1],
    source="Alvarez-Melis & Jaakkola 2018, arXiv:1806.07538",
)
MONOTONICITY = CheckCard(
    name="Monotonicity (correlation)",
    question="controls",
    asks="Do the parts with more relevance matter more to the score?",
    defined="Spearman's correlation, over the groups, of the magnitude of the map's sum in a group with the "
    "mean square by which the score changes when that group alone is hidden.",
    better="higher",
    unit="none",
    range="-1 to 1",
    controls=SHIFTED,
    misleads=UNUSUAL + "It says nothing of the sign, and little where most of the parts matter nothing.",
    cost="a forward pass for each group and fill, " + COST.split(", ")[1],
    source="Nguyen & Martínez 2020, arXiv:2007.07584",
)
