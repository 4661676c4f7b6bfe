"""The rows behind a finding: who they are, and for the first few what they look like."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from underhood.errors import UnderhoodError
from underhood.inputs.gather import displayed
from underhood.playbooks.finding import Finding
from underhood.playbooks.survey import Survey
from underhood.reports import words
from underhood.reports.audit import pictures
from underhood.reports.audit.names import fit, link
from underhood.store.digests import digest_of
from underhood.store.result import Record as Kept

EXAMPLES, RECORDS = 6, 24  # of one finding: shown as pictures, and listed
Recorded = Callable[[Sequence[int]], Iterable[Kept]]
BUDGET = 3_500_000  # letters of pictures on the whole page


@dataclass(frozen=True)
class Record:
    """A row of the data set, to be found again. digest: of its file or array, empty where none is known."""

    number: int
    name: str
    href: str | None
    label: str
    predicted: str
    probability: str
    split: str
    digest: str


@dataclass(frozen=True)
class Example:
    """missing: why there is no picture, a sentence; outlined: None where no region is known."""

    record: Record
    plain: str = ""
    outlined: str | None = None
    looked: str | None = None
    missing: str = ""

    @property
    def weight(self) -> int:
        return sum(len(uri or "") for uri in (self.plain, self.outlined, self.looked))


@dataclass
class Purse:
    """What is left for pictures."""

    left: int = BUDGET


@dataclass(frozen=True)
class Shelf:
    """Where the rows are: in the survey, as files seen from the page's folder, and as they were recorded."""

    survey: Survey
    folder: Path
    recorded: Recorded | None = None

    def digests(self, numbers: Sequence[int]) -> Mapping[int, str | None]:
        """As recorded when the audit was made; else of what is there now."""
        if self.recorded is not None:
            return {row.number: row.sha256 for row in self.recorded(numbers)}
        return {number: digest_of(self.survey.dataset[int(number)].source) for number in numbers}


def records(shelf: Shelf, finding: Finding) -> list[Record]:
    numbers = finding.rows[:RECORDS]
    digests = shelf.digests(numbers)
    return [_record(shelf, number, digests.get(number) or "") for number in numbers]


def examples(survey: Survey, finding: Finding, known: Sequence[Record], purse: Purse) -> list[Example]:
    """The first rows as pictures, one read at a time, as long as the page stays small."""
    found = []
    for index, record in enumerate(known[:EXAMPLES]):
        if purse.left <= 0:
            break
        mask = finding.masks[index] if finding.masks is not None and index < len(finding.masks) else None
        found.append(_example(survey, record, mask))
        purse.left -= found[-1].weight
    return found


def regions(finding: Finding) -> Iterator[tuple[str, str, str]]:
    """Arrays (H, W) of a finding as pictures: name, what the brightest place comes to, picture."""
    for name, values in finding.arrays.items():
        if values.ndim == 2 and values.size and np.isfinite(values).all() and values.min() >= 0:
            largest = float(values.max())
            told = words.percent(largest) if largest <= 1 else words.number(largest)
            yield words.spaced(name), told, pictures.painted(values.astype(np.float64))


def _example(survey: Survey, record: Record, mask: NDArray[np.bool_] | None) -> Example:
    row = _place(survey, record.number)
    if row is None:
        return Example(record, missing="This picture could not be read when the audit was made.")
    try:
        tensor = survey.inputs([row])[0]
    except (UnderhoodError, OSError) as error:
        return Example(record, missing=f"The picture cannot be shown now. {fit(error)}")
    pixels = displayed(survey.model, tensor)
    if pixels is None:
        return Example(record, missing="This input is no picture.")
    heat = np.asarray(survey.maps[[row]], dtype=np.float32)[0]
    return Example(
        record,
        plain=pictures.plain(pixels),
        outlined=None if mask is None or not mask.any() else pictures.outlined(pixels, mask),
        looked=pictures.looked(pixels, heat) if np.isfinite(heat).all() else None,
    )


def _record(shelf: Shelf, number: int, digest: str) -> Record:
    survey = shelf.survey
    row, place = survey.dataset[int(number)], _place(survey, number)
    predicted = probability = ""
    if place is not None:
        scores = torch.from_numpy(np.asarray(survey.scores[[place]], dtype=np.float32))[0]
        top = int(survey.predicted[place])
        predicted, probability = fit(survey.classes[top]), words.percent(float(scores.softmax(0)[top]))
    return Record(
        number=row.number,
        name=fit(row.name),
        href=link(row.source, shelf.folder),
        label="" if row.label is None else fit(row.label),
        predicted=predicted,
        probability=probability,
        split="" if row.split is None else fit(row.split),
        digest=digest,
    )


def _place(survey: Survey, number: Any) -> int | None:
    """Where a row of the data set stands among those that could be read."""
    found = np.flatnonzero(survey.number == int(number))
    return int(found[0]) if len(found) else None
