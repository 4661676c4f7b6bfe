"""Explanations read from the files that `Explanations.save` wrote, .json or .npz."""

import base64
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from underhood.errors import BadInput, UnknownName
from underhood.methods.card import Card
from underhood.methods.explanation import Explanation, Explanations, Floats, Subject
from underhood.models import Model, Prediction, load
from underhood.models.preprocess import read_preprocess

READABLE = (".json", ".npz")


def load_explanations(path: str | Path) -> Explanations:
    """The explanations in a file that `save` wrote, .json or .npz.

    They hold neither the model nor the picture; `underhood.checks.bound` gives these back. Raises BadInput
    where the file is missing, cut off, or holds something else.
    """
    path = Path(path)
    if path.suffix not in READABLE:
        raise UnknownName("file type of saved explanations", path.suffix or path.name, READABLE)
    if not path.is_file():
        raise BadInput(f"There is no file '{path}'.")
    return Explanations(_from_json(path) if path.suffix == ".json" else _from_npz(path))


def model_of(
    explanation: Explanation, source: str | None = None, *, trust: bool = False, **given: Any
) -> Model:
    """The model that was explained, loaded anew: as it was recorded, or as `given` to `load`."""
    facts = explanation.provenance
    recorded = dict(facts.get("load") or {})
    known = recorded.pop("source", None)
    if source not in (None, known):  # another model has weights of its own
        recorded = {}
    source = source or known
    if source is None:
        raise BadInput(
            f"The record of {explanation.subject.name} does not say how its model "
            f"({facts.get('model', 'unnamed')}) was loaded; name it (--model SCHEME:NAME)."
        )
    asked = {
        **recorded,
        "preprocess": read_preprocess(facts.get("preprocess")),
        "labels": explanation.prediction.labels,
        **{name: value for name, value in given.items() if value is not None},
    }
    return load(source, trust=trust, **asked)


def _from_json(path: Path) -> Sequence[Explanation]:
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        cut = error.pos >= len(error.doc.rstrip()) - 1 or error.msg.startswith("Unterminated")
        raise BadInput(
            f"'{path}' was cut off before its end; write it again."
            if cut and error.doc.strip()
            else f"'{path}' is no JSON (line {error.lineno}: {error.msg}); {SAVED}"
        ) from error
    except UnicodeDecodeError as error:
        raise BadInput(f"'{path}' is no text, and so no JSON; {SAVED}") from error
    return [_explanation(path, record, _decoded(path, record), {}) for record in _listed(path, records)]


def _from_npz(path: Path) -> Sequence[Explanation]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            records = _listed(path, json.loads(str(arrays["about"])))
            return [_explanation(path, r, *_arrays(arrays, n, r)) for n, r in enumerate(records)]
    except BadInput:
        raise
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BadInput(f"'{path}' was cut off, or is no .npz with explanations; {SAVED}") from error


SAVED = "it must be a file that `underhood explain --out` wrote."


def _listed(path: Path, records: Any) -> list[Mapping[str, Any]]:
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise BadInput(f"'{path}' holds no list of explanations; {SAVED}")
    if not records:
        raise BadInput(f"'{path}' holds no explanation.")
    return records


def _decoded(path: Path, record: Mapping[str, Any]) -> Floats:
    """The values behind base64 and zlib."""
    try:
        about = record["values"]
        data = zlib.decompress(base64.b64decode(about["data"]))
        return np.frombuffer(data, dtype="<f4").reshape(about["shape"]).copy()
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise BadInput(f"'{path}' holds an explanation without readable values; {SAVED}") from error


def _arrays(arrays: Any, number: int, record: Mapping[str, Any]) -> tuple[Floats, dict[str, Floats]]:
    """An explanation's values, and its further arrays by name."""
    own = f"{number}/{record['method']}"
    return arrays[own], {
        name.removeprefix(f"{own}/"): arrays[name] for name in arrays if name.startswith(f"{own}/")
    }


def _explanation(
    path: Path, record: Mapping[str, Any], values: Floats, arrays: Mapping[str, Floats]
) -> Explanation:
    try:
        prediction, grid = record["prediction"], record["grid"]
        labels = prediction["labels"]
        return Explanation(
            values=values,
            method=record["method"],
            card=Card(**record["card"]),
            parameters=record["parameters"],
            target=record["target"],
            asked=record["asked"],
            score=record["score"],
            prediction=Prediction(
                np.array(prediction["scores"], dtype=np.float32), tuple(labels) if labels else None
            ),
            subject=Subject(record["input"]["name"], record["input"]["sha256"]),
            reduction=record["reduction"],
            diagnostics=record["diagnostics"],
            grid=(grid[0], grid[1]) if grid else None,
            no_signal=record["no_signal"],
            arrays=arrays,
            provenance=record["provenance"],
            verdict=record["verdict"],
        )
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise BadInput(
            f"'{path}' holds something that is no explanation ({_lack(error)}); {SAVED}"
        ) from error


def _lack(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)
