"""How far a map moves, relative to how far the input, the output or an inner representation moves.

Agarwal et al. 2022, "Rethinking stability for attribution-based explanations", eq. 2, 3 and 5. With e and e'
the maps of x and x', L a layer's activations, h the model's scores, and divisions element by element:

    RIS = max ‖(e - e') / e‖ / max(‖(x - x') / x‖, ε),
    RRS = max ‖(e - e') / e‖ / max(‖(L(x) - L(x')) / L(x)‖, ε),
    ROS = max ‖(e - e') / e‖ / max(‖h(x) - h(x')‖, ε)

over x' near x of the same predicted class. Elements nearer to 0 than 10⁻⁶ of the largest are divided by that,
so that a map's scale does not matter; a map with many zeros still gives very large figures.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.moves import Compared
from underhood.checks.nearby import Told, steps
from underhood.checks.sensitivity import Sensitivity
from underhood.checks.stability import CONTROLS, COST, MISLEADS
from underhood.engine import Engine, trace
from underhood.errors import InvalidArgument, Unfit


@dataclass(frozen=True)
class RelativeInputStability(Sensitivity):
    """The map's relative change over the input's.

    epsilon: the least that the input's change counts.
    """

    epsilon: float = 1e-6

    key = "relative_input_stability"
    change = "relative"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.epsilon > 0:
            raise InvalidArgument(f"A relative stability's epsilon must be above 0, not {self.epsilon}.")

    @property
    def card(self) -> CheckCard:
        return RELATIVE_INPUT_STABILITY

    def scale(self, batch: Batch, found: Told) -> Tensor:
        return steps(batch, self.near, found.count)[1].clamp(min=self.epsilon)

    def said(self, value: float, shifted: float) -> str:
        return (
            f"The map changes by up to {value:.3g} times as much as {self._other}, or more, relative to "
            f"each (10^{_power(value)}; a map laid elsewhere: 10^{_power(shifted)})."
        )

    _other = "the input"


def _power(value: float) -> str:
    return f"{math.log10(value):.1f}" if value > 0 else "-∞"


@dataclass(frozen=True)
class RelativeOutputStability(RelativeInputStability):
    """The map's relative change over the change of the model's scores."""

    key = "relative_output_stability"
    _other = "the scores"

    @property
    def card(self) -> CheckCard:
        return RELATIVE_OUTPUT_STABILITY

    def scale(self, batch: Batch, found: Told) -> Tensor:
        off = found.outputs - batch.run.outputs
        return torch.linalg.vector_norm(off, dim=-1, dtype=torch.float64).clamp(min=self.epsilon)


@dataclass(frozen=True)
class RelativeRepresentationStability(RelativeInputStability):
    """The map's relative change over that of a layer's activations.

    layer: whose; None is what the last linear layer reads.
    """

    layer: str | None = None

    key = "relative_representation_stability"
    _other = "what the model makes of the input"

    @property
    def card(self) -> CheckCard:
        return RELATIVE_REPRESENTATION_STABILITY

    def scale(self, batch: Batch, found: Told) -> Tensor:
        run, key = batch.run, ("representation", self.near, found.count, self.layer)
        if key not in batch.memory:
            layer = self.layer or representation(run.engine, run.inputs[0])
            compared = Compared(run.activations([layer])[0], found.count, ranked=False)
            variants = self.near.variants(run.inputs, run.seed, 0, found.count)
            run.map(variants, lambda noisy: noisy.activations([layer])[0].flatten(1), compared)
            batch.memory[key] = compared.moves.relative
        return batch.memory[key].clamp(min=self.epsilon)


def representation(engine: Engine, example: Tensor) -> str:
    """The layer whose output the last linear layer reads: the model's last word before its scores."""
    records = trace(engine, example)
    last = next((i for i in reversed(range(len(records))) if records[i].type == "Linear"), len(records) - 1)
    before = [record for record in records[:last] if record.bare and record.output != records[last].output]
    if not before:
        raise Unfit("the model has no layer before its last; name one with layer=")
    return before[-1].name if before[-1].calls == 1 else f"{before[-1].name}#{before[-1].calls}"


def _card(name: str, asks: str, other: str, misleads: str, cost: str) -> CheckCard:
    return CheckCard(
        name=name,
        question="stability",
        asks=asks,
        defined=f"The largest relative change of the map over {other}, over the draws: a lower bound.",
        better="lower",
        unit="none",
        range="0 (stays as it is) upwards; compare powers of ten",
        controls=CONTROLS,
        misleads=f"{misleads} {MISLEADS}",
        cost=cost,
        source="Agarwal et al. 2022, arXiv:2203.06877",
    )


RELATIVE_INPUT_STABILITY = _card(
    "Relative input stability",
    "Does the map change more than the input, relative to each?",
    "the input's relative change",
    "Elements of the map or the input that are nearly 0 decide it.",
    COST,
)
RELATIVE_OUTPUT_STABILITY = _card(
    "Relative output stability",
    "Does the map change where the model's scores do not?",
    "the change of the model's scores",
    "Depends on the scale of the scores, and on elements of the map that are nearly 0.",
    COST,
)
RELATIVE_REPRESENTATION_STABILITY = _card(
    "Relative representation stability",
    "Does the map change more than what the model makes of the input?",
    "the relative change of a layer's activations",
    "Units of the layer that are nearly 0 decide it, as rectified ones often are.",
    f"{COST} + draws forward passes",
)
