"""Where a command writes to."""

from collections.abc import Sequence
from pathlib import Path

from underhood.errors import InvalidArgument, UnknownName


def destination(out: str, suffixes: Sequence[str]) -> Path:
    """Refuse a bad destination before the work, not after it."""
    path = Path(out).expanduser()
    if path.suffix not in suffixes:
        raise UnknownName("file type", path.suffix or path.name, suffixes)
    if not path.parent.is_dir():
        raise InvalidArgument(f"There is no folder '{path.parent}' to write {path.name} to.")
    return path
