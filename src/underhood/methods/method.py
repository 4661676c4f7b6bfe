"""What every method is: a frozen dataclass whose fields are its parameters, and one `attribute`."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from underhood.engine import Run, Settings
from underhood.errors import InvalidArgument
from underhood.inputs import Baseline, Grouping
from underhood.methods.card import Card
from underhood.methods.explanation import Explanation, Explanations
from underhood.models import Model
from underhood.models.target import TargetLike

NOISE_ALONE = "the mean does not rise above its noise; more copies (n) would help"


@dataclass(frozen=True)
class Attribution:
    """What a method's maths gives for B inputs.

    values: (B, …) like the inputs, or (B, H, W). diagnostics, no_signal: one for each input, or empty.
    """

    values: Tensor
    diagnostics: Sequence[Mapping[str, Any]] = ()
    reduction: Literal["sum", "max"] = "sum"
    grid: tuple[int, int] | None = None
    no_signal: Sequence[str | None] = ()
    arrays: Mapping[str, Tensor] = field(default_factory=dict)


class Method(ABC):
    """An explanation method. Call it as `method(model, inputs, target)`.

    model:    `Model`, or a torch module.
    inputs:   what `underhood.inputs.gather` takes: paths, pictures, arrays or tensors, one or several.
    target:   what `underhood.models.as_target` takes; None explains each input's predicted class.
    settings: keywords of `underhood.engine.Settings`: device, precision, memory, seed, progress.

    Gives an `Explanation` where there is one input and `Explanations` where there are several; `explain`
    always gives `Explanations`, which suits loops over batches. Raises UnderhoodError with
    a sentence for the user where inputs, target or model do not fit.
    """

    key: ClassVar[str]

    @property
    @abstractmethod
    def card(self) -> Card: ...

    @abstractmethod
    def attribute(self, run: Run) -> Attribution:
        """The maths: from the run's inputs and target to an attribution."""

    def __call__(
        self, model: Model | torch.nn.Module, inputs: Any, target: TargetLike = None, **settings: Any
    ) -> Explanation | Explanations:
        from underhood.methods.explain import explain_with  # which builds on this module

        return explain_with([self], model, inputs, target, Settings(**settings))[self.key]

    def parameters(self) -> dict[str, Any]:
        """Every parameter by name, as plain values."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]


def plain(value: Any) -> Any:
    """A parameter as JSON can hold it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Method):
        return {"method": value.key, **value.parameters()}
    if isinstance(value, Tensor):
        digest = hashlib.sha256(value.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
        return f"tensor of shape {tuple(value.shape)}, sha256 {digest[:12]}"
    if isinstance(value, Grouping):
        return f"{value.count} groups over {' × '.join(map(str, value.shape))} places"
    if isinstance(value, Baseline) and is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    return str(value)


def check_error(error: float | None) -> None:
    """Refuse a standard error that no sample would come down to."""
    if error is not None and not error > 0:
        raise InvalidArgument(f"error must be above 0, not {error}.")


def zero_maps(values: Tensor) -> list[str | None]:
    """For each input: why a map that is zero everywhere says nothing."""
    flat = values.flatten(1).abs().amax(1)
    return [None if peak > 0 else "the map is zero everywhere" for peak in flat.tolist()]


def lost_in_noise(means: Tensor, errors: Tensor) -> list[str | None]:
    """For each input: why a mean map (…), of that standard error, says nothing."""
    return [
        zero or (None if _stands_out(mean, error) else NOISE_ALONE)
        for zero, mean, error in zip(zero_maps(means), means, errors, strict=True)
    ]


def _stands_out(mean: Tensor, error: Tensor) -> bool:
    """Of many elements some exceed 3 standard errors by chance, so the map as a whole has to stand out
    too: where there is noise alone, mean² adds up to error²."""
    return bool((mean.abs() > 3 * error).any() and mean.square().sum() > 1.1 * error.square().sum())
