"""Score-CAM (Wang et al. 2020, "Score-CAM: score-weighted visual explanations for convolutional networks").

Each of a layer's channels A_k, upsampled and stretched to 0…1 for each input alone, is a mask H_k. The
masked input's score beyond the baseline's is the channel's increase of confidence (eq. 3-7, algorithm 1),

    C_k = S(x' + H_k ∘ (x - x')) - S(x'),      w = softmax_k C,      L = ReLU(Σ_k w_k A_k).

S is the score before the softmax, as in the paper; S(x') cancels in the softmax over channels, and is not
computed. Channels that are the same everywhere make no mask, and are left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from underhood.engine import Run
from underhood.inputs import Variants
from underhood.inputs.baseline import BaselineLike, as_baseline
from underhood.inputs.variants import broadcast_as
from underhood.methods.cam import CAM, Channels, Map, grids, upsample, weighted
from underhood.methods.card import Card


@dataclass(frozen=True)
class ScoreCAM(CAM):
    """ReLU of a layer's channels weighted by the score of the input seen through each; needs no gradients.

    layer, relu: see `CAM`.
    baseline:    what the masks leave out is replaced by; several are averaged.
    """

    baseline: BaselineLike = "zeros"

    key = "scorecam"

    def __post_init__(self) -> None:
        super().__post_init__()
        as_baseline(self.baseline)

    def maps(self, run: Run, layers: Sequence[str]) -> Iterator[Map]:
        baseline = as_baseline(self.baseline)
        fills = baseline.values(run.inputs, run.engine.model.preprocess, run.seed)  # (n, B, …)
        for name, activation in zip(layers, run.activations(layers), strict=True):
            (a,) = grids(name, run.inputs, activation)
            channels = Channels.where(a.flatten(2).amax(2) > a.flatten(2).amin(2))
            scores = run.scores(_masked(run.inputs, a, channels, fills)).reshape(len(fills), -1, len(run))
            confidence = channels.spread(scores.mean(0).T, other=-torch.inf)  # (B, K)
            weights = confidence.softmax(1).where(channels.among, 0)
            precision = run.engine.log.precision
            told = [{"channels": n, "precision": precision} for n in channels.among.sum(1).tolist()]
            yield Map(weighted(weights, a), activation, channels.among.any(1), told)


def _masked(inputs: Tensor, a: Tensor, channels: Channels, fills: Tensor) -> Variants:
    """Every input seen through each of its channels; all of it again for each fill."""

    def make(rows: Tensor, numbers: Tensor) -> Tensor:
        fill, number = numbers // channels.count, numbers % channels.count
        masks = upsample(a[rows, channels.index[rows, number]], tuple(inputs.shape[-2:]))  # (m, H, W)
        low, high = masks.flatten(1).aminmax(dim=1)
        masks = (masks - broadcast_as(low, masks)) / broadcast_as((high - low).where(high > low, 1), masks)
        hidden = fills[fill, rows]
        return torch.lerp(hidden, inputs[rows], masks[:, None].expand_as(hidden))

    return Variants(inputs, len(fills) * channels.count, make)


ScoreCAM.about = Card(
    name="Score-CAM",
    question="focus",
    answers="Where those of the layer's channels are active that keep the score when only they are shown.",
    misleads="As coarse as its layer; softly masked pictures are something the model has never seen, and the "
    "softmax gives most of the weight to a few channels.",
    signed=False,
    conserves=None,
    resolution="layer",
    unit="activation, no fixed unit",
    needs="a layer with a spatial map or patch tokens",
    cost="1 forward + one for each channel of the layer",
    source="Wang et al. 2020, arXiv:1910.01279",
    randomisation=False,
)
