"""Effects as a figure: each a point with its interval, beside what chance does, on a common axis."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from underhood.playbooks.finding import Effect
from underhood.reports import words

SHARES = ("share", "accuracy", "probability", "rate", "relevance")  # units told as per cent
DEEDS = {  # by name and unit
    ("removal", "log-odds"): "Removing it: the score falls by",
    ("removal", "share"): "Removing it: pictures turned away",
    ("transplant", "log-odds"): "Giving it to others: the score rises by",
    ("transplant", "share"): "Giving it to others: pictures turned",
}
ROOM = 0.04  # of the axis, left free at both ends


@dataclass(frozen=True)
class Mark:
    """A point and its interval, in per cent of the axis."""

    at: float
    low: float
    high: float


@dataclass(frozen=True)
class Shown:
    """One effect, in words and drawn. clear: whether its interval is apart from the control's."""

    name: str
    value: str
    interval: str
    unit: str
    meaning: str
    control: str
    inputs: str
    clear: bool | None
    spoken: str
    mark: Mark | None
    control_mark: Mark | None
    zero: float
    ends: tuple[str, str]  # of the axis


def shown(effects: Sequence[Effect]) -> tuple[Shown, ...]:
    """Effects of one unit share an axis, which holds zero."""
    axes = {unit: _axis(e for e in effects if e.unit == unit) for unit in {e.unit for e in effects}}
    return tuple(_shown(effect, *axes[effect.unit]) for effect in effects)


def clear(effect: Effect) -> bool | None:
    """Whether the interval of an effect is apart from its control's; None where there is no control."""
    if effect.control is None or not _finite(effect.low, effect.high, effect.control):
        return None
    low, high = _control_bounds(effect)
    return effect.low > high or effect.high < low


def named(effect: Effect) -> str:
    """What was done or measured, in plain words."""
    spaced = words.spaced(effect.name)
    return DEEDS.get((effect.name, effect.unit), spaced[:1].upper() + spaced[1:])


def told(value: float, unit: str) -> str:
    """A figure in its unit, with a true minus sign."""
    if not math.isfinite(value):
        return "unknown"
    if unit in SHARES:
        return ("−" if value < 0 else "") + words.percent(abs(value))
    return words.number(value)


def interval(effect: Effect) -> str:
    if not _finite(effect.low, effect.high):
        return ""
    return f"{told(effect.low, effect.unit)} to {told(effect.high, effect.unit)}"


def _shown(effect: Effect, low: float, high: float) -> Shown:
    def place(value: float) -> float:
        return 100 * (ROOM + (1 - 2 * ROOM) * (value - low) / (high - low))

    def mark(value: float | None, first: float | None, last: float | None) -> Mark | None:
        if value is None or not math.isfinite(value):
            return None
        bounds = [value if b is None or not math.isfinite(b) else b for b in (first, last)]
        return Mark(place(value), place(bounds[0]), place(bounds[1]))

    name = named(effect)
    unit = "" if effect.unit in SHARES else words.spaced(effect.unit)
    value = told(effect.value, effect.unit)
    bounds = interval(effect)
    control = _control(effect)
    meaning = _meaning(effect)
    return Shown(
        name=name,
        value=value,
        interval=bounds,
        unit=unit,
        meaning=meaning,
        control=control,
        inputs=f"{effect.inputs:,}",
        clear=clear(effect),
        spoken=" ".join(
            f"{part}."
            for part in (
                f"{name}: {value} {unit}".rstrip() + (f", 95 % interval {bounds}" if bounds else ""),
                meaning,
                f"Control: {control}" if control else "",
            )
            if part
        ),
        mark=mark(effect.value, effect.low, effect.high),
        control_mark=mark(effect.control, effect.control_low, effect.control_high),
        zero=place(0.0),
        ends=(told(low, effect.unit), told(high, effect.unit)),
    )


def _axis(effects: Iterable[Effect]) -> tuple[float, float]:
    known = [
        value
        for e in effects
        for value in (e.value, e.low, e.high, e.control, e.control_low, e.control_high)
        if value is not None and math.isfinite(value)
    ]
    low, high = min(known, default=0.0), max(known, default=0.0)
    low, high = min(low, 0.0), max(high, 0.0)
    return (low, high) if high > low else (low, low + 1.0)


def _control(effect: Effect) -> str:
    if effect.control is None:
        return ""
    value = told(effect.control, effect.unit)
    low, high = effect.control_low, effect.control_high
    if low is None or high is None or not _finite(low, high):
        return value
    return f"{value} ({told(low, effect.unit)} to {told(high, effect.unit)})"


def _control_bounds(effect: Effect) -> tuple[float, float]:
    control = effect.control
    assert control is not None
    low = control if effect.control_low is None else effect.control_low
    high = control if effect.control_high is None else effect.control_high
    return (low, high)


def _meaning(effect: Effect) -> str:
    """What a log-odds comes to, for those who do not think in them."""
    if effect.unit != "log-odds" or not math.isfinite(effect.value) or abs(effect.value) > 50:
        return ""
    return f"the odds change {words.number(math.exp(abs(effect.value)), 2)}-fold"


def _finite(*values: float) -> bool:
    return all(math.isfinite(value) for value in values)
