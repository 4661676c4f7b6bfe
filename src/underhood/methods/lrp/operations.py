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
from underhood.methods.lrp import ways
from underhood.methods.lrp.affine import Affine, affine
from underhood.methods.lrp.carried import Kept, carried
from underhood.methods.lrp.composites import Composite, rule_for
from underhood.methods.lrp.normalisations import scale_and_shift, with_fixed_spread
from underhood.methods.lrp.rules import Rule, ZBox, ratio

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
Bounds = tuple[tuple[float, ...], tuple[float, ...]]


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
        return carried(op, known.back, "inputs, output" if rule.reads_output else "inputs")

    def _other(self, op: Op, before: Sequence[Made]) -> Any:
        name, two = op.name, len(op.inputs) == 2
        if name in WINNERS and self.pooling == "average" and "pool" in name:
            return ways.linear(op, ways.as_average(op))
        if name in MOVES or name in WINNERS:
            return op()
        if name in POINTWISE:
            return carried(op, ways.as_it_is)
        if name in SUMS:
            return carried(op, ways.shares(op), "inputs")
        if name == "batch_norm" and not two:
            return self._batch_norm(op)
        if name == "mul":
            return carried(op, ways.factors([made.kind for made in before]), "inputs")
        if name == "div":
            return carried(op, ways.numerator, "inputs")
        if name in STATISTICS:
            return carried(op, ways.nothing)
        if name == "softmax":
            return carried(op, ways.softmax(op), "inputs, output")
        if name in NORMALISATIONS and (fixed := with_fixed_spread(op)):
            return ways.linear(op, fixed)
        if name in LINEAR or name in PRODUCTS:
            return carried(op, ways.by_gradient(op, 1 / 2), "inputs, output") if two else ways.linear(op, op)
        return self._no_rule(op)

    def _batch_norm(self, op: Op) -> Any:
        """Merged into the layer before it, where nothing else takes that layer's output."""
        scale, shift = scale_and_shift(op)
        source, known = op.sources[0], self._weighted.get(op.sources[0])

        def back(R: Tensor, _: Any, output: Callable[[], Tensor]) -> list[Tensor]:
            if known and known.merged and self._uses[source] == 1:
                return [R]
            y = output()
            if known:
                known.merged = None
            return [ratio(R, y, ways.EPSILON) * (y - shift.reshape(1, -1, *[1] * (y.ndim - 2)))]

        result = carried(op, back, "output")
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
        return carried(op, ways.by_gradient(op), "inputs, output")


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
