"""Memory does not grow with the number of pictures."""

import multiprocessing
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import underhood as uh
from tests.support import audits
from underhood.inputs.dataset import Dataset, Row

MIB = 2**20
UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


class Drawn(Sequence[Row]):
    """Rows that are drawn when they are asked for, of 48 KiB each."""

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(self.count))]
        if number >= self.count:
            raise IndexError(number)
        made = torch.Generator().manual_seed(number)
        return Row(
            number, f"picture {number}", torch.randn(1, 112, 112, generator=made), audits.LABELS[number % 2]
        )


def peak(folder: Path, count: int, told: Any) -> None:
    torch.set_num_threads(1)
    found = uh.audit(audits.model(), Dataset(Drawn(count)), (), out=folder, shard=256)
    assert len(found.survey) == count
    told.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT)


@pytest.mark.slow
def test_ten_times_the_pictures_take_no_more_memory(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    peaks = {}
    for count in (2_000, 20_000):
        told = context.Queue()
        process = context.Process(target=peak, args=(tmp_path / str(count), count, told))
        process.start()
        peaks[count] = told.get(timeout=900)
        process.join()
    pictures = 18_000 * 112 * 112 * 4
    assert peaks[20_000] - peaks[2_000] < min(40 * MIB, pictures / 20), peaks
