"""Names that others gave, made fit to be shown: files, labels, metadata."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from underhood.inputs.names import printable

LONG = 120  # letters; of a longer name the middle is left out


def fit(name: Any) -> str:
    """As the audit's records have it; of a very long name the middle is left out."""
    text = printable(str(name))
    return text if len(text) <= LONG else f"{text[: LONG // 2]} … {text[-LONG // 2 :]}"


def link(source: Any, folder: Path) -> str | None:
    """Where the file lies as seen from the report's folder; None for what is no file."""
    if not isinstance(source, str | Path):
        return None
    relative = os.path.relpath(source, folder)
    return quote(os.fsencode(relative).replace(os.sep.encode(), b"/"), safe="/")
