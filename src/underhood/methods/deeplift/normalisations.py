"""Multipliers of normalisations: the mean Jacobian of their rows on the line from reference to input."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from underhood.engine import Back, Op


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
    length = len(op.argument(1, "normalized_shape"))
    return Rows(lambda x: x.flatten(-length), op.argument(4, "eps", 1e-5), op.argument(2, "weight"))


def _rms_norm(op: Op) -> Rows:
    length = len(op.argument(1, "normalized_shape"))
    epsilon = op.argument(3, "eps") or torch.finfo(op.inputs[0].dtype).eps
    return Rows(lambda x: x.flatten(-length), epsilon, op.argument(2, "weight"), centred=False)


def _group_norm(op: Op) -> Rows:
    groups, weight = op.argument(1, "num_groups"), _per_channel(op.argument(2, "weight"), op.inputs[0])
    return Rows(lambda x: x.reshape(len(x), groups, -1), op.argument(4, "eps", 1e-5), weight)


def _instance_norm(op: Op) -> Rows:
    weight = _per_channel(op.argument(3, "weight"), op.inputs[0])
    return Rows(lambda x: x.flatten(2), op.argument(7, "eps", 1e-5), weight)


def _normalize(op: Op) -> Rows:
    dim = op.argument(2, "dim", 1)
    length, epsilon = op.inputs[0].shape[dim], op.argument(3, "eps", 1e-12)
    return Rows(
        lambda x: x.movedim(dim, -1), epsilon**2 / length, length**-0.5, False, lambda m: m.movedim(-1, dim)
    )


def _per_channel(weight: Tensor | None, x: Tensor) -> Tensor | None:
    return None if weight is None else weight.reshape(-1, *[1] * (x.ndim - 2))


ROWS: dict[str, Callable[[Op], Rows]] = {
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "normalize": _normalize,
}


def in_closed_form(op: Op) -> bool:
    """A normalisation, not by given statistics nor by another norm than the Euclidean along one dimension."""
    if op.name == "instance_norm":
        return bool(op.argument(5, "use_input_stats", True))
    if op.name == "normalize":
        return op.argument(1, "p", 2.0) == 2 and isinstance(op.argument(2, "dim", 1), int)
    return op.name in ROWS
