"""Does each part that is added, the least relevant first, raise the score?

Arya et al. 2019, "One explanation does not fit all: a toolkit and taxonomy of AI explainability techniques",
section 5. They say yes or no, 1 where every step raises the score (`details["monotone"]`); here the
figure is the share of the steps that move the score at all which raise it, so that maps can be told apart.
For the rank correlation of Nguyen & Martínez 2020 see `faithfulness.MonotonicityCorrelation`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.controls import COUNT
from underhood.checks.correlated import Kind
from underhood.checks.deletion import SHIFTED, UNUSUAL
from underhood.checks.reading import Reading
from underhood.checks.removal import Curves, Parts, Protocol, check_removal, even_counts, removed
from underhood.errors import InvalidArgument
from underhood.inputs.baseline import BaselineLike, as_baseline


@dataclass(frozen=True)
class Monotonicity(Check):
    """The share of steps that raise the score as parts are added to an empty input, least relevant first.

    steps: in which they are added; None for one part at a time. For the other fields see `Deletion`.
    """

    fill: BaselineLike = "zeros"
    grouping: Parts = None
    steps: int | None = 16
    kind: Kind = "signed"
    shifts: int = COUNT

    key = "monotonicity"

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise InvalidArgument(f"Parts are added in at least one step, not {self.steps}.")
        check_removal(self.fill, self.grouping, self.kind, self.shifts)

    @property
    def card(self) -> CheckCard:
        return CARD

    def read(self, batch: Batch) -> Sequence[Reading]:
        protocol = Protocol(
            as_baseline(self.fill), self.grouping, self._counts, ("MoRF",), raised, kind=self.kind,
            shifts=self.shifts, best=None,
        )  # fmt: skip
        return [_told(reading) for reading in removed(batch, protocol)]

    def _counts(self, parts: int) -> list[int]:
        return even_counts(parts, self.steps)


def raised(curves: Curves) -> Tensor:
    """Of the steps that move the score, (K,): adding parts least relevant first is MoRF backwards."""
    scores = curves["MoRF"].scores
    falls = -scores.diff(dim=1)  # of hiding; what adding raises
    moves = falls.abs() > 1e-6 * scores.abs().amax()
    return ((falls > 0) & moves).sum(1).double() / moves.sum(1).clamp(min=1)


def _told(reading: Reading) -> Reading:
    if reading.value is None:
        return reading
    beside = "" if reading.p is None else (
        f" (shifted copies of the map: {reading.details['shifted_mean']:.0%}, p = {reading.p:.3f})"
    )  # fmt: skip
    return replace(
        reading,
        sentence=f"Of the steps that add parts, least relevant first, {reading.value:.0%} raise the score"
        f"{beside}.",
        details={**reading.details, "monotone": reading.value == 1},
    )


CARD = CheckCard(
    name="Monotonicity",
    question="controls",
    asks="Does each part that is added raise the score?",
    defined="The share of the steps that move the score which raise it, as parts are added to an empty "
    "input, least relevant first.",
    better="higher",
    unit="share",
    range="0 to 1; about a half by chance",
    controls=SHIFTED,
    misleads=UNUSUAL + "Even a perfect map falls short where parts speak against the class: adding them "
    "lowers the score.",
    cost="44 forward passes for each step, of map, controls and shifted copies",
    source="Arya et al. 2019, arXiv:1909.03012",
)
