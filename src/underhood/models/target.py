"""The scalar that is explained.

Every target turns a network's scores (m, C) into one number per input, (m,). Scores are
pre-softmax unless `output="probability"`. A target that depends on the prediction is fixed once, on
the inputs themselves (`fixed`), so that perturbed copies are asked about the same class.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from underhood.errors import InvalidArgument, UnknownName

Output = Literal["score", "probability"]
Labels = tuple[str, ...] | None


class Target(ABC):
    """Base of all targets; see the module's text."""

    @property
    def layer(self) -> str | None:
        """The layer whose activations are read; None where the model's scores are."""
        return None

    def bound(self, labels: Labels) -> "Target":  # noqa: ARG002 - most targets name no class
        """This target with labels turned into class numbers."""
        return self

    def for_inputs(self, count: int) -> "Target":  # noqa: ARG002 - most targets fit any number
        """This target, which must fit so many inputs."""
        return self

    def fixed(self, scores: Tensor) -> "Target":  # noqa: ARG002 - most targets are fixed as they are
        """This target with what depends on the prediction settled by these scores (B, C)."""
        return self

    def rows(self, rows: Tensor) -> "Target":  # noqa: ARG002 - most targets ask all inputs the same
        """This (fixed) target for a selection (m,) of the inputs it was fixed on."""
        return self

    @property
    def is_fixed(self) -> bool:
        return True

    @abstractmethod
    def score(self, values: Tensor) -> Tensor:
        """(m,) from scores (m, C), or from the activations of `layer`, (m, …)."""

    @abstractmethod
    def name(self, labels: Labels, row: int = 0) -> str:
        """In words, for input number `row`."""


@dataclass(frozen=True)
class Class(Target):
    """A class by number or label; None is the predicted class of each input."""

    of: int | str | None = None
    output: Output = "score"

    @property
    def is_fixed(self) -> bool:
        return isinstance(self.of, int)

    def bound(self, labels: Labels) -> Target:
        return replace(self, of=class_index(self.of, labels))

    def fixed(self, scores: Tensor) -> Target:
        if self.of is None:
            return PerInput(scores.argmax(1), self.output)
        check_class(self.of, scores.shape[1])
        return self

    def score(self, values: Tensor) -> Tensor:
        chosen = self.fixed(values)
        if isinstance(chosen, PerInput):
            return chosen.score(values)
        return _read(values, self.output)[:, self.of]  # type: ignore[index]

    def name(self, labels: Labels, row: int = 0) -> str:  # noqa: ARG002
        return _label(self.of, labels) + _suffix(self.output)


@dataclass(frozen=True)
class PerInput(Target):
    """A class of its own for every input, (B,) whole numbers."""

    classes: Tensor
    output: Output = "score"

    def for_inputs(self, count: int) -> Target:
        if len(self.classes) != count:
            raise InvalidArgument(
                f"{len(self.classes)} targets were given for {count} inputs; "
                "give one target, or one for each input."
            )
        return self

    def fixed(self, scores: Tensor) -> Target:
        check_class(int(self.classes.max()), scores.shape[1])
        return self.for_inputs(len(scores))

    def rows(self, rows: Tensor) -> Target:
        return replace(self, classes=self.classes[rows])

    def score(self, values: Tensor) -> Tensor:
        check_class(int(self.classes.max()), values.shape[1])
        classes = self.classes.to(values.device)
        return _read(values, self.output).gather(1, classes[:, None]).squeeze(1)

    def name(self, labels: Labels, row: int = 0) -> str:
        return _label(int(self.classes[row]), labels) + _suffix(self.output)


@dataclass(frozen=True)
class Contrast(Target):
    """Why this class rather than that one: the difference of two classes' scores."""

    of: int | str | None
    against: int | str
    output: Output = "score"

    @property
    def _parts(self) -> tuple[Class, Class]:
        return Class(self.of, self.output), Class(self.against, self.output)

    @property
    def is_fixed(self) -> bool:
        return all(part.is_fixed for part in self._parts)

    def bound(self, labels: Labels) -> Target:
        against = class_index(self.against, labels)
        if against is None:
            raise InvalidArgument("A contrast needs a class to compare with, by number or label.")
        of = class_index(self.of, labels)
        if of == against:
            raise InvalidArgument(
                f"{_label(of, labels)!r} cannot be contrasted with itself, as the difference is always 0; "
                "name two different classes."
            )
        return replace(self, of=of, against=against)

    def fixed(self, scores: Tensor) -> Target:
        return Difference(*(part.fixed(scores) for part in self._parts))

    def score(self, values: Tensor) -> Tensor:
        of, against = self._parts
        return of.score(values) - against.score(values)

    def name(self, labels: Labels, row: int = 0) -> str:
        of, against = self._parts
        return f"{of.name(labels, row)} rather than {against.name(labels, row)}"


@dataclass(frozen=True)
class Difference(Target):
    """One fixed target minus another."""

    of: Target
    against: Target

    def rows(self, rows: Tensor) -> Target:
        return Difference(self.of.rows(rows), self.against.rows(rows))

    def score(self, values: Tensor) -> Tensor:
        return self.of.score(values) - self.against.score(values)

    def name(self, labels: Labels, row: int = 0) -> str:
        return f"{self.of.name(labels, row)} rather than {self.against.name(labels, row)}"


@dataclass(frozen=True)
class Unit(Target):
    """A unit inside the network: a channel of a layer, at one position or summed over all.

    channel indexes dimension 1 of the layer's output (m, K, …); position the dimensions after it.
    """

    at: str
    channel: int
    position: tuple[int, ...] | None = None

    @property
    def layer(self) -> str:
        return self.at

    def score(self, values: Tensor) -> Tensor:
        where = (self.channel, *(self.position or ()))
        shape = tuple(values.shape[1:])
        inside = all(-n <= i < n for i, n in zip(where, shape, strict=False))
        if len(where) > len(shape) or not inside:
            raise InvalidArgument(f"Layer '{self.at}' has units of shape {shape}; there is none at {where}.")
        for index in where:
            values = values[:, index]
        return values.reshape(len(values), -1).sum(1)

    def name(self, labels: Labels, row: int = 0) -> str:  # noqa: ARG002
        place = f" at {self.position}" if self.position else ""
        return f"channel {self.channel} of {self.at}{place}"


@dataclass(frozen=True)
class Custom(Target):
    """Any function from scores (m, C) to one number per input, (m,)."""

    function: Callable[[Tensor], Tensor]

    def score(self, values: Tensor) -> Tensor:
        score = self.function(values)
        if not isinstance(score, Tensor) or score.shape != values.shape[:1]:
            got = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
            raise InvalidArgument(
                f"The target function must give one number per input, shape ({len(values)},); it gave {got}."
            )
        return score

    def name(self, labels: Labels, row: int = 0) -> str:  # noqa: ARG002
        return getattr(self.function, "__name__", type(self.function).__name__)


@dataclass(frozen=True)
class Several(Target):
    """Several targets of every input at once, such as `Several("dog", "cat")`: they share the passes.

    They must be read from the same place: all from the model's scores, or all from one layer.
    """

    targets: tuple[Any, ...]

    def __init__(self, *targets: Any):
        if len(targets) < 2:
            raise InvalidArgument("Several takes at least two targets.")
        object.__setattr__(self, "targets", tuple(map(_unbound, targets)))
        if len({target.layer for target in self.targets}) > 1:
            raise InvalidArgument("Several targets must all be read from the same layer, or from the scores.")

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def layer(self) -> str | None:
        return self.targets[0].layer

    def bound(self, labels: Labels) -> Target:
        targets = [target.bound(labels) for target in self.targets]
        for number, target in enumerate(targets):
            if isinstance(target, Class | Contrast | Unit) and target in targets[:number]:
                raise InvalidArgument(f"The target '{target.name(labels)}' is asked for twice.")
        return Several(*targets)

    def each(self, inputs: int) -> "Each":
        """These targets for inputs that are each there as often as there are targets, side by side."""
        return Each(
            tuple(target.for_inputs(inputs) for target in self.targets),
            torch.arange(inputs * len(self.targets)),
        )

    def score(self, values: Tensor) -> Tensor:  # noqa: ARG002
        raise InvalidArgument("Several targets have no single score; ask `underhood.explain` or a method.")

    def name(self, labels: Labels, row: int = 0) -> str:
        return ", ".join(target.name(labels, row) for target in self.targets)


@dataclass(frozen=True)
class Each(Target):
    """Row r asks target r mod T about input r div T, of T targets."""

    targets: tuple[Target, ...]
    at: Tensor  # (m,) the rows
    settled: bool = False  # by the scores of all of them

    @property
    def layer(self) -> str | None:
        return self.targets[0].layer

    @property
    def is_fixed(self) -> bool:
        return all(target.is_fixed for target in self.targets)

    def fixed(self, scores: Tensor) -> Target:
        if self.settled:
            return self
        count = len(self.targets)
        targets = tuple(target.fixed(scores[number::count]) for number, target in enumerate(self.targets))
        return replace(self, targets=targets, settled=True)

    def rows(self, rows: Tensor) -> Target:
        return replace(self, at=self.at[rows])

    def score(self, values: Tensor) -> Tensor:
        asked = [self.at % len(self.targets) == number for number in range(len(self.targets))]
        parts = [
            target.rows(self.at[mine] // len(self.targets)).score(values[mine.to(values.device)])
            for target, mine in zip(self.targets, asked, strict=True)
            if mine.any()
        ]
        order = torch.cat([mine.nonzero().flatten() for mine in asked]).argsort()
        return torch.cat(parts)[order.to(values.device)]

    def name(self, labels: Labels, row: int = 0) -> str:
        at, number = divmod(int(self.at[row]), len(self.targets))
        return self.targets[number].name(labels, at)


TargetLike = Target | int | str | None | Sequence[int | str] | Callable[[Tensor], Tensor]


def as_target(value: TargetLike, labels: Labels = None) -> Target:
    """A `Target` from a class number or label, None (predicted), one per input, or a function."""
    if isinstance(value, Target):
        return value.bound(labels)
    value = getattr(value, "tolist", lambda: value)()  # of tensors, arrays and numpy's numbers
    if value is None or isinstance(value, int | str):
        return Class(value).bound(labels)
    if callable(value):
        return Custom(value)
    classes = [class_index(item, labels) for item in value]
    if not classes or None in classes:
        raise InvalidArgument("A list of targets needs a class number or label for each input.")
    return PerInput(torch.tensor(classes))


def _unbound(target: Any) -> Target:
    """Labels stay as they are until the model's are known."""
    if isinstance(target, Target):
        return target
    return Class(target) if target is None or isinstance(target, str) else as_target(target)


def class_index(of: int | str | None, labels: Labels) -> int | None:
    """The class number of a label; spelling is compared without case, spaces, '-' and '_'."""
    if of is None or (isinstance(of, str) and of == "predicted"):
        return None
    if isinstance(of, str):
        return int(of) if of.isdecimal() and of not in (labels or ()) else _find_label(of, labels)
    if of < 0:
        raise InvalidArgument(f"Class {of} is negative; classes are counted from 0.")
    if labels:
        check_class(int(of), len(labels))
    return int(of)


def check_class(index: int | str, count: int) -> None:
    if isinstance(index, str):
        raise InvalidArgument(f"Class label '{index}' was not looked up; use as_target().")
    if index >= count:
        known = f"{count}, counted from 0" if count > 1 else "class 0 alone"
        raise InvalidArgument(f"There is no class {index}; the model has {known}.")


def _find_label(label: str, labels: Labels) -> int:
    if not labels:
        raise InvalidArgument(
            f"The target '{label}' is a label, but the model has no labels; give them "
            "(--labels, or Model(labels=…)) or give the class number."
        )
    wanted = _alphanumeric(label)
    exact = [i for i, known in enumerate(labels) if known == label]
    exact = exact or [i for i, known in enumerate(labels) if wanted and _alphanumeric(known) == wanted]
    exact = exact or [i for i, known in enumerate(labels) if wanted in map(_alphanumeric, known.split(","))]
    if len(exact) > 1:
        raise InvalidArgument(
            f"Label '{label}' names the classes {exact}; give the number of the one you mean."
        )
    if not exact:
        raise UnknownName("label", label, labels)
    return exact[0]


def _alphanumeric(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


def _read(scores: Tensor, output: Output) -> Tensor:
    if output == "score":
        return scores
    if output != "probability":
        raise InvalidArgument(f"output is 'score' or 'probability', not {output!r}.")
    if scores.shape[1] == 1:
        return scores.sigmoid()
    return scores.softmax(1)


def _suffix(output: Output) -> str:
    return "" if output == "score" else " (probability)"


def _label(index: int | str | None, labels: Labels) -> str:
    if index is None:
        return "predicted class"
    if isinstance(index, int) and labels:
        return labels[index]
    return f"class {index}" if isinstance(index, int) else index
