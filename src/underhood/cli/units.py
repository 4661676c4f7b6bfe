"""`underhood units`."""

from collections.abc import Sequence
from pathlib import Path

import click

from underhood.atomic import atomic
from underhood.cli.destination import destination
from underhood.inputs import find_pictures
from underhood.methods import deconvnet_sheet
from underhood.models import load
from underhood.reports import render_units


def run(
    *,
    inputs: Sequence[str],
    model: str,
    weights: str | None,
    trust: bool,
    preprocess: str | None,
    layer: str,
    units: Sequence[int],
    out: str,
) -> int:
    """Write the sheet; 0."""
    path = destination(out, [".png"])
    loaded = load(model, weights=weights, preprocess=preprocess, trust=trust)
    sheet = deconvnet_sheet(loaded, find_pictures(inputs), layer, list(units) or None)
    with atomic(path) as temporary:
        render_units(sheet).save(temporary, format="PNG")
    for unit, tops in sheet.units.items():
        told = [f"{Path(top.name).name} {top.activation:.3g}" for top in tops[:3]]
        click.echo(f"unit {unit}: {', '.join(told) or 'silent'}")
    click.echo(f"Wrote {path}")
    return 0
