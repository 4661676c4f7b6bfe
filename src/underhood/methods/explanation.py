"""`Explanation`: one method's answer for one input, with everything needed to judge and repeat it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from underhood.errors import UnknownName
from underhood.methods.card import Card
from underhood.methods.deferred import Deferred
from underhood.models import Model, Prediction, Target
from underhood.plugins import plugin

if TYPE_CHECKING:
    from torch import Tensor

    from underhood.engine import Settings
    from underhood.methods.method import Method

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Subject:
    """The input that was explained.

    name:   file name, or "input 3".
    digest: sha256 of the network's input as float32 bytes.
    pixels: the picture as the network saw it, (H, W, 3) uint8; None where the input is no picture.
    features: names of a row's columns or a text's tokens, where they are known.

    Digest and picture are made when they are first read, as for a small network they cost as much as a map.
    """

    name: str
    digest: Deferred[str] = Deferred()  # noqa: RUF009 - a descriptor
    pixels: Deferred[NDArray[np.uint8] | None] = Deferred(None)  # noqa: RUF009
    features: tuple[str, ...] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles hold what is read, not what it would be made from."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, eq=False)
class Origin:
    """What an explanation was made from, so that it can be questioned; never written to a file.

    inputs: the network's input, (1, …); target: settled, for that one input.
    """

    model: Model
    inputs: "Tensor"
    target: Target
    method: "Method"
    settings: "Settings"


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """One method's map for one input.

    values:      the attribution, shaped like the network's input (C, H, W), or (H, W) where a method
                 gives one value per position. Signed maps stay signed; nothing is normalised.
    reduction:   how `heatmap` joins the channels: "sum", or "max" of the magnitudes.
    method:      key, such as "gradcam"; `card` says what it answers; `parameters` are all of them.
    target:      what was explained, in words; `score` is its value for this input.
    asked:       the same as plain data; None where it is a function, or was not said.
    diagnostics: completeness gap, standard error, layer looked at, …
    grid:        (h, w) of the map before it was upsampled to the input's size, or None.
    no_signal:   why nothing in the map exceeds its noise, or None where something does.
    arrays:      further results, such as Saliency's raw "gradient".
    provenance:  versions, model digest, seed, precision, time, …
    origin:      model, input, target and method themselves; None for what was read from a file.
    verdict:     what the checks say of it, as `checks.Verdict.as_dict` has it; None where none was made.
    """

    values: Floats
    method: str
    card: Card
    parameters: Mapping[str, Any]
    target: str
    score: float
    prediction: Prediction
    subject: Subject
    reduction: Literal["sum", "max"] = "sum"
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    grid: tuple[int, int] | None = None
    no_signal: str | None = None
    arrays: Mapping[str, Floats] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin | None = None
    verdict: Mapping[str, Any] | None = None
    asked: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return f"Explanation of {self.subject.name} by {self.method}: {self.target}, score {self.score:.4g}"

    def heatmap(self) -> Floats:
        """The spatial map (H, W); for an input that is no picture, the values as they are."""
        if self.values.ndim != 3:
            return self.values
        heatmap = np.abs(self.values).max(0) if self.reduction == "max" else self.values.sum(0)
        return np.asarray(heatmap, dtype=np.float32)

    def top(self, k: int = 5) -> list[tuple[tuple[int, ...], float]]:
        """The k positions (row, column) of the heatmap with the largest magnitude, and their values."""
        heatmap = self.heatmap()
        order = np.argsort(-np.abs(heatmap), axis=None, kind="stable")[:k]
        places = zip(*np.unravel_index(order, heatmap.shape), strict=True)
        return [(tuple(int(i) for i in at), float(heatmap[at])) for at in places]

    def save(self, path: str | Path) -> None:
        """Write .html (the report), .png (the figure), .json or .npz."""
        Explanations([self]).save(path)

    def plot(self) -> Any:
        """The figure as a PIL image: the picture, the map over it, legend and caption."""
        return plugin("writers", "png", kind="writer")([self])

    def _repr_html_(self) -> str:
        return Explanations([self])._repr_html_()

    def as_dict(self) -> dict[str, Any]:
        """Everything but the arrays, ready for JSON."""
        p = self.prediction
        probable, index = p.has_classes, p.index if p.has_classes else None
        top = [{"label": a, "probability": b if probable else None, "score": c} for a, b, c in p.top()]
        return {
            "input": {"name": self.subject.name, "sha256": self.subject.digest},
            "method": self.method,
            "parameters": dict(self.parameters),
            "target": self.target,
            "asked": dict(self.asked) if self.asked is not None else None,
            "score": self.score,
            "prediction": {"class": index, "label": p.label, "top": top},
            "diagnostics": dict(self.diagnostics),
            "reduction": self.reduction,
            "grid": self.grid,
            "no_signal": self.no_signal,
            "provenance": dict(self.provenance),
            "verdict": dict(self.verdict) if self.verdict is not None else None,
        }


class Explanations(Sequence[Explanation]):
    """Explanations of one or more inputs by one or more methods, in that order.

    `explanations["gradcam"]` selects a method, `explanations[0]` the first one, `.of("dog.jpg")` an
    input; a selection that leaves a single one gives that `Explanation` itself.
    """

    def __init__(self, items: Sequence[Explanation], failures: Mapping[str, str] | None = None):
        self._items = tuple(items)
        self.failures = dict(failures or {})  # input name → why it could not be explained

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(item.method for item in self._items))

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(item.subject.name for item in self._items))

    def of(self, subject: str) -> "Explanation | Explanations":
        """The explanations of one input, by name."""
        return self._selection("input", subject, self.subjects, lambda e: e.subject.name)

    @overload
    def __getitem__(self, key: int) -> Explanation: ...
    @overload
    def __getitem__(self, key: slice) -> "Explanations": ...
    @overload
    def __getitem__(self, key: str) -> "Explanation | Explanations": ...
    def __getitem__(self, key: int | slice | str) -> "Explanation | Explanations":
        if isinstance(key, str):
            return self._selection("method in this explanation", key, self.methods, _method)
        if isinstance(key, slice):
            return Explanations(self._items[key])
        return self._items[key]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self._items)

    def __repr__(self) -> str:
        return f"Explanations of {', '.join(self.subjects)} by {', '.join(self.methods)}"

    def _selection(self, kind: str, name: str, known: Sequence[str], key: Any) -> Any:
        chosen = [item for item in self._items if key(item) == name]
        if not chosen:
            raise UnknownName(kind, name, known)
        return chosen[0] if len(chosen) == 1 else Explanations(chosen)

    def save(self, path: str | Path) -> None:
        """Write .html (the report), .png (figures), .json (with maps) or .npz; whole or not at all."""
        from underhood.methods.files import save

        save(self, Path(path))

    def _repr_html_(self) -> str:
        """The report inside a notebook, in a frame of its own so that styles do not mix."""
        page = plugin("writers", "html", kind="writer")(self)
        quoted = page.replace("&", "&amp;").replace('"', "&quot;")
        style = "width:100%;height:760px;border:1px solid #ccc"
        return f'<iframe srcdoc="{quoted}" style="{style}" title="Underhood report"></iframe>'

    def to_json(self) -> str:
        return json.dumps([item.as_dict() for item in self._items], indent=2, allow_nan=False)


def _method(explanation: Explanation) -> str:
    return explanation.method
