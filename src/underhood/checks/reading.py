"""`Reading`: what one check found for one explanation; `Checked`: its readings over many."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from underhood.checks.card import CheckCard
from underhood.checks.intervals import Interval, bootstrap


@dataclass(frozen=True)
class Reading:
    """One check's figure for one explanation.

    value:     the figure; None where it is undefined, and then `undefined` says why.
    error:     Monte-Carlo standard error of the value; 0 where it is exact, None where it is not known.
    controls:  the same figure for meaningless maps: "random", "edges", "centre", "constant", …
    p:         the share of shifted maps (see `controls.shifts`) that do as well, this one counted among
               them; None where none were tried.
    skill:     0 = as good as the shifted maps, 1 = the best possible order; None where there is none.
    passed:    whether the figure speaks for the map; None where it says neither.
    sentence:  that, in one plain sentence with the figure.
    calls:     passes through the network, in forward passes of one input (a backward pass counts 2).
    details:   curves and further figures, ready for JSON.
    """

    value: float | None
    undefined: str | None = None
    error: float | None = 0.0
    controls: Mapping[str, float | None] = field(default_factory=dict)
    p: float | None = None
    skill: float | None = None
    passed: bool | None = None
    sentence: str = ""
    calls: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Never NaN: what cannot be computed is undefined, with its reason."""
        if (self.value is None) != (self.undefined is not None):
            raise ValueError("a reading has a value, or the reason why it has none")
        if self.value is not None and not np.isfinite(self.value):
            raise ValueError(f"a reading's value is a number, not {self.value}")

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def undefined(reason: str, *, calls: float = 0.0, **details: Any) -> Reading:
    """A figure that does not exist for this explanation, because of `reason`."""
    return Reading(
        None, reason, error=None, sentence=f"Undefined, because {reason}.", calls=calls, details=details
    )


@dataclass(frozen=True)
class Checked:
    """One check's readings of several explanations, in their order.

    subjects, methods: of each reading: the input's name and the method's key.
    """

    check: str
    card: CheckCard
    parameters: Mapping[str, Any]
    readings: tuple[Reading, ...]
    subjects: tuple[str, ...]
    methods: tuple[str, ...]
    seed: int = 0

    def __len__(self) -> int:
        return len(self.readings)

    def __iter__(self) -> Iterator[Reading]:
        return iter(self.readings)

    def __getitem__(self, number: int) -> Reading:
        return self.readings[number]

    @property
    def values(self) -> list[float]:
        """The figures that are defined."""
        return [r.value for r in self.readings if r.value is not None]

    @property
    def value(self) -> float | None:
        """The mean figure over the inputs for which it is defined."""
        return float(np.mean(self.values)) if self.values else None

    @cached_property
    def interval(self) -> Interval | None:
        """95 % bootstrap interval of the mean over inputs; None for fewer than two."""
        return bootstrap(self.values, seed=self.seed)

    @property
    def error(self) -> float | None:
        """Monte-Carlo standard error of the mean, apart from its spread over inputs."""
        errors = [r.error for r in self.readings if r.value is not None]
        known = [e for e in errors if e is not None]
        return (
            float(np.sqrt(np.square(known).sum()) / len(known))
            if known and len(known) == len(errors)
            else None
        )

    @property
    def calls(self) -> float:
        return sum(r.calls for r in self.readings)

    @property
    def undefined(self) -> Mapping[str, int]:
        """Reason → for how many explanations the figure does not exist."""
        return Counter(r.undefined for r in self.readings if r.undefined is not None)

    @property
    def controls(self) -> dict[str, float]:
        """Mean figure of each control."""
        names = dict.fromkeys(name for r in self.readings for name in r.controls)
        found = {
            name: [v for r in self.readings if (v := r.controls.get(name)) is not None] for name in names
        }
        return {name: float(np.mean(values)) for name, values in found.items() if values}

    def of(self, method: str) -> "Checked":
        """The readings of one method."""
        chosen = [i for i, name in enumerate(self.methods) if name == method]
        return self._selected(chosen)

    def _selected(self, rows: Sequence[int]) -> "Checked":
        return Checked(
            self.check, self.card, self.parameters,
            tuple(self.readings[i] for i in rows),
            tuple(self.subjects[i] for i in rows),
            tuple(self.methods[i] for i in rows),
            self.seed,
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "check": self.check,
            "question": self.card.question,
            "better": self.card.better,
            "parameters": dict(self.parameters),
            "value": self.value,
            "interval": list(self.interval) if self.interval else None,
            "monte_carlo_error": self.error,
            "calls": self.calls,
            "controls": self.controls,
            "undefined": dict(self.undefined),
            "readings": [
                {"input": s, "method": m, **r.as_dict()}
                for s, m, r in zip(self.subjects, self.methods, self.readings, strict=True)
            ],
        }


def _plain(value: Any) -> Any:
    """As JSON can hold it: of what is not finite, None is left."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
