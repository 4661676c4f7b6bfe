"""A progress bar on anything longer than a second; none where output is redirected."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 1.0  # seconds before a bar appears

Report = Callable[[int, int], None]
Begin = Callable[[str, int | None], None]


@contextmanager
def stages() -> Iterator[tuple[Report, Begin]]:
    """Gives (report, begin): report what of a step is done; that another stage begins, of so much in all.

    Where it is not known how much a stage is, what was done in its steps is counted.
    """
    with _shown() as bar:
        if bar is None:
            yield lambda _done, _total: None, lambda _name, _total: None
            return
        task, counted, before, last = bar.add_task("", total=None), False, 0, 0

        def report(done: int, _total: int) -> None:
            nonlocal before, last
            if not counted:
                before, last = (before + last, done) if done <= last else (before, done)
            bar.update(task, completed=before + done)

        def begin(name: str, total: int | None) -> None:
            nonlocal task, counted, before, last
            counted, before, last = total is not None, 0, 0
            bar.remove_task(task)  # one that had a total would keep it
            task = bar.add_task(name, total=total)

        yield report, begin


@contextmanager
def progress(inputs: int) -> Iterator[tuple[Report, Callable[[str], None]]]:
    """Gives (passes, next_input): report passes of the current step, and that another input begins."""
    with _shown() as bar:
        if bar is None:
            yield lambda _done, _total: None, lambda _name: None
            return
        files = bar.add_task("inputs", total=inputs, visible=inputs > 1)
        passes = bar.add_task("passes", total=None)

        def report(done: int, total: int) -> None:
            if bar.tasks[passes].total != total:
                bar.reset(passes, total=total)
            bar.update(passes, completed=done)

        def next_input(name: str) -> None:
            begun = bar.tasks[files].fields.get("begun", 0)
            bar.update(files, completed=begun, begun=begun + 1, description=name[-40:])

        yield report, next_input


@contextmanager
def _shown() -> Iterator[Any]:
    """A bar without tasks, to be seen once it has taken a second; None where output is redirected."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    timer = threading.Timer(PATIENCE, bar.start)
    timer.start()
    try:
        yield bar
    finally:
        timer.cancel()
        bar.stop()
