"""Does a map depend on the class that is asked about?

Sixt et al. 2020, "When explanations lie: why many modified BP attributions fail", section 5 (random logit):
the map for the target's class is compared with maps for other classes of the same model and input. Where
they are alike, the map does not say why this class.

With two classes, evidence for one is evidence against the other: a signed map may turn its sign, which is
as it should be and counts as a change; a map of magnitudes alone then cannot tell. `mirrored` in the details
is for how many other classes the map is turned like that: with more than two, they then share one map among
them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from underhood.checks.batch import Batch, Rows, stacked
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.likeness import MEASURES, SIGNS, Figures, Likeness, Measure, Sign, named
from underhood.checks.reading import Reading, undefined
from underhood.checks.remade import edges_stay, unusable
from underhood.checks.similarity import figure
from underhood.errors import InvalidArgument, Unfit
from underhood.inputs.random import CONTROLS, generator
from underhood.models.target import Class, PerInput, Target

Against = Literal["runner-up", "random", "all"]

NO_CLASS = "the target is no class, so there is no other class to ask about"
ONE_OUTPUT = "the model has one output, so there is no other class to ask about"
NO_OTHER = "the maps for other classes are the same everywhere"


@dataclass(frozen=True)
class ClassSensitivity(Check):
    """The map's likeness to maps for other classes: 1 where the class does not matter.

    against: the "runner-up", the other class of the highest score; a "random" other class; or "all" others.
    most:    of all others at most so many, drawn at random.
    measure: of the value: "spearman", "ssim" or "hog"; measures: those that are computed.
    sign:    of the value: "signed", the maps as they are, or "abs". Both are in the details.
    limit:   the greatest value that passes.
    """

    against: Against = "runner-up"
    most: int = 10
    measure: Measure = "spearman"
    sign: Sign = "signed"
    limit: float = 0.9
    measures: tuple[Measure, ...] = MEASURES

    key = "class_sensitivity"

    def __post_init__(self) -> None:
        if self.against not in ("runner-up", "random", "all"):
            raise InvalidArgument(f"against is runner-up, random or all, not {self.against!r}.")
        if self.sign not in SIGNS:
            raise InvalidArgument(f"sign is signed or abs, not {self.sign!r}.")
        if self.measure not in self.measures or not set(self.measures) <= set(MEASURES):
            raise InvalidArgument(f"measure is one of the measures, {', '.join(MEASURES)}: {self.measure!r}.")
        if self.most < 1:
            raise InvalidArgument(f"There must be at least one other class, not {self.most}.")

    @property
    def card(self) -> CheckCard:
        return CLASS_SENSITIVITY

    def read(self, batch: Batch) -> Sequence[Reading]:
        if batch.run.outputs.shape[1] < 2:
            return [undefined(ONE_OUTPUT)] * len(batch)
        before, likeness = batch.run.engine.log.calls, Likeness(batch.maps, self.measures)
        asked = [_single(batch.run.target, row) for row in range(len(batch))]
        try:
            others = self._others(asked, batch)
            found = [likeness.to(_maps(batch, asked, classes)) for classes in others]
        except Unfit as error:
            return [undefined(str(error))] * len(batch)
        calls = (batch.run.engine.log.calls - before) / len(batch)
        return [
            undefined(NO_CLASS, calls=calls)
            if asked[row] is None
            else self._reading(batch, row, found, [int(classes[row]) for classes in others], calls)
            for row in range(len(batch))
        ]

    def _others(self, asked: Sequence[PerInput | None], batch: Batch) -> Tensor:
        """The classes to compare with, (n, B); each input's do not depend on the others'."""
        own = torch.tensor([0 if of is None else int(of.classes) for of in asked])
        count = batch.run.outputs.shape[1]
        if self.against == "runner-up":
            return batch.run.outputs.scatter(1, own[:, None], -torch.inf).argmax(1)[None]
        drawn = 1 + generator(batch.run.seed, CONTROLS, 2).permutation(count - 1)
        steps = drawn[: 1 if self.against == "random" else self.most]
        return (own + torch.from_numpy(steps)[:, None]) % count

    def _reading(
        self, batch: Batch, row: int, found: Sequence[Figures], others: Sequence[int], calls: float
    ) -> Reading:
        heatmap, name = batch.maps[row], named(self.measure, self.sign)
        if problem := unusable(heatmap):
            return undefined(problem, calls=calls)
        against = [
            {"class": other, **{key: figure(v[row]) for key, v in figures.items()}}
            for other, figures in zip(others, found, strict=True)
        ]
        values = [float(v) for of in against if (v := of[name]) is not None]
        two, magnitudes = batch.run.outputs.shape[1] == 2, self.sign == "abs" or bool((heatmap >= 0).all())
        details = {
            "against": against,
            "undefined": len(against) - len(values),
            "mirrored": sum(v < -0.95 for v in values),
            "two_classes": two,
        }
        if not values:
            return undefined(NO_OTHER, calls=calls, **details)
        value = sum(values) / len(values)
        passed = None if two and magnitudes else value <= self.limit
        return Reading(
            value,
            error=None if self.against == "random" or len(others) < batch.run.outputs.shape[1] - 1 else 0.0,
            controls={"edges": edges_stay(batch.run.inputs[row], self.sign)},
            passed=passed,
            sentence=_sentence(value, passed),
            calls=calls,
            details=details,
        )


def _single(target: Target, row: int) -> PerInput | None:
    """What is asked of one input, where it is a class."""
    one = target.rows(torch.tensor([row]))
    if isinstance(one, Rows):
        return _single(one.targets[int(one.at)], 0)
    if isinstance(one, Class) and isinstance(one.of, int):
        return PerInput(torch.tensor([one.of]), one.output)
    return one if isinstance(one, PerInput) else None


def _maps(batch: Batch, asked: Sequence[PerInput | None], classes: Tensor) -> Tensor:
    """The method's maps for other classes (B,), in the same output."""
    targets = [
        replace(of or PerInput(classes), classes=other)
        for of, other in zip(asked, classes.split(1), strict=True)
    ]
    return batch.explained(batch.asking(stacked(targets)))


def _sentence(value: float, passed: bool | None) -> str:
    said = f"The likeness to the map for another class is {value:z.2f} (1 is the same)"
    if passed is None:
        return f"{said}; with two classes, magnitudes cannot tell which of the two they speak for."
    if passed:
        return f"{said}: it depends on the class that is asked about."
    return f"{said}: it would be about the same for another answer."


CLASS_SENSITIVITY = CheckCard(
    name="Class sensitivity",
    question="class",
    asks="Does the map depend on the class that is asked about?",
    defined="Spearman's rank correlation of the map with the maps for other classes, their mean.",
    better="lower",
    unit="none",
    range="-1 (the opposite) to 1 (the same)",
    controls="an edge map, which is the same for every class",
    misleads="Two classes may be told by the same part of the picture; and with two classes, maps of "
    "magnitudes are alike by right.",
    cost="one explanation of the method for each other class",
    source="Sixt et al. 2020, arXiv:1912.09818",
)
