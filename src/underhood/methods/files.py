"""Explanations as files."""

import base64
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from underhood.atomic import atomic
from underhood.errors import UnknownName
from underhood.methods.explanation import Explanation
from underhood.plugins import plugin

SUFFIXES = (".html", ".png", ".json", ".npz")


def save(explanations: Sequence[Explanation], path: Path) -> None:
    """Write by suffix: .html the report, .png the figure, .json everything, .npz the arrays."""
    if path.suffix not in SUFFIXES:
        raise UnknownName("file type", path.suffix or path.name, SUFFIXES)
    with atomic(path) as temporary:
        if path.suffix == ".npz":
            np.savez_compressed(temporary, **_arrays(explanations))
        elif path.suffix == ".json":
            records = [_with_values(explanation) for explanation in explanations]
            temporary.write_text(json.dumps(records, indent=1, allow_nan=False), encoding="utf-8")
        elif path.suffix == ".html":
            page = plugin("writers", "html", kind="writer")(explanations)
            temporary.write_text(page, encoding="utf-8", errors="replace")
        else:
            plugin("writers", "png", kind="writer")(explanations).save(temporary)


def _arrays(explanations: Sequence[Explanation]) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for number, e in enumerate(explanations):
        arrays[f"{number}/{e.method}"] = e.values
        arrays |= {f"{number}/{e.method}/{name}": array for name, array in e.arrays.items()}
    arrays["about"] = json.dumps([e.as_dict() for e in explanations], allow_nan=False)
    return arrays


def _with_values(explanation: Explanation) -> dict[str, Any]:
    """The record with its values as base64 of zlib-compressed little-endian float32."""
    values = explanation.values.astype("<f4")
    data = base64.b64encode(zlib.compress(values.tobytes())).decode()
    about = {"shape": values.shape, "dtype": "float32", "encoding": "base64+zlib", "data": data}
    return {**explanation.as_dict(), "values": about}
