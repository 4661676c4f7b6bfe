"""Checks on the command line: their level, their cost told beforehand, a line for each verdict."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from underhood.checks import LEVELS, planned, with_verdicts
from underhood.cli.progress import Report
from underhood.errors import InvalidArgument
from underhood.methods import Explanation, Explanations


def as_level(word: str) -> str:
    if word not in LEVELS:
        known = ", ".join(LEVELS)
        raise InvalidArgument(f"The level of a check is one of {known}, not '{word}'.")
    return word


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
            click.echo(_cost(done, level, inputs), err=True)
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
