"""What the score loses without a map's highest parts, and with these alone.

    comprehensiveness = mean over shares q of S(x) - S(x without the q highest parts)
    sufficiency       = mean over shares q of S(x) - S(the q highest parts alone)

DeYoung et al. 2020, "ERASER: a benchmark to evaluate rationalized NLP models", section 4.1, with their shares
of 1, 5, 10, 20 and 50 %; they read a class's probability, `output` chooses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard, Direction
from underhood.checks.check import Check
from underhood.checks.controls import COUNT
from underhood.checks.correlated import Kind
from underhood.checks.deletion import SHIFTED, UNUSUAL
from underhood.checks.probes import numbers
from underhood.checks.reading import Reading
from underhood.checks.removal import Best, Curves, Parts, Protocol, Removed, check_removal, removed
from underhood.inputs.baseline import BaselineLike, as_baseline

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True)
class Comprehensiveness(Check):
    """What the score loses without the highest parts: the more, the better.

    shares:   of the parts, from single ones on. For the other fields see `Deletion`.
    """

    shares: Sequence[float] = SHARES
    fill: BaselineLike = "zeros"
    grouping: Parts = None
    kind: Kind = "signed"
    output: Literal["as asked", "probability"] = "as asked"
    shifts: int = COUNT
    best: Best = "greedy"

    key = "comprehensiveness"

    def __post_init__(self) -> None:
        numbers(self.shares, 1)
        check_removal(self.fill, self.grouping, self.kind, self.shifts)

    @property
    def card(self) -> CheckCard:
        return COMPREHENSIVENESS

    def read(self, batch: Batch) -> Sequence[Reading]:
        return self._asked(batch, "MoRF", "without its highest parts")

    def _counts(self, parts: int) -> list[int]:
        return numbers(self.shares, parts)

    def _asked(self, batch: Batch, order: Removed, what: str) -> list[Reading]:
        def lost(curves: Curves) -> Tensor:
            scores = curves[order].scores
            return (scores[:, :1] - scores[:, 1:]).mean(1)

        better: Direction = "higher" if order == "MoRF" else "lower"
        protocol = Protocol(
            as_baseline(self.fill), self.grouping, self._counts, (order,), lost, better=better,
            output=self.output, kind=self.kind, shifts=self.shifts, best=self.best,
        )  # fmt: skip
        return [_told(reading, what) for reading in removed(batch, protocol)]


@dataclass(frozen=True)
class Sufficiency(Comprehensiveness):
    """What the score loses with the highest parts alone: the less, the better.

    For the fields see `Comprehensiveness`.
    """

    key = "sufficiency"

    @property
    def card(self) -> CheckCard:
        return SUFFICIENCY

    def read(self, batch: Batch) -> Sequence[Reading]:
        return self._asked(batch, "LeRF", "with its highest parts alone")

    def _counts(self, parts: int) -> list[int]:
        """Of the lowest parts, which are hidden."""
        return [parts - kept for kept in reversed(numbers(self.shares, parts)) if kept < parts] or [parts]


def _told(reading: Reading, what: str) -> Reading:
    if reading.value is None:
        return reading
    beside = "" if reading.p is None else (
        f"; with shifted copies of the map by {reading.details['shifted_mean']:.3g}, p = {reading.p:.3f}"
    )  # fmt: skip
    return replace(reading, sentence=f"The score falls by {reading.value:.3g} {what}{beside}.")


COST = (
    "44 forward passes for each share, of map, controls and shifted copies; and once per input the best order"
)
COMPREHENSIVENESS = CheckCard(
    name="Comprehensiveness",
    question="controls",
    asks="Does the model need what the map calls important?",
    defined="The mean, over shares of the parts, of the fall of the score when the highest parts are hidden.",
    better="higher",
    unit="score",
    range="any",
    controls=SHIFTED,
    misleads=UNUSUAL + "What is shown twice is not needed, as the other one remains.",
    cost=COST,
    source="DeYoung et al. 2020, arXiv:1911.03429",
)
SUFFICIENCY = replace(
    COMPREHENSIVENESS,
    name="Sufficiency",
    asks="Is what the map calls important enough for the model?",
    defined="The mean, over shares of the parts, of the fall of the score when all but the highest parts are "
    "hidden.",
    better="lower",
    misleads=UNUSUAL + "With most of the input hidden that matters more than anywhere else.",
)
