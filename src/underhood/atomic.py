"""Files that are written whole or not at all."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from underhood.errors import UnderhoodError


class CannotWrite(UnderhoodError, OSError):
    """A file cannot be written: no such folder, no permission, a full disk."""


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place at the end.

    After an exception nothing is left of it, and what was at `path` before is untouched. A link is
    followed; anything that is not a regular file, such as a device, is refused.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise CannotWrite(f"'{path}' cannot be written: it exists and is no regular file.")
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    with _in_words(path):
        temporary.touch(exist_ok=False)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except UnderhoodError:
        raise
    except OSError as error:
        raise CannotWrite(f"'{path}' cannot be written: {error.strerror or error}.") from error
