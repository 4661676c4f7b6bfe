"""Where a command writes to."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from underhood.errors import InvalidArgument, UnderhoodError, UnknownName
from underhood.methods import Explanation
from underhood.methods.files import save
from underhood.reports import write_html


def destination(out: str, suffixes: Sequence[str]) -> Path:
    """Refuse a bad destination before the work, not after it."""
    path = Path(out).expanduser()
    if path.suffix not in suffixes:
        raise UnknownName("file type", path.suffix or path.name, suffixes)
    if not path.parent.is_dir():
        raise InvalidArgument(f"There is no folder '{path.parent}' to write {path.name} to.")
    return path


def failed(name: str, reason: str) -> str:
    """What failed and why, named once."""
    named = re.search(rf"(?<![\w./-]){re.escape(name)}(?!\w)", reason)
    return reason if named else f"{name}: {reason}"


def nothing(failures: dict[str, str]) -> UnderhoodError:
    """Why nothing could be explained."""
    told = [failed(name, reason) for name, reason in failures.items()]
    return UnderhoodError("\n".join(told) or "There is nothing to explain.")


def write(explanations: Iterator[Explanation], path: Path, failures: dict[str, str], command: str) -> None:
    """Explain and write as it goes; nothing is written where nothing could be explained."""
    first = next(explanations, None)
    if first is None:
        raise nothing(failures)

    def all_of_them() -> Iterator[Explanation]:
        yield first
        yield from explanations

    if path.suffix == ".html":
        write_html(all_of_them(), path, failures=lambda: failures, command=command)
    else:
        save(all_of_them(), path)
