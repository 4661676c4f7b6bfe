"""Expected gradients (Erion et al. 2021, "Improving performance of deep learning models with axiomatic
attribution priors and expected gradients"), known as GradientSHAP.

Integrated gradients averaged over baselines x' drawn from a background, by Monte Carlo (eq. 2),

    EG(x) = E[ (x - x') ∘ ∂S/∂x (x' + α (x - x')) ],   x' of the background, α uniform on 0…1,

which sums to S(x) - E S(x') in expectation. Draws come in antithetic pairs, α and 1 - α with the same x';
the background is dealt out like cards, so that each of its samples comes about equally often.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from underhood.engine import Gradients, Moments, Run, inside
from underhood.errors import InvalidArgument
from underhood.inputs import Variants
from underhood.inputs.baseline import BaselineLike, as_whole
from underhood.inputs.random import PATH, generator, uniform
from underhood.inputs.variants import broadcast_as
from underhood.methods.at_layer import shown
from underhood.methods.card import Card
from underhood.methods.method import Attribution, Method, check_error, lost_in_noise
from underhood.methods.paths import completeness, each_baseline, needs_numbers


@dataclass(frozen=True)
class ExpectedGradients(Method):
    """Mean of (x - x') ∘ gradient at random points between background samples and the input.

    n:        draws, an even number.
    baseline: the background: a tensor of samples (k, …), or what else `as_baseline` takes.
    error:    stop early once the mean standard error is below this share of the map's maximum.

    at:       a layer whose activations take the place of x and x'; None is the input.

    `arrays["standard_error"]` has the standard error of each element.
    """

    n: int = 50
    baseline: BaselineLike = "noise"
    error: float | None = None
    at: str | None = None

    key = "expected_gradients"

    def __post_init__(self) -> None:
        if self.n < 4 or self.n % 2:
            raise InvalidArgument(
                f"Expected gradients take an even number of draws from 4 (two pairs have a spread), "
                f"not {self.n}."
            )
        check_error(self.error)
        as_whole(self.baseline)

    @property
    def card(self) -> Card:
        return CARD.of_layer(self.at)

    def attribute(self, run: Run) -> Attribution:
        inputs, run = run.inputs, inside(run, self.at)
        needs_numbers(run.inputs)
        x, background = run.inputs, run.baselines(self.baseline)  # (B, …), (k, B, …)
        alpha, drawn = self._draws(len(background), run.seed)  # (n,) each

        def point(rows: Tensor, numbers: Tensor) -> Tensor:
            sample = background[drawn[numbers], rows]
            return torch.lerp(sample, x[rows], broadcast_as(alpha[numbers], x))

        def attributed(found: Gradients, rows: Tensor, numbers: Tensor) -> Tensor:
            return (x[rows] - background[drawn[numbers], rows]).mul_(found.gradients[0])

        moments = Moments(len(run), group=2, error=self.error)
        run.reduce_gradients(Variants(x, self.n, point, group=2), moments, of=attributed)
        values, error = moments.mean, moments.standard_error
        scores = run.scores(each_baseline(x, background), precision="float32")  # (k, B)
        expected = torch.stack(
            [scores[drawn[: 2 * int(pairs)], i].mean() for i, pairs in enumerate(moments.groups)]
        )
        gap = completeness(values, run.score - expected)
        sampling = zip(moments.groups, moments.relative_error(), strict=True)
        return Attribution(
            **shown(values, self.at, inputs, {"standard_error": error}),
            diagnostics=[
                {
                    **g,
                    "draws": 2 * int(pairs),
                    "baselines": len(background),
                    "relative_standard_error": float(e),
                }
                for g, (pairs, e) in zip(gap, sampling, strict=True)
            ],
            no_signal=lost_in_noise(values, error),
        )

    def _draws(self, samples: int, seed: int) -> tuple[Tensor, Tensor]:
        """α and the number of the sample of each draw, the same for every input."""
        pairs = self.n // 2
        alpha = uniform((pairs,), seed, PATH, 0)
        rng = generator(seed, PATH, 1)
        deals = [torch.from_numpy(rng.permutation(samples)) for _ in range(-(-pairs // samples))]
        return torch.stack((alpha, 1 - alpha), 1).flatten(), torch.cat(deals)[:pairs].repeat_interleave(2)


CARD = Card(
    name="Expected gradients",
    question="attribution",
    answers="How much each element contributed to the score's difference from that of typical inputs.",
    misleads="Depends on the background; random draws leave noise, which is stated as a standard error, and "
    "points between two inputs are unlike the data.",
    signed=True,
    conserves="S(x) - mean S(x'), in expectation",
    resolution="element",
    unit="score per element",
    needs="gradients",
    cost="50 × (forward + backward) + 1 forward for each baseline",
    source="Erion et al. 2021, arXiv:1906.10670",
)
