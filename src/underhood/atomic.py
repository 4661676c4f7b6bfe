"""Files that are written whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from underhood.errors import UnderhoodError


class CannotWrite(UnderhoodError, OSError):
    """A file cannot be written: no such folder, no permission, a full disk."""


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, moved to it at the end; after an exception nothing is left of it."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _sentence(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise error if isinstance(error, UnderhoodError) else _sentence(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _sentence(path: Path, error: OSError) -> CannotWrite:
    return CannotWrite(f"'{path}' cannot be written: {error.strerror or error}.")


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
