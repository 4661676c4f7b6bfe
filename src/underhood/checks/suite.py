"""`check`: which checks a level runs, what they will cost, and the verdicts they come to.

What is shared between the methods on an input (scores of hidden parts, of empty inputs) is made once. Checks
that make the map again cost as many explanations; where that is more than the level's budget they are left
out, and the verdict says so.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from underhood.checks.agreement import Agreement
from underhood.checks.batch import Batch, batches, together
from underhood.checks.card import Question
from underhood.checks.check import Check
from underhood.checks.class_sensitivity import ClassSensitivity
from underhood.checks.completeness import Completeness
from underhood.checks.complexity import Gini
from underhood.checks.confirmed import ConfirmedShare
from underhood.checks.decision import Decision
from underhood.checks.deletion import Deletion
from underhood.checks.faithfulness import SensitivityN
from underhood.checks.randomisation import Randomisation
from underhood.checks.rank_stability import RankStability
from underhood.checks.reading import Reading, undefined
from underhood.checks.rerun_stability import SeedStability
from underhood.checks.stability import MaxSensitivity
from underhood.checks.top_share import TopShare
from underhood.checks.verdict import Verdict, Verdicts, judged
from underhood.errors import Cancelled, InvalidArgument, UnderhoodError
from underhood.methods import Explanation

Level = Literal["quick", "standard", "full"]
Progress = Callable[[int, int], None] | None


@dataclass(frozen=True)
class Step:
    """A check of a level. shared: forward passes for an input, whatever the number of methods; own: for each
    method; again: how often the map is made again."""

    check: Check
    shared: float = 0
    own: float = 0
    again: float = 0

    def cost(self, of_one: float) -> float:
        return self.own + self.again * of_one


@dataclass(frozen=True)
class Suite:
    """budget: forward passes for one explanation, beyond which steps that make maps again are left out."""

    steps: tuple[Step, ...]
    budget: float = float("inf")


FREE = (Step(Completeness()), Step(Agreement()), Step(Gini()))
LEVELS: dict[str, Suite] = {
    "quick": Suite(
        (
            Step(ConfirmedShare(count=8, fills=("blur", "zeros")), shared=48),
            Step(Decision(), shared=5),
            *FREE,
            Step(Randomisation(steps=1, draws=1, measures=("spearman",)), again=2),
            Step(ClassSensitivity(measures=("spearman",)), again=1),
        ),
        budget=60,
    ),
    "standard": Suite(
        (
            Step(ConfirmedShare(), shared=144),
            Step(Decision(), shared=5),
            *FREE,
            Step(TopShare(fill="blur"), own=45),
            Step(Randomisation(steps=2, draws=2, measures=("spearman",)), again=4),
            Step(ClassSensitivity(measures=("spearman",)), again=1),
            Step(RankStability(draws=4), again=4),
        ),
    ),
    "full": Suite(
        (
            Step(ConfirmedShare(count=48, fills=("blur", "zeros", "inpaint")), shared=432),
            Step(Decision(), shared=5),
            *FREE,
            Step(TopShare(fill="blur"), own=45),
            Step(Deletion(fill="noisy_linear"), own=900),
            Step(SensitivityN(), shared=96),
            Step(Randomisation(), again=12),
            Step(ClassSensitivity(measures=("spearman",)), again=1),
            Step(RankStability(draws=10), again=10),
            Step(MaxSensitivity(), again=10),
            Step(SeedStability(), again=3),
        ),
    ),
}


def check(explanations: Explanation | Iterable[Explanation], level: Level = "standard") -> Verdicts:
    """The verdict on every explanation, in their order by batches of inputs and methods.

    level: "quick" (at most 60 forward passes for a method and an image, beside the explanation), "standard"
    or "full"; `planned` tells the cost beforehand.
    """
    return Verdicts(checked(explanations, level))


def checked(
    explanations: Explanation | Iterable[Explanation], level: Level = "standard"
) -> Iterator[Verdict]:
    """`check` one by one, holding no more than are questioned together."""
    for batch in batches(explanations):
        yield from _verdicts(batch, level)


def with_verdicts(
    explanations: Explanation | Iterable[Explanation], level: str = "standard", progress: Progress = None
) -> Iterator[Explanation]:
    """The explanations in their order, each with its verdict as plain data; none is lost to a failing check.

    progress: called with forward passes (done, expected), for the batch of a method.
    """
    suite_of(level)
    for held in together(explanations):
        items = [item for group in held for item in group]
        found = {
            id(item): verdict
            for batch in batches(items)
            for item, verdict in zip(batch.explanations, _verdicts(batch, level, progress), strict=True)
        }
        yield from (replace(item, verdict=found[id(item)].as_dict()) for item in items)


def _verdicts(batch: Batch, level: str, progress: Progress = None) -> Iterator[Verdict]:
    """The verdict on each of the batch's explanations."""
    suite, spent = suite_of(level), 0.0
    expected = planned(batch.explanations[0], 1 + len(batch.beside), level)
    readings: dict[str, Sequence[Reading]] = {}
    for step in suite.steps:
        readings[step.check.key], spent = _read(step, batch, suite.budget, spent)
        if progress:
            progress(round(spent * len(batch)), round(expected * len(batch)))
    questions: dict[str, Question] = {s.check.key: s.check.card.question for s in suite.steps}
    for row, explanation in enumerate(batch.explanations):
        yield judged(explanation, {key: f[row] for key, f in readings.items()}, questions, level)


def suite_of(level: str) -> Suite:
    if level not in LEVELS:
        raise InvalidArgument(f"The level is one of {', '.join(LEVELS)}, not {level!r}.")
    return LEVELS[level]


def planned(explanation: Explanation, methods: int = 1, level: str = "standard") -> float:
    """Forward passes that the checks of one explanation will take, of so many methods on its input.

    A backward pass counts 2. An upper bound: what is undefined costs less.
    """
    suite, of_one = suite_of(level), cost_of(explanation)
    spent = sum(step.shared for step in suite.steps) / methods
    for step in suite.steps:
        if spent + step.cost(of_one) <= suite.budget:
            spent += step.cost(of_one)
    return spent


def cost_of(explanation: Explanation) -> float:
    """Forward passes that making the explanation took, of which it was one of a batch."""
    facts = explanation.provenance
    passes = facts["forward_passes"] + facts["partial_passes"] + 2 * facts["backward_passes"]
    return float(passes) / facts["inputs"]


def _read(step: Step, batch: Batch, budget: float, spent: float) -> tuple[Sequence[Reading], float]:
    shared = step.shared / (1 + len(batch.beside))
    cost = shared + step.cost(cost_of(batch.explanations[0]))
    if step.again and spent + cost > budget:
        reason = f"it takes {cost:.0f} passes more, which is beyond the {budget:.0f} of this level"
        return [undefined(reason)] * len(batch), spent
    return _readings(step.check, batch), spent + cost


def _readings(check: Check, batch: Batch) -> Sequence[Reading]:
    """What the check finds. Where it fails it is undefined for that input alone, and all others go on."""
    try:
        return check.read(batch)
    except Cancelled:
        raise
    except Exception as error:  # whatever it is, it must not take the explanation with it
        if len(batch) == 1:
            told = str(error) if isinstance(error, UnderhoodError) else f"{type(error).__name__}: {error}"
            return [undefined(f"the check failed ({told.rstrip('.')})")]
    return [reading for one in batch.alone() for reading in _readings(check, one)]
