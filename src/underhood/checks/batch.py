"""`Batch`: explanations of several inputs by one method, with what is needed to question them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from underhood.engine import Engine, Run
from underhood.errors import InvalidArgument, Unfit
from underhood.methods import Attribution, Card, Explanation, Method
from underhood.methods.explanation import Origin
from underhood.methods.given import Given
from underhood.models import Model, Target
from underhood.models.target import PerInput

SIZE = 16  # explanations that are questioned together


@dataclass(frozen=True, eq=False)
class Beside:
    """What another method says of the same inputs: its maps (B, *places)."""

    method: Method
    card: Card
    maps: Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """B explanations by one method of one model.

    run:    the inputs (B, …) with their settled targets; its passes are shared by all checks and methods.
    maps:   (B, *places), the heatmaps; values: (B, …), the attributions themselves.
    memory: what checks find about these inputs whatever the method, such as scores of hidden parts; shared
            by the batches of all methods on the same inputs.
    beside: the other methods' maps of these inputs.
    first:  the number of the first of these inputs among all that are checked.
    """

    explanations: tuple[Explanation, ...]
    method: Method
    run: Run
    maps: Tensor
    values: Tensor
    memory: dict[Any, Any] = field(default_factory=dict)
    beside: tuple[Beside, ...] = ()
    first: int = 0

    def __len__(self) -> int:
        return len(self.explanations)

    @property
    def model(self) -> Model:
        return self.run.engine.model

    @property
    def reduction(self) -> Literal["sum", "max"]:
        return self.explanations[0].reduction

    def explained(self, run: Run) -> Tensor:
        """The method's heatmaps (m, *places) for other inputs, another target or another model.

        Raises Unfit, with the reason, where it can make none; that check is then undefined.
        """
        if isinstance(self.method, Given):
            raise Unfit("the map was given, and what made it is not here to make another")
        with torch.autocast("cpu", enabled=False):  # the caller's may be on
            return heatmaps(self.method.attribute(run))

    def alone(self) -> Iterator["Batch"]:
        """Its explanations one by one, sharing nothing that was found for all."""
        for row, explanation in enumerate(self.explanations):
            origin, only = origin_of(explanation), slice(row, row + 1)
            yield Batch(
                (explanation,),
                self.method,
                Run(self.run.engine, origin.inputs, origin.target),
                self.maps[only],
                self.values[only],
                beside=tuple(replace(one, maps=one.maps[only]) for one in self.beside),
                first=self.first + row,
            )

    def asked_of(self, model: Model) -> Run:
        """The same inputs and targets for another model."""
        return Run(Engine(model, self.run.engine.settings), self.run.inputs, self.run.target)

    def asking(self, target: Target) -> Run:
        """The same inputs and model with another target."""
        return Run(self.run.engine, self.run.inputs, target)


def heatmaps(attribution: Attribution) -> Tensor:
    """(B, *places), as `Explanation.heatmap` joins the channels."""
    values = attribution.values
    if values.ndim != 4:
        return values
    return values.abs().amax(1) if attribution.reduction == "max" else values.sum(1)


def batches(explanations: Explanation | Iterable[Explanation], size: int = SIZE) -> Iterator[Batch]:
    """Explanations by method, up to `size` inputs at a time; no more than these are held.

    Input by input they come with one explanation per method, as `explain` gives them.
    """
    first = 0
    for held in together(explanations, size):
        yield from _by_method(held, first)
        first += len(held)


def together(
    explanations: Explanation | Iterable[Explanation], size: int = SIZE
) -> Iterator[list[list[Explanation]]]:
    """What can be questioned together: up to `size` inputs, each with its explanations."""
    given = [explanations] if isinstance(explanations, Explanation) else explanations
    if isinstance(given, str | Path) or not isinstance(given, Iterable):
        raise _no_explanation(given)
    held: list[list[Explanation]] = []
    for _, group in groupby(given, key=_question):
        found = list(group)
        if held and (len(held) == size or not _alike(held[-1], found)):
            yield held
            held = []
        held.append(found)
    if held:
        yield held


def _no_explanation(given: object) -> InvalidArgument:
    return InvalidArgument(
        f"Only explanations can be checked, as underhood.explain gives them, not {given!r:.60}; of a file: "
        "underhood check FILE --model …."
    )


def _question(explanation: Explanation) -> tuple[Any, ...]:
    if not isinstance(explanation, Explanation):
        raise _no_explanation(explanation)
    return explanation.subject.name, explanation.subject.digest, explanation.target


def _alike(one: Sequence[Explanation], other: Sequence[Explanation]) -> bool:
    """Whether they can be questioned together."""
    return [_kind(e) for e in one] == [_kind(e) for e in other]


def _kind(explanation: Explanation) -> tuple[Any, ...]:
    origin = origin_of(explanation)
    return (
        explanation.method,
        None if isinstance(origin.method, Given) else repr(explanation.parameters),
        explanation.values.shape,
        origin.inputs.shape[1:],
        id(origin.model),
        origin.settings,
    )


def _by_method(held: Sequence[Sequence[Explanation]], first: int) -> Iterator[Batch]:
    """One batch per method, all with the same run and memory."""
    origins = [origin_of(group[0]) for group in held]
    target = stacked([origin.target for origin in origins])
    engine = Engine(origins[0].model, origins[0].settings)
    run, memory = Run(engine, torch.cat([o.inputs for o in origins]), target), dict[Any, Any]()
    groups = list(zip(*held, strict=True))
    every = [Beside(origin_of(items[0]).method, items[0].card, _stacked_maps(items)) for items in groups]
    for number, (items, own) in enumerate(zip(groups, every, strict=True)):
        values = torch.stack([torch.from_numpy(e.values.copy()) for e in items])
        beside = tuple(every[:number] + every[number + 1 :])
        yield Batch(items, own.method, run, own.maps, values, memory, beside, first)


def _stacked_maps(items: Sequence[Explanation]) -> Tensor:
    return torch.stack([torch.from_numpy(e.heatmap().copy()) for e in items])


def origin_of(explanation: Explanation) -> Origin:
    if not isinstance(explanation, Explanation):
        raise _no_explanation(explanation)
    if explanation.origin is None:
        raise InvalidArgument(
            "This explanation was read from a file and does not hold its model and input; "
            "check it with: underhood check FILE --model …, or bind it with underhood.checks.bound."
        )
    return explanation.origin


def stacked(targets: Sequence[Target]) -> Target:
    """One target from the settled targets of single inputs."""
    if all(isinstance(target, PerInput) for target in targets):
        classes = torch.cat([target.classes for target in targets])  # type: ignore[attr-defined]
        if len({target.output for target in targets}) == 1:  # type: ignore[attr-defined]
            return replace(targets[0], classes=classes)  # type: ignore[type-var]
    return Rows(tuple(targets), torch.arange(len(targets)))


@dataclass(frozen=True)
class Rows(Target):
    """Row r asks target at[r], each the target of a single input."""

    targets: tuple[Target, ...]
    at: Tensor  # (m,)

    @property
    def layer(self) -> str | None:
        return self.targets[0].layer

    def rows(self, rows: Tensor) -> Target:
        return replace(self, at=self.at[rows])

    def score(self, values: Tensor) -> Tensor:
        parts = [(self.at == number).nonzero().flatten() for number in range(len(self.targets))]
        asked = [(target, rows) for target, rows in zip(self.targets, parts, strict=True) if len(rows)]
        found = [t.rows(torch.zeros_like(rows)).score(values[rows.to(values.device)]) for t, rows in asked]
        order = torch.cat([rows for _, rows in asked]).argsort()
        return torch.cat(found)[order.to(values.device)]

    def name(self, labels: tuple[str, ...] | None, row: int = 0) -> str:
        return self.targets[int(self.at[row])].name(labels, 0)
