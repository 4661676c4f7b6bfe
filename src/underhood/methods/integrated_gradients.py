"""Integrated gradients (Sundararajan, Taly & Yan 2017, "Axiomatic attribution for deep networks").

Along the straight line from the baseline x' to the input x (eq. 1),

    IG(x) = (x - x') ∘ ∫₀¹ ∂S/∂x (x' + α (x - x')) dα,

which sums to S(x) - S(x') (completeness). The integral is taken by Gauss-Legendre quadrature; what its sum
misses is the completeness gap. Several baselines are averaged.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from underhood.engine import Run, WeightedSum
from underhood.errors import InvalidArgument
from underhood.inputs import Variants
from underhood.inputs.baseline import BaselineLike, as_whole
from underhood.inputs.variants import broadcast_as
from underhood.methods.card import Card
from underhood.methods.method import Attribution, Method, zero_maps


@dataclass(frozen=True)
class IntegratedGradients(Method):
    """(x - x') ∘ the mean gradient between baseline and input; in units of the score.

    steps:     quadrature points.
    baseline:  x': a name, a number, a tensor of samples (n, …), or a `Baseline`.
    tolerance: double the steps, for inputs that need it, until the gap is below this share of
               |S(x) - S(x')|, up to `max_steps`.
    """

    steps: int = 50
    baseline: BaselineLike = "zeros"
    tolerance: float | None = None
    max_steps: int = 1600

    key = "integrated_gradients"

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or self.steps < 1:
            raise InvalidArgument(f"steps is a whole number from 1 on, not {self.steps!r}.")
        if self.tolerance is not None and self.tolerance <= 0:
            raise InvalidArgument(f"tolerance must be above 0, not {self.tolerance}.")
        as_whole(self.baseline)

    @property
    def card(self) -> Card:
        return CARD

    def attribute(self, run: Run) -> Attribution:
        baselines = as_whole(self.baseline).values(
            run.inputs, run.engine.model.preprocess, run.seed
        )  # (n, B, …)
        at_baselines = run.scores(_each(run.inputs, baselines), precision="float32")  # (n, B)
        difference = run.score - at_baselines.mean(0)  # (B,)
        values = self._integrated(run, baselines, self.steps)
        steps = torch.full((len(run),), self.steps)
        while len(rows := self._unfinished(values, difference, steps)):
            steps[rows] *= 2
            part = Run(run.engine, run.inputs[rows], run.target.rows(rows))
            values[rows] = self._integrated(part, baselines[:, rows], int(steps[rows[0]]))
        gap = values.flatten(1).sum(1) - difference
        return Attribution(
            values,
            diagnostics=[
                {
                    "completeness_gap": float(g),
                    "relative_gap": _relative(float(g), float(d)),
                    "score_difference": float(d),
                    "steps": int(s),
                    "baselines": len(baselines),
                }
                for g, d, s in zip(gap, difference, steps, strict=True)
            ],
            no_signal=_judged(values, gap),
        )

    def _integrated(self, run: Run, baselines: Tensor, steps: int) -> Tensor:
        """Integrated gradients by so many steps, averaged over the baselines."""
        alpha, weights = gauss_legendre(steps)
        total = run.zeros()
        for baseline in baselines:
            delta = run.inputs - baseline
            path = Variants(run.inputs, steps, _line(baseline, delta, alpha))
            integral = WeightedSum(run.inputs, weights)
            run.reduce_gradients(path, integral)
            total += delta * integral.total
        return total / len(baselines)

    def _unfinished(self, values: Tensor, difference: Tensor, steps: Tensor) -> Tensor:
        """Inputs whose gap is above the tolerance and which may have more steps, of one step count."""
        if self.tolerance is None:
            return torch.empty(0, dtype=torch.long)
        gap = (values.flatten(1).sum(1) - difference).abs()
        short = (gap > self.tolerance * difference.abs()) & (2 * steps <= self.max_steps)
        fewest = steps[short].min() if short.any() else 0
        return (short & (steps == fewest)).nonzero().flatten()


def gauss_legendre(steps: int) -> tuple[Tensor, Tensor]:
    """Points and weights on 0…1; the weights sum to 1."""
    points, weights = np.polynomial.legendre.leggauss(steps)
    return torch.from_numpy((points + 1) / 2).float(), torch.from_numpy(weights / 2).float()


def _line(baseline: Tensor, delta: Tensor, alpha: Tensor):  # type: ignore[no-untyped-def]
    def make(rows: Tensor, numbers: Tensor) -> Tensor:
        step = broadcast_as(alpha[numbers], delta)
        if len(delta) == 1:  # one input: broadcasting spares copying it for every step
            return torch.addcmul(baseline, step, delta)
        return torch.addcmul(baseline[rows], step, delta[rows])

    return make


def _each(inputs: Tensor, baselines: Tensor) -> Variants:
    return Variants(inputs, len(baselines), lambda rows, numbers: baselines[numbers, rows])


def _relative(gap: float, difference: float) -> float | None:
    return abs(gap / difference) if difference else None


def _judged(values: Tensor, gap: Tensor) -> list[str | None]:
    mass = values.flatten(1).abs().sum(1)
    return [
        zero or (f"the completeness gap ({g:.3g}) exceeds all the map holds" if abs(g) >= m else None)
        for zero, g, m in zip(zero_maps(values), gap.tolist(), mass.tolist(), strict=True)
    ]


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
