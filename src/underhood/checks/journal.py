"""A folder in which long work goes on where it was stopped: what the work is, and a line for each input.

A line is written whole or dropped: one that was torn, by a kill or a full disk, is cut off when the work goes
on. So an input is there once, with all that was found about it, or not at all.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from underhood.atomic import CannotWrite, atomic
from underhood.errors import BadInput, InvalidArgument

ABOUT, LINES = "benchmark.json", "inputs.jsonl"


@dataclass(frozen=True)
class Journal:
    folder: Path

    @property
    def lines(self) -> Path:
        return self.folder / LINES

    def begin(self, about: Mapping[str, Any]) -> None:
        """State what the work is; refuse a folder that holds other work."""
        path = self.folder / ABOUT
        if path.exists():
            known = self.about()
            differing = [name for name in {**about, **known} if known.get(name) != about.get(name)]
            if differing:
                raise InvalidArgument(
                    f"'{self.folder}' holds another benchmark (different: "
                    f"{', '.join(differing).replace('_', ' ')}); give another folder."
                )
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotWrite(f"The folder '{self.folder}' cannot be made: {error.strerror}.") from error
        if self.lines.exists():
            raise InvalidArgument(f"'{self.lines}' is in the way; give another folder.")
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(about, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def about(self) -> dict[str, Any]:
        path = self.folder / ABOUT
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadInput(f"'{path}' cannot be read as a benchmark's description.") from error
        if not isinstance(found, dict):
            raise BadInput(f"'{path}' cannot be read as a benchmark's description.")
        return found

    def records(self) -> Iterator[dict[str, Any]]:
        """What was written, one by one; what follows the last whole line is cut off."""
        if not self.lines.exists():
            return
        whole = 0  # bytes
        with self.lines.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                yield self._record(line, number)
                whole += len(line)
        if whole < self.lines.stat().st_size:
            os.truncate(self.lines, whole)

    def _record(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except ValueError as error:
            raise BadInput(f"Line {number} of '{self.lines}' is damaged; give another folder.") from error
        if not isinstance(found, dict):
            raise BadInput(f"Line {number} of '{self.lines}' is damaged; give another folder.")
        return found

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write records, and do not come back before they are on the disk."""
        text = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
        try:
            with self.lines.open("ab") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CannotWrite(f"'{self.lines}' cannot be written: {error.strerror or error}.") from error
