"""How the network is run."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from underhood.engine.budget import parse_memory
from underhood.errors import InvalidArgument

Precision = Literal["auto", "float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class Settings:
    """device:    "auto" (where the model is; a CUDA device rather than the CPU), or torch's name of one.
    precision: "float32"; "bfloat16" for passes without gradient; "auto" takes bfloat16 for many such
               passes where the processor has it and a sample agrees with float32. Gradients are always
               float32: in bfloat16 they are not faithful.
    memory:    budget for a micro-batch, bytes or a text such as "512MB"; default a share of what is free.
    seed:      of every random choice.
    progress:  called with (inputs done, inputs in all) after each micro-batch.
    cancel:    an event; once set, the next micro-batch raises `Cancelled`.
    """

    device: str | torch.device = "auto"
    precision: Precision = "auto"
    memory: float | str | None = None
    seed: int = 0
    progress: Callable[[int, int], None] | None = None
    cancel: threading.Event | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InvalidArgument(f"precision is one of {', '.join(PRECISIONS)}, not {self.precision!r}.")
        if self.seed < 0:
            raise InvalidArgument(f"A seed is a whole number from 0 on, not {self.seed}.")
        parse_memory(self.memory)


def pick_device(wanted: str | torch.device, module: torch.nn.Module) -> torch.device:
    if wanted != "auto":
        try:
            device = torch.device(wanted)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            there = "cpu, cuda" if torch.cuda.is_available() else "cpu"
            raise InvalidArgument(f"There is no device '{wanted}' here; there is {there}.") from error
        return device
    first = next(module.parameters(), None)
    if first is not None and first.device.type not in ("cpu", "meta"):
        return first.device
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
