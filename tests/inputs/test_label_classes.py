"""Labels become the model's classes by name or by number."""

import numpy as np
import pytest
import torch

from underhood.inputs import Dataset
from underhood.inputs.label_classes import label_classes

SKIN = ("naevus", "melanoma", "keratosis")


def labelled(*labels: str | None) -> Dataset:
    return Dataset.of(torch.zeros(len(labels), 1, 1, 1), labels)


@pytest.mark.parametrize(
    ("labels", "names", "classes", "expected"),
    [
        (("melanoma", None, "naevus", "wart"), SKIN, 3, [1, -1, 0, -1]),
        (("2", "0", None), SKIN, 3, [2, 0, -1]),
        (("2", "3"), SKIN, 3, [-1, -1]),  # there is no class 3, so these are no numbers of classes
        (("1", "0"), ("1", "0"), 2, [0, 1]),  # by name where there is one
        (("7", "3"), (), 10, [7, 3]),
        (("cat", "dog"), (), 2, [-1, -1]),
    ],
)
def test_labels_are_classes_by_name_or_else_by_number(labels, names, classes, expected) -> None:
    found = label_classes(labelled(*labels), names, classes)
    assert found.dtype == np.int64
    assert found.tolist() == expected
