"""DeepLIFT (Shrikumar, Greenside & Kundaje 2017, "Learning important features through propagating activation
differences") and DeepSHAP (Lundberg & Lee 2017, "A unified approach to interpreting model predictions").

    C(x) = (x - x') ∘ m,      Σ C = S(x) - S(x')      (summation to delta),

with multipliers m that follow the chain rule from the target to the input, each operation by its rule
(`multipliers`). DeepSHAP is the mean of C over references x' drawn from a background.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from underhood.engine import Gradients, Moments, Run
from underhood.errors import InvalidArgument
from underhood.inputs import Variants
from underhood.inputs.baseline import BaselineLike, as_whole
from underhood.methods.at_layer import shown
from underhood.methods.card import Card
from underhood.methods.deeplift.multipliers import Multipliers
from underhood.methods.deeplift.reveal_cancel import RevealCancel
from underhood.methods.method import Attribution, Method, check_error
from underhood.methods.paths import completeness, each_baseline, incomplete

Rule = Literal["rescale", "reveal_cancel"]
RULES: dict[Rule, type[Multipliers]] = {"rescale": Multipliers, "reveal_cancel": RevealCancel}


@dataclass(frozen=True)
class DeepLIFT(Method):
    """What each element's difference from the baseline contributes; in units of the score.

    rule:     of pointwise nonlinearities: "rescale", or "reveal_cancel", which keeps apart what raises and
              what lowers their input, and costs about three times as much.
    baseline: x': a name, a number, a tensor of samples (n, …), or a `Baseline`; several are averaged.
    at:       a layer, whose activations the score's difference is shared among instead.
    """

    rule: Rule = "rescale"
    baseline: BaselineLike = "zeros"
    at: str | None = None

    key = "deeplift"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise InvalidArgument(f"DeepLIFT's rule is {' or '.join(RULES)}, not {self.rule!r}.")
        as_whole(self.baseline)

    @property
    def card(self) -> Card:
        return DEEPLIFT.of_layer(self.at)

    def attribute(self, run: Run) -> Attribution:
        return contributions(run, RULES[self.rule](), self.baseline, self.at)


@dataclass(frozen=True)
class DeepSHAP(Method):
    """DeepLIFT averaged over a background; in units of the score.

    baseline: the background, samples (n, …) of real inputs.
    error:    stop early once the mean standard error is below this share of the map's maximum.
    at:       a layer, whose activations the score's difference is shared among instead.

    `arrays["standard_error"]` has the standard error of each element's mean over the background.
    """

    baseline: BaselineLike = "noise"
    error: float | None = None
    at: str | None = None

    key = "deepshap"

    def __post_init__(self) -> None:
        check_error(self.error)
        as_whole(self.baseline)

    @property
    def card(self) -> Card:
        return DEEPSHAP.of_layer(self.at)

    def attribute(self, run: Run) -> Attribution:
        return contributions(run, Multipliers(), self.baseline, self.at, self.error)


def contributions(
    run: Run, rules: Multipliers, baseline: BaselineLike, at: str | None, error: float | None = None
) -> Attribution:
    """(x - x') ∘ m, averaged over the baselines."""
    x, baselines = run.inputs, run.baselines(baseline)  # (n, B, …)
    moments = Moments(len(run), error=error)
    there = torch.zeros(baselines.shape[:2])  # S(x'), (n, B)

    def found(passed: Gradients, rows: Tensor, numbers: Tensor) -> Tensor:
        assert passed.reference_score is not None
        there[numbers, rows] = passed.reference_score
        return passed.gradients[0] * passed.change[0]

    layers, each = [at] if at else [], each_baseline(x, baselines)
    if len(baselines) == 1:  # the pass also gives the predictions
        rows = torch.arange(len(run))
        moments.update(found(run.gradients(layers, rules, each), rows, 0 * rows), rows, 0 * rows)
    else:
        same = Variants(x, len(baselines), lambda rows, _: x[rows])
        run.reduce_gradients(same, moments, rules, each, at=layers, of=found)
    used = [int(n) for n in moments.groups]
    difference = run.score - torch.stack([there[:n, i].mean() for i, n in enumerate(used)])
    values, errors = moments.mean, moments.relative_error().tolist()
    sampled = {"standard_error": moments.standard_error} if len(baselines) > 1 else {}
    return Attribution(
        **shown(values, at, x, sampled),
        diagnostics=[
            {**gap, "baselines": n, **({"relative_standard_error": e} if len(baselines) > 1 else {})}
            for gap, n, e in zip(completeness(values, difference), used, errors, strict=True)
        ],
        no_signal=incomplete(values, difference),
    )


DEEPLIFT = Card(
    name="DeepLIFT",
    question="attribution",
    answers="How much each element's difference from the baseline contributed to the score's difference.",
    misleads="Depends on the baseline, and on how the function is written as a network: equal functions "
    "can get different maps.",
    signed=True,
    conserves="S(x) - S(x')",
    resolution="element",
    unit="score per element",
    needs="operations that can be seen, and are the same for input and baseline",
    cost="2 forward + 1 backward",
    source="Shrikumar et al. 2017, arXiv:1704.02685",
)

DEEPSHAP = Card(
    name="DeepSHAP",
    question="attribution",
    answers="How much each element contributed to the score, compared with a background of other inputs.",
    misleads="Approximates Shapley values only as far as the model is additive between its nonlinearities; "
    "its standard error covers the choice of background samples, not that.",
    signed=True,
    conserves="S(x) - the mean of S(x') over the background",
    resolution="element",
    unit="score per element",
    needs="background samples; operations that can be seen, and are the same for input and background",
    cost="(2 forward + 1 backward) × background samples",
    source="Lundberg & Lee 2017, arXiv:1705.07874",
)
