"""LRP (Bach et al. 2015, "On pixel-wise explanations for non-linear classifier decisions by layer-wise
relevance propagation").

The score is handed back through the network, each operation sharing what its outputs received among its
inputs (`rules`, `operations`), so that ideally Σ_i R_i = S. It starts with R = y ∘ ∂S/∂y at the model's
scores y: the score of a class, or of each side of a contrast.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from underhood.engine import Gradients, Run
from underhood.errors import InvalidArgument
from underhood.methods.cam import upsample
from underhood.methods.card import Card
from underhood.methods.lrp.composites import Composite, as_composite
from underhood.methods.lrp.operations import Bounds, Pooling, Propagation, Unknown
from underhood.methods.method import Attribution, Method, zero_maps
from underhood.models import Preprocess
from underhood.models.layers import as_grid, kind_of


@dataclass(frozen=True)
class LRP(Method):
    """Relevance of each element, in units of the score.

    composite: which rule goes to which layer: a name, or a list of (layer pattern, rule); see `composites`.
    at:        a layer whose relevance is wanted instead of the input's.
    pooling:   max-pooling hands relevance to the "winner" of each window, or as "average" pooling would.
    unknown:   an operation without a rule is an "error", or passes by its "gradient", which the result says.

    The diagnostics report how much each layer received compared with S. With `at`, the layer's own
    relevance is kept in `arrays`, under its name.
    """

    composite: str | Composite = "epsilon-plus-flat"
    at: str | None = None
    pooling: Pooling = "winner"
    unknown: Unknown = "error"

    key = "lrp"

    def __post_init__(self) -> None:
        as_composite(self.composite)
        if self.pooling not in ("winner", "average"):
            raise InvalidArgument(f"LRP's pooling is 'winner' or 'average', not {self.pooling!r}.")
        if self.unknown not in ("error", "gradient"):
            raise InvalidArgument(f"LRP's unknown is 'error' or 'gradient', not {self.unknown!r}.")

    @property
    def card(self) -> Card:
        return CARD

    def attribute(self, run: Run) -> Attribution:
        rules = Propagation(
            as_composite(self.composite), self.pooling, self.unknown,
            bounds=pixel_bounds(run.engine.model.preprocess), from_input=self.at is None,
        )  # fmt: skip
        found = run.gradients([self.at] if self.at else [], rules)
        relevance = found.gradients[0]
        values, grid = _shown(relevance, run.inputs) if self.at else (relevance, None)
        return Attribution(
            values,
            [self._report(found, rules, i) for i in range(len(run))],
            grid=grid,
            no_signal=zero_maps(relevance),
            arrays={self.at: relevance} if self.at else {},
        )

    def _report(self, found: Gradients, rules: Propagation, i: int) -> dict[str, Any]:
        """What came where, for input number i."""
        total, score = float(found.gradients[0][i].sum()), float(found.score[i])
        path = [
            ("score", score),
            *((name, float(found.totals[name][i])) for name in reversed(found.path) if name in found.totals),
        ]
        path.append((self.at or "input", total))
        leaks = [(abs(b - a) / max(abs(score), 1e-12), where) for (_, a), (where, b) in pairwise(path)]
        leak, where = max(leaks)
        return {
            "sum": total,
            "score": score,
            "relative_gap": (total - score) / max(abs(score), 1e-12),
            "largest_leak": leak,
            "largest_leak_before": where,
            "pooling": self.pooling,
            "rules": dict(rules.findings.rules),
            "passed_as_gradient": sorted(rules.findings.passed),
            "layers": {name: float(total[i]) for name, total in found.totals.items()},
        }


def pixel_bounds(preprocess: Preprocess | None) -> Bounds | None:
    """The lowest and highest value of each channel that a picture can have."""
    if preprocess is None:
        return None
    pixels = torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, preprocess.channels, 1, 1)
    low, high = (tuple(bound.flatten().tolist()) for bound in preprocess.normalise(pixels))
    return low, high


def _shown(relevance: Tensor, inputs: Tensor) -> tuple[Tensor, tuple[int, int] | None]:
    """A layer's relevance over the input, summing to the same; as it is where it has no place there."""
    kind = kind_of(relevance, inputs.shape)
    if kind in ("map", "map (channels last)", "tokens"):
        maps = as_grid(relevance, inputs.shape, kind).sum(1)  # (B, h, w)
        (_, h, w), size = maps.shape, tuple(inputs.shape[-2:])
        return upsample(maps, size) * (h * w / (size[0] * size[1])), (h, w)
    if relevance.shape[: inputs.ndim] == inputs.shape and relevance.ndim > inputs.ndim:
        return relevance.flatten(inputs.ndim).sum(-1), None
    return relevance, None


CARD = Card(
    name="LRP",
    question="attribution",
    answers="How much of the score each element received when the score is handed back layer by layer.",
    misleads="What it shows depends on the rules; with z⁺ and αβ alone the lower layers decide more than the "
    "class does, and what biases contribute is lost.",
    signed=True,
    conserves="S(x), where every rule conserves and nothing has a bias",
    resolution="element",
    unit="score per element",
    needs="gradients, and a rule for every operation",
    cost="1 forward + 1 backward, both about twice as dear",
    source="Bach et al. 2015, doi:10.1371/journal.pone.0130140; for transformers Achtibat et al. 2024, "
    "arXiv:2402.05602",
)
