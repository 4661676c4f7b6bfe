"""Tables of pictures (csv): a line for each, found by the names of the columns."""

import codecs
import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from underhood.errors import BadInput
from underhood.inputs.names import listed, printable

# What columns are called, the likeliest first; case, blanks, - and _ do not matter.
FILE = (
    "file", "filename", "filepath", "path", "image", "imagefile", "imagename", "imageid", "imagepath",
    "img", "imgname", "imgid", "picture", "photo", "isicid", "name", "id",
)  # fmt: skip
LABEL = ("label", "class", "classname", "target", "dx", "diagnosis", "category", "truth")
SPLIT = ("split", "subset", "partition", "set")


@dataclass(frozen=True)
class Table:
    """A csv file whose header has been read; its lines are read when they are asked for."""

    path: Path
    encoding: str
    delimiter: str
    columns: tuple[str, ...]

    @classmethod
    def open(cls, path: str | Path) -> "Table":
        """Raises BadInput where it is missing, empty or not text."""
        path = Path(path).expanduser()
        encoding = _encoding(path)
        with path.open(encoding=encoding, errors="surrogateescape", newline="") as file:
            first = next((line for line in file if line.strip()), "")
        if not first:
            raise BadInput(f"The table {_quoted(path)} is empty.")
        delimiter = max(",;\t", key=first.count)
        columns = next(csv.reader([first], delimiter=delimiter))
        return cls(path, encoding, delimiter, tuple(printable(column.strip()) for column in columns))

    @property
    def shown(self) -> str:
        return _quoted(self.path)

    def column(self, known: tuple[str, ...]) -> int | None:
        """Where the likeliest of the known names stands."""
        found = {_bare(column): at for at, column in reversed(list(enumerate(self.columns)))}
        return next((found[name] for name in known if name in found), None)

    def needed(self, known: tuple[str, ...], what: str) -> int:
        at = self.column(known)
        if at is None:
            raise BadInput(
                f"The table {self.shown} has no column for the {what}: its columns are "
                f"{listed(self.columns)}; call one of them '{known[0]}' "
                f"({', '.join(known[1:5])}, … will do as well), in the first line."
            )
        return at

    def lines(self) -> Iterator[tuple[str, ...]]:
        """The cells of each line below the header, as many as there are columns."""
        width = len(self.columns)
        with self.path.open(encoding=self.encoding, errors="surrogateescape", newline="") as file:
            reader = csv.reader(file, delimiter=self.delimiter)
            try:
                filled = (cells for cells in reader if any(cell.strip() for cell in cells))
                next(filled, None)
                for cells in filled:
                    yield tuple(cell.strip() for cell in [*cells, *[""] * width][:width])
            except csv.Error as error:
                raise BadInput(
                    f"The table {self.shown} cannot be read beyond line {reader.line_num} ({error})."
                ) from error

    def raw(self, name: str) -> str:
        """The name of a file as the file system would spell the same bytes."""
        if self.encoding != WESTERN:
            return name
        return name.encode(WESTERN, "surrogateescape").decode("utf-8", "surrogateescape")

    def rest(self, cells: tuple[str, ...], used: tuple[int | None, ...]) -> dict[str, str]:
        """The other columns, as text; what often recurs is held once."""
        return {
            sys.intern(column): sys.intern(printable(cells[at]))
            for at, column in enumerate(self.columns)
            if at not in used and column
        }

    @property
    def problems(self) -> tuple[str, ...]:
        if self.encoding != WESTERN:
            return ()
        return (f"The table {self.shown} is not in UTF-8; it was read as Windows-1252 (Western European).",)


WESTERN = "cp1252"


def _encoding(path: Path) -> str:
    """By its first bytes; Western where it is not UTF-8."""
    try:
        with path.open("rb") as file:
            start = file.read(4096)
            if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                return "utf-16"
            if b"\0" in start:
                raise BadInput(f"{_quoted(path)} is no table in text form (csv).")
            decoder = codecs.getincrementaldecoder("utf-8")()
            while start:
                decoder.decode(start)
                start = file.read(1 << 20)
            decoder.decode(b"", final=True)
            return "utf-8-sig"
    except UnicodeDecodeError:
        return WESTERN
    except FileNotFoundError as error:
        raise BadInput(f"There is no table '{printable(str(path))}'.") from error
    except OSError as error:
        raise BadInput(f"The table {_quoted(path)} cannot be read: {error.strerror or error}.") from error


def _bare(column: str) -> str:
    return "".join(letter for letter in column.lower() if letter not in " -_")


def _quoted(path: Path) -> str:
    return f"'{printable(path.name)}'"
