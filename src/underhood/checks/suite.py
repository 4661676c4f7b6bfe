"""`check`: which checks a level runs, what they will cost, and the verdicts they come to.

What is shared between the methods on an input (scores of hidden parts, of empty inputs) is made once. Checks
that make the map again cost as many explanations; where that is more than the level's budget they are left
out, and the verdict says so.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from underhood.checks.agreement import Agreement
from underhood.checks.batch import Batch, batches, origin_of, together
from underhood.checks.card import Question
from underhood.checks.check import Check
from underhood.checks.class_sensitivity import ClassSensitivity
from underhood.checks.completeness import Completeness
from underhood.checks.complexity import Gini
from underhood.checks.confirmed import ConfirmedShare
from underhood.checks.decision import Decision
from underhood.checks.deletion import Deletion
from underhood.checks.faithfulness import SensitivityN
from underhood.checks.probes import even_patches
from underhood.checks.randomisation import Randomisation
from underhood.checks.rank_stability import RankStability
from underhood.checks.reading import Reading, undefined
from underhood.checks.removal import MOST
from underhood.checks.rerun_stability import SeedStability
from underhood.checks.stability import MaxSensitivity
from underhood.checks.top_share import TopShare
from underhood.checks.verdict import Verdict, Verdicts, judged
from underhood.errors import Cancelled, InvalidArgument, UnderhoodError
from underhood.inputs.grouping import places
from underhood.methods import Explanation

Level = Literal["quick", "standard", "full"]
Progress = Callable[[int, int], None] | None


@dataclass(frozen=True)
class Step:
    """A check of a level, and what it takes at most.

    shared: forward passes for an input, whatever the number of methods; per_part: as many more for each part
    of the input; own: for each method; again: how often the map is made again.
    """

    check: Check
    shared: float = 0
    per_part: float = 0
    own: float = 0
    again: float = 0

    def cost(self, parts: int, methods: int, of_one: float) -> float:
        """For each of so many methods on an input."""
        return (self.shared + self.per_part * parts) / methods + self.own + self.again * of_one


@dataclass(frozen=True)
class Suite:
    """budget: forward passes for one explanation, beyond which steps that make maps again are left out."""

    steps: tuple[Step, ...]
    budget: float = float("inf")


GRADIENTS = 3  # a forward and a backward pass
FREE = (Step(Completeness()), Step(Agreement()), Step(Gini()))
LEVELS: dict[str, Suite] = {
    "quick": Suite(
        (
            Step(ConfirmedShare(count=6), shared=37),
            Step(Decision(), shared=5),
            *FREE,
            Step(Randomisation(steps=1, draws=1, measures=("spearman",)), shared=1, again=2),
            Step(ClassSensitivity(measures=("spearman",)), again=1),
        ),
        budget=60,
    ),
    "standard": Suite(
        (
            Step(ConfirmedShare(), shared=145),
            Step(Decision(), shared=5),
            *FREE,
            Step(TopShare(fill="blur"), shared=5, own=40),
            Step(Randomisation(steps=2, draws=2, measures=("spearman",)), shared=1, again=5),
            Step(ClassSensitivity(measures=("spearman",)), again=1),
            Step(RankStability(draws=4), again=4),
        ),
    ),
    "full": Suite(
        (
            Step(ConfirmedShare(count=48, fills=("blur", "zeros", "inpaint")), shared=433),
            Step(Decision(), shared=5),
            *FREE,
            Step(TopShare(fill="blur"), shared=5, own=40),
            Step(Deletion(fill="noisy_linear"), shared=160, per_part=17, own=1200),
            Step(SensitivityN(), shared=96),
            Step(Randomisation(steps=8), shared=1, again=13),
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
    verdicts = list(checked(explanations, level))
    if not verdicts:
        raise InvalidArgument("There is no explanation to check.")
    return Verdicts(verdicts)


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

    A backward pass counts 2. An upper bound, where the method takes as many passes for one input as for
    another: what is undefined costs less, and so does what several checks share.
    """
    if methods < 1:
        raise InvalidArgument(f"An explanation is one of at least one method, not of {methods}.")
    suite, spent = suite_of(level), 0.0
    for step in suite.steps:
        cost = step.cost(parts_of(explanation), methods, cost_of(explanation, methods))
        if not step.again or spent + cost <= suite.budget:
            spent += cost
    return spent


def cost_of(explanation: Explanation, methods: int = 1) -> float:
    """Forward passes that making the explanation anew takes at most, of which it was one of so many methods.

    What it then took over from others, their predictions and gradients, it has to make itself.
    """
    facts = explanation.provenance
    passes = facts["forward_passes"] + facts["partial_passes"] + 2 * facts["backward_passes"]
    return float(passes) / facts["inputs"] + (GRADIENTS if methods > 1 else 0)


def parts_of(explanation: Explanation) -> int:
    """Parts of its input that are hidden together, where none are given; 0 where their best order, which is
    sought part by part, is not sought."""
    shape = places(origin_of(explanation).inputs)
    count = even_patches(shape).count if len(shape) == 2 else prod(shape)
    return count if count <= MOST else 0


def _read(step: Step, batch: Batch, budget: float, spent: float) -> tuple[Sequence[Reading], float]:
    first, methods = batch.explanations[0], 1 + len(batch.beside)
    cost = step.cost(parts_of(first), methods, cost_of(first, methods))
    if step.again and spent + cost > budget:
        reason = f"it takes {cost:.0f} passes more, which is beyond the {budget:.0f} of this level"
        return [undefined(reason)] * len(batch), spent
    return readings_of(_suited(step.check, batch), batch), spent + cost


def _suited(check: Check, batch: Batch) -> Check:
    """The check of a level, which hides with zeros where inputs are no pictures that can be blurred."""
    if batch.run.inputs.ndim == 4:
        return check
    fill = {"fill": "zeros"} if hasattr(check, "fill") else {}
    fills = {"fills": None} if hasattr(check, "fills") else {}
    return replace(check, **fill, **fills)  # type: ignore[type-var]


def readings_of(check: Check, batch: Batch) -> Sequence[Reading]:
    """What the check finds. Where it fails it is undefined for that input alone, and all others go on."""
    try:
        return check.read(batch)
    except Cancelled:
        raise
    except Exception as error:  # whatever it is, it must not take the explanation with it
        if len(batch) == 1:
            told = str(error) if isinstance(error, UnderhoodError) else f"{type(error).__name__}: {error}"
            return [undefined(f"the check failed ({told.rstrip('.')})")]
    return [reading for one in batch.alone() for reading in readings_of(check, one)]
