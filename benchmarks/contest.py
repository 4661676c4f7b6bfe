"""What is compared: a method by each library on a network, beside what it must cost at least."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

import underhood as uh
from benchmarks.measure import Run, alternating
from benchmarks.memory import measured
from benchmarks.networks import BUILDERS, network, pictures
from benchmarks.rows import OURS, Row
from underhood.engine.precision import has_bfloat16

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Scene:
    """A network on a device, loaded when it is needed; case: which of a contest's settings."""

    network: str
    case: str = ""
    device: torch.device = CPU

    @cached_property
    def module(self) -> nn.Module:
        return network(self.network).to(self.device)

    @cached_property
    def model(self) -> uh.Model:
        return uh.Model(self.module)

    def pictures(self, count: int = 1) -> Tensor:
        return pictures(count)

    def there(self, x: Tensor) -> Tensor:
        """Where peers want their inputs."""
        return x.to(self.device)

    def ours(self, method: uh.Method, x: Tensor) -> dict[str, Run]:
        """A method of scores alone: in float32, and in `auto` precision where that differs."""
        wanted = {OURS: "float32", f"{OURS} auto": "auto"}
        if not has_bfloat16(self.device):
            del wanted[f"{OURS} auto"]
        return {
            name: lambda p=precision: method(self.model, x, 0, precision=p)  # type: ignore[misc]
            for name, precision in wanted.items()
        }


@dataclass(frozen=True)
class Base:
    """What costs are divided by: mostly nothing but so many passes of the network, and how they were run."""

    run: Run
    passes: int
    setting: str


@dataclass(frozen=True)
class Match:
    """One method on one scene by each library, in the fastest setting that we found.

    base:   made only when it is needed.
    passes: of the base that one run stands for; other: of tools that run more or fewer of them.
    inputs: that are explained at once.
    notes:  what else to tell, once all have run.
    """

    runs: Mapping[str, Run]
    base: Callable[[], Base]
    passes: int = 1
    other: Mapping[str, int] = field(default_factory=dict)
    inputs: int = 1
    notes: Callable[[], Mapping[str, str]] = dict


@dataclass(frozen=True)
class Contest(ABC):
    """key: what `--only` takes; aim: in a sentence; limit: how often the base a run may cost, at most."""

    key: str
    title: str
    aim: str
    limit: float

    @abstractmethod
    def rows(self, networks: Sequence[str], rounds: int, device: torch.device) -> Iterator[Row]:
        """Measure, row by row."""


@dataclass(frozen=True)
class Timed(Contest):
    """A contest in time.

    cases:    the settings in which it is held; networks: those that peers can do.
    memory:   whether the processor's memory is measured as well, in processes of its own.
    """

    match: Callable[[Scene], Match]
    cases: tuple[str, ...] = ("",)
    networks: tuple[str, ...] = tuple(BUILDERS)
    memory: bool = False

    def rows(self, networks: Sequence[str], rounds: int, device: torch.device) -> Iterator[Row]:
        for name in networks:
            for case in self.cases if name in self.networks else ():
                yield self._row(Scene(name, case, device), rounds)

    def _row(self, scene: Scene, rounds: int) -> Row:
        match = self.match(scene)
        base = match.base()
        peers = [tool for tool in match.runs if not tool.startswith(OURS)]
        found = alternating({"": base.run, **match.runs}, rounds, may_fail=peers)
        least = found.pop("")
        over: dict[str, tuple[float, float] | None] = dict.fromkeys(match.runs)
        for tool, cost in found.items():
            share = base.passes / match.other.get(tool, match.passes)
            main = cost.on(scene.device) / least.on(scene.device)
            over[tool] = round(share * main, 4), round(share * cost.wall / least.wall, 4)
        told = scene.device.type == "cuda" or self.memory
        return Row(
            contest=self.key,
            network=scene.network,
            case=scene.case,
            device="CPU" if scene.device == CPU else torch.cuda.get_device_name(scene.device),
            base=round(least.on(scene.device) * match.passes / base.passes, 5),
            unit="CPU s" if scene.device == CPU else "s",
            setting=base.setting,
            over=over,
            inputs=match.inputs,
            memory={tool: round(measured(self.key, scene, tool)) for tool in found if told},
            notes=dict(match.notes()),
            rounds=rounds,
        )
