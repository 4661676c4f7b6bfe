"""Class labels from a file."""

import json
from pathlib import Path

from underhood.errors import BadInput


def read_labels(path: str | Path) -> tuple[str, ...]:
    """One label per class, from a text file (a line each) or JSON.

    JSON may be a list of labels, or a dictionary from class number to a label or to [id, label].
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise BadInput(f"There is no label file '{path}'.") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"The label file '{path}' is no text in UTF-8; save it as such.") from error
    except OSError as error:
        raise BadInput(f"The label file '{path}' cannot be read: {error.strerror or error}.") from error
    labels = _from_json(text, path) if path.suffix == ".json" else text.split("\n")
    labels = [label.strip() for label in labels]
    while labels and not labels[-1]:
        labels.pop()
    if not labels:
        raise BadInput(f"The label file '{path}' is empty.")
    return tuple(labels)


def _from_json(text: str, path: Path) -> list[str]:
    try:
        loaded = json.loads(text)
        if isinstance(loaded, dict):
            loaded = [loaded[str(i)] for i in range(len(loaded))]
        return [str(item[-1] if isinstance(item, list) else item) for item in loaded]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BadInput(
            f"The label file '{path}' must hold a list of labels, or a dictionary from class number "
            "(from 0 on) to label."
        ) from error
