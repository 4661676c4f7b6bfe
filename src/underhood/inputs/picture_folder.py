"""The pictures in a folder, and which of them a name means."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from underhood.errors import BadInput
from underhood.inputs.images import SUFFIXES
from underhood.inputs.names import counted, printable, same_spelling

AMBIGUOUS = -1
MASK_ENDINGS = ("_mask", "-mask", "_segmentation", "_seg")


@dataclass(frozen=True)
class Pictures:
    """Paths below a folder, sorted, with / between their parts; problems: what had to be passed over."""

    folder: str
    paths: Sequence[str]
    problems: tuple[str, ...] = ()

    @classmethod
    def within(cls, folder: str | Path) -> "Pictures":
        """Every picture at any depth; names that begin with a dot are passed over.

        Raises BadInput where there is no such folder, or not one picture.
        """
        top = os.path.expanduser(os.fspath(folder))
        if os.path.exists(top) and not os.path.isdir(top):
            raise BadInput(f"'{printable(top)}' is a file; give the folder of the pictures.")
        if not os.path.isdir(top):
            raise BadInput(f"There is no folder '{printable(top)}'.")
        walk = _Walk(top)
        paths = list(walk.below("", frozenset()))
        if not paths:
            what = "cannot be read" if walk.closed else "holds no pictures" if os.listdir(top) else "is empty"
            raise BadInput(
                f"The folder '{printable(top)}' {what}; give one with {', '.join(SUFFIXES)} files."
            )
        problems = (
            *counted("Folders without a picture", walk.empty),
            *counted("Folders that cannot be read", walk.closed),
        )
        return cls(os.path.abspath(top), paths, problems)

    @property
    def name(self) -> str:
        return printable(os.path.basename(self.folder))

    def source(self, path: str) -> str:
        return os.path.join(self.folder, path)

    def without(self, folder: str) -> "Pictures":
        """Those outside a folder, which ends in /."""
        return replace(self, paths=[path for path in self.paths if not path.startswith(folder)])

    def parted(self) -> tuple["Pictures", "Pictures"]:
        """Those that are no masks by their names, and those that are."""
        masks = {path for path in self.paths if stem(path) != stem(path, MASK_ENDINGS)}
        others = [path for path in self.paths if path not in masks]
        return replace(self, paths=others), replace(self, paths=sorted(masks))


class Finder:
    """Which path a name means: the path, with or without its suffix, or else its last part alone."""

    def __init__(self, paths: Iterable[str], endings: Sequence[str] = ()):
        """endings: what a path's stem may have that a name has not, such as "_mask"."""
        self._ways: tuple[dict[str, int], ...] = ({}, {}, {}, {})
        for number, path in enumerate(paths):
            for way, key in zip(self._ways, _keys(path, endings), strict=True):
                way[key] = AMBIGUOUS if key in way else number

    def find(self, name: str) -> int | None:
        """The path's number; None where there is none, `AMBIGUOUS` where several could be meant."""
        for way, key in zip(self._ways, _keys(name.replace("\\", "/").removeprefix("./")), strict=True):
            if key in way:
                return way[key]
        return None


def stem(path: str, endings: Sequence[str] = ()) -> str:
    """Without the suffix of a picture: that of "a.b.png" is "a.b", and "a.b" stays so."""
    root, suffix = os.path.splitext(path)
    root = root if suffix.lower() in SUFFIXES else path
    return next((root.removesuffix(ending) for ending in endings if root.endswith(ending)), root)


def _keys(path: str, endings: Sequence[str] = ()) -> tuple[str, str, str, str]:
    path, root = same_spelling(path), same_spelling(stem(path, endings))
    return path, root, path.rpartition("/")[2], root.rpartition("/")[2]


@dataclass
class _Walk:
    """empty: folders without a picture in or below them; closed: those that may not be looked into."""

    top: str
    empty: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def below(self, folder: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
        """Depth first and sorted; a link back to a folder above is not followed."""
        try:
            here = os.stat(os.path.join(self.top, folder))
            with os.scandir(os.path.join(self.top, folder)) as found:
                entries = sorted((e.name, _is_folder(e)) for e in found if not e.name.startswith("."))
        except OSError:
            self.closed.append(folder or self.top)
            return
        place = (here.st_dev, here.st_ino)
        if place in above:
            return
        any_picture = False
        for name, is_folder in entries:
            path = f"{folder}/{name}" if folder else name
            if is_folder:
                for picture in self.below(path, above | {place}):
                    any_picture = True
                    yield picture
            elif os.path.splitext(name)[1].lower() in SUFFIXES:
                any_picture = True
                yield path
        if folder and not any_picture and folder not in self.closed:
            self.empty.append(folder)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
