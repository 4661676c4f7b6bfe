"""Time and memory, measured so that a noisy machine does not decide."""

import gc
import statistics
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import psutil
import torch

Run = Callable[[], object]
QUICK = 2.0  # seconds; runs that take less are repeated more often
OFTEN = 4


@dataclass(frozen=True)
class Cost:
    wall: float  # seconds
    cpu: float  # CPU seconds of all threads

    def on(self, device: torch.device) -> float:
        """What counts there: a GPU works while the processor waits."""
        return self.cpu if device.type == "cpu" else self.wall


def cost_of(run: Run) -> Cost:
    _settle()
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    _settle()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def alternating(runs: Mapping[str, Run], rounds: int = 3, may_fail: Collection[str] = ()) -> dict[str, Cost]:
    """Median cost of each run; those that fail are left out.

    One after the other, round by round, so that all meet the same weather; quick ones several times a round.
    """
    spent: dict[str, list[Cost]] = {}
    for name, run in runs.items():
        try:
            spent[name] = [cost_of(run)]
        except Exception as error:
            if name not in may_fail:
                raise
            print(f"{name} fails: {type(error).__name__}: {error}", file=sys.stderr)
    quick = [name for name in spent if spent[name][0].wall < QUICK]
    for name in spent if rounds > 1 else quick:
        spent[name].clear()  # that was to warm up
    for turn in range(rounds * OFTEN):
        for name, costs in spent.items():
            if name in quick or (rounds > 1 and turn % OFTEN == 0):
                gc.collect()
                costs.append(cost_of(runs[name]))
    return {name: _median(costs) for name, costs in spent.items()}


def peak_extra(run: Run, device: torch.device) -> float:
    """MiB beyond the start, at most, while `run` runs; of a processor's in a fresh process."""
    return _peak_on_card(run) if device.type == "cuda" else _peak_resident(run)


def _peak_on_card(run: Run) -> float:
    _settle()
    start = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    _settle()
    return (torch.cuda.max_memory_allocated() - start) / 2**20


def _peak_resident(run: Run) -> float:
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


def _median(costs: list[Cost]) -> Cost:
    return Cost(statistics.median(c.wall for c in costs), statistics.median(c.cpu for c in costs))


def _settle() -> None:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
