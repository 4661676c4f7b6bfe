"""Metadata columns, as they were written, made into kinds that can be compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from underhood.errors import UnknownName
from underhood.playbooks.survey import Survey

EMPTY = {"", "na", "n/a", "nan", "none", "null", "unknown"}
NOT_GIVEN = "not given"
FEW_NUMBERS = 10  # different ones; no more than that are kinds rather than amounts

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Column:
    """One entry for each of the survey's rows.

    codes: (n,) which of `kinds` a row is. numbers: (n,), NaN where not given; None where the entries are no
    amounts.
    """

    name: str
    codes: Codes
    kinds: tuple[str, ...]
    numbers: Floats | None = None

    def of(self, rows: NDArray[np.bool_]) -> "Column":
        """Of some rows alone."""
        numbers = None if self.numbers is None else self.numbers[rows]
        return Column(self.name, self.codes[rows], self.kinds, numbers)

    def binned(self, bins: int) -> "Column":
        """Numbers in so many parts with about as many rows each; other columns stay as they are."""
        if self.numbers is None:
            return self
        edges = np.unique(np.nanquantile(self.numbers, np.arange(1, bins) / bins))
        parts = np.searchsorted(edges, self.numbers, side="left")  # a part ends with its edge
        kinds = [f"to {_short(edges[0])}"]
        kinds += [f"above {_short(low)} to {_short(high)}" for low, high in pairwise(edges)]
        kinds += [f"above {_short(edges[-1])}", NOT_GIVEN]
        codes = np.where(np.isnan(self.numbers), len(kinds) - 1, parts)
        return _compact(self.name, codes, kinds)


@dataclass(frozen=True)
class Columns:
    """What can be compared, and a sentence for each column that cannot."""

    usable: tuple[Column, ...]
    left_out: tuple[str, ...]


def read_columns(survey: Survey, names: Sequence[str] | None = None) -> Columns:
    """The metadata of the survey's rows; of `names` alone, where they are given."""
    rows = [survey.dataset[int(number)].metadata for number in survey.number]
    known = tuple(dict.fromkeys(name for row in rows for name in row))
    for name in names or ():
        if name not in known:
            raise UnknownName("metadata column", name, known)
    asked = known if names is None else names
    found = [_read(name, [row.get(name, "").strip() for row in rows]) for name in asked]
    return Columns(
        tuple(one for one in found if isinstance(one, Column)),
        tuple(one for one in found if isinstance(one, str)),
    )


def _read(name: str, entries: Sequence[str]) -> Column | str:
    given = [entry for entry in entries if entry.lower() not in EMPTY]
    different = len(set(given))
    if different == 0 or (different == 1 and len(given) == len(entries)):
        return f"The column '{name}' was left out: it is the same for all rows."
    numbers = _numbers(given)
    is_whole = numbers is not None and bool((numbers == np.round(numbers)).all())
    if different == len(given) > FEW_NUMBERS and (numbers is None or is_whole):
        return f"The column '{name}' was left out: it has another value for each row, as an id has."
    if numbers is not None and different > FEW_NUMBERS:
        filled = iter(numbers)
        amounts = [np.nan if entry.lower() in EMPTY else next(filled) for entry in entries]
        return Column(name, np.zeros(len(entries), dtype=np.int64), ("amounts",), np.array(amounts))
    kinds = sorted(set(given)) + [NOT_GIVEN] * (len(given) < len(entries))
    index = {kind: code for code, kind in enumerate(kinds)}
    return Column(
        name, np.array([index.get(entry, len(kinds) - 1) for entry in entries], dtype=np.int64), tuple(kinds)
    )


def _numbers(entries: Sequence[str]) -> Floats | None:
    try:
        numbers = np.array([float(entry) for entry in entries])
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _compact(name: str, codes: Codes, kinds: Sequence[str]) -> Column:
    there, again = np.unique(codes, return_inverse=True)
    return Column(name, again.astype(np.int64), tuple(kinds[code] for code in there))


def _short(number: float) -> str:
    return f"{number:.4g}"
