"""Which of the model's classes the labels of a data set are."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from underhood.inputs.dataset import Dataset


def label_classes(dataset: Dataset, labels: Sequence[str], classes: int) -> NDArray[np.int64]:
    """(n,) -1 for a row without a label, or with none of the model's.

    labels: of the model, which may have none; classes: how many it tells apart. Labels are classes by name;
    where no name fits and all are whole numbers, as in 0, 1, 2, by number.
    """
    known = known_labels(dataset.labels, labels, classes)
    return np.array(
        [-1 if row.label is None else known.get(row.label, -1) for row in dataset], dtype=np.int64
    )


def known_labels(found: Collection[str], labels: Sequence[str], classes: int) -> dict[str, int]:
    """The class that each label stands for, given the labels that occur."""
    named = {str(label): index for index, label in enumerate(labels)}
    numbered = {str(number): number for number in range(classes)}
    by_number = not named.keys() & set(found) and set(found) <= numbered.keys()
    return numbered if by_number else named
