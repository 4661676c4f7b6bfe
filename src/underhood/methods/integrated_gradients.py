"""Integrated gradients (Sundararajan, Taly & Yan 2017, "Axiomatic attribution for deep networks").

Along the straight line from the baseline x' to the input x (eq. 1),

    IG(x) = (x - x') ∘ ∫₀¹ ∂S/∂x (x' + α (x - x')) dα,

which sums to S(x) - S(x') (completeness). The integral is taken by Gauss-Legendre quadrature; what its sum
misses is the completeness gap. Several baselines are averaged.

At a layer with activations A there are three kinds:
- "conductance" (Dhamdhere, Sundararajan & Yan 2019, "How important is a neuron?", eq. 2): the same path of
  inputs, ∫ ∂S/∂A ∘ dA along it;
- "activations": the straight line between the layer's activations for x' and x;
- "influence" (Leino et al. 2018, "Influence-directed explanations", eq. 1): the mean of ∂S/∂A over the
  path of inputs, which says how the score reacts and sums to nothing.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from underhood.engine import Moments, PathSum, Run, WeightedSum, gradient_and_activation, inside
from underhood.errors import InvalidArgument
from underhood.inputs import Variants
from underhood.inputs.baseline import BaselineLike, as_whole
from underhood.inputs.variants import broadcast_as
from underhood.methods.at_layer import shown
from underhood.methods.card import Card
from underhood.methods.method import Attribution, Method, zero_maps
from underhood.methods.paths import (
    completeness,
    each_baseline,
    gauss_legendre,
    incomplete,
    needs_numbers,
)


@dataclass(frozen=True)
class IntegratedGradients(Method):
    """(x - x') ∘ the mean gradient between baseline and input; in units of the score.

    steps:     quadrature points.
    baseline:  x': a name, a number, a tensor of samples (n, …), or a `Baseline`.
    tolerance: double the steps, for inputs that need it, until the gap is below this share of
               |S(x) - S(x')|, up to `max_steps`.
    at:        a layer whose units are explained; None is the input.
    kind:      of the integral at a layer, see above.
    """

    steps: int = 50
    baseline: BaselineLike = "zeros"
    tolerance: float | None = None
    max_steps: int = 1600
    at: str | None = None
    kind: Literal["conductance", "activations", "influence"] = "conductance"

    key = "integrated_gradients"

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or self.steps < 1:
            raise InvalidArgument(f"steps is a whole number from 1 on, not {self.steps!r}.")
        if self.tolerance is not None and self.tolerance <= 0:
            raise InvalidArgument(f"tolerance must be above 0, not {self.tolerance}.")
        if self.kind not in ("conductance", "activations", "influence"):
            raise InvalidArgument(f"kind is conductance, activations or influence, not {self.kind!r}.")
        as_whole(self.baseline)

    @property
    def card(self) -> Card:
        return INFLUENCE if self.at and self.kind == "influence" else CARD.of_layer(self.at)

    def attribute(self, run: Run) -> Attribution:
        if self.at and self.kind == "influence":
            values = self._integrated(run, run.baselines(self.baseline), self.steps)
            return Attribution(**shown(values, self.at, run.inputs), no_signal=zero_maps(values))
        return self._complete(inside(run, self.at if self.kind == "activations" else None), run.inputs)

    def _complete(self, run: Run, inputs: Tensor) -> Attribution:
        baselines = run.baselines(self.baseline)  # (n, B, …)
        at_baselines = run.scores(each_baseline(run.inputs, baselines), precision="float32")  # (n, B)
        difference = run.score - at_baselines.mean(0)  # (B,)
        values = self._integrated(run, baselines, self.steps)
        steps = torch.full((len(run),), self.steps)
        while len(rows := self._unfinished(values, difference, steps)):
            steps[rows] *= 2
            values[rows] = self._integrated(run.selected(rows), baselines[:, rows], int(steps[rows[0]]))
        return Attribution(
            **shown(values, self.at, inputs),
            diagnostics=[
                {**gap, "steps": n, "baselines": len(baselines)}
                for gap, n in zip(completeness(values, difference), steps.tolist(), strict=True)
            ],
            no_signal=incomplete(values, difference),
        )

    def _integrated(self, run: Run, baselines: Tensor, steps: int) -> Tensor:
        """Integrated gradients by so many steps, averaged over the baselines."""
        needs_numbers(run.inputs)
        if self.at and self.kind != "activations":
            return self._at_layer(run, baselines, steps, self.at)
        alpha, weights = gauss_legendre(steps)
        total = run.zeros()
        for baseline in baselines:
            delta = run.inputs - baseline
            path = Variants(run.inputs, steps, _line(baseline, delta, alpha))
            integral = WeightedSum(run.inputs, weights)
            run.reduce_gradients(path, integral)
            total += delta * integral.total
        return total / len(baselines)

    def _at_layer(self, run: Run, baselines: Tensor, steps: int, layer: str) -> Tensor:
        """The integral along the path of inputs of what happens at a layer, averaged over the baselines."""
        conductance = self.kind == "conductance"
        alpha = torch.linspace(0, 1, steps + 1) if conductance else (torch.arange(steps) + 0.5) / steps
        total: Tensor | None = None
        for baseline in baselines:
            path = Variants(run.inputs, len(alpha), _line(baseline, run.inputs - baseline, alpha))
            integral, mean = PathSum(len(run)), Moments(len(run))
            if conductance:
                run.reduce_gradients(path, integral, at=[layer], of=gradient_and_activation)
            else:
                run.reduce_gradients(path, mean, at=[layer])
            part = integral.total if conductance else mean.mean
            total = part if total is None else total + part
        assert total is not None
        return total / len(baselines)

    def _unfinished(self, values: Tensor, difference: Tensor, steps: Tensor) -> Tensor:
        """Inputs whose gap is above the tolerance and which may have more steps, of one step count."""
        if self.tolerance is None:
            return torch.empty(0, dtype=torch.long)
        gap = (values.flatten(1).sum(1) - difference).abs()
        short = (gap > self.tolerance * difference.abs()) & (2 * steps <= self.max_steps)
        fewest = steps[short].min() if short.any() else 0
        return (short & (steps == fewest)).nonzero().flatten()


def _line(baseline: Tensor, delta: Tensor, alpha: Tensor):  # type: ignore[no-untyped-def]
    def make(rows: Tensor, numbers: Tensor) -> Tensor:
        step = broadcast_as(alpha[numbers], delta)
        if len(delta) == 1:  # one input: broadcasting spares copying it for every step
            return torch.addcmul(baseline, step, delta)
        return torch.addcmul(baseline[rows], step, delta[rows])

    return make


CARD = Card(
    name="Integrated gradients",
    question="attribution",
    answers="How much each element contributed to the score's difference from the baseline's.",
    misleads="Depends on the baseline: elements that equal it get nothing, and the line from it runs "
    "through inputs unlike the data; |values| carries the input's own pattern.",
    signed=True,
    conserves="S(x) - S(x')",
    resolution="element",
    unit="score per element",
    needs="gradients",
    cost="50 × (forward + backward) + 2 forward",
    source="Sundararajan et al. 2017, arXiv:1703.01365",
)

INFLUENCE = replace(
    CARD,
    name="Internal influence",
    question="sensitivity",
    answers="How the score reacts to each unit of a layer, on average between the baseline and the input.",
    conserves=None,
    resolution="layer",
    unit="score per unit of activation",
    source="Leino et al. 2018, arXiv:1802.03788",
)
