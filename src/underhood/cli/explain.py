"""`underhood explain`."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from underhood.cli.checking import as_level, checked, flat, verdict_line
from underhood.cli.destination import destination, failed, nothing, write
from underhood.cli.progress import progress
from underhood.engine import Settings
from underhood.errors import BadInput, InvalidArgument, UnderhoodError
from underhood.inputs import as_baseline, find_pictures
from underhood.inputs.images import there
from underhood.methods import Explanation, Method, RawAttention, as_methods, explain_each
from underhood.methods.explain import is_open
from underhood.methods.files import SUFFIXES
from underhood.models import Class, Contrast, Model, Several, Target, load


@dataclass(frozen=True)
class Request:
    """The command's arguments, see `underhood explain --help`."""

    inputs: Sequence[str]
    model: str
    weights: str | None
    trust: bool
    preprocess: str | None
    labels: str | None
    targets: Sequence[str]
    against: str | None
    probability: bool
    methods: Sequence[str]
    baseline: str | None
    layer: str | None
    out: str
    device: str
    precision: Any
    memory: str | None
    seed: int
    check: str | None
    as_json: bool

    def load(self) -> Model:
        return load(
            self.model,
            weights=self.weights,
            labels=self.labels,
            preprocess=self.preprocess,
            layer=self.layer,
            trust=self.trust,
        )


def run(asked: Request, command: str) -> int:
    """Explain and write; 1 where any input failed, though the others are done."""
    path = destination(asked.out, SUFFIXES)
    level = asked.check and as_level(asked.check)
    chosen = _methods(asked.methods, asked.baseline, asked.layer)
    target = _target(asked.targets, asked.against, asked.probability)
    paths, failures = _there(find_pictures(asked.inputs))
    if not paths:
        if asked.as_json:
            _print_json(None, [], failures)
        raise nothing(failures)
    model = asked.load()
    target = target.bound(tuple(model.labels) if model.labels else None)
    records: list[dict[str, Any]] = []  # for machines
    lines: dict[tuple[str, ...], None] = {}  # for people: of their maps no more is kept
    with progress(len(paths)) as (report, next_input):
        found = explain_each(
            model,
            _announced(paths, next_input),
            target,
            methods=chosen,
            settings=Settings(asked.device, asked.precision, asked.memory, asked.seed, report),
            skip_unfit=is_open(asked.methods) if asked.methods else asked.layer is None,
            failed=lambda name, error: failures.__setitem__(name, str(error)),
        )

        explained = checked(found, level, len(paths), report) if level else flat(found)

        def stream() -> Iterator[Explanation]:
            for done in explained:
                record = done.as_dict()
                if asked.as_json:
                    records.append(record)
                else:
                    lines.update(dict.fromkeys(_said(record)))
                yield done

        try:
            write(stream(), path, failures, command)
        except UnderhoodError:
            if asked.as_json and failures:  # of every input
                _print_json(None, records, failures)
            raise
    if asked.as_json:
        _print_json(path, records, failures)
    else:
        _print(lines, path)
    for name, reason in failures.items():
        click.echo(f"Error: {failed(name, reason)}", err=True)
    return 1 if failures else 0


def _there(found: Iterable[Path]) -> tuple[list[Path], dict[str, str]]:
    """Paths of files, and why others lead to none, which is told before a model is loaded for them."""
    paths: list[Path] = []
    failures: dict[str, str] = {}
    for path in found:
        try:
            paths.append(there(path))
        except BadInput as error:
            failures[str(path)] = str(error)
    return paths, failures


def _print_json(path: Path | None, records: list[dict[str, Any]], failures: dict[str, str]) -> None:
    told = {"output": path and str(path), "explanations": records, "failures": failures}
    click.echo(json.dumps(told, indent=2, allow_nan=False))


def _methods(names: Sequence[str], baseline: str | None, layer: str | None) -> list[Method]:
    """The chosen methods with their options."""
    if baseline is not None:
        as_baseline(baseline)
    chosen = as_methods(list(names) or None, baseline=baseline)
    if baseline and not any(hasattr(m, "baseline") for m in chosen):
        raise InvalidArgument("--baseline is for methods that have one; none of those chosen has.")
    if layer is None:
        return chosen
    fields = ("layer", "at") if names else ("layer",)  # who named no method wants Grad-CAM's layer alone
    elsewhere = RawAttention if is_open(names) else ()  # attention is not where the others can look
    placed = [m if isinstance(m, elsewhere) else _at(m, layer, fields) for m in chosen]
    if placed == chosen:
        raise InvalidArgument("--layer is for methods that look at one; add --method gradcam.")
    return placed


def _at(method: Any, layer: str, fields: Sequence[str]) -> Method:
    """The method looking at the layer, where it has a parameter for that."""
    field = next((name for name in fields if hasattr(method, name)), None)
    return replace(method, **{field: layer}) if field else method


def _target(targets: Sequence[str], against: str | None, probability: bool) -> Target:
    output: Any = "probability" if probability else "score"
    asked = [Contrast(of, against, output) if against else Class(of, output) for of in targets or (None,)]
    return Several(*asked) if len(asked) > 1 else asked[0]


def _announced(paths: Sequence[Path], next_input: Any) -> Iterator[Path]:
    for path in paths:
        next_input(path.name)
        yield path


def _print(lines: Iterable[tuple[str, ...]], path: Path) -> None:
    for about, *_, text in lines:
        if about == NOTE:
            click.echo(f"Note: {text}", err=True)
    for about, *_, text in lines:
        if about != NOTE:
            click.echo(text)
    click.echo(f"Wrote {path}")


def _said(record: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The lines on one map, each after what it is about: maps share some, printed once."""
    name, target = record["input"]["name"], record["target"]
    for note in record["provenance"]["notes"]:
        yield NOTE, note
    top = [f"{c['label']} {_shown(c)}" for c in record["prediction"]["top"][:3]]
    yield name, f"{name}: {', '.join(top)}"
    yield name, target, f"  explained: {target}, score {record['score']:.3f}"
    facts = {k: v for k, v in record["diagnostics"].items() if k in SHOWN and v is not None}
    told = ", ".join(
        f"{SHOWN[k]} {v:.3g}" if isinstance(v, float) else f"{SHOWN[k]} {v}" for k, v in facts.items()
    )
    if "steps" in record["parameters"] and facts.get("relative_gap", 0) > LARGE_GAP:
        told += " (large: take more steps, or a tolerance)"
    warning = f"  no signal: {record['no_signal']}" if record["no_signal"] else ""
    yield name, target, record["method"], f"  {record['method']:<22}{told}{warning}".rstrip()
    if record["verdict"]:
        yield name, target, record["method"], f"    {verdict_line(record['verdict'])}"


def _shown(output: dict[str, Any]) -> str:
    """The probability of a class; of an output that is none, its value."""
    probability = output["probability"]
    return f"{output['score']:.3f}" if probability is None else f"{probability:.2f}"


NOTE = "a note"
LARGE_GAP = 0.05  # of the difference in score that the values should sum to
SHOWN = {
    "layer": "layer",
    "relative_gap": "completeness gap",
    "relative_standard_error": "standard error",
    "groups": "windows",
}
