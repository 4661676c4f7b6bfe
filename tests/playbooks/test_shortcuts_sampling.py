"""What is told of a picture, by itself or by what many of its class have in common."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from underhood.playbooks.shortcuts.sampling import things


def test_stamps_are_asked_for_pictures_in_which_nothing_novel_is_seen() -> None:
    asked: list[list[int]] = []

    def stamped(rows: np.ndarray) -> np.ndarray:
        asked.append(rows.tolist())
        return np.ones((len(rows), 3, 3), bool)

    seen = {5: True, 6: False, 9: True}

    def novel(rows: np.ndarray) -> np.ndarray:
        masks = np.zeros((len(rows), 3, 3), bool)
        masks[:, 1, 1] = [seen[row] for row in rows.tolist()]
        return masks

    novelty: Any = SimpleNamespace(masks=novel)
    stamps: Any = SimpleNamespace(masks=stamped)
    found = things(novelty, stamps, np.array([5, 6, 9]))
    assert asked == [[6]]
    assert found.sum((1, 2)).tolist() == [1, 9, 1]
