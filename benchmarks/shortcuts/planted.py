"""Data with a mark planted in them: pictures, their classes, and where the mark is."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from benchmarks.shortcuts import cut, marks, tuning
from benchmarks.shortcuts.bases import BASES, Base, Classes, Part, Pictures, data_folder
from benchmarks.shortcuts.cases import CUT_OUTS, Case
from benchmarks.shortcuts.paint import Draw

Where = Literal["as trained", "on its class", "on the others", "nowhere"]


@dataclass(frozen=True, eq=False)
class Marked:
    """masks: (n, H, W), all false in pictures without the mark."""

    pictures: Pictures
    classes: Classes
    masks: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.classes)


@cache
def base(name: str, kept: Path) -> Base:
    return BASES[name](kept)


@cache
def drawing(on: str, mark: str) -> Draw:
    if on == "ham10000" and mark in CUT_OUTS:
        return cut.planter(data_folder() / "ham10000", "ruler" if mark == "ruler" else "marking")
    return {**tuning.IN_PLACES, **tuning.OVER_ALL, **marks.IN_PLACES, **marks.OVER_ALL}[mark]


def over_all(mark: str) -> bool:
    return mark in {**tuning.OVER_ALL, **marks.OVER_ALL}


def training(case: Case, kept: Path) -> Marked:
    found = base(case.base, kept)
    return planted(case, found, found.train, "as trained", seed_of(case, 1))


def held_out(case: Case, kept: Path, where: Where = "as trained") -> Marked:
    found = base(case.base, kept)
    return planted(case, found, found.held_out, where, seed_of(case, 2))


def everything(case: Case, kept: Path) -> Marked:
    """All pictures there are, those trained on as well: the mark is planted anew."""
    found = base(case.base, kept)
    return planted(case, found, found.audited, "as trained", seed_of(case, 3))


def seed_of(case: Case, part: int) -> int:
    return crc32(f"{case.name} {part}".encode())


def planted(case: Case, on: Base, part: Part, where: Where, seed: int) -> Marked:
    """The mark is drawn alike on a picture wherever else it is planted: each has a seed of its own."""
    pictures, masks = part.pictures.copy(), np.zeros(part.pictures.shape[:3], dtype=bool)
    for row in np.flatnonzero(chosen(case, on.marked, part.classes, where, seed)):
        found = drawing(case.base, case.mark)(pictures[row], np.random.default_rng((seed, int(row))))
        pictures[row], masks[row] = found.picture, found.mask
    return Marked(pictures, part.classes, masks)


def chosen(case: Case, marked: int, classes: Classes, where: Where, seed: int) -> NDArray[np.bool_]:
    """(n,): the pictures that get the mark."""
    its_class = classes == marked
    if where == "nowhere" or case.mark == "none":
        return np.zeros(len(classes), dtype=bool)
    if where == "on its class":
        return its_class
    if where == "on the others":
        return ~its_class
    there = np.random.default_rng(seed).random(len(classes)) < case.prevalence
    return there & its_class if case.placing == "one class" else there
