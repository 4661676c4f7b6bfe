"""Checks on the command line: their level, their cost told beforehand, a line for each verdict."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from underhood.checks import LEVELS, bound, planned, with_verdicts
from underhood.checks.verdict import tabled
from underhood.cli.destination import destination, write
from underhood.cli.progress import Report, progress
from underhood.errors import BadInput, InvalidArgument
from underhood.inputs import find_pictures
from underhood.methods import Explanation, Explanations, load_explanations, model_of
from underhood.methods.files import SUFFIXES
from underhood.models import Model


def as_level(word: str) -> str:
    if word not in LEVELS:
        known = ", ".join(LEVELS)
        raise InvalidArgument(f"The level of a check is one of {known}, not '{word}'.")
    return word


@dataclass(frozen=True)
class Request:
    """The arguments of `underhood check`, see its `--help`."""

    files: Sequence[str]
    model: str | None
    weights: str | None
    trust: bool
    preprocess: str | None
    inputs: Sequence[str]
    level: str
    out: str
    device: str
    memory: str | None
    as_json: bool


def run(asked: Request, command: str) -> int:
    """Check saved explanations, write them with their verdicts, print the table; 0."""
    path, level = destination(asked.out, SUFFIXES), as_level(asked.level)
    found = list(_by_input(item for name in asked.files for item in load_explanations(name)))
    records: list[dict[str, Any]] = []
    with progress(len(found)) as (report, _):

        def stream() -> Iterator[Explanation]:
            for done in checked(_bound(found, asked), level, len(found), report):
                records.append(done.as_dict())
                yield done

        write(stream(), path, {}, command)
    if asked.as_json:
        click.echo(json.dumps({"output": str(path), "explanations": records}, indent=2, allow_nan=False))
    else:
        click.echo(_table(records))
        click.echo(f"Wrote {path}")
    return 0


def _by_input(items: Iterable[Explanation]) -> Iterator[Explanations]:
    """Each input's explanations together, from whichever file they came."""
    groups: dict[tuple[Any, ...], list[Explanation]] = {}
    for item in items:
        key = item.provenance.get("model_digest"), item.subject.name, item.subject.digest
        groups.setdefault(key, []).append(item)
    for group in groups.values():
        group.sort(key=lambda item: item.target)  # stable: those of one target in their order
        yield Explanations(group)


def _bound(found: Iterable[Explanations], asked: Request) -> Iterator[Explanations]:
    """With their models, each loaded once, and their inputs."""
    models: dict[Any, Model] = {}
    for group in found:
        first = group[0]
        digest = first.provenance.get("model_digest")
        if digest not in models:
            models[digest] = model_of(
                first, asked.model, trust=asked.trust, weights=asked.weights, preprocess=asked.preprocess
            )
        yield bound(group, models[digest], _inputs(first, asked), device=asked.device, memory=asked.memory)


def _inputs(item: Explanation, asked: Request) -> list[Path]:
    """The files given, or the one that the record names."""
    if asked.inputs:
        return list(find_pictures(asked.inputs))
    if not Path(item.subject.name).is_file():
        raise BadInput(
            f"There is no file '{item.subject.name}' here, which the record names as the input; give it with "
            "--input FILE."
        )
    return [Path(item.subject.name)]


def _table(records: Sequence[dict[str, Any]]) -> str:
    return tabled((r["input"]["name"], r["method"], r["verdict"]) for r in records)


def checked(
    found: Iterable[Explanations], level: str, inputs: int, progress: Report | None = None
) -> Iterator[Explanation]:
    """The explanations, input by input, with their verdicts."""
    return with_verdicts(flat(_announced(found, level, inputs)), level, progress)


def flat(found: Iterable[Explanations]) -> Iterator[Explanation]:
    for done in found:
        yield from done


def _announced(found: Iterable[Explanations], level: str, inputs: int) -> Iterator[Explanations]:
    """The same, and as soon as the first input is explained, what the checks of all will cost."""
    for number, done in enumerate(found):
        if number == 0:
            told = _cost(done, level, inputs)
            print(told, file=sys.stderr)  # above the bar; click would write into it
        yield done


def _cost(first: Explanations, level: str, inputs: int) -> str:
    methods, targets = len(first.methods), len({item.target for item in first})
    passes = inputs * sum(planned(item, methods, level) for item in first)
    thing = "input" if first[0].subject.pixels is None else "picture"
    asked = f" for {targets} targets" if targets > 1 else ""
    return (
        f"Checking {counted(methods, 'method')} of {counted(inputs, thing)}{asked}: "
        f"about {passes:,.0f} forward passes ({level})."
    )


def counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def verdict_line(verdict: Mapping[str, Any]) -> str:
    """The word, the score, and the reason that decides."""
    return f"{verdict['verdict']}, score {verdict['score']:.2f}. {verdict['because']}"
