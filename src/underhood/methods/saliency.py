"""Gradients as they are.

Saliency (Simonyan, Vedaldi & Zisserman 2013, "Deep inside convolutional networks", eq. 3-4): the
gradient ∂S/∂x, shown as the largest magnitude over the colour channels.

Input × gradient (Shrikumar et al. 2016, "Not just a black box", section 3): x ∘ ∂S/∂x.

A rectifier's derivative at 0 is taken as 0.
"""

from dataclasses import dataclass, replace
from typing import Literal

from underhood.engine import Run
from underhood.errors import InvalidArgument
from underhood.methods.at_layer import shown
from underhood.methods.card import Card
from underhood.methods.method import Attribution, Method, zero_maps

Kind = Literal["abs", "signed", "squared"]


@dataclass(frozen=True)
class Saliency(Method):
    """|∂S/∂x|; kind "signed" keeps the sign, "squared" squares. Score per input unit.

    at: a layer whose activations take the place of x; None is the input.

    The raw gradient is kept as the explanation's `arrays["gradient"]`.
    """

    kind: Kind = "abs"
    at: str | None = None

    key = "saliency"

    def __post_init__(self) -> None:
        if self.kind not in ("abs", "signed", "squared"):
            raise InvalidArgument(f"Saliency's kind is abs, signed or squared, not {self.kind!r}.")

    @property
    def card(self) -> Card:
        return replace(SALIENCY, signed=self.kind == "signed")

    def attribute(self, run: Run) -> Attribution:
        gradient = run.gradients(at=[self.at] if self.at else []).gradients[0]
        values = {"abs": gradient.abs, "signed": gradient.clone, "squared": gradient.square}
        found = shown(
            values[self.kind](), self.at, run.inputs, {"gradient": gradient}, largest=self.kind == "abs"
        )
        return Attribution(
            **found, reduction="max" if self.kind == "abs" else "sum", no_signal=zero_maps(gradient)
        )


@dataclass(frozen=True)
class InputXGradient(Method):
    """x ∘ ∂S/∂x, in units of the score; sums to S where the network is homogeneous (ReLU, no bias).

    at: a layer whose activations take the place of x; None is the input.
    """

    at: str | None = None

    key = "input_x_gradient"

    @property
    def card(self) -> Card:
        return INPUT_X_GRADIENT

    def attribute(self, run: Run) -> Attribution:
        found = run.gradients(at=[self.at] if self.at else [])
        values = (found.activations[0] if self.at else run.inputs) * found.gradients[0]
        total = values.flatten(1).sum(1)
        diagnostics = [
            {"sum": float(s), "score": float(score)} for s, score in zip(total, run.score, strict=True)
        ]
        return Attribution(
            **shown(values, self.at, run.inputs), diagnostics=diagnostics, no_signal=zero_maps(values)
        )


SALIENCY = Card(
    name="Saliency",
    question="sensitivity",
    answers="Where a small change of the input would change the score most.",
    misleads="Noisy, and blind where the score is saturated; it shows what the score reacts to, "
    "not what it is made of.",
    signed=False,
    conserves=None,
    resolution="element",
    unit="score per unit of input",
    needs="gradients",
    cost="1 forward + 1 backward",
    source="Simonyan et al. 2013, arXiv:1312.6034",
)

INPUT_X_GRADIENT = Card(
    name="Input × gradient",
    question="attribution",
    answers="How much each element contributes in a linear picture of the model around this input.",
    misleads="Carries the input's own pattern into the map; elements that are 0 get nothing, and its "
    "sum is the score only for networks without biases.",
    signed=True,
    conserves="S(x), for ReLU networks without biases",
    resolution="element",
    unit="score per element",
    needs="gradients",
    cost="1 forward + 1 backward",
    source="Shrikumar et al. 2016, arXiv:1605.01713",
)
