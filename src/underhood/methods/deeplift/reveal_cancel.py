"""DeepLIFT's RevealCancel rule (Shrikumar, Greenside & Kundaje 2017, section 3.5.3).

What raises a nonlinearity's input, Δ⁺, and what lowers it, Δ⁻, are propagated apart, each by the mean of what
it does alone and after the other:

    Δy⁺ = ½ (f(x' + Δ⁺) - f(x')) + ½ (f(x' + Δ⁻ + Δ⁺) - f(x' + Δ⁻)),      m⁺ = Δy⁺/Δ⁺,

and the same for Δ⁻. Δ⁺ and Δ⁻ are the sums of positive and of negative contributions to the linear operation
before (section 3.5.1): of w_i Δa_i for weights, of Δa and Δb for a + b. Moving, scaling and shifting what it
gave, as batch normalisation does, carries both along. Where nothing linear went before, one of them is 0, and
the rule is Rescale's.
"""

from typing import Any

import torch
from torch import Tensor

from underhood.engine import Op, attached
from underhood.engine.ops import CONVOLUTIONS, LINEAR, MOVES, SUMS
from underhood.methods.deeplift.multipliers import Multipliers, is_linear, rule_of
from underhood.methods.deeplift.rules import derivative, rescale

Parts = tuple[Tensor, Tensor]  # Δ⁺ and Δ⁻, with the graph by which they depend on what went before


class RevealCancel(Multipliers):
    """Pointwise operations by the RevealCancel rule, all others as before."""

    memory = 8.0

    def __init__(self) -> None:
        super().__init__()
        self._linear: dict[int, tuple[Op, tuple[Tensor, ...]]] = {}  # with the inputs of the reference pass

    def keeps(self, op: Op) -> bool:
        return op.name not in MOVES

    def apply(self, op: Op) -> Any:
        if is_linear(op):
            self._linear[op.index] = op, self.tape.inputs.get(op.index, ())
        return super().apply(op)

    def nonlinear(self, op: Op, reference: tuple[Tensor, ...]) -> Any:
        parts = self.parts(op.sources[0]) if rule_of(op) is rescale else None
        if parts is None:
            return super().nonlinear(op, reference)
        with torch.no_grad():
            x, x0 = op.inputs[0].detach(), reference[0]
            up, down = (part.detach() for part in parts)
            y, y0, raised, lowered = op(x), op(x0), op(x0 + up), op(x0 + down)
            slopes = (
                _slope(op, x, x0, (raised - y0 + y - lowered) / 2, up),
                _slope(op, x, x0, (lowered - y0 + y - raised) / 2, down),
            )
        return attached(y, parts, lambda signal: [signal * slope for slope in slopes])

    def parts(self, index: int) -> Parts | None:
        """What raised and what lowered the result of an operation; None where it is a single contribution."""
        if index not in self._linear:
            return None
        op, reference = self._linear[index]
        if op.name in SUMS and len(op.inputs) == 2:
            changes = [x - x0 for x, x0 in zip(op.inputs, reference, strict=True)]
            (a, b), (c, d) = map(_by_sign, (changes[0], _second(op, changes[1])))
            return a + c, b + d
        if op.name in WEIGHTED and len(op.inputs) == 1:
            return _weighted(op, *_by_sign(op.inputs[0] - reference[0]))
        if op.name in AVERAGES:
            rise, fall = _by_sign(op.inputs[0] - reference[0])
            return op(rise), op(fall)
        return self._carried(op)

    def _carried(self, op: Op) -> Parts | None:
        """Through an operation that gives each element one place, perhaps scaled, perhaps shifted."""
        before = [self.parts(source) for source in op.sources]
        if len(op.inputs) != 1 or before[0] is None or not isinstance(shift := _at_zero(op), Tensor):
            return None
        up, down = (op(part) - shift for part in before[0])
        falls = (op(torch.ones_like(before[0][0])) - shift).detach() < 0
        return torch.where(falls, down, up), torch.where(falls, up, down)


def _by_sign(change: Tensor) -> Parts:
    """A change as a rise and a fall; where there is none, half of its multiplier comes from either."""
    rise = (change.detach().sign() + 1) / 2
    return change * rise, change * (1 - rise)


def _weighted(op: Op, rise: Tensor, fall: Tensor) -> Parts:
    plus, minus = op.with_weight(lambda w: w.clamp(min=0)), op.with_weight(lambda w: w.clamp(max=0))
    return plus(rise) + minus(fall), minus(rise) + plus(fall)


def _second(op: Op, change: Tensor) -> Tensor:
    """What the second of two summed tensors contributes."""
    change = change * op.arguments()[1].get("alpha", 1)
    return -change if op.name == "sub" else change


def _at_zero(op: Op) -> Any:
    return op(torch.zeros_like(op.inputs[0]))


def _slope(op: Op, x: Tensor, x0: Tensor, rise: Tensor, part: Tensor) -> Tensor:
    """rise / part; where the part is too small for it, what a small one would have."""
    none = part.abs() <= 1e-4 * (x - x0).abs()
    slope = rise / part
    if none.any():
        slope = torch.where(none, (derivative(op, x0) + derivative(op, x)) / 2, slope)
    return slope


WEIGHTED = CONVOLUTIONS | {"linear", "matmul"}
AVERAGES = LINEAR - CONVOLUTIONS - {"linear", "batch_norm"}
