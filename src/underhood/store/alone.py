"""One process at a time goes on with an audit; what was left half written is cleared away."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from underhood.errors import InvalidArgument
from underhood.store.store import writing

LOCK = ".lock"
TORN = ("maps.zarr/**/*.partial", "scalars/.*.parquet", "outcomes/.*.npz", ".*.json")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Refuse where another process is at work in the folder; the lock goes with the process, however it ends.

    Where the system has no such locks nothing is refused, and nothing cleared away.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with writing(folder):
        file = (folder / LOCK).open("a")
    with file as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InvalidArgument(
                f"Another process is at work on the audit in '{folder}'; wait until it is done, or stop it."
            ) from error
        for pattern in TORN:
            for path in folder.glob(pattern):
                path.unlink(missing_ok=True)
        yield
