"""`underhood methods` and `underhood layers`."""

import json
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from underhood.engine import Engine, grad_cam_layer, trace
from underhood.errors import BadModel
from underhood.methods import METHODS, QUESTIONS
from underhood.methods.verify import verify
from underhood.models import Model
from underhood.models.layers import DefaultLayer


def print_methods(as_json: bool) -> None:
    """The cards of all methods, as a table."""
    cards = {method.key: method().card for method in METHODS}
    if as_json:
        click.echo(json.dumps({key: asdict(card) for key, card in cards.items()}, indent=2))
        return
    table = Table(title="Methods", title_justify="left", show_lines=True)
    for column in ("method", "question", "answers", "gets wrong", "signed", "sums to", "needs", "cost"):
        table.add_column(column)
    for key, card in cards.items():
        table.add_row(
            f"{key}\n{card.source}",
            card.question,
            card.answers,
            card.misleads,
            "yes" if card.signed else "no",
            card.conserves or "nothing fixed",
            card.needs,
            card.cost,
        )
    console = _console()
    console.print(table)
    for question, meaning in QUESTIONS.items():
        console.print(f"{question}: {meaning}", highlight=False)


def verify_methods(as_json: bool) -> int:
    """The cards' claims, computed anew; 1 where one fails."""
    verified = []
    console = _console()
    for one in verify(method() for method in METHODS):
        verified.append(one)
        if not as_json:
            mark = {True: "holds", False: "FAILS", None: "not tried"}[one.holds]
            console.print(f"{mark:<10}{one.method:<22}{one.claim}: {one.says} ({one.found})", highlight=False)
    failing = sum(one.holds is False for one in verified)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in verified], indent=2))
    else:
        tried = sum(one.holds is not None for one in verified)
        console.print(f"{tried - failing} of {tried} claims hold; {len(verified) - tried} were not tried.")
    return 1 if failing else 0


def print_layers(model: Model, as_json: bool) -> None:
    """Layers in the order in which they run, with shapes, and Grad-CAM's default."""
    engine = Engine(model)
    records = trace(engine)
    default, reason = _default(engine)
    if as_json:
        listed = [{"name": r.name, "type": r.type, "shape": r.shape, "runs": r.calls} for r in records]
        click.echo(json.dumps({"layers": listed, "default": default, "reason": reason}, indent=2))
        return
    table = Table(title=f"Layers of {model.name}", title_justify="left")
    for column in ("name", "type", "output for one input", ""):
        table.add_column(column, overflow="fold")
    for r in records:
        mark = "Grad-CAM's default" if default and r.name == default.partition("#")[0] else ""
        runs = f" × {r.calls} runs" if r.calls > 1 else ""
        table.add_row(r.name, r.type + runs, " × ".join(map(str, r.shape[1:])), mark)
    console = _console()
    console.print(table)
    console.print(f"Grad-CAM looks at {default}: {reason}." if default else reason, highlight=False)


def _default(engine: Engine) -> tuple[str | None, str]:
    import torch

    shape = engine.model.input_shape
    assert shape is not None  # trace() has refused a model without one
    try:
        chosen: DefaultLayer = grad_cam_layer(engine, torch.zeros(shape))
    except BadModel as error:
        return None, str(error)
    return chosen.name, chosen.reason


def _console() -> Console:
    """As wide as the terminal; when redirected, wide enough that nothing is cut."""
    console = Console()
    return console if console.is_terminal else Console(width=200)
