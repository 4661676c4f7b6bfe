"""What every kind of operation does with relevance on its way back.

The relevance R of an operation's result takes the place of the gradient in autograd: what only moves
elements (views, concatenation, indexing, max-pooling's winners) needs no rule, as its gradient moves
relevance just so.

    layers with weights   their rule in the composite; BatchNorm after one of them is merged into it
    other linear ones     ε: R_i = x_i Σ_j ∂z_j/∂x_i R_j / z_j (pooling, means, BatchNorm left by itself)
    sums                  ε: each summand its share; what a constant contributes is absorbed
    activations           R as it is
    products              of a signal and a gate (a sigmoid) or a statistic: all of R to the signal (Arras
                          et al. 2017, arXiv:1706.07206); of two signals: half of R each
    divisions             all of R to the numerator
    bilinear ones         R/2 by ε for each factor (q kᵀ and attention · v)
    softmax               R_i = x_i (R_i − s_i Σ_j R_j)
    normalisations        with the standard deviation taken as constant, linear: ε

The last five as in AttnLRP (Achtibat et al. 2024, arXiv:2402.05602), except where a source is named.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from underhood.engine import Op, PlainRules
from underhood.engine.ops import (
    LINEAR,
    MAXIMA,
    MOVES,
    NORMALISATIONS,
    POINTWISE,
    PRODUCTS,
    SUMS,
    tensors_in,
    words,
)
from underhood.errors import NotDifferentiable
from underhood.methods.lrp.affine import Affine, affine, vjp
from underhood.methods.lrp.composites import Composite, rule_for
from underhood.methods.lrp.rules import Rule, ZBox, ratio

EPSILON = 1e-6  # of operations without weights
GATES = frozenset({"sigmoid", "hardsigmoid"})
STATISTICS = words("var std var_mean std_mean norm vector_norm matrix_norm linalg_vector_norm linalg_norm")
WINNERS = MAXIMA | words("amin min maximum minimum fmax fmin topk sort")
KEEP_SIGN = words(
    "flatten view reshape clone contiguous getitem chunk split cat concat dropout permute transpose"
)
KEEP_SIGN |= {name for name in WINNERS | LINEAR if "pool" in name}
COPIES = words("clone contiguous to float double type pad alias requires_grad_")

Pooling = Literal["winner", "average"]
Unknown = Literal["error", "gradient"]
Back = Callable[[Tensor, Sequence[Tensor], Callable[[], Tensor]], Sequence[Tensor | None]]
Bounds = tuple[tuple[float, ...], tuple[float, ...]]


class Carried(torch.autograd.Function):
    """An operation whose way back is `back(R, inputs, output)`."""

    @staticmethod
    def forward(ctx: Any, op: Op, back: Back, keeps: str, *inputs: Tensor) -> Any:
        result = op(*inputs)
        ctx.back = back
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*(inputs if "inputs" in keeps else ()))
        ctx.output = Kept(result) if "output" in keeps else None
        return result

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> Any:
        if relevance[0] is None:
            return (None,) * len(ctx.needs_input_grad)
        return (None, None, None, *ctx.back(relevance[0], ctx.saved_tensors, ctx.output))


class Kept:
    """An operation's result, kept without holding on to its graph."""

    def __init__(self, result: Tensor):
        self._tensor, self._version = result.detach(), result._version

    @property
    def intact(self) -> bool:
        return self._tensor._version == self._version

    def __call__(self) -> Tensor:
        if not self.intact:
            raise NotDifferentiable(
                "The model writes into a tensor that relevance propagation needs; use a method without "
                "rules, such as integrated gradients."
            )
        return self._tensor


@dataclass
class Made:
    """What is known of an operation's result.

    kind:   "signal", "gate" (the result of a sigmoid) or "constant" (a statistic: it takes no relevance).
    behind: a layer with weights comes before it.
    raw:    it is the network's input itself.
    nonnegative: nothing in it is below 0.
    """

    kind: str = "signal"
    behind: bool = True
    raw: bool = False
    nonnegative: bool = False


@dataclass
class Weighted:
    """A layer with weights that ran, and what BatchNorm made of it."""

    layer: Affine
    rule: Rule
    merged: tuple[Tensor, Tensor, Kept | None] | None = None  # scale, shift, their result

    def back(self, R: Tensor, inputs: Sequence[Tensor], output: Kept | None) -> list[Tensor]:
        layer, (x,) = self.layer, inputs
        if self.merged:
            scale, shift, output = self.merged  # of the result that both make
            layer = layer.then(scale, shift)
        if self.rule.bias == "ignored":
            layer, output = layer.without_bias(), None
        again = lambda: layer.run(x, layer.weight, layer.bias)  # noqa: E731
        return [self.rule(layer, x, output if output and output.intact else again, R)]


@dataclass
class Findings:
    """What propagation met, for the result to say."""

    rules: dict[str, int] = field(default_factory=Counter)
    passed: set[str] = field(default_factory=set)
    merged: int = 0


@dataclass
class Propagation(PlainRules):
    """The engine's rules for relevance.

    bounds: of the pixels, where they are known. from_input: whether the pass starts at the input.
    """

    composite: Composite
    pooling: Pooling = "winner"
    unknown: Unknown = "error"
    bounds: Bounds | None = None
    from_input: bool = True
    findings: Findings = field(default_factory=Findings)

    memory = 2.0

    def fresh(self) -> "Propagation":
        return OnePass(**vars(self))

    def seed(self, values: Tensor, gradient: Tensor) -> Tensor:
        return values * gradient


@dataclass
class OnePass(Propagation):
    """One pass forward and back."""

    def __post_init__(self) -> None:
        self.findings.rules.clear()
        self._made: dict[int, Made] = {-1: Made(behind=not self.from_input, raw=self.from_input)}
        self._weighted: dict[int, Weighted] = {}
        self._uses: Counter[int] = Counter()

    def apply(self, op: Op) -> Any:
        self._uses.update(op.sources)
        before = [self._made.get(source, Made()) for source in op.sources]
        behind = any(made.behind for made in before)
        raw = op.name in COPIES and before[0].raw
        self._made[op.index] = Made(_kind(op, before), behind, raw, _nonnegative(op, before))
        if all(made.kind == "constant" for made in before):
            return op()
        layer = affine(op)
        if layer is not None:
            return self._layer(op, layer, before[0])
        return self._other(op, before)

    def _layer(self, op: Op, layer: Affine, before: Made) -> Any:
        convolution = op.name.startswith("conv")
        kinds = [":convolution" if convolution else ":dense"]
        if not before.behind:
            kinds += [":first", ":pixels"] if convolution else [":first"]
        rule = rule_for(self.composite, op.layer, kinds)
        if isinstance(rule, ZBox) and rule.low is None and before.raw and self.bounds:
            rule = replace(rule, low=self.bounds[0], high=self.bounds[1])
        self.findings.rules[repr(rule)] += 1
        layer = replace(layer, nonnegative=before.nonnegative)
        self._weighted[op.index] = known = Weighted(layer, rule)
        self._made[op.index].behind = True
        return Carried.apply(op, known.back, "inputs, output" if rule.reads_output else "inputs", *op.inputs)

    def _other(self, op: Op, before: Sequence[Made]) -> Any:
        name, two = op.name, len(op.inputs) == 2
        if name in WINNERS and self.pooling == "average" and "pool" in name:
            return _linear(op, _as_average(op))
        if name in MOVES or name in WINNERS:
            return op()
        if name in POINTWISE:
            return Carried.apply(op, _as_it_is, "", *op.inputs)
        if name in SUMS:
            return Carried.apply(op, _shares(op), "inputs", *op.inputs)
        if name == "batch_norm" and not two:
            return self._batch_norm(op)
        if name == "mul":
            return Carried.apply(op, _factors(before), "inputs", *op.inputs)
        if name == "div":
            return Carried.apply(op, _numerator, "inputs", *op.inputs)
        if name in STATISTICS:
            return Carried.apply(op, _nothing, "", *op.inputs)
        if name == "softmax":
            return Carried.apply(op, _softmax(op), "inputs, output", *op.inputs)
        if name in NORMALISATIONS and (fixed := _with_fixed_spread(op)):
            return _linear(op, fixed)
        if name in LINEAR or name in PRODUCTS:
            return (
                _linear(op, op) if not two else Carried.apply(op, _bilinear(op), "inputs, output", *op.inputs)
            )
        return self._no_rule(op)

    def _batch_norm(self, op: Op) -> Any:
        """Merged into the layer before it, where nothing else takes that layer's output."""
        scale, shift = _scale_and_shift(op)
        source, known = op.sources[0], self._weighted.get(op.sources[0])

        def back(R: Tensor, _: Any, output: Callable[[], Tensor]) -> list[Tensor]:
            if known and known.merged and self._uses[source] == 1:
                return [R]
            y = output()
            if known:
                known.merged = None
            return [ratio(R, y, EPSILON) * (y - shift.reshape(1, -1, *[1] * (y.ndim - 2)))]

        result = Carried.apply(op, back, "output", *op.inputs)
        if known and not known.merged:
            known.merged = (scale, shift, Kept(result) if known.rule.reads_output else None)
        return result

    def _no_rule(self, op: Op) -> Any:
        with torch.no_grad():
            if not any(t.is_floating_point() for t in tensors_in(op())):
                return op()
        result = op()
        if not any(t.requires_grad for t in tensors_in(result)):
            return result
        where = f"'{op.name}' in layer '{op.layer}'" if op.layer else f"'{op.name}' in the model itself"
        if self.unknown == "error" or not isinstance(result, Tensor):
            raise NotDifferentiable(
                f"Relevance propagation has no rule for the operation {where}; unknown='gradient' lets it "
                "pass by its gradient (input × gradient), which the result then says."
            )
        self.findings.passed.add(where)
        return Carried.apply(op, _by_gradient(op), "inputs, output", *op.inputs)


def _kind(op: Op, before: Sequence[Made]) -> str:
    if op.name in STATISTICS or all(made.kind == "constant" for made in before):
        return "constant"
    if op.name in GATES or (op.name in MOVES and len(before) == 1 and before[0].kind == "gate"):
        return "gate"
    return "signal"


def _nonnegative(op: Op, before: Sequence[Made]) -> bool:
    if op.name in ("relu", "relu6", "sigmoid", "hardsigmoid", "softmax"):
        return True
    kept = op.name in KEEP_SIGN or (
        op.name == "add" and len(before) == 2 and "alpha" not in op.arguments()[1]
    )
    return kept and all(made.nonnegative for made in before)


def _as_it_is(R: Tensor, _inputs: Any, _output: Any) -> list[Tensor]:
    return [R]


def _nothing(_R: Tensor, _inputs: Any, _output: Any) -> list[None]:
    return [None]


def _linear(op: Op, function: Callable[[Tensor], Tensor]) -> Any:
    """ε-rule through a linear function of one input; function(x) = op(x) in value or in its stead."""

    def back(R: Tensor, inputs: Sequence[Tensor], output: Callable[[], Tensor]) -> list[Tensor]:
        (x,) = inputs
        z = output() if function is op else function(x)
        return [x * vjp(function, x, ratio(R, z, EPSILON))]

    return Carried.apply(op, back, "inputs, output" if function is op else "inputs", *op.inputs)


def _shares(op: Op) -> Back:
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


def _factors(before: Sequence[Made]) -> Back:
    kinds = [made.kind for made in before]
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


def _numerator(R: Tensor, inputs: Sequence[Tensor], _output: Any) -> list[Tensor | None]:
    return [R.sum_to_size(inputs[0].shape), *[None] * (len(inputs) - 1)]


def _bilinear(op: Op) -> Back:
    def back(R: Tensor, inputs: Sequence[Tensor], output: Callable[[], Tensor]) -> list[Tensor]:
        s = ratio(R / 2, output(), EPSILON)
        return [x * g for x, g in zip(inputs, _gradients(op, inputs, s), strict=True)]

    return back


def _by_gradient(op: Op) -> Back:
    def back(R: Tensor, inputs: Sequence[Tensor], output: Callable[[], Tensor]) -> list[Tensor]:
        s = ratio(R, output(), EPSILON)
        return [x * g for x, g in zip(inputs, _gradients(op, inputs, s), strict=True)]

    return back


def _gradients(op: Op, inputs: Sequence[Tensor], s: Tensor) -> Sequence[Tensor]:
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in inputs]
        return torch.autograd.grad(op(*leaves), leaves, s, materialize_grads=True)


def _softmax(op: Op) -> Back:
    args, kwargs = op.arguments(*op.inputs)
    dim = kwargs["dim"] if "dim" in kwargs else args[1]

    def back(R: Tensor, inputs: Sequence[Tensor], output: Callable[[], Tensor]) -> list[Tensor]:
        (x,) = inputs
        found = x * (R - output() * R.sum(dim, keepdim=True))
        return [torch.where(x.isfinite(), found, 0)]  # a masked place has no relevance

    return back


def _scale_and_shift(op: Op) -> tuple[Tensor, Tensor]:
    """Of batch normalisation in evaluation mode, y = scale · x + shift, (C,) each."""
    args, kwargs = op.arguments(*op.inputs)
    order = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    if op.function is not F.batch_norm:  # torch.batch_norm
        order = ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps")
    given: dict[str, Any] = {"eps": 1e-5, "weight": None, "bias": None, "training": False}
    given |= dict(zip(order, args, strict=False)) | kwargs
    mean, variance = given["running_mean"], given["running_var"]
    if given["training"] or mean is None:
        raise NotDifferentiable(
            f"Layer '{op.layer}' normalises by the statistics of the batch, so that inputs depend on each "
            "other and relevance cannot be told apart."
        )
    scale = (variance + given["eps"]).rsqrt()
    scale = scale if given["weight"] is None else scale * given["weight"]
    shift = -mean * scale
    return scale, shift if given["bias"] is None else shift + given["bias"]


def _with_fixed_spread(op: Op) -> Callable[[Tensor], Tensor] | None:
    """A normalisation as a linear function of its input, its standard deviation (or norm) taken as it is."""
    args, kwargs = op.arguments(*op.inputs)
    if len(op.inputs) != 1 or not args or args[0] is not op.inputs[0]:
        return None

    def fixed(x: Tensor) -> Tensor:
        normal, weight, bias = _PARTS[op.name](x, *args[1:], **kwargs)
        normal = normal if weight is None else normal * weight
        return normal if bias is None else normal + bias

    return fixed


def _layer_norm(
    x: Tensor, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Any:
    dims = list(range(-len(shape), 0))
    return _standardised(x, dims, eps), weight, bias


def _group_norm(
    x: Tensor, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Any:
    grouped = x.unflatten(1, (groups, -1))
    normal = _standardised(grouped, list(range(2, grouped.ndim)), eps).flatten(1, 2)
    return normal, *(None if p is None else p.reshape(1, -1, *[1] * (x.ndim - 2)) for p in (weight, bias))


def _instance_norm(  # noqa: PLR0917 - torch's own order
    x: Tensor,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,  # noqa: ARG001
    eps: float = 1e-5,
) -> Any:
    if use_input_stats:
        return _group_norm(x, x.shape[1], weight, bias, eps)
    channels = (1, -1, *[1] * (x.ndim - 2))
    normal = (x - running_mean.reshape(channels)) * (running_var + eps).rsqrt().reshape(channels)
    return normal, *(None if p is None else p.reshape(channels) for p in (weight, bias))


def _rms_norm(x: Tensor, shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    spread = x.detach().pow(2).mean(list(range(-len(shape), 0)), keepdim=True)
    return x * (spread + (torch.finfo(x.dtype).eps if eps is None else eps)).rsqrt(), weight, None


def _normalize(x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None) -> Any:  # noqa: ARG001
    return x / x.detach().norm(p, dim, keepdim=True).clamp(min=eps), None, None


def _standardised(x: Tensor, dims: list[int], eps: float) -> Tensor:
    spread = x.detach().var(dims, unbiased=False, keepdim=True)
    return (x - x.mean(dims, keepdim=True)) * (spread + eps).rsqrt()


_PARTS: dict[str, Callable[..., Any]] = {
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "rms_norm": _rms_norm,
    "normalize": _normalize,
}


def _as_average(op: Op) -> Callable[[Tensor], Tensor]:
    """Average pooling over the same windows as an operation of max-pooling."""
    args, kwargs = op.arguments(*op.inputs)
    function = getattr(F, op.name.replace("max", "avg"))
    if op.name.startswith("adaptive"):
        return lambda x: function(x, kwargs.get("output_size", args[1] if len(args) > 1 else None))
    order = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    given = dict(zip(order, args, strict=False)) | kwargs
    if given.get("dilation", 1) not in (1, (1, 1), [1, 1]):
        raise NotDifferentiable(f"Layer '{op.layer}' pools with dilation; use pooling='winner'.")
    stride, padding = given.get("stride"), given.get("padding", 0)
    return lambda x: function(x, given["kernel_size"], stride, padding, given.get("ceil_mode", False))
