"""Which line of a table goes with which picture."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from sys import intern

from underhood.errors import BadInput
from underhood.inputs.names import counted, listed, printable
from underhood.inputs.picture_folder import AMBIGUOUS, Finder
from underhood.inputs.tables import FILE, LABEL, SPLIT, Table


@dataclass(slots=True)
class Draft:
    """What is known so far of a picture."""

    path: str
    label: str | None = None
    split: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass
class _Read:
    """Names of a table's lines that were of no use."""

    missing: list[str] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)

    def problems(self, table: Table) -> tuple[str, ...]:
        here = table.shown
        return (
            *table.problems,
            *counted(f"Names in {here} without a picture", self.missing),
            *counted(f"Names in {here} that fit several pictures, left out (write paths)", self.ambiguous),
            *counted(f"Lines of {here} that repeat a picture, left out", self.again),
        )


def labelled(paths: Sequence[str], table: Table) -> tuple[list[Draft], tuple[str, ...]]:
    """The pictures that a table of labels names, in the pictures' order, and what was left out."""
    finder = Finder(paths)
    _check_header(table, finder)
    file, label, split = table.needed(FILE, "picture"), table.needed(LABEL, "label"), table.column(SPLIT)
    found: dict[int, Draft] = {}
    read, unlike = _Read(), set()
    for cells in table.lines():
        at = _find(finder, table, cells[file], read)
        text = intern(printable(cells[label])) or None
        if at is None:
            continue
        if at in found:
            read.again.append(cells[file])
            if found[at].label != text:
                unlike.add(at)
        else:
            rest = table.rest(cells, (file, label, split))
            found[at] = Draft(paths[at], text, _split(cells, split), rest)
    _check_any(found, table, read, paths)
    kept = [found[at] for at in sorted(found) if at not in unlike]
    here = table.shown
    return kept, (
        *read.problems(table),
        *counted(f"Pictures with different labels in {here}, left out", [paths[at] for at in sorted(unlike)]),
        *counted(
            f"Pictures without a label in {here}, kept without one", [d.path for d in kept if not d.label]
        ),
        *counted(
            f"Pictures that are not in {here}, left out",
            [path for at, path in enumerate(paths) if at not in found],
        ),
    )


def add_metadata(drafts: Sequence[Draft], table: Table) -> tuple[str, ...]:
    """Take a table's columns into the drafts; what stands under `SPLIT` becomes the split as well."""
    paths = [draft.path for draft in drafts]
    finder, read, taken = Finder(paths), _Read(), set()
    _check_header(table, finder)
    file, split = table.needed(FILE, "picture"), table.column(SPLIT)
    for cells in table.lines():
        at = _find(finder, table, cells[file], read)
        if at is None:
            continue
        if at in taken:
            read.again.append(cells[file])
        else:
            taken.add(at)
            drafts[at].metadata.update(table.rest(cells, (file,)))
            drafts[at].split = drafts[at].split or _split(cells, split)
    _check_any(taken, table, read, paths)
    without = [path for at, path in enumerate(paths) if at not in taken]
    return (
        *read.problems(table),
        *counted(f"Pictures that are not in {table.shown}, kept without metadata", without),
        *_drop_the_label(drafts, table),
    )


def _drop_the_label(drafts: Sequence[Draft], table: Table) -> tuple[str, ...]:
    """Of columns that are the label itself: that these predict it says nothing."""
    known = [draft for draft in drafts if draft.label is not None]
    columns = Counter(name for draft in known for name in draft.metadata)
    same = [name for name in columns if all(draft.metadata.get(name) == draft.label for draft in known)]
    for draft in drafts:
        for name in same:
            draft.metadata.pop(name, None)
    return tuple(
        f"The column '{name}' of {table.shown} is the label itself; it is not taken as metadata."
        for name in same
    )


def _find(finder: Finder, table: Table, name: str, read: _Read) -> int | None:
    at = finder.find(name)
    if at is None and (raw := table.raw(name)) != name:
        at = finder.find(raw)
    if at is None:
        read.missing.append(name)
    elif at == AMBIGUOUS:
        read.ambiguous.append(name)
        return None
    return at


def _split(cells: tuple[str, ...], column: int | None) -> str | None:
    return None if column is None else intern(printable(cells[column])) or None


def _check_header(table: Table, finder: Finder) -> None:
    named = next((cell for cell in table.columns if finder.find(cell) is not None), None)
    if named is not None and table.column(FILE) is None:
        raise BadInput(
            f"The table {table.shown} has no header: its first line already names the picture '{named}'; "
            "write a line such as 'file,label' above it."
        )


def _check_any(found: object, table: Table, read: _Read, paths: Sequence[str]) -> None:
    if found:
        return
    names = read.missing + read.ambiguous
    raise BadInput(
        f"The table {table.shown} names none of the pictures: its names are "
        f"{listed(names)}, those of the pictures {listed(paths)}."
        if names
        else f"The table {table.shown} has a header and no lines below it."
    )
