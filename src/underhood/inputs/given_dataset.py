"""`as_dataset`: a data set from whatever the user has."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from underhood.errors import BadInput, InvalidArgument
from underhood.inputs.dataset import Dataset
from underhood.inputs.dataset_files import Beside, from_folder, from_paths, from_table

PathLike = str | Path


def as_dataset(
    data: Any,
    *,
    labels: PathLike | Sequence[Any] | None = None,
    metadata: PathLike | Sequence[Mapping[str, str]] | None = None,
    masks: PathLike | Sequence[Any] | None = None,
) -> Dataset:
    """A `Dataset` from one, a folder, a list of paths, pictures, or a pair (pictures, labels).

    labels:   a table (csv) for a folder, or one for each picture; None where the folders are the classes.
    metadata: a table (csv), or one mapping for each picture in memory.
    masks:    a folder, or one mask (H, W) for each picture in memory.
    """
    if isinstance(data, Dataset):
        if not (labels is None and metadata is None and masks is None):
            raise InvalidArgument("A Dataset already has its labels, metadata and masks; give it alone.")
        return data
    if isinstance(data, tuple) and len(data) == 2 and labels is None and not _are_files(data):
        data, labels = data
    if isinstance(data, str | Path):
        beside = Beside(_path(metadata, "metadata"), _path(masks, "masks"))
        table = _path(labels, "labels")
        return from_folder(data, beside) if table is None else from_table(data, table, beside)
    if not isinstance(data, Tensor | np.ndarray | Sequence):
        raise InvalidArgument(
            "A data set must be a Dataset, a folder, a list of paths, pictures, or a pair (pictures, "
            f"labels), not {type(data).__name__}."
        )
    if not len(data):
        raise InvalidArgument("There are no pictures in the data set.")
    pictures: Any = data
    words = _words(labels, len(data))
    if all(isinstance(item, str | Path) for item in pictures):
        return from_paths(pictures, words, Beside(_path(metadata, "metadata"), _path(masks, "masks")))
    return Dataset.of(pictures, words, masks=_each(masks, "masks"), metadata=_each(metadata, "metadata"))


def _are_files(pair: tuple[Any, Any]) -> bool:
    """Whether these are two pictures rather than pictures and their labels."""
    return all(isinstance(item, str | Path) for item in pair) and not os.path.isdir(pair[0])


def _path(given: Any, what: str) -> PathLike | None:
    if given is None or isinstance(given, str | Path):
        return given
    kind = "folder" if what == "masks" else "table (csv)"
    raise InvalidArgument(f"For pictures in files, give the {what} as the path of a {kind}.")


def _each(given: Any, what: str) -> Any:
    if isinstance(given, str | Path):
        raise InvalidArgument(f"For pictures in memory, give one of the {what} for each picture, not a path.")
    return given


def _words(labels: Any, count: int) -> list[str | None] | None:
    """Labels as text: 3, 3.0 and tensor(3) are "3"; None and "" stay unknown."""
    if labels is None:
        return None
    if isinstance(labels, str | Path):
        raise InvalidArgument(
            "A table of labels goes with a folder of pictures; here, give a label for each."
        )
    values = labels.tolist() if isinstance(labels, Tensor | np.ndarray) else list(labels)
    if len(values) != count:
        raise BadInput(f"There are {count} pictures and {len(values)} labels; give one for each.")
    if any(isinstance(value, list) for value in values):
        raise BadInput("Labels must be one name or number for each picture, not a row of them.")
    return [_word(value) for value in values]


def _word(value: Any) -> str | None:
    if value is None or value == "":
        return None
    number = value.item() if isinstance(value, Tensor | np.generic) else value
    return str(int(number)) if isinstance(number, float) and number.is_integer() else str(number)
