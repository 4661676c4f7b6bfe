"""`Benchmark`: what checks found of methods over a data set, added up record by record.

No reading is kept: of each figure 8 bytes remain, for its interval over inputs.
"""

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from underhood.checks.card import Direction
from underhood.checks.intervals import Interval, bootstrap
from underhood.checks.journal import Journal
from underhood.errors import InvalidArgument, UnknownName

SIGNIFICANT = 0.05
ARROWS: dict[Direction | None, str] = {"higher": " ↑", "lower": " ↓", None: ""}


@dataclass
class Mean:
    """Of what is defined."""

    sum: float = 0.0
    count: int = 0

    def add(self, value: float | None) -> None:
        if value is not None:
            self.sum, self.count = self.sum + value, self.count + 1

    @property
    def value(self) -> float | None:
        return self.sum / self.count if self.count else None


def _numbers() -> "array[float]":
    return array("d")


@dataclass
class Cell:
    """One check's figures for one method.

    values:    those that are defined; `undefined`: reason → for how many inputs there is none.
    controls:  mean figure of each control.
    skill:     mean over inputs.
    ahead:     for how many inputs the map does better than its shifted copies (p ≤ 0.05), of `compared`.
    passed:    for how many inputs the figure speaks for the map (True), against it (False), or neither.
    calls:     passes, in forward passes of one input.
    """

    seed: int = 0
    values: "array[float]" = field(default_factory=_numbers)
    undefined: Counter[str] = field(default_factory=Counter)
    passed: Counter[bool | None] = field(default_factory=Counter)
    means: dict[str, Mean] = field(default_factory=dict)
    skills: Mean = field(default_factory=Mean)
    ahead: int = 0
    compared: int = 0
    calls: float = 0.0
    squares: float | None = 0.0  # of the Monte-Carlo errors; None once one is not known

    def add(self, reading: Mapping[str, Any]) -> None:
        self.calls += reading["calls"]
        if reading["undefined"] is not None:
            self.undefined[reading["undefined"]] += 1
            return
        self.values.append(reading["value"])
        self.passed[reading["passed"]] += 1
        self.skills.add(reading["skill"])
        for name, value in reading["controls"].items():
            self.means.setdefault(name, Mean()).add(value)
        if reading["p"] is not None:
            self.compared += 1
            self.ahead += reading["p"] <= SIGNIFICANT
        if reading["error"] is None or self.squares is None:
            self.squares = None
        else:
            self.squares += reading["error"] ** 2

    @property
    def value(self) -> float | None:
        """The mean figure over the inputs for which it is defined."""
        return float(np.mean(self.values)) if self.values else None

    @property
    def interval(self) -> Interval | None:
        """95 % bootstrap interval of the mean over inputs; None for fewer than two."""
        return bootstrap(self.values, seed=self.seed)

    @property
    def error(self) -> float | None:
        """Monte-Carlo standard error of the mean, apart from its spread over inputs."""
        return None if self.squares is None or not self.values else self.squares**0.5 / len(self.values)

    @property
    def controls(self) -> dict[str, float]:
        return {name: mean.value for name, mean in self.means.items() if mean.value is not None}

    @property
    def skill(self) -> float | None:
        return self.skills.value

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        interval = self.interval
        return {
            "value": self.value,
            "interval": list(interval) if interval else None,
            "monte_carlo_error": self.error,
            "defined": len(self.values),
            "undefined": dict(self.undefined),
            "controls": self.controls,
            "skill": self.skill,
            "ahead_of_shifted": self.ahead,
            "compared_with_shifted": self.compared,
            "for": self.passed[True],
            "against": self.passed[False],
            "calls": self.calls,
        }


class Benchmark:
    """Methods × checks over a data set. `benchmark["gradcam", "deletion"]` is a `Cell`.

    about:    the model, the methods and the checks with their parameters, the seed.
    inputs:   how many were explained; `failures`: input → why it was not.
    """

    def __init__(self, about: Mapping[str, Any]):
        self.about, self.inputs = about, 0
        self.failures: dict[str, str] = {}
        self.cells: dict[tuple[str, str], Cell] = {}

    @classmethod
    def read(cls, folder: str | Path) -> "Benchmark":
        """What has been found so far in a benchmark's folder."""
        journal = Journal(Path(folder).expanduser())
        found = cls(journal.about())
        for record in journal.records():
            found.add(record)
        return found

    def add(self, record: Mapping[str, Any]) -> None:
        """Count what was found of one input."""
        if record["failed"] is not None:
            self.failures[record["input"]] = record["failed"]
            return
        self.inputs += 1
        for method, readings in record["readings"].items():
            for check, reading in readings.items():
                cell = self.cells.setdefault((method, check), Cell(self.about["seed"]))
                cell.add(reading)

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(method for method, _ in self.cells))

    @property
    def checks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(check for _, check in self.cells))

    @property
    def calls(self) -> float:
        """Passes of all checks, in forward passes of one input."""
        return sum(cell.calls for cell in self.cells.values())

    def __getitem__(self, key: tuple[str, str]) -> Cell:
        if not (isinstance(key, tuple) and len(key) == 2):
            raise InvalidArgument('Select a method and a check: benchmark["gradcam", "deletion"].')
        for kind, name, known in (
            ("method in this benchmark", key[0], self.methods),
            ("check in this benchmark", key[1], self.checks),
        ):
            if name not in known:
                raise UnknownName(kind, name, known)
        return self.cells[key]

    def __repr__(self) -> str:
        return self.table()

    def table(self) -> str:
        """Mean figures with intervals, a line for each method and each control; then what is missing."""
        left_out = [f"Left out: {name}: {reason}" for name, reason in self.failures.items()]
        if not self.inputs:
            return "\n".join(["No input was explained.", *left_out])
        checks = self.checks
        head = ["", *(check + ARROWS[self.about["checks"][check]["better"]] for check in checks)]
        rows = [[m, *(_told(self.cells.get((m, check))) for check in checks)] for m in self.methods]
        rows += [[f"({name})", *cells] for name, cells in self._controls().items()]
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in (head, *rows)
        ]
        inputs = f"{self.inputs} input{'' if self.inputs == 1 else 's'}"
        foot = [f"{inputs}, {self.calls:.0f} passes of checks; [95 % interval over inputs], (controls)."]
        foot += [
            f"Undefined for {count} of {inputs}: {check} of {method}, because {reason}."
            for (method, check), cell in self.cells.items()
            for reason, count in cell.undefined.items()
        ]
        return "\n".join([*lines, "", *foot, *left_out])

    def _controls(self) -> dict[str, list[str]]:
        """Each control's mean figure over methods, check by check."""
        means: dict[str, dict[str, Mean]] = {}
        for (_, check), cell in self.cells.items():
            for name, value in cell.controls.items():
                means.setdefault(name, {}).setdefault(check, Mean()).add(value)
        return {
            name: [_number(of[check].value) if check in of else "" for check in self.checks]
            for name, of in means.items()
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            **self.about,
            "inputs": self.inputs,
            "failures": dict(self.failures),
            "calls": self.calls,
            "results": [
                {"method": method, "check": check, **cell.as_dict()}
                for (method, check), cell in self.cells.items()
            ],
        }


def _told(cell: Cell | None) -> str:
    if cell is None or cell.value is None:
        return "undefined" if cell else ""
    interval = cell.interval
    within = f" [{_number(interval.low)}, {_number(interval.high)}]" if interval else ""
    return _number(cell.value) + within


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
