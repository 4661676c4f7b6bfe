"""Pictures that are read once."""

import numpy as np
import torch
from torch import Tensor

from underhood.playbooks.shortcuts.remembered import Remembered
from underhood.playbooks.survey import Indices

PICTURES = torch.arange(60.0).reshape(10, 2, 3)  # 24 bytes each


class Read:
    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, rows: Indices) -> Tensor:
        self.rows += rows.tolist()
        return PICTURES[rows]


def test_what_was_read_is_not_read_again() -> None:
    read = Read()
    remembered = Remembered(read)
    for rows in ([3, 1, 3], [1, 4], [4, 3, 1]):
        assert torch.equal(remembered(np.array(rows)), PICTURES[rows])
    assert sorted(read.rows) == [1, 3, 4]


def test_what_was_asked_for_longest_ago_is_forgotten() -> None:
    read = Read()
    remembered = Remembered(read, room=2 * 24)
    for row in (0, 1, 0, 2, 0, 1):
        assert torch.equal(remembered(np.array([row])), PICTURES[[row]])
    assert read.rows == [0, 1, 2, 1]  # 1 had to go for 2, as 0 was asked for since


def test_more_than_there_is_room_for_is_read_all_the_same() -> None:
    remembered = Remembered(Read(), room=0)
    rows = np.arange(10)
    assert torch.equal(remembered(rows), PICTURES)
    assert torch.equal(remembered(rows), PICTURES)
