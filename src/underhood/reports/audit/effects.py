"""Effects as a figure: each a point with its interval, beside its control, on a common axis."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from underhood.playbooks.finding import Effect
from underhood.reports import words

SHARES = ("share", "accuracy", "probability", "relevance")  # units told as per cent
DIFFERENCES = ("gap", "beyond")  # in the name of what is compared with nothing but zero
DEEDS = {  # by name and unit
    ("removal", "log-odds"): "Removing it: the score falls by",
    ("removal", "share"): "Removing it: pictures turned away",
    ("transplant", "log-odds"): "Giving it to others: the score rises by",
    ("transplant", "share"): "Giving it to others: pictures turned",
    ("AUROC", "AUROC"): "How well it tells the label (0.5 is guessing)",
}
DIGITS = 3  # of the larger figures of an effect
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


def shown(effects: Sequence[Effect]) -> tuple[Shown, ...]:
    """Effects of one unit share an axis, which holds zero."""
    effects = [_possible(effect) for effect in effects]
    axes = {unit: _axis(e for e in effects if e.unit == unit) for unit in {e.unit for e in effects}}
    return tuple(_shown(effect, *axes[effect.unit]) for effect in effects)


def _possible(effect: Effect) -> Effect:
    """A share's interval ends where shares do."""
    if effect.unit not in SHARES or not _finite(effect.low, effect.high):
        return effect
    return replace(effect, low=max(effect.low, -1.0), high=min(effect.high, 1.0))


def clear(effect: Effect) -> bool | None:
    """Whether an effect's interval is apart from its control's, a difference's from zero; None where there is
    nothing to compare with."""
    if effect.control is None and not _is_difference(effect):
        return None
    if not _finite(effect.low, effect.high, effect.control or 0.0):
        return None
    low, high = _control_bounds(effect)
    return effect.low > high or effect.high < low


def _is_difference(effect: Effect) -> bool:
    return any(word in effect.name for word in DIFFERENCES)


def named(effect: Effect) -> str:
    """What was done or measured, in plain words."""
    spaced = words.spaced(effect.name)
    return DEEDS.get((effect.name, effect.unit), spaced[:1].upper() + spaced[1:])


def told(value: float, effect: Effect) -> str:
    """A figure of an effect in its unit, as finely as the effect itself, with a true minus sign."""
    if not math.isfinite(value):
        return "unknown"
    if effect.unit in SHARES:
        share = f"{100 * abs(value):.1f} points" if _is_difference(effect) else words.percent(abs(value))
        return ("−" if value < 0 else "") + share
    size = max(abs(known) for known in (effect.value, effect.low, effect.high, 1e-4) if math.isfinite(known))
    if size >= 1e4:
        return words.number(value)
    text = f"{value:.{max(0, DIGITS - 1 - math.floor(math.log10(size)))}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def interval(effect: Effect) -> str:
    if not _finite(effect.low, effect.high):
        return ""
    return f"{told(effect.low, effect)} to {told(effect.high, effect)}"


def _shown(effect: Effect, low: float, high: float) -> Shown:
    def place(value: float) -> float:
        return 100 * (ROOM + (1 - 2 * ROOM) * (value - low) / (high - low))

    def mark(value: float | None, first: float | None, last: float | None) -> Mark | None:
        if value is None or not math.isfinite(value):
            return None
        bounds = [value if b is None or not math.isfinite(b) else b for b in (first, last)]
        return Mark(place(value), place(bounds[0]), place(bounds[1]))

    name = named(effect)
    unit = "" if effect.unit in SHARES or effect.unit == effect.name else words.spaced(effect.unit)
    value = told(effect.value, effect)
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
    value = told(effect.control, effect)
    low, high = effect.control_low, effect.control_high
    if low is None or high is None or not _finite(low, high):
        return value
    return f"{value} ({told(low, effect)} to {told(high, effect)})"


def _control_bounds(effect: Effect) -> tuple[float, float]:
    if effect.control is None:
        return (0.0, 0.0)
    low = effect.control if effect.control_low is None else effect.control_low
    high = effect.control if effect.control_high is None else effect.control_high
    return (low, high)


def _meaning(effect: Effect) -> str:
    """What a log-odds comes to, for those who do not think in them."""
    if effect.unit != "log-odds" or not math.isfinite(effect.value) or abs(effect.value) > 50:
        return ""
    fold = math.exp(abs(effect.value))
    return f"the odds change {'more than 1,000' if fold > 1000 else words.number(fold, 2)}-fold"


def _finite(*values: float) -> bool:
    return all(math.isfinite(value) for value in values)
