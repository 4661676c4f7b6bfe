"""Ablation-CAM (Desai & Ramaswamy 2020, "Visual explanations ... via gradient-free localization").

A layer's channels A_k, weighted by how far the score falls when the channel alone is set to 0 (eq. 2-3),

    w_k = S - S(A_k = 0),      L = ReLU(Σ_k w_k A_k).

The paper divides w_k by S, which scales the map, and turns it upside down where the score is negative; here
it stays in units of the score. Of token layers the patches are set to 0, not the class token, which has no
place in the map. Nothing below the layer is run again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from underhood.engine import Run
from underhood.inputs import Variants
from underhood.methods.cam import CAM, Channels, Map, grids, weighted
from underhood.methods.card import Card


@dataclass(frozen=True)
class AblationCAM(CAM):
    """ReLU of a layer's channels weighted by the fall of the score without them; needs no gradients.

    layer, relu: see `CAM`.
    """

    key = "ablationcam"

    def maps(self, run: Run, layers: Sequence[str]) -> Iterator[Map]:
        for name, activation in zip(layers, run.activations(layers), strict=True):
            (a,) = grids(name, run.inputs, activation)
            channels = Channels.where(a.flatten(2).any(2))  # setting others to 0 changes nothing
            scores = run.scores_from(name, _ablated(name, activation, run.inputs, channels))
            falls = scores[0] - scores[1:]  # (n, B)
            rounding = 4 * torch.finfo(scores.dtype).eps * scores.abs().amax(0)
            falls = falls.where(falls.abs() > rounding, torch.zeros_like(falls))
            weights = channels.spread(falls.T)
            yield Map(weighted(weights, a), activation, reached=weights.any(1))


def _ablated(layer: str, activation: Tensor, inputs: Tensor, channels: Channels) -> Variants:
    """The activations as they are, then without each channel."""

    def make(rows: Tensor, numbers: Tensor) -> Tensor:
        changed = activation[rows]
        (grid,) = grids(layer, inputs, changed)  # a view
        ablated = numbers > 0
        grid[ablated, channels.index[rows, numbers - 1][ablated]] = 0
        return changed

    return Variants(activation, 1 + channels.count, make)


AblationCAM.about = Card(
    name="Ablation-CAM",
    question="focus",
    answers="Where those of the layer's channels are active without which the score falls.",
    misleads="As coarse as its layer; evidence that two channels hold alike is missed, and 0 may be an "
    "activation that the model has never seen.",
    signed=False,
    conserves=None,
    resolution="layer",
    unit="evidence per layer position, no fixed unit",
    needs="a layer with a spatial map or patch tokens",
    cost="2 forward + what follows the layer for each of its channels",
    source="Desai & Ramaswamy 2020, WACV, doi:10.1109/WACV45572.2020.9093360",
)
