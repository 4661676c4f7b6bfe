"""Names that others gave, made fit to be shown: files, labels, metadata."""

import os
import unicodedata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from underhood.store.digests import printable

LONG = 120  # letters; of a longer name the middle is left out


def fit(name: Any) -> str:
    """As the audit's records have it: odd bytes as escapes; control characters too, and of a very long name
    the middle is left out."""
    text = "".join(_escaped(letter) for letter in str(printable(str(name))))
    return text if len(text) <= LONG else f"{text[: LONG // 2]} … {text[-LONG // 2 :]}"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode() if unicodedata.category(letter) == "Cc" else letter


def link(source: Any, folder: Path) -> str | None:
    """Where the file lies as seen from the report's folder; None for what is no file."""
    if not isinstance(source, str | Path):
        return None
    relative = os.path.relpath(source, folder)
    return quote(os.fsencode(relative).replace(os.sep.encode(), b"/"), safe="/")
