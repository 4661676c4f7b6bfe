"""What the page says about each input: words and packed maps, ready for the template."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from underhood.errors import InvalidArgument
from underhood.methods.card import QUESTIONS, Card
from underhood.methods.explanation import Explanation
from underhood.reports import encode, words
from underhood.reports.trust import Trust, trust

MANY_MAPS = 7  # from here on an input has a list of contents, and what is said of each map is folded
MANY_BARS = 40  # a longer row of values is cut to its largest
PER_MAP = (
    "notes",
    "time",
    "inputs",
    "forward_passes",
    "partial_passes",
    "backward_passes",
    "seconds",
    "cpu_seconds",
)  # of provenance
NO_SIGNAL_AT_ALL = "every value is zero"


@dataclass(frozen=True)
class Bar:
    """One value of an input that is no picture; lengths and positions in percent of the scale."""

    label: str
    value: str
    start: float
    length: float
    sign: str


@dataclass(frozen=True)
class Panel:
    """One method's map: `meta` goes to the script, everything else is read by people."""

    anchor: str
    name: str
    target: str
    question: str
    card: Card
    caption: str
    unit: str
    limit: str
    clipped: str
    largest: str
    signed: bool
    no_signal: str | None
    parameters: list[tuple[str, str]]
    diagnostics: list[tuple[str, str]]
    run: list[tuple[str, str]]
    meta: dict[str, Any]
    trust: Trust | None
    values: str = ""  # packed
    bars: tuple[Bar, ...] = ()
    bars_of: int = 0  # how many values there are in all


@dataclass(frozen=True)
class Section:
    """One input and all its maps, by question."""

    number: int
    name: str
    digest: str
    model: str
    predicted: str
    said: str  # of the prediction: its probability, or the value of an output that is no class
    has_classes: bool
    top: list[tuple[str, float, str, str]]
    targets: list[tuple[str, str]]
    questions: list[tuple[str, str, list[Panel]]]
    picture: str | None
    thumbnail: str | None
    size: tuple[int, int] | None

    @property
    def maps(self) -> int:
        return sum(len(panels) for _, _, panels in self.questions)

    @property
    def many(self) -> bool:
        return self.maps >= MANY_MAPS

    @property
    def columns(self) -> int:
        """How many maps stand in a row so that those of one method share rows; 0 where it is no matter."""
        count = len(self.targets)
        return next((n for n in (3, 2) if count % n == 0), 0) if count > 1 else 0


def sections(explanations: Iterable[Explanation]) -> Iterator[tuple[Section, list[Explanation]]]:
    """One section after the other; only the explanations of one input are held at a time."""
    for index, (_, group) in enumerate(groupby(explanations, key=identity), start=1):
        items = list(group)
        yield section(index, items), items


def section(index: int, items: Sequence[Explanation]) -> Section:
    items = by_method(items)
    subject, prediction = items[0].subject, items[0].prediction
    panels = [panel(item, f"map-{index}-{number}") for number, item in enumerate(items, start=1)]
    targets = {item.target: words.number(item.score) for item in items}
    highest = prediction.top(also=targets)
    top = [(label, 100 * p, words.percent(p), words.number(score)) for label, p, score in highest]
    pixels = None if subject.pixels is None else np.ascontiguousarray(subject.pixels)
    return Section(
        number=index,
        name=subject.name,
        digest=subject.digest,
        model=str(items[0].provenance.get("model", "")),
        predicted=prediction.label,
        said=top[0][2] if prediction.has_classes else f"score {top[0][3]}",
        has_classes=prediction.has_classes,
        top=top,
        targets=list(targets.items()),
        questions=[
            (question, sentence, chosen)
            for question, sentence in QUESTIONS.items()
            if (chosen := [p for p in panels if p.question == question])
        ],
        picture=None if pixels is None else encode.png_uri(pixels),
        thumbnail=None if pixels is None else encode.thumbnail_uri(pixels),
        size=None if pixels is None else (pixels.shape[0], pixels.shape[1]),
    )


def by_method(items: Sequence[Explanation]) -> list[Explanation]:
    """One method's maps of several targets beside each other."""
    order = list(dict.fromkeys(item.method for item in items))
    return sorted(items, key=lambda item: order.index(item.method))


def panel(item: Explanation, anchor: str = "map") -> Panel:
    heatmap = checked_heatmap(item)
    scale = encode.scale(heatmap)
    signed = is_signed(item, heatmap)
    no_signal = why_no_signal(item, scale)
    flat = heatmap.ndim == 1
    return Panel(
        anchor=anchor,
        name=item.card.name,
        target=item.target,
        question=item.card.question,
        card=item.card,
        caption=caption(item),
        unit=item.card.unit,
        limit=words.number(scale.limit),
        clipped=words.percent(scale.clipped),
        largest=largest(item),
        signed=signed,
        no_signal=no_signal,
        parameters=_rows(item.parameters),
        diagnostics=_rows(item.diagnostics),
        run=_rows({key: item.provenance[key] for key in PER_MAP if item.provenance.get(key)}),
        trust=trust(item),
        meta={} if flat else _meta(item, heatmap, scale, signed),
        values="" if flat else encode.pack(encode.quantise(heatmap, scale.limit)),
        bars=bars(heatmap, item.subject.features) if flat else (),
        bars_of=heatmap.size,
    )


def checked_heatmap(item: Explanation) -> NDArray[np.float32]:
    """The map, refused where a picture of it would lie."""
    heatmap = item.heatmap()
    where = f"The map of {item.card.name} for '{item.subject.name}'"
    if heatmap.ndim not in (1, 2) or heatmap.size == 0:
        shape = " × ".join(map(str, heatmap.shape)) or "a single number"
        raise InvalidArgument(f"{where} has the shape {shape}; a report shows rows and pictures.")
    bad = int((~np.isfinite(heatmap)).sum())
    if bad:
        raise InvalidArgument(
            f"{where} has {bad} values that are NaN or infinite; it is not shown, because any "
            "picture of it would hide them."
        )
    return heatmap


def is_signed(item: Explanation, heatmap: NDArray[Any]) -> bool:
    """By the card, but never against the values."""
    return item.card.signed or bool((heatmap < 0).any())


def why_no_signal(item: Explanation, scale: encode.Scale) -> str | None:
    why = item.no_signal or (NO_SIGNAL_AT_ALL if scale.limit == 0 else None)
    return why and why.rstrip(".")


def caption(item: Explanation) -> str:
    """Target, model, baseline, method with its parameters, diagnostics, caveat."""
    parameters = dict(item.parameters)
    baseline = parameters.pop(words.BASELINE, None)
    model = words.short(words.model_of(item.provenance))
    settings = words.listing(parameters.items())
    sentences = [
        f"{item.card.name}{f' ({settings})' if settings else ''}",
        f"Target: {item.target}, score {words.number(item.score)}",
        f"Model {model}" if model else "",
        f"Baseline: {words.describe(baseline)}" if baseline is not None else "",
        *(f"{_sentence(key)}: {words.describe(value)}" for key, value in _short(item)),
    ]
    return " ".join(f"{text.rstrip('.')}." for text in sentences if text) + " " + words.CAVEAT


def largest(item: Explanation) -> str:
    """The value that the colours may cut off, and where it is."""
    [(at, value)] = item.top(1)
    place = f"row {at[0]} col {at[1]}" if len(at) == 2 else f"position {at[0]}"
    return f"largest {words.number(value)} at {place}"


def bars(values: NDArray[Any], labels: Sequence[str] | None) -> tuple[Bar, ...]:
    """Values as lengths from a common zero; of very many, the largest in their order."""
    order = np.sort(np.argsort(-np.abs(values), kind="stable")[:MANY_BARS])
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    span = (high - low) or 1.0
    return tuple(
        Bar(
            label=str(labels[i]) if labels is not None else f"position {i}",
            value=words.number(float(values[i])),
            start=100 * (min(float(values[i]), 0.0) - low) / span,
            length=100 * abs(float(values[i])) / span,
            sign="minus" if values[i] < 0 else "plus",
        )
        for i in order
    )


def identity(item: Explanation) -> tuple[str, str, str]:
    """Explanations stand together when they are of one input by one model."""
    return item.subject.name, item.subject.digest, words.model_of(item.provenance)


def _meta(item: Explanation, heatmap: NDArray[Any], scale: encode.Scale, signed: bool) -> dict[str, Any]:
    unit = item.card.unit
    return {
        "height": heatmap.shape[0],
        "width": heatmap.shape[1],
        "limit": scale.limit,
        "clipped": words.percent(scale.clipped),
        "signed": signed,
        "grid": list(item.grid) if item.grid else None,
        "unit": unit,
        "scale": item.method if "no fixed unit" in unit else unit,  # what may share a scale
        "flat": why_no_signal(item, scale) is not None,
    }


def _rows(mapping: Any) -> list[tuple[str, str]]:
    return [(words.spaced(str(key)), words.describe(value)) for key, value in mapping.items()]


def _short(item: Explanation) -> Iterator[tuple[str, Any]]:
    """Diagnostics that fit into a sentence; what is but true or false stands in the table."""
    for key, value in item.diagnostics.items():
        if isinstance(value, str | int | float | np.generic) and not isinstance(value, bool | np.bool_):
            yield key, value


def _sentence(key: str) -> str:
    return words.spaced(key)[:1].upper() + words.spaced(key)[1:]
