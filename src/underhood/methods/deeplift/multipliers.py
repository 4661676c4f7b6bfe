"""DeepLIFT's multipliers (Shrikumar, Greenside & Kundaje 2017, section 3; Lundberg & Lee 2017, section 4.2).

For an operation y = f(a, b, …), Δ being what differs from the reference input's pass, multipliers are slopes
that account for all of Δy:

    m_a · Δa + m_b · Δb + … = Δy,

and follow the chain rule, so that going back through the network they end with S(x) - S(x') shared among the
inputs. With ā the mean of a and a':

    linear                its own weights
    pointwise (Rescale)   m = Δy/Δx
    product               m_a = b̄, m_b = ā
    largest of several    the rise max(y, y') - y' to the winner of x, the fall y - max(y, y') to that of x'
    softmax p             m_x = ℓ ∘ (m - Σ ℓ m / Σ ℓ), with ℓ = Δp/Δ(log p), the logarithmic mean of p and p'
    any other             the Jacobian's mean on the line from reference to input; for normalisations in
                          closed form
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from underhood.engine import Op, PlainRules, attached
from underhood.engine.ops import LINEAR, MAXIMA, MOVES, POINTWISE, PRODUCTS, SUMS, tensors_in
from underhood.errors import NotDifferentiable
from underhood.methods.deeplift.maxima import larger, max_pool, maximum
from underhood.methods.deeplift.normalisations import in_closed_form, normalisation
from underhood.methods.deeplift.rules import Rule, mean_jacobian, product, quotient, rescale, softmax


@dataclass
class Tape:
    """What the pass over the reference inputs did."""

    steps: dict[int, tuple[str, str]] = field(default_factory=dict)  # name and layer of each operation
    inputs: dict[int, tuple[Tensor, ...]] = field(default_factory=dict)


class Multipliers(PlainRules):
    """Every operation goes back by its multipliers."""

    memory = 3.0

    def __init__(self) -> None:
        self.tape = Tape()

    def fresh(self) -> "Multipliers":
        return type(self)()

    def recorder(self) -> "Recorder":
        return Recorder(self.tape, self.keeps)

    def keeps(self, op: Op) -> bool:
        """Whether the operation's inputs in the reference pass are wanted."""
        return not is_linear(op)

    def apply(self, op: Op) -> Any:
        if not self.is_comparable(op):
            return self.question(op)
        reference = self.tape.inputs.pop(op.index, ())
        return op() if is_linear(op) else self.nonlinear(op, reference)

    def nonlinear(self, op: Op, reference: tuple[Tensor, ...]) -> Any:
        with torch.no_grad():
            result, back = rule_of(op)(op, tuple(x.detach() for x in op.inputs), reference)
        return attached(result, op.inputs, back)

    def is_comparable(self, op: Op) -> bool:
        """Whether the reference pass did the same."""
        found, step = self.tape.inputs.get(op.index, ()), self.tape.steps.get(op.index)
        same = step == (op.name, op.layer)
        return same and all(a.shape == b.shape for a, b in zip(found, op.inputs, strict=False))

    def question(self, op: Op) -> Any:
        """An operation that no gradient passes, such as a comparison; any other had to be comparable."""
        result = op()
        if any(leaf.requires_grad for leaf in tensors_in(result)):
            where = op.layer or "the model itself"
            raise NotDifferentiable(
                f"In layer '{where}' the model does something else ('{op.name}') for the input than for "
                "its baseline, so their operations cannot be compared; use a method that does not compare "
                "them, such as integrated gradients."
            )
        return result


class Recorder(PlainRules):
    """Runs the reference inputs, and keeps of them what the operations with rules will ask for."""

    def __init__(self, tape: Tape, keeps: Callable[[Op], bool]):
        self._tape, self._keeps = tape, keeps

    def apply(self, op: Op) -> Any:
        inputs = tuple(x.detach() for x in op.inputs)
        if op.name in MOVES | SUMS:  # whose graph keeps nothing alive
            result = op()
        else:
            with torch.no_grad():
                result = attached(op(*inputs), op.inputs, _nothing)
        if any(leaf.requires_grad for leaf in tensors_in(result)):
            self._tape.steps[op.index] = op.name, op.layer
            if self._keeps(op):
                self._tape.inputs[op.index] = inputs
        return result


def _nothing(*_: Tensor) -> Sequence[Tensor | None]:
    raise AssertionError("the reference pass has no backward pass")


def is_linear(op: Op) -> bool:
    """Linear in all its inputs together, so that its gradient is its multiplier."""
    if op.name in MOVES | SUMS or op.name == "neg":
        return True
    if len(op.inputs) > 1 or op.name not in LINEAR | PRODUCTS:
        return False
    return op.name != "div" or op.places[0] == 0


def rule_of(op: Op) -> Rule:
    if op.name in POINTWISE and len(op.inputs) == 1:
        return rescale
    if op.name in PRODUCTS - {"div"} and len(op.inputs) == 2:
        return product
    if op.name == "div" and op.argument(2, "rounding_mode") is None:
        return quotient
    if op.name in MAXIMA and "pool" in op.name:
        return max_pool
    if op.name in ("max", "amax") and isinstance(op.argument(1, "dim"), int):
        return maximum
    if op.name in ("maximum", "minimum", "max", "min") and len(op.inputs) == 2:
        return larger
    if op.name in ("softmax", "log_softmax") and op.argument(1, "dim") is not None:
        return softmax
    if in_closed_form(op):
        return normalisation
    return mean_jacobian
