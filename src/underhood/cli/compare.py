"""`underhood compare`."""

import json
from pathlib import Path

import click

from underhood.atomic import atomic
from underhood.cli.destination import destination
from underhood.playbooks.compare import Comparison, compare

NAMED = 10  # pictures that are printed; the files have all


def run(before: str, after: str, out: str | None, as_json: bool) -> int:
    """Print what has changed between two audits, and write it where asked; 0."""
    path = destination(out, [".html", ".json"]) if out else None
    found = compare(before, after)
    document = json.dumps(found.as_dict(), indent=2, allow_nan=False)
    if path:
        _write(found, document, path)
    if as_json:
        click.echo(document)
        return 0
    _print(found)
    if path:
        click.echo(f"Wrote {path}")
    return 0


def _write(found: Comparison, document: str, path: Path) -> None:
    if path.suffix == ".html":
        from underhood.reports.audit import render_comparison

        render_comparison(found, path)
        return
    with atomic(path) as temporary:
        temporary.write_text(document + "\n", encoding="utf-8")


def _print(found: Comparison) -> None:
    click.echo(f"{found.before} ({found.models[0]}), then {found.after} ({found.models[1]}):")
    for sentence in found.sentences():
        click.echo(sentence)
    for finding in found.new:
        click.echo(f"\nnew: {finding.claim}")
    for one in found.stayed:
        click.echo(f"\nstayed, {one.how}: {one.after.claim}")
    for finding in found.gone:
        click.echo(f"\ngone: {finding.claim}")
    if found.changed:
        click.echo("")
    for changed in found.changed[:NAMED]:
        label = "" if changed.label is None else f" (labelled {changed.label})"
        click.echo(f"{changed.picture}{label}: {changed.before}, then {changed.after}")
    if (more := len(found.changed) - NAMED) > 0:
        click.echo(f"and {more:,} more; --out FILE.json names all.")
