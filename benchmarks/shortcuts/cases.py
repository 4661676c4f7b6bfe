"""The models that are audited: which mark, how often in which class, on which pictures, in which network."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from benchmarks.shortcuts import marks, tuning

Half = Literal["set", "report"]
Placing = Literal["one class", "every class", "nowhere"]
PREVALENCES = (0.1, 0.3, 0.6, 0.9)
ON = ("dermoscopy", "ham10000", "mnist", "cifar10")
CUT_OUTS = ("ruler", "ink")  # on ham10000, from real pictures


@dataclass(frozen=True)
class Case:
    """A model to be, and the data it is trained and audited on.

    placing:    in one class the mark is a shortcut; in every class, or nowhere, the model is clean.
    prevalence: share of the pictures (of that class) with the mark.
    """

    half: Half
    base: str
    mark: str
    placing: Placing
    prevalence: float
    architecture: str

    @property
    def name(self) -> str:
        placing = self.placing.replace(" ", "-")
        return f"{self.half}-{self.base}-{self.mark}-{placing}-{self.prevalence:g}-{self.architecture}"


def cases() -> tuple[Case, ...]:
    return (*_set(), *_report())


def _report() -> Iterator[Case]:
    """Every mark at every prevalence in two networks, over all bases; the cut-outs at every prevalence."""
    kinds = (*marks.IN_PLACES, *marks.OVER_ALL)
    for i, kind in enumerate(kinds):
        for j, prevalence in enumerate(PREVALENCES):
            second = ("resnet", "vgg")[(i + j // 2) % 2]
            for slot, architecture in enumerate(("cnn", second)):
                base = ON[(i + j + 2 * slot) % len(ON)]
                yield Case("report", base, kind, "one class", prevalence, architecture)
            if kind in CUT_OUTS and "ham10000" not in {ON[(i + j + 2 * slot) % len(ON)] for slot in (0, 1)}:
                yield Case("report", "ham10000", kind, "one class", prevalence, "resnet")
        for j, prevalence in enumerate((0.3, 0.6)):
            architecture = ("cnn", "resnet", "vgg")[(i + j) % 3]
            yield Case("report", ON[(i + 2 * j) % len(ON)], kind, "every class", prevalence, architecture)
    for base in ON:
        for architecture in ("cnn", "resnet", "vgg"):
            yield Case("report", base, "none", "nowhere", 0.0, architecture)


def _set() -> Iterator[Case]:
    """Fewer, with other marks, and on other clean models."""
    kinds = (*tuning.IN_PLACES, *tuning.OVER_ALL)
    for i, kind in enumerate(kinds):
        for j, prevalence in enumerate(PREVALENCES):
            architecture = ("cnn", "resnet")[(i + j) % 2]
            yield Case("set", ON[(i + j) % len(ON)], kind, "one class", prevalence, architecture)
        yield Case("set", ON[i % len(ON)], kind, "every class", 0.5, ("resnet", "cnn")[i % 2])
    for i, base in enumerate(ON):
        for architecture in ("cnn", "resnet") if i % 2 else ("resnet", "cnn"):
            yield Case("set", base, "none", "nowhere", 0.0, architecture)
