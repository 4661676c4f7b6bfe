"""The models that are audited: which mark, how often in which class, on which pictures, in which network."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.shortcuts import marks, tuning

Half = Literal["set", "report"]
Placing = Literal["one class", "every class", "nowhere"]
PREVALENCES = (0.1, 0.3, 0.6, 0.9)
ON = ("dermoscopy", "ham10000", "mnist", "cifar10")
NETS = ("cnn", "resnet", "vgg")
CUT_OUTS = ("ruler", "ink")  # on ham10000, from real pictures


@dataclass(frozen=True)
class Case:
    """A model to be, and the data it is trained and audited on.

    placing:    in one class the mark is a shortcut; in every class, or nowhere, the model is clean.
    prevalence: share of the pictures (of that class) with the mark.
    draw:       another one trains another network, and plants at other places.
    """

    half: Half
    base: str
    mark: str
    placing: Placing
    prevalence: float
    architecture: str
    draw: int = 1

    @property
    def name(self) -> str:
        placing = self.placing.replace(" ", "-")
        draw = "" if self.draw == 1 else f"-{self.draw}"
        return f"{self.half}-{self.base}-{self.mark}-{placing}-{self.prevalence:g}-{self.architecture}{draw}"


def cases() -> tuple[Case, ...]:
    """Seven draws of the reported half were read before the playbook was settled: they are not used again."""
    return (*_set(), *(replace(case, draw=8) for case in _report()))


def _report() -> Iterator[Case]:
    """Every mark at every prevalence, over all bases, in two or three networks; clean models beside them."""
    kinds = (*marks.IN_PLACES, *marks.OVER_ALL)
    for i, kind in enumerate(kinds):
        for j, prevalence in enumerate(PREVALENCES):
            yield Case("report", ON[(i + j) % len(ON)], kind, "one class", prevalence, "cnn")
            if (i + j) % 2:
                second = ("resnet", "vgg")[i // 2 % 2]
                yield Case(
                    "report", ON[(i + j + 2 - i // 4) % len(ON)], kind, "one class", prevalence, second
                )
        architecture, prevalence = ("cnn", "resnet", "vgg")[i % 3], (0.3, 0.6)[i % 2]
        yield Case("report", ON[i % len(ON)], kind, "every class", prevalence, architecture)
    for kind in CUT_OUTS:
        for prevalence, architecture in ((0.3, "resnet"), (0.6, "vgg")):
            yield Case("report", "ham10000", kind, "one class", prevalence, architecture)
    for i, base in enumerate(ON):
        kind, architecture = kinds[(2 * i + 1) % len(kinds)], ("vgg", "cnn", "resnet")[i % 3]
        yield Case("report", base, kind, "every class", 0.5, architecture)
        for architecture in ("cnn", "resnet", "vgg"):
            yield Case("report", base, "none", "nowhere", 0.0, architecture)


def _set() -> Iterator[Case]:
    """The same with other marks, once each, and on other clean models."""
    kinds = (*tuning.IN_PLACES, *tuning.OVER_ALL)
    for i, kind in enumerate(kinds):
        for j, prevalence in enumerate(PREVALENCES):
            yield Case("set", ON[(i + j) % len(ON)], kind, "one class", prevalence, NETS[(i + j) % len(NETS)])
        yield Case("set", ON[i % len(ON)], kind, "every class", 0.5, NETS[(i + 1) % len(NETS)])
    for base in ON:
        for architecture in NETS:
            yield Case("set", base, "none", "nowhere", 0.0, architecture)
