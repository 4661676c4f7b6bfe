"""Time and memory, measured so that a noisy machine does not decide."""

import gc
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Cost:
    wall: float  # seconds, median
    cpu: float  # CPU seconds of all threads, median

    def over(self, count: int) -> "Cost":
        """Of one of so many."""
        return Cost(self.wall / count, self.cpu / count)


def alternating(runs: Mapping[str, Callable[[], object]], rounds: int = 3) -> dict[str, Cost]:
    """Median cost of each run; one after the other, round by round, so that all meet the same weather."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for run in runs.values() if rounds > 1 else ():
        run()  # warm up
    for _ in range(rounds):
        for name, run in runs.items():
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            spent[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: Cost(statistics.median(w for w, _ in pairs), statistics.median(c for _, c in pairs))
        for name, pairs in spent.items()
    }


def peak_extra(run: Callable[[], object]) -> float:
    """MiB of resident memory beyond the start, at most, while `run` runs; for a fresh process."""
    process, peak, stop = psutil.Process(), 0, threading.Event()
    gc.collect()
    start = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.002):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    run()
    stop.set()
    watcher.join()
    return max(0, peak - start) / 2**20
