"""SmoothGrad (Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise").

The mean of a gradient method's map M over noisy copies of the input,

    M̂(x) = 1/n Σ_i M(x + σ ε_i),   ε_i standard normal,

with σ a share of the input's range max(x) - min(x). SmoothGrad² averages M² (Hooker et al. 2019), VarGrad
takes the variance of M, divided by n - 1 (Adebayo et al. 2018). Copies come in antithetic pairs, ε and
-ε, which cancels what is linear in the noise.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor

from underhood.engine import Moments, Run
from underhood.errors import InvalidArgument
from underhood.inputs import Variants
from underhood.inputs.random import NOISE, normal
from underhood.inputs.variants import broadcast_as
from underhood.methods.card import Card
from underhood.methods.method import Attribution, Method, lost_in_noise
from underhood.methods.paths import needs_numbers
from underhood.methods.saliency import Saliency

Kind = Literal["mean", "squared", "variance"]


@dataclass(frozen=True)
class SmoothGrad(Method):
    """The mean map over noisy copies of the input.

    n:     copies, an even number.
    sigma: the noise's standard deviation, as a share of each input's range.
    of:    the gradient method that is averaged.
    kind:  "mean", "squared" (SmoothGrad²) or "variance" (VarGrad).
    clamp: "input" keeps noisy copies inside each input's range; "none" does not.
    error: stop early once the mean standard error is below this share of the map's maximum.

    `arrays["standard_error"]` has the standard error of each element's mean.
    """

    n: int = 50
    sigma: float = 0.15
    of: Method = field(default_factory=lambda: Saliency("signed"))
    kind: Kind = "mean"
    clamp: Literal["none", "input"] = "none"
    error: float | None = None

    key = "smoothgrad"

    def __post_init__(self) -> None:
        if self.n < 4 or self.n % 2:
            raise InvalidArgument(
                f"SmoothGrad takes an even number of copies from 4 (two pairs have a spread), not {self.n}."
            )
        if self.sigma <= 0:
            raise InvalidArgument(f"SmoothGrad's sigma must be above 0, not {self.sigma}.")
        if self.kind not in ("mean", "squared", "variance"):
            raise InvalidArgument(f"SmoothGrad's kind is mean, squared or variance: {self.kind!r}.")

    @property
    def card(self) -> Card:
        signed = self.of.card.signed and self.kind == "mean" and not isinstance(self.of, Saliency)
        return replace(CARD, question=self.of.card.question, signed=signed)

    def attribute(self, run: Run) -> Attribution:
        moments = Moments(len(run), group=2, error=self.error)
        run.map(self._noisy(run), lambda noisy: self.of.attribute(noisy).values, moments)
        maps = {
            "mean": lambda: moments.mean,
            "squared": lambda: moments.mean_square,
            "variance": lambda: moments.variance,
        }
        values, error = maps[self.kind](), moments.standard_error
        return Attribution(
            values,
            diagnostics=[
                {"copies": int(n) * 2, "relative_standard_error": float(e)}
                for n, e in zip(moments.groups, moments.relative_error(), strict=True)
            ],
            reduction="sum" if self.card.signed else "max",
            no_signal=lost_in_noise(moments.mean, error),
            arrays={"standard_error": error},
        )

    def _noisy(self, run: Run) -> Variants:
        x = run.inputs
        needs_numbers(x)
        low, high = x.flatten(1).amin(1), x.flatten(1).amax(1)
        spread = self.sigma * (high - low)  # (B,)

        def make(rows: Tensor, numbers: Tensor) -> Tensor:
            copies = x[rows]
            noise = {pair: self._noise(run, pair) for pair in set((numbers // 2).tolist())}
            for copy, row, number in zip(copies, rows.tolist(), numbers.tolist(), strict=True):
                sign = -1.0 if number % 2 else 1.0
                copy.add_(noise[number // 2], alpha=sign * float(spread[row]))
            if self.clamp == "input":
                copies = copies.clamp(broadcast_as(low[rows], x), broadcast_as(high[rows], x))
            return copies

        return Variants(x, self.n, make, group=2)

    def _noise(self, run: Run, pair: int) -> Tensor:
        """The same for every input, so that a batch equals its inputs one by one."""
        return normal(tuple(run.inputs.shape[1:]), run.seed, NOISE, pair)


CARD = Card(
    name="SmoothGrad",
    question="sensitivity",
    answers="Where the score reacts to a change of the input, on average around this input.",
    misleads="The noise level is a choice that changes the map, and noisy copies are unlike the data "
    "the model has seen.",
    signed=False,
    conserves=None,
    resolution="element",
    unit="score per unit of input",
    needs="gradients",
    cost="50 × (forward + backward)",
    source="Smilkov et al. 2017, arXiv:1706.03825",
)
