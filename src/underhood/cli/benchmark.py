"""`underhood benchmark`."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from underhood.checks import benchmark
from underhood.cli.progress import progress
from underhood.inputs import find_pictures
from underhood.models import load


def run(
    *,
    inputs: Sequence[str],
    model: str,
    weights: str | None,
    trust: bool,
    preprocess: str | None,
    labels: str | None,
    target: str | None,
    methods: Sequence[str],
    checks: Sequence[str],
    baseline: str | None,
    out: str | None,
    device: str,
    memory: str | None,
    seed: int,
    as_json: bool,
) -> int:
    """Print the table; 1 where any input was left out, though the others are done."""
    loaded = load(model, weights=weights, labels=labels, preprocess=preprocess, trust=trust)
    paths = list(find_pictures(inputs))
    with progress(len(paths)) as (report, next_input):

        def announced() -> Iterator[Path]:
            for path in paths:
                next_input(path.name)
                yield path

        found = benchmark(
            loaded, announced(), target, methods=list(methods) or None, checks=list(checks) or "standard",
            out=out, baseline=baseline, device=device, memory=memory, seed=seed, progress=report,
        )  # fmt: skip
    click.echo(json.dumps(found.as_dict(), indent=2, allow_nan=False) if as_json else found.table())
    return 1 if found.failures else 0
