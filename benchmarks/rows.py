"""What was measured, a row for each network: kept as JSON, shown as tables.

The Markdown page is prose with a table between `<!-- KEY -->` and `<!-- /KEY -->`, which alone is replaced.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

OURS = "underhood"


@dataclass(frozen=True)
class Row:
    """A contest on a network, on a device ("CPU" or a card's name).

    base:   what the others are divided by, in `unit`; setting: how it was run.
    over:   of each tool, × the base, in processor time (on a card: time) and in time; None where it failed.
    memory: MiB beyond the loaded network; inputs: explained at once.
    """

    contest: str
    network: str
    case: str
    device: str
    base: float
    unit: str
    setting: str
    over: Mapping[str, Sequence[float] | None]
    inputs: int = 1
    memory: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    rounds: int = 1

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.contest, self.network, self.case, self.device

    @property
    def gain(self) -> float | None:
        """How many times as much the best peer costs as ours."""
        costs = {tool: cost[0] for tool, cost in self.over.items() if cost}
        peers = [cost for tool, cost in costs.items() if not tool.startswith(OURS)]
        return min(peers) / min(costs[tool] for tool in costs if tool.startswith(OURS)) if peers else None


def read(path: Path) -> list[Row]:
    return [Row(**row) for row in json.loads(path.read_text("utf-8"))] if path.is_file() else []


def write(path: Path, rows: Iterable[Row]) -> None:
    lines = ",\n".join(json.dumps(asdict(row), ensure_ascii=False) for row in rows)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def merged(old: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """A new row takes the place of the old one of the same contest, network, case and device."""
    found = {row.key: row for row in old}
    return list((found | {row.key: row for row in new}).values())


def page(text: str, rows: Sequence[Row], headings: Mapping[str, str]) -> str:
    """A page with its tables brought up to date; a contest that it lacks is added under its heading."""
    for key, heading in headings.items():
        if not any(row.contest == key for row in rows):
            continue
        begin, end = f"<!-- {key} -->", f"<!-- /{key} -->"
        if begin not in text:
            text = f"{text.rstrip()}\n\n{heading}\n\n{begin}\n{end}\n"
        tables = "\n".join(_tables([row for row in rows if row.contest == key]))
        pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
        text = re.sub(pattern, lambda _: f"{begin}\n{tables}\n{end}", text, flags=re.DOTALL)  # noqa: B023
    return text


def _tables(rows: Sequence[Row]) -> Iterator[str]:
    for device in dict.fromkeys(row.device for row in rows):
        if device != "CPU":
            yield f"\nOn one {device}, in seconds:\n"
        yield from table([row for row in rows if row.device == device])


def table(rows: Sequence[Row]) -> Iterator[str]:
    """A table of one contest on one device, without the columns that it has nothing for."""
    tools = list(dict.fromkeys(tool for row in rows for tool in row.over))
    memories = [tool for tool in tools if any(tool in row.memory for row in rows)]
    notes = list(dict.fromkeys(note for row in rows for note in row.notes))
    unit, cases, gains = rows[0].unit, any(row.case for row in rows), any(row.gain for row in rows)
    columns = ["network", *["case"] * cases, f"{'calls' if unit == 'calls' else 'base'} ({unit}, setting)"]
    columns += [*tools, *["best peer / ours"] * gains, *(f"{tool} MiB" for tool in memories), *notes]
    yield _line([*columns, "rounds"])
    yield _line(["---"] * (len(columns) + 1))
    for row in rows:
        yield _line([
            row.network, *[row.case] * cases, f"{row.base:.3g}, {row.setting}",
            *(_cost(row, tool) for tool in tools),
            *[f"{row.gain:.2f} ×" if row.gain else ""] * gains,
            *(f"{row.memory[tool]:.0f}" if tool in row.memory else "" for tool in memories),
            *(row.notes.get(note, "") for note in notes),
            str(row.rounds),
        ])  # fmt: skip


def _cost(row: Row, tool: str) -> str:
    if tool not in row.over:
        return ""
    cost = row.over[tool]
    if cost is None:
        return "fails"
    if row.unit == "CPU s":
        return f"{cost[0]:.2f} × ({cost[1]:.2f})"
    images = f", {row.inputs / (row.base * cost[0]):.3g} images/s" if row.unit == "s" else ""
    return f"{cost[0]:.2f} ×{images}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
