"""Settled targets as plain data, so that a file can say what was asked, and back."""

from collections.abc import Mapping
from typing import Any

import torch

from underhood.errors import InvalidArgument
from underhood.models.target import Class, Difference, Each, PerInput, Target, Unit

Plain = Mapping[str, Any]


def as_plain(target: Target) -> Plain | None:
    """The settled target of one input, ready for JSON; None for what cannot be, such as a function."""
    match target:
        case PerInput(classes, output):
            return {"class": int(classes[0]), "output": output}
        case Class(int(of), output):
            return {"class": of, "output": output}
        case Difference(of, against):
            parts = as_plain(of), as_plain(against)
            return {"of": parts[0], "against": parts[1]} if None not in parts else None
        case Unit(at, channel, position):
            return {"layer": at, "channel": channel, "position": list(position) if position else None}
        case Each(targets, at):
            row, number = divmod(int(at[0]), len(targets))
            return as_plain(targets[number].rows(torch.tensor([row])))
        case _:
            return None


def from_plain(record: Plain) -> Target:
    """The target that `as_plain` wrote, of one input."""
    match record:
        case {"class": int(number), "output": str(output)}:
            return PerInput(torch.tensor([number]), output)  # type: ignore[arg-type]
        case {"of": of, "against": against}:
            return Difference(from_plain(of), from_plain(against))
        case {"layer": str(at), "channel": int(channel), "position": position}:
            return Unit(at, channel, tuple(position) if position else None)
        case _:
            raise InvalidArgument(f"The record {record!r} names no target.")
