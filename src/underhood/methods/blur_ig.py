"""Blur integrated gradients (Xu, Venugopalan & Sundararajan 2020, "Attribution in scale and space").

The path leads from the picture blurred beyond recognition to the picture itself, z(σ) = x ∗ Gaussian(σ)
with σ falling from σ_max to 0 (eq. 4),

    BlurIG(x) = ∫ ∂S/∂z (z(σ)) ∘ dz(σ),

so that it needs no baseline of another colour: what is absent is detail. It sums to S(x) - S(z(σ_max)).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from underhood.engine import Gradients, PathSum, Run
from underhood.errors import InvalidArgument, Unfit
from underhood.inputs import Variants
from underhood.inputs.baseline import gaussian_blur
from underhood.methods.card import Card
from underhood.methods.method import Attribution, Method
from underhood.methods.paths import completeness, incomplete


@dataclass(frozen=True)
class BlurIG(Method):
    """Gradient integrated while the picture comes into focus; in units of the score.

    steps: points of the path, evenly spaced in σ, both ends included.
    sigma: σ_max, as a share of the picture's shorter side.
    """

    steps: int = 50
    sigma: float = 0.2

    key = "blur_ig"

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or self.steps < 2:
            raise InvalidArgument(f"steps is a whole number from 2 on, not {self.steps!r}.")
        if not self.sigma > 0:
            raise InvalidArgument(f"BlurIG's sigma must be above 0, not {self.sigma}.")

    @property
    def card(self) -> Card:
        return CARD

    def attribute(self, run: Run) -> Attribution:
        x = run.inputs
        if x.ndim != 4:
            raise Unfit("BlurIG needs pictures (B, C, H, W); for rows use integrated gradients.")
        sigmas = torch.linspace(self.sigma * min(x.shape[2:]), 0, self.steps).tolist()

        made: list[Tensor] = []  # the micro-batch that is on its way

        def blurred(rows: Tensor, numbers: Tensor) -> Tensor:
            parts = [gaussian_blur(x[r : r + 1], sigmas[n]) for r, n in zip(rows, numbers, strict=True)]
            made[:] = [torch.cat(parts)]
            return made[0]

        def along(found: Gradients, *_: Tensor) -> Tensor:
            return torch.stack((found.gradients[0], made[0]), 1)  # (m, 2, …)

        integral = PathSum(len(run))
        run.reduce_gradients(Variants(x, self.steps, blurred), integral, of=along)
        values = integral.total
        difference = run.score - run.scores(gaussian_blur(x, sigmas[0]), precision="float32")[0]
        return Attribution(
            values,
            diagnostics=[{**gap, "steps": self.steps} for gap in completeness(values, difference)],
            no_signal=incomplete(values, difference),
        )


CARD = Card(
    name="Blur integrated gradients",
    question="attribution",
    answers="How much the detail that sharpening brings to each place contributed to the score.",
    misleads="What survives the strongest blur, such as the picture's mean colour, gets nothing, and blurred "
    "pictures are unlike the data; |values| carries the input's own edges.",
    signed=True,
    conserves="S(x) - S(x blurred)",
    resolution="element",
    unit="score per element",
    needs="gradients and pictures",
    cost="50 × (forward + backward) + 2 forward",
    source="Xu et al. 2020, arXiv:2004.03383",
)
