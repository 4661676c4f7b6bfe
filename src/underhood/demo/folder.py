"""Lesions as a folder of pictures, one folder for each class: what `underhood audit --data` takes."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from underhood.atomic import CannotWrite, atomic
from underhood.demo.dermoscopy import draw_many
from underhood.demo.factors import LABELS, NEVER, Placement

AT_ONCE = 50  # pictures, for one process at a time


@dataclass(frozen=True)
class Lesions:
    """`n` lesions in folder/benign and folder/malignant, as lesion_00000.png and so on; half of each."""

    folder: Path
    n: int
    seed: int
    ruler: Placement = NEVER

    def path(self, number: int) -> Path:
        label = LABELS[number % 2]  # `draw_many` has them in turn
        return self.folder / label / f"lesion_{number:05}.png"

    def draw(self, numbers: list[int]) -> int:
        """Draw and write these, and say how many they are."""
        samples = draw_many(self.n, self.seed, ruler=self.ruler, only=numbers)
        for number, sample in zip(numbers, samples, strict=True):
            with atomic(self.path(number)) as temporary:
                Image.fromarray(sample.image).save(temporary, format="PNG", compress_level=1)
        return len(numbers)


def write_lesions(
    lesions: Lesions, *, processes: int | None = None, progress: Callable[[int, int], None] | None = None
) -> None:
    """Draw what is not there yet. A picture is held for no longer than it takes to write it.

    processes: as many as there are processors, unless told.
    """
    try:
        for label in LABELS:
            (lesions.folder / label).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f"The folder '{lesions.folder}' cannot be made: {error.strerror}.") from error
    missing = [number for number in range(lesions.n) if not lesions.path(number).exists()]
    parts = [missing[start : start + AT_ONCE] for start in range(0, len(missing), AT_ONCE)]
    done = lesions.n - len(missing)
    for written in _drawn(lesions, parts, min(processes or _processors(), len(parts))):
        done += written
        if progress:
            progress(done, lesions.n)


def _drawn(lesions: Lesions, parts: list[list[int]], processes: int) -> Iterator[int]:
    """How many pictures each part has, as it is done."""
    if processes < 2:
        yield from map(lesions.draw, parts)
        return
    # Spawned, for a forked process would take over locks that torch's threads hold.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_deaf)
    try:
        for future in as_completed([pool.submit(lesions.draw, part) for part in parts]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _deaf() -> None:
    """Ctrl-C reaches every process of a terminal; the first one ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
