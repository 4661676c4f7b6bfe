"""How relevance goes back through operations without weights; `operations` says which goes how."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from underhood.engine import Op
from underhood.errors import NotDifferentiable
from underhood.methods.lrp.affine import vjp
from underhood.methods.lrp.carried import Back, carried
from underhood.methods.lrp.rules import ratio

EPSILON = 1e-6  # of operations without weights


def as_it_is(R: Tensor, _inputs: Any, _output: Any) -> list[Tensor]:
    return [R]


def nothing(_R: Tensor, _inputs: Any, _output: Any) -> list[None]:
    return [None]


def numerator(R: Tensor, inputs: Sequence[Tensor], _output: Any) -> list[Tensor | None]:
    return [R.sum_to_size(inputs[0].shape), *[None] * (len(inputs) - 1)]


def linear(op: Op, function: Callable[[Tensor], Tensor]) -> Any:
    """ε-rule through a linear function of one input; function(x) = op(x) in value or in its stead."""

    def back(R: Tensor, inputs: Sequence[Tensor], output: Callable[[], Tensor]) -> list[Tensor]:
        (x,) = inputs
        z = output() if function is op else function(x)
        return [x * vjp(function, x, ratio(R, z, EPSILON))]

    return carried(op, back, "inputs, output" if function is op else "inputs")


def shares(op: Op) -> Back:
    """z = a + c b."""
    args, kwargs = op.arguments(*op.inputs)
    a, b = (*args, *(kwargs[key] for key in ("input", "other") if key in kwargs))[:2]
    factor = kwargs.get("alpha", 1) * (-1 if op.name == "sub" else 1)
    places = [i for i, tensor in enumerate((a, b)) if any(tensor is given for given in op.inputs)]
    constants = (None if 0 in places else a, None if 1 in places else b)

    def back(R: Tensor, inputs: Sequence[Tensor], _output: Any) -> list[Tensor]:
        given = dict(zip(places, inputs, strict=True))
        summands: list[Any] = [given.get(i, constants[i]) for i in (0, 1)]
        summands[1] = summands[1] * factor if factor != 1 else summands[1]
        s = ratio(R, summands[0] + summands[1], EPSILON)
        return [(s * summands[i]).sum_to_size(given[i].shape) for i in places]

    return back


def factors(kinds: Sequence[str]) -> Back:
    """Of a product, kinds as in `Made`."""
    if len(kinds) == 2 and len(set(kinds)) == 2:  # the signal takes all, a gate rather than a constant
        order = ("signal", "gate", "constant")
        shares = [1.0 if kind == min(kinds, key=order.index) else 0.0 for kind in kinds]
    else:
        shares = [1 / len(kinds)] * len(kinds)

    def back(R: Tensor, inputs: Sequence[Tensor], _output: Any) -> list[Tensor | None]:
        pairs = zip(inputs, shares, strict=True)
        return [
            (R * share if share != 1 else R).sum_to_size(x.shape) if share else None for x, share in pairs
        ]

    return back


def by_gradient(op: Op, share: float = 1) -> Back:
    """x ∂z/∂x R/z, of which each input gets a share."""

    def back(R: Tensor, inputs: Sequence[Tensor], output: Callable[[], Tensor]) -> list[Tensor]:
        s = ratio(R * share if share != 1 else R, output(), EPSILON)
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_() for x in inputs]
            slopes = torch.autograd.grad(op(*leaves), leaves, s, materialize_grads=True)
        return [x * slope for x, slope in zip(inputs, slopes, strict=True)]

    return back


def softmax(op: Op) -> Back:
    dim = op.argument(1, "dim")

    def back(R: Tensor, inputs: Sequence[Tensor], output: Callable[[], Tensor]) -> list[Tensor]:
        (x,) = inputs
        found = x * (R - output() * R.sum(dim, keepdim=True))
        return [torch.where(x.isfinite(), found, 0)]  # a masked place has no relevance

    return back


def as_average(op: Op) -> Callable[[Tensor], Tensor]:
    """Average pooling over the same windows as an operation of max-pooling."""
    function = getattr(F, op.name.replace("max", "avg"))
    if op.name.startswith("adaptive"):
        size = op.argument(1, "output_size")
        return lambda x: function(x, size)
    given = op.named("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    if given.get("dilation", 1) not in (1, (1, 1), [1, 1]):
        raise NotDifferentiable(f"Layer '{op.layer}' pools with dilation; use pooling='winner'.")
    stride, padding = given.get("stride"), given.get("padding", 0)
    return lambda x: function(x, given["kernel_size"], stride, padding, given.get("ceil_mode", False))
