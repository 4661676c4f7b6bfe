"""Explanations as files."""

import base64
import json
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from underhood.atomic import atomic
from underhood.errors import UnknownName
from underhood.methods.explanation import Explanation
from underhood.plugins import plugin

SUFFIXES = (".html", ".png", ".json", ".npz")


def save(explanations: Iterable[Explanation], path: Path) -> None:
    """Write by suffix: .html the report, .png the figure, .json everything, .npz the arrays.

    .json and .npz are written one explanation after the other, and none is kept; a .png is one sheet of
    bounded height, and refused beyond it.
    """
    if path.suffix not in SUFFIXES:
        raise UnknownName("file type", path.suffix or path.name, SUFFIXES)
    with atomic(path) as temporary:
        if path.suffix == ".npz":
            _write_npz(explanations, temporary)
        elif path.suffix == ".json":
            _write_json(explanations, temporary)
        elif path.suffix == ".html":
            page = plugin("writers", "html", kind="writer")(explanations)
            temporary.write_text(page, encoding="utf-8", errors="replace")
        else:
            plugin("writers", "png", kind="writer")(explanations).save(temporary)


def _write_json(explanations: Iterable[Explanation], path: Path) -> None:
    """One list of records, a record at a time."""
    with path.open("w", encoding="utf-8") as file:
        before = "[\n"
        for e in explanations:
            file.write(before + json.dumps(_with_values(e), indent=1, allow_nan=False))
            before = ",\n"
        file.write("[]" if before == "[\n" else "\n]\n")


def _write_npz(explanations: Iterable[Explanation], path: Path) -> None:
    """As numpy.savez_compressed, but an array at a time; kept is the text of every record alone."""
    about: list[str] = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:

        def write(name: str, array: Any) -> None:
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)

        for number, e in enumerate(explanations):
            write(f"{number}/{e.method}", e.values)
            for name, array in e.arrays.items():
                write(f"{number}/{e.method}/{name}", array)
            about.append(json.dumps(_record(e), allow_nan=False))
        write("about", f"[{', '.join(about)}]")


def _with_values(explanation: Explanation) -> dict[str, Any]:
    """The record with its values as base64 of zlib-compressed little-endian float32."""
    values = explanation.values.astype("<f4")
    data = base64.b64encode(zlib.compress(values.tobytes())).decode()
    about = {"shape": values.shape, "dtype": "float32", "encoding": "base64+zlib", "data": data}
    return {**_record(explanation), "values": about}


def _record(explanation: Explanation) -> dict[str, Any]:
    """What is said of it, and what is needed to read it back: its card, all scores and labels."""
    record, prediction = explanation.as_dict(), explanation.prediction
    record["prediction"] |= {
        "scores": [float(score) for score in prediction.scores],
        "labels": list(prediction.labels) if prediction.labels else None,
    }
    return {**record, "card": asdict(explanation.card)}
