"""Many rows, some at a time; and some of many, by chance."""

from collections.abc import Iterator

from underhood.inputs.random import generator
from underhood.playbooks.survey import Indices

ENTRIES = 4096  # of a survey's columns, read together
PICTURES = 64  # read and run together


def portions(rows: Indices, size: int) -> Iterator[Indices]:
    """The rows in their order, at most `size` at a time."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def drawn(rows: Indices, most: int, seed: int, *stream: int) -> Indices:
    """All of the rows, or so many of them, each with the same chance; in their order."""
    if len(rows) <= most:
        return rows
    chosen = generator(seed, *stream).choice(len(rows), most, replace=False)
    chosen.sort()
    return rows[chosen]
