"""The report of an audit: one page that says whether anything is wrong, how sure that is, and what to do."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from underhood.atomic import atomic
from underhood.playbooks.compare import Comparison
from underhood.playbooks.finding import Outcome
from underhood.playbooks.survey import Survey

__all__ = ["Audited", "render_audit", "render_comparison"]


class Audited(Protocol):
    """What the page needs of an audit.

    problems:   a sentence for each thing that could not be read or done.
    provenance: what has to be known to repeat it.
    """

    @property
    def survey(self) -> Survey: ...
    @property
    def outcomes(self) -> Sequence[Outcome]: ...
    @property
    def problems(self) -> Sequence[str]: ...
    @property
    def provenance(self) -> Mapping[str, Any]: ...


def render_audit(audit: Audited, path: str | Path) -> None:
    """Write the page, whole or not at all, finding by finding: few pictures are read, and none is kept."""
    from underhood.reports.audit.page import pieces

    _write(pieces(audit, Path(path).parent), Path(path))


def render_comparison(comparison: Comparison, path: str | Path) -> None:
    """Write the page of two versions of a model on the same data."""
    from underhood.reports.audit.comparison import pieces

    _write(pieces(comparison), Path(path))


def _write(pieces: Iterator[str], path: Path) -> None:
    with (
        atomic(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="replace", newline="\n") as file,
    ):
        file.writelines(pieces)
