"""Numbers, parameters and units in words, the same in page and figure."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

CAVEAT = "Shows what the model used, not whether it is right."
LONG_NAME = 30  # letters; of a longer path the last part is shown where there is little room
BASELINE = "baseline"  # the parameter that every caption names apart

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, digits: int = 3) -> str:
    """Three significant digits with a true minus sign: 0.0123, −4.50, 1.20×10⁻⁷."""
    if value == 0 or not np.isfinite(value):
        return "0" if value == 0 else str(value).replace("-", "−")
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if -4 <= power < 5:
        return f"{value:.{max(digits - 1 - power, 0)}f}".replace("-", "−")
    return f"{mantissa}×10{str(power).translate(_SUPERSCRIPT)}".replace("-", "−")


def percent(share: float) -> str:
    """99.97 % stays below 100 %, and 0.004 % above 0 %."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{share * 100:.1f} %"


def spaced(key: str) -> str:
    return key.replace("_", " ")


def base(name: str) -> str:
    """The last part of a long path; what is no path stays as it is."""
    return Path(name).name if len(name) > LONG_NAME and Path(name).suffix else name


def short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def period(first: str, last: str) -> str:
    """Two times in ISO format, as one span in UTC: 2026-11-22 00:12:03 to 00:12:40 UTC."""
    try:
        (day, begun), (last_day, ended) = _clock(first), _clock(last)
    except ValueError:  # of a record that was not written by this package
        return f"{first} to {last}"
    if first == last:
        return f"{day} {begun} UTC"
    return f"{day} {begun} to {'' if day == last_day else f'{last_day} '}{ended} UTC"


def _clock(time: str) -> tuple[str, str]:
    """Day and time of day."""
    utc = datetime.fromisoformat(time).astimezone(UTC)
    return f"{utc:%Y-%m-%d}", f"{utc:%H:%M:%S}"


def model_of(provenance: Mapping[str, Any]) -> str:
    """The model's digest, where the provenance gives it."""
    return str(provenance.get("model_digest") or "")


def describe(value: Any) -> str:
    """A parameter or diagnostic on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{spaced(str(key))} {describe(item)}" for key, item in value.items())
    if isinstance(value, np.ndarray) and (value.size > 6 or value.ndim != 1):
        return f"array of {' × '.join(map(str, value.shape))}"
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        shown = ", ".join(describe(item) for item in list(value)[:6])
        return (shown or "none") + (f", … ({len(value)} values)" if len(value) > 6 else "")
    return _describe_one(value)


def _describe_one(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, Real) and not isinstance(value, Integral):
        return _without_zeros(number(float(value), 4))
    return str(value)


def _without_zeros(text: str) -> str:
    """0.1500 → 0.15, for what was set rather than measured."""
    digits, cross, power = text.partition("×")
    return (digits.rstrip("0").rstrip(".") if "." in digits else digits) + cross + power


def listing(items: Iterable[tuple[str, Any]]) -> str:
    """`steps = 50, seed = 0`: what was set, without what was left out."""
    return ", ".join(f"{spaced(key)} = {describe(value)}" for key, value in items if value is not None)
