"""A progress bar on anything longer than a second; none where output is redirected."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 1.0  # seconds before a bar appears

Report = Callable[[int, int], None]


@contextmanager
def progress(inputs: int) -> Iterator[tuple[Report, Callable[[str], None]]]:
    """Gives (passes, next_input): report passes of the current step, and that another input begins."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield lambda _done, _total: None, lambda _name: None
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
    files = bar.add_task("inputs", total=inputs, visible=inputs > 1)
    passes = bar.add_task("passes", total=None)

    def report(done: int, total: int) -> None:
        if bar.tasks[passes].total != total:
            bar.reset(passes, total=total)
        bar.update(passes, completed=done)

    def next_input(name: str) -> None:
        begun = bar.tasks[files].fields.get("begun", 0)
        bar.update(files, completed=begun, begun=begun + 1, description=name[-40:])

    timer = threading.Timer(PATIENCE, bar.start)
    timer.start()
    try:
        yield report, next_input
    finally:
        timer.cancel()
        bar.stop()
