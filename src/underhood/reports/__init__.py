"""Showing explanations: one self-contained HTML page, or a static figure."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from underhood.methods.deconvnet_sheet import DeconvnetSheet
    from underhood.methods.explanation import Explanation

# input name → why it could not be explained; as a callable it is asked once all maps are written
Failures = Mapping[str, str] | Callable[[], Mapping[str, str]]

__all__ = ["render_html", "render_png", "render_units", "write_html"]


def render_html(
    explanations: "Iterable[Explanation]", failures: Failures | None = None, command: str = ""
) -> str:
    """The report as one HTML page that needs neither network nor server.

    The explanations of one input come one after the other. Without `failures`, those that the
    explanations carry themselves are listed.
    """
    from underhood.reports.page import pieces

    return "".join(pieces(explanations, failures, command))


def write_html(
    explanations: "Iterable[Explanation]",
    path: str | Path,
    failures: Failures | None = None,
    command: str = "",
) -> None:
    """Write the report input by input, whole or not at all: memory does not grow with the inputs.

    The page takes its place at `path` only once it is complete; whatever goes wrong before, what
    was there stays.
    """
    from underhood.atomic import atomic
    from underhood.reports.page import pieces

    with (
        atomic(Path(path)) as temporary,
        temporary.open("w", encoding="utf-8", errors="replace", newline="\n") as file,
    ):
        file.writelines(pieces(explanations, failures, command))


def render_png(explanations: "Iterable[Explanation]") -> "Image.Image":
    """A static figure: each picture beside its maps, with legends and captions."""
    from underhood.reports.figure import figure

    return figure(explanations)


def render_units(sheet: "DeconvnetSheet") -> "Image.Image":
    """The sheet of a layer's units: reconstructions beside what they are of."""
    from underhood.reports.units import render_units as render

    return render(sheet)
