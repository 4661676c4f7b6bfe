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

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils import _pytree as tree

from underhood.engine import Op, PlainRules
from underhood.engine.ops import LINEAR, MAXIMA, MOVES, POINTWISE, PRODUCTS, SUMS
from underhood.errors import NotDifferentiable

Back = Callable[..., Sequence[Tensor | None]]  # from signals at the outputs to those at the inputs
Rule = Callable[[Op, tuple[Tensor, ...], tuple[Tensor, ...]], tuple[Any, Back]]  # of inputs and references


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
        if any(leaf.requires_grad for leaf in _tensors(result)):
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
        if any(leaf.requires_grad for leaf in _tensors(result)):
            self._tape.steps[op.index] = op.name, op.layer
            if self._keeps(op):
                self._tape.inputs[op.index] = inputs
        return result


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
    if op.name == "div" and argument(op, 2, "rounding_mode") is None:
        return quotient
    if op.name in MAXIMA and "pool" in op.name:
        return max_pool
    if op.name in ("max", "amax") and isinstance(argument(op, 1, "dim"), int):
        return maximum
    if op.name in ("maximum", "minimum", "max", "min") and len(op.inputs) == 2:
        return larger
    if op.name in ("softmax", "log_softmax") and argument(op, 1, "dim") is not None:
        return softmax
    if op.name in ROWS and not _is_unusual(op):
        return normalisation
    return mean_jacobian


def _is_unusual(op: Op) -> bool:
    """A normalisation by given statistics, or of another norm than the Euclidean along one dimension."""
    if op.name == "instance_norm":
        return not argument(op, 5, "use_input_stats", True)
    usual = argument(op, 1, "p", 2.0) == 2 and isinstance(argument(op, 2, "dim", 1), int)
    return op.name == "normalize" and not usual


def rescale(op: Op, inputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> tuple[Any, Back]:
    """Δy/Δx; where the two inputs are too close for it, the derivative between them."""
    (x,), (x0,) = inputs, reference
    y = op(x)
    slope = slope_of(op, x, x0, y, op(x0))
    return y, lambda signal: (signal * slope,)


def slope_of(op: Op, x: Tensor, x0: Tensor, y: Tensor, y0: Tensor) -> Tensor:
    """(y - y0) / (x - x0) of a pointwise operation."""
    step = x - x0
    if op.name in PIECEWISE_LINEAR:  # exact for steps of any size
        near = step == 0
    else:  # where the ratio's rounding would exceed the error of the derivative between
        middle = (x + x0) / 2
        near = step.abs() <= torch.finfo(x.dtype).eps ** (1 / 3) * middle.abs().clamp(max=1)
    slope = (y - y0).div_(step)
    if near.any():
        torch.where(near, derivative(op, (x + x0) / 2), slope, out=slope)
    return slope


def product(op: Op, inputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> tuple[Any, Back]:
    """Of anything bilinear: each factor's multiplier is its gradient between input and reference."""
    middle = tuple((a + b) / 2 for a, b in zip(inputs, reference, strict=True))
    return op(*inputs), lambda *signals: _jacobian(op, middle, signals)


def quotient(op: Op, inputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> tuple[Any, Back]:
    """a · (1/b), with Δ(1/b) = -Δb / (b b')."""
    b, b0 = inputs[-1], reference[-1]
    top = argument(op, 0, "input")
    constant = len(inputs) == 1
    middle = top if constant else (inputs[0] + reference[0]) / 2
    inverse, slope = (1 / b + 1 / b0) / 2, -1 / (b * b0)

    def back(signal: Tensor) -> Sequence[Tensor | None]:
        to_b = _shaped_as(signal * middle * slope, b)
        return (to_b,) if constant else (_shaped_as(signal * inverse, inputs[0]), to_b)

    return op(*inputs), back


def max_pool(op: Op, inputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> tuple[Any, Back]:
    (x,), (x0,), places = inputs, reference, int(op.name[-2])
    (y, winner), (y0, winner0) = _pooled(op, x), _pooled(op, x0)

    def flat(tensor: Tensor) -> Tensor:
        return tensor.flatten(-places)

    back = _to_winners(flat(x), flat(x0), (flat(y), flat(winner)), (flat(y0), flat(winner0)), -1)
    shape = x.shape
    return y, lambda signal: (back(flat(signal)).view(shape),)


def maximum(op: Op, inputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> tuple[Any, Back]:
    """The largest along one dimension."""
    (x,), (x0,), dim = inputs, reference, argument(op, 1, "dim")
    (y, winner), (y0, winner0) = x.max(dim, keepdim=True), x0.max(dim, keepdim=True)
    back, shape = _to_winners(x, x0, (y, winner), (y0, winner0), dim), y.shape
    return op(x), lambda signal: (back(signal.reshape(shape)),)


Best = tuple[Tensor, Tensor]  # the largest, and where it was


def _to_winners(x: Tensor, x0: Tensor, best: Best, best0: Best, dim: int) -> Callable[[Tensor], Tensor]:
    """The rise to max(y, y') goes to x's winner, the fall from it to the winner of x'."""
    (y, winner), (y0, winner0) = best, best0
    same, shape = winner == winner0, x.shape
    rise = torch.where(same, 1, torch.where(y > y0, (y - y0) / (y - x0.gather(dim, winner)), 0))
    fall = torch.where(same, 0, torch.where(y < y0, (y - y0) / (x.gather(dim, winner0) - y0), 0))

    def back(signal: Tensor) -> Tensor:
        total = signal.new_zeros(shape)
        total.scatter_add_(dim, winner, signal * rise)
        return total.scatter_add_(dim, winner0, signal * fall)

    return back


def larger(op: Op, inputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> tuple[Any, Back]:
    """Of two: (a + b ± |a - b|)/2, the magnitude by the Rescale rule."""
    (a, b), (a0, b0) = inputs, reference
    d, d0 = a - b, a0 - b0
    slope = torch.where(d == d0, d.sign(), (d.abs() - d0.abs()) / (d - d0)) / 2
    slope = slope if op.name.startswith("max") else -slope

    def back(signal: Tensor) -> Sequence[Tensor]:
        return _shaped_as(signal * (0.5 + slope), a), _shaped_as(signal * (0.5 - slope), b)

    return op(a, b), back


def softmax(op: Op, inputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> tuple[Any, Back]:
    """Softmax or its logarithm: Σ p = Σ p' makes ΣℓΔx/Σℓ the change of its normaliser, exactly."""
    (x,), (x0,) = inputs, reference
    dim, logarithm = argument(op, 1, "dim"), op.name == "log_softmax"
    logs, logs0 = (F.log_softmax(each, dim) for each in (x, x0))
    mean = logarithmic_mean(logs, logs0)
    total = mean.sum(dim, keepdim=True)

    def back(signal: Tensor) -> Sequence[Tensor]:
        if logarithm:
            return (signal - mean / total * signal.sum(dim, keepdim=True),)
        return (mean * (signal - (mean * signal).sum(dim, keepdim=True) / total),)

    return op(x), back


def logarithmic_mean(logs: Tensor, logs0: Tensor) -> Tensor:
    """(p - p') / (log p - log p') from the logarithms; 0 where either is 0."""
    p, p0, step = logs.exp(), logs0.exp(), logs - logs0
    near = step.abs() <= torch.finfo(p.dtype).eps ** (1 / 3)
    mean = torch.where(near, (p * p0).sqrt(), (p - p0) / step)
    return mean.nan_to_num_(0, 0, 0)


def normalisation(op: Op, inputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> tuple[Any, Back]:
    """The mean Jacobian of rows z/√(mean z² + ε) between reference and input, in closed form.

    With c(α) = (1 - α) c' + α c it is ∫1/s I - 1/N ∫ c cᵀ/s³, s² = mean c(α)² + ε being quadratic in α.
    """
    form = ROWS[op.name](op)
    x, (c, c0) = inputs[0], (form.rows(each) for each in (*inputs, *reference))  # (…, N)
    if form.centred:
        c, c0 = (z - z.mean(-1, keepdim=True) for z in (c, c0))
    inverse, own0, cross, own = _line_integrals(c, c0, form.epsilon)

    def back(signal: Tensor) -> Sequence[Tensor]:
        m = form.rows(signal if form.weight is None else signal * form.weight)
        along, along0 = (m * c).mean(-1, keepdim=True), (m * c0).mean(-1, keepdim=True)
        m = m * inverse - c0 * (own0 * along0 + cross * along) - c * (cross * along0 + own * along)
        return (form.back(m - m.mean(-1, keepdim=True) if form.centred else m).reshape(shape),)

    shape = x.shape
    return op(x), back


def _line_integrals(c: Tensor, c0: Tensor, epsilon: float) -> tuple[Tensor, ...]:
    """∫1/s, ∫(1-α)²/s³, ∫α(1-α)/s³ and ∫α²/s³ over α in 0…1 for each row, (…, 1)."""
    c, c0, kind = c.double(), c0.double(), c.dtype
    p, q, r = ((a * b).mean(-1, keepdim=True) for a, b in ((c0, c0), (c0, c), (c, c)))
    s, s0 = (r + epsilon).sqrt(), (p + epsilon).sqrt()
    length = (c - c0).square().mean(-1, keepdim=True).sqrt()
    spread = (s + s0).square() - length.square()
    first, last = 2 / (s0 * spread), 2 / (s * spread)  # ∫(1-α)/s³, ∫α/s³
    straight = 2 / length * torch.atanh(length / (s + s0))  # ∫1/s
    cross = (1 / s + last * (r - q) - straight) / length.square()
    cross = torch.where(length > 1e-4 * (s + s0), cross, (s * s0) ** -1.5 / 6)
    inverse = 1 / s + last * (r - q) - cross * length.square()  # the same, so that all of Δy is accounted for
    return tuple(found.to(kind) for found in (inverse, first - cross, cross, last - cross))


@dataclass(frozen=True)
class Rows:
    """How a normalisation takes rows (…, N) from its input and puts them back; its ε and weight."""

    rows: Callable[[Tensor], Tensor]
    epsilon: float
    weight: Any = None
    centred: bool = True
    back: Callable[[Tensor], Tensor] = lambda rows: rows


def _layer_norm(op: Op) -> Rows:
    length = len(argument(op, 1, "normalized_shape"))
    return Rows(lambda x: x.flatten(-length), argument(op, 4, "eps", 1e-5), argument(op, 2, "weight"))


def _rms_norm(op: Op) -> Rows:
    length = len(argument(op, 1, "normalized_shape"))
    epsilon = argument(op, 3, "eps") or torch.finfo(op.inputs[0].dtype).eps
    return Rows(lambda x: x.flatten(-length), epsilon, argument(op, 2, "weight"), centred=False)


def _group_norm(op: Op) -> Rows:
    groups, weight = argument(op, 1, "num_groups"), _per_channel(argument(op, 2, "weight"), op.inputs[0])
    return Rows(lambda x: x.reshape(len(x), groups, -1), argument(op, 4, "eps", 1e-5), weight)


def _instance_norm(op: Op) -> Rows:
    weight = _per_channel(argument(op, 3, "weight"), op.inputs[0])
    return Rows(lambda x: x.flatten(2), argument(op, 7, "eps", 1e-5), weight)


def _normalize(op: Op) -> Rows:
    dim = argument(op, 2, "dim", 1)
    length, epsilon = op.inputs[0].shape[dim], argument(op, 3, "eps", 1e-12)
    return Rows(
        lambda x: x.movedim(dim, -1), epsilon**2 / length, length**-0.5, False, lambda m: m.movedim(-1, dim)
    )


ROWS: dict[str, Callable[[Op], Rows]] = {
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "normalize": _normalize,
}


def mean_jacobian(op: Op, inputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> tuple[Any, Back]:
    points, weights = np.polynomial.legendre.leggauss(POINTS)

    def back(*signals: Tensor) -> Sequence[Tensor | None]:
        total = [torch.zeros_like(x) for x in inputs]
        for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
            between = tuple(torch.lerp(b, a, float(point)) for a, b in zip(inputs, reference, strict=True))
            for sum_, found in zip(total, _jacobian(op, between, signals), strict=True):
                sum_.add_(found, alpha=float(weight))
        return total

    return op(*inputs), back


class _Attached(torch.autograd.Function):
    """Results with a backward pass of our own."""

    @staticmethod
    def forward(ctx: Any, results: Sequence[Tensor], back: Back, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.back, ctx.inputs = back, len(inputs)
        ctx.set_materialize_grads(True)
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *signals: Tensor) -> tuple[Any, ...]:
        return None, None, *ctx.back(*signals)


def attached(result: Any, inputs: Sequence[Tensor], back: Back) -> Any:
    """An operation's result, going back to its inputs by `back`; what is not of real numbers stays."""
    leaves, form = tree.tree_flatten(result)
    real = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    if not real:
        return result
    # A view could not be written into by an in-place operation further on.
    ours = [leaves[i].clone() if leaves[i]._base is not None else leaves[i] for i in real]
    with torch.enable_grad():
        for i, leaf in zip(real, _Attached.apply(ours, back, *inputs), strict=True):
            leaves[i] = leaf
    return tree.tree_unflatten(leaves, form)


def _nothing(*_: Tensor) -> Sequence[Tensor | None]:
    raise AssertionError("the reference pass has no backward pass")


def _jacobian(op: Op, at: Sequence[Tensor], signals: Sequence[Tensor]) -> Sequence[Tensor]:
    """Signals times the operation's Jacobian at some inputs."""
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in at]
        outputs = [y for y in _tensors(op(*leaves)) if y.is_floating_point()]
        pairs = [(y, signal) for y, signal in zip(outputs, signals, strict=True) if y.requires_grad]
        if not pairs:
            return [torch.zeros_like(x) for x in at]
        ys, signals = zip(*pairs, strict=True)
        return torch.autograd.grad(ys, leaves, signals, materialize_grads=True)


def derivative(op: Op, at: Tensor) -> Tensor:
    (found,) = _jacobian(op, (at,), (torch.ones_like(at),))
    return found


def _pooled(op: Op, x: Tensor) -> tuple[Tensor, Tensor]:
    args, kwargs = op.arguments(x)
    pool = getattr(F, op.name + "_with_indices")
    y, index = pool(*args, **{**kwargs, "return_indices": True} if len(args) < 7 else kwargs)
    return y, index


def _shaped_as(signal: Tensor, like: Tensor) -> Tensor:
    return signal.sum_to_size(like.shape)


def _per_channel(weight: Tensor | None, x: Tensor) -> Tensor | None:
    return None if weight is None else weight.reshape(-1, *[1] * (x.ndim - 2))


def _tensors(result: Any) -> list[Tensor]:
    return [leaf for leaf in tree.tree_leaves(result) if isinstance(leaf, Tensor)]


def argument(op: Op, place: int, name: str, default: Any = None) -> Any:
    args, kwargs = op.arguments()
    return args[place] if len(args) > place else kwargs.get(name, default)


PIECEWISE_LINEAR = frozenset(
    {"abs", "clamp", "clamp_max", "clamp_min", "hardshrink", "hardsigmoid", "hardtanh", "leaky_relu"}
    | {"prelu", "relu", "relu6", "rrelu", "softshrink", "threshold"}
)
POINTS = 16  # of the quadrature for operations without a rule of their own
