"""Guided integrated gradients (Kapishnikov et al. 2021, "Guided integrated gradients: an adaptive path
method for removing noise").

Integrated gradients along a path that goes first where the gradient is small: of T equal parts of the
distance |x - x'|₁, each is walked by the share p of elements with the least |∂S/∂x| (Algorithm 1). The path
is kept near the straight line: no element runs ahead or lags behind by more than a share d of its way.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from underhood.engine import Run, inside
from underhood.errors import InvalidArgument
from underhood.inputs.baseline import BaselineLike, as_whole
from underhood.methods.at_layer import shown
from underhood.methods.card import Card
from underhood.methods.method import Attribution, Method
from underhood.methods.paths import completeness, each_baseline, incomplete, needs_numbers

ENOUGH = 1e-6  # of the distance: rounding


@dataclass(frozen=True)
class GuidedIG(Method):
    """Gradient integrated along a path of small gradients; in units of the score.

    steps:    parts T of the path, each with a gradient of its own.
    fraction: p, the share of elements that move together.
    distance: d, how far an element may be from the straight line, as a share of its way; 1 is free.
    baseline: x': a name, a number, a tensor of samples (n, …), or a `Baseline`; several are averaged.
    at:       a layer whose activations take the place of x and x'; None is the input.
    """

    steps: int = 200
    fraction: float = 0.25
    distance: float = 0.02
    baseline: BaselineLike = "zeros"
    at: str | None = None

    key = "guided_ig"

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or self.steps < 1:
            raise InvalidArgument(f"steps is a whole number from 1 on, not {self.steps!r}.")
        for name in ("fraction", "distance"):
            if not 0 < getattr(self, name) <= 1:
                raise InvalidArgument(f"{name} is a share above 0, up to 1; not {getattr(self, name)}.")
        as_whole(self.baseline)

    @property
    def card(self) -> Card:
        return CARD.of_layer(self.at)

    def attribute(self, run: Run) -> Attribution:
        inputs, run = run.inputs, inside(run, self.at)
        needs_numbers(run.inputs)
        baselines = run.baselines(self.baseline)  # (n, B, …)
        at_baselines = run.scores(each_baseline(run.inputs, baselines), precision="float32")  # (n, B)
        difference = run.score - at_baselines.mean(0)
        values = torch.stack([self._walked(run, baseline) for baseline in baselines]).mean(0)
        return Attribution(
            **shown(values, self.at, inputs),
            diagnostics=[
                {**gap, "steps": self.steps, "baselines": len(baselines)}
                for gap in completeness(values, difference)
            ],
            no_signal=incomplete(values, difference),
        )

    def _walked(self, run: Run, baseline: Tensor) -> Tensor:
        total = run.zeros()

        def move(points: Tensor, gradients: Tensor, step: int) -> Tensor:
            moved = torch.empty_like(points)
            for i, (x, start) in enumerate(zip(run.inputs, baseline, strict=True)):
                moved[i] = self._step(points[i], gradients[i].abs(), x, start, (step + 1) / self.steps)
            total.addcmul_(moved - points, gradients)
            return moved

        run.walk(baseline.clone(), self.steps, move)
        return total

    def _step(self, now: Tensor, slope: Tensor, x: Tensor, start: Tensor, alpha: float) -> Tensor:
        """Where one input's elements are once the share `alpha` of the distance |x - x'|₁ is walked."""
        way = x - start
        length = way.abs().sum()
        first = torch.lerp(start, x, max(alpha - self.distance, 0.0))  # lagging behind no further
        last = torch.lerp(start, x, min(alpha + self.distance, 1.0))  # running ahead no further
        now = torch.where((now - start) * way.sign() < (first - start) * way.sign(), first, now)
        slope = torch.where(way == 0, torch.inf, slope)
        while (ahead := (x - now).abs().sum() - length * (1 - alpha)) > ENOUGH * length:
            slope = torch.where(now == last, torch.inf, slope)
            chosen = (slope <= _lowest(slope, self.fraction)) & slope.isfinite()
            if not chosen.any():
                break
            room = torch.where(chosen, last - now, 0.0)
            share = float(ahead / room.abs().sum().clamp(min=torch.finfo().tiny))
            if share < 1:
                return now + share * room
            now = torch.where(chosen, last, now)
        return now


def _lowest(slope: Tensor, fraction: float) -> Tensor:
    """The largest value of the lowest share of them."""
    flat = slope.flatten()
    return flat.kthvalue(1 + int(fraction * (len(flat) - 1))).values


CARD = Card(
    name="Guided integrated gradients",
    question="attribution",
    answers="How much each element contributed to the score's difference from the baseline's, along a path "
    "that avoids steep places.",
    misleads="The path is chosen by the very gradients that are integrated, so it differs from target to "
    "target and its sum misses S(x) - S(x') by a gap that more steps do not close; depends on the baseline, "
    "and elements that equal it get nothing.",
    signed=True,
    conserves=None,
    resolution="element",
    unit="score per element",
    needs="gradients",
    cost="200 × (forward + backward), one after the other, + 2 forward",
    source="Kapishnikov et al. 2021, arXiv:2106.09788",
)
