"""Backward passes that let only positive signals through rectifiers.

At a rectifier y = max(x, 0) with the signal R coming back to y, what goes on to x is

    gradient                                      R ∘ [x > 0]
    deconvnet (Zeiler & Fergus 2014, section 2.1) R ∘ [R > 0]
    guided backpropagation
    (Springenberg et al. 2014, section 3.4)       R ∘ [x > 0] ∘ [R > 0]

Everything else goes back as its gradient does: convolutions by their transposed filters, max-pooling by its
switches. A deconvnet asked about a unit inside the network starts with the unit's activation.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from underhood.engine import Op, PlainRules, Run
from underhood.errors import InvalidArgument
from underhood.methods.card import Card
from underhood.methods.method import Attribution, Method, zero_maps

Start = Literal["activation", "gradient"]


@dataclass(frozen=True)
class GuidedBackprop(Method):
    """The gradient with negative signals stopped at every rectifier."""

    key = "guided_backprop"

    @property
    def card(self) -> Card:
        return GUIDED_BACKPROP

    def attribute(self, run: Run) -> Attribution:
        rules = GuidedRules()
        values = run.gradients(rules=rules).gradients[0]
        return Attribution(values, [rules.seen()] * len(run), no_signal=zero_maps(values))


@dataclass(frozen=True)
class Deconvnet(Method):
    """What excites a unit, or a class, projected back to the input through transposed filters.

    Ask about a unit or a whole feature map with `target=Unit(layer, channel, position)`.

    start: what the way down starts with: the target's "activation", its "gradient" (1 for a class), or
           "auto": the activation for units inside the network, the gradient for the model's own scores.
    """

    start: Literal["auto", "activation", "gradient"] = "auto"

    key = "deconvnet"

    def __post_init__(self) -> None:
        if self.start not in ("auto", "activation", "gradient"):
            raise InvalidArgument(f"Deconvnet's start is auto, activation or gradient, not {self.start!r}.")

    @property
    def card(self) -> Card:
        return DECONVNET

    def attribute(self, run: Run) -> Attribution:
        inside = run.target.layer is not None
        start: Start = ("activation" if inside else "gradient") if self.start == "auto" else self.start
        rules = DeconvnetRules(start)
        values = run.gradients(rules=rules).gradients[0]
        silent = [
            "the unit is silent on this input" if inside and zero and s <= 0 else zero
            for zero, s in zip(zero_maps(values), run.score.tolist(), strict=True)
        ]
        return Attribution(values, [{**rules.seen(), "start": start}] * len(run), no_signal=silent)


class GuidedRules(PlainRules):
    """Rectifiers by guided backpropagation; takes note of them and of other activations."""

    def __init__(self) -> None:
        self._rectifiers: set[int] = set()
        self._others: set[str] = set()

    def apply(self, op: Op) -> Any:
        if is_rectifier(op):
            self._rectifiers.add(op.index)
            return self.rectified(op)
        if op.name in SMOOTH:
            self._others.add(op.name)
        return op()

    def rectified(self, op: Op) -> Tensor:
        y: Tensor = op()
        y.register_hook(lambda signal: signal.clamp(min=0))
        return y

    def seen(self) -> dict[str, Any]:
        """How many rectifiers follow the rule, and the activations that are left as their gradient."""
        return {"rectifiers": len(self._rectifiers), "left_as_gradient": ", ".join(sorted(self._others))}


class DeconvnetRules(GuidedRules):
    """Rectifiers by the deconvnet's rule, starting with the target's activation or gradient."""

    def __init__(self, start: Start):
        super().__init__()
        self._start = start

    def rectified(self, op: Op) -> Tensor:
        found: Tensor = _Rectified.apply(op.inputs[0], op)
        return found

    def seed(self, values: Tensor, gradient: Tensor) -> Tensor:
        return values * gradient if self._start == "activation" else gradient


class _Rectified(torch.autograd.Function):
    """A rectifier that rectifies what comes back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, op: Callable[[Tensor], Tensor]) -> Tensor:  # noqa: ARG004
        return op(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004
        return signal.clamp(min=0), None


def is_rectifier(op: Op) -> bool:
    """Nothing below 0 and, up to a limit there may be, all above it: ReLU, ReLU6, clamp at 0."""
    if op.name in ("relu", "relu6"):
        return True
    if op.name not in LOWER_LIMIT:
        return False
    low = op.argument(1, LOWER_LIMIT[op.name])
    return isinstance(low, int | float) and low == 0


LOWER_LIMIT = {"hardtanh": "min_val", "clamp": "min", "clamp_min": "min", "threshold": "threshold"}
SMOOTH = frozenset(
    {"celu", "elu", "gelu", "hardsigmoid", "hardswish", "leaky_relu", "logsigmoid", "mish", "prelu", "rrelu"}
    | {"selu", "sigmoid", "silu", "softplus", "softsign", "tanh"}
)

FAILS = (
    "Fails the randomisation test: changes little when the model's weights are made random (Adebayo 2018)."
)

GUIDED_BACKPROP = Card(
    name="Guided backprop",
    question="reconstruction",
    answers="Which strokes and edges in the input excite what the score is made of.",
    misleads="Sharp because it partly recovers the picture: it hardly depends on the class asked about, "
    "or on what the upper layers learned, and fails the randomisation test.",
    signed=True,
    conserves=None,
    resolution="element",
    unit="score per unit of input, positive paths only",
    needs="gradients; activations other than rectifiers are left as their gradient",
    cost="1 forward + 1 backward",
    source="Springenberg et al. 2014, arXiv:1412.6806",
    randomisation=False,
    warning=FAILS,
)

DECONVNET = replace(
    GUIDED_BACKPROP,
    name="Deconvnet",
    answers="Which pattern in the input excites a unit inside the model, or a class.",
    misleads="Where there are no max-pooling switches it shows what the filters would draw anywhere; from a "
    "class score it hardly depends on the class, and fails the randomisation test.",
    unit="activation projected back, no fixed unit",
    source="Zeiler & Fergus 2014, arXiv:1311.2901",
)
