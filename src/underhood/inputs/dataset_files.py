"""Data sets from files: a folder for each class, or a folder and a table.

Only names are read here; a picture is opened when it is needed.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from sys import intern

from underhood.errors import BadInput
from underhood.inputs.dataset import Dataset, Row
from underhood.inputs.joined_tables import Draft, add_metadata, labelled
from underhood.inputs.names import counted, listed, printable
from underhood.inputs.picture_folder import AMBIGUOUS, MASK_ENDINGS, Finder, Pictures
from underhood.inputs.tables import Table

SPLITS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")
PathLike = str | Path


@dataclass(frozen=True)
class Beside:
    """What may lie beside the pictures: a table of metadata, a folder of masks."""

    metadata: PathLike | None = None
    masks: PathLike | None = None


def from_folder(path: PathLike, beside: Beside = Beside()) -> Dataset:
    """See `Dataset.from_folder`."""
    pictures, masks = _apart(path, beside.masks)
    drafts = _placed(pictures.paths)
    kept = [draft for draft in drafts if draft.label]
    if kept:
        loose = [draft.path for draft in drafts if not draft.label]
        problems = counted("Pictures in no class folder, left out", loose)
    else:
        kept = drafts
        problems = (f"The pictures in '{pictures.name}' have no labels: there is no folder for each class.",)
    return _asked(_dataset(pictures, kept, problems, beside, masks), beside, data=path)


def from_table(images: PathLike, labels: PathLike, beside: Beside = Beside()) -> Dataset:
    """See `Dataset.from_table`."""
    table = Table.open(labels)
    pictures, masks = _apart(images, beside.masks)
    drafts, problems = labelled(pictures.paths, table)
    found = _dataset(pictures, drafts, problems, beside, masks)
    return _asked(found, beside, data=images, labels=labels)


def from_paths(
    paths: Sequence[PathLike],
    labels: Sequence[str | None] | None = None,
    beside: Beside = Beside(),
) -> Dataset:
    """From files named one by one; their names leave out the folder that they share."""
    sources = [os.path.abspath(os.path.expanduser(os.fspath(path))) for path in paths]
    shared = os.path.commonpath([os.path.dirname(source) for source in sources])
    pictures = Pictures(shared, [os.path.relpath(source, shared) for source in sources])
    chosen = [None] * len(sources) if labels is None else labels
    drafts = [Draft(path, label) for path, label in zip(pictures.paths, chosen, strict=True)]
    masks = None if beside.masks is None else Pictures.within(beside.masks)
    return _dataset(pictures, drafts, (), beside, masks)


def _asked(dataset: Dataset, beside: Beside, **places: PathLike) -> Dataset:
    """With how it was asked for, also for whoever is in another folder then."""
    given = {**places, "metadata": beside.metadata, "masks": beside.masks}
    loaded = {
        name: os.path.abspath(os.path.expanduser(os.fspath(p))) for name, p in given.items() if p is not None
    }
    return replace(dataset, loaded=loaded)


def _apart(images: PathLike, masks: PathLike | None) -> tuple[Pictures, Pictures | None]:
    """The pictures, and the masks, also where these lie among the pictures or in a folder there."""
    pictures = Pictures.within(images)
    if masks is None:
        return pictures, None
    found = Pictures.within(masks)
    if os.path.samefile(pictures.folder, found.folder):
        return pictures.parted()
    inside = os.path.relpath(os.path.realpath(found.folder), os.path.realpath(pictures.folder))
    return pictures.without(inside + "/"), found


def _placed(paths: Sequence[str]) -> list[Draft]:
    """With the class, and the split where the first level of folders are splits."""
    first = {path.partition("/")[0].lower() for path in paths if "/" in path}
    level = 1 if first and first.issubset(SPLITS) else 0

    def placed(path: str) -> Draft:
        folders = [intern(printable(part)) for part in path.split("/")[:-1]]
        label = folders[level] if len(folders) > level else None
        return Draft(path, label, folders[0] if level and folders else None)

    return [placed(path) for path in paths]


def _dataset(
    pictures: Pictures,
    drafts: Sequence[Draft],
    problems: tuple[str, ...],
    beside: Beside,
    masks: Pictures | None,
) -> Dataset:
    if beside.metadata is not None:
        problems += add_metadata(drafts, Table.open(beside.metadata))
    mask_of: Sequence[str | None] = [None] * len(drafts)
    if masks is not None:
        mask_of, more = _masked([draft.path for draft in drafts], masks)
        problems += more
    rows = [
        Row(
            number,
            printable(draft.path),
            pictures.source(draft.path),
            draft.label,
            draft.split,
            draft.metadata,
            mask,
        )
        for number, (draft, mask) in enumerate(zip(drafts, mask_of, strict=True))
    ]
    return Dataset(rows, pictures.name, pictures.problems + problems)


def _masked(paths: Sequence[str], masks: Pictures) -> tuple[list[str | None], tuple[str, ...]]:
    """The mask of each picture, None where it has none, and what did not match."""
    finder = Finder(masks.paths, MASK_ENDINGS)
    found = [finder.find(path) for path in paths]
    taken = {at for at in found if at is not None}
    if not taken - {AMBIGUOUS}:
        raise BadInput(
            f"No mask in '{masks.name}' goes with a picture: it has the picture's name, or that and _mask; "
            f"the masks are {listed(masks.paths)}, the pictures {listed(paths)}."
        )
    without = [path for path, at in zip(paths, found, strict=True) if at is None]
    several = [path for path, at in zip(paths, found, strict=True) if at == AMBIGUOUS]
    unused = [] if several else [path for at, path in enumerate(masks.paths) if at not in taken]
    return [masks.source(masks.paths[at]) if at is not None and at >= 0 else None for at in found], (
        *counted("Pictures without a mask", without),
        *counted("Pictures with several masks, of which none is taken", several),
        *counted("Masks without a picture", unused),
    )
