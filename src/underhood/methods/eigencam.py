"""First principal components of a layer, as maps.

Eigen-CAM (Muhammad & Yeasin 2020, eq. 3-4): a layer's activations as a matrix O (h·w places, K channels),

    O = U Σ Vᵀ,      L = O V_1,

each place's projection on the first right singular vector, for each input alone. Eigen-Grad-CAM is the
same of O = g ∘ A, which knows the target.

A singular vector has no sign of its own. Ours is such that L goes along with how active the places are,
Σ_ij L ‖A‖ ≥ 0, and with what they contribute, Σ_ij L Σ_k g_k A_k ≥ 0, respectively. After a ReLU, L of
Eigen-CAM is then nowhere negative.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from underhood.engine import Run
from underhood.methods.cam import CAM, Map, grids
from underhood.methods.card import Card
from underhood.methods.gradcam import GradientCAM


@dataclass(frozen=True)
class EigenCAM(CAM):
    """The pattern in which most of a layer's channels agree; the same for every target.

    centred: take each channel's mean off first, so that the map is of what differs between places; the paper
             does not. It then has both signs, and `relu` keeps the side that is more active.
    """

    centred: bool = False

    key = "eigencam"

    def maps(self, run: Run, layers: Sequence[str]) -> Iterator[Map]:
        for name, activation in zip(layers, run.activations(layers), strict=True):
            (a,) = grids(name, run.inputs, activation)
            everywhere = torch.ones(len(run), dtype=torch.bool)
            yield Map(first_component(a, a.norm(dim=1), centred=self.centred), activation, reached=everywhere)


@dataclass(frozen=True)
class EigenGradCAM(GradientCAM):
    """The pattern in which most channels' contributions g ∘ A agree.

    centred: as in `EigenCAM`.
    """

    centred: bool = False

    key = "eigengradcam"

    def join(self, a: Tensor, g: Tensor) -> Tensor:
        o = g * a
        return first_component(o, o.sum(1), centred=self.centred)


def first_component(channels: Tensor, along: Tensor, *, centred: bool) -> Tensor:
    """(B, K, h, w) to (B, h, w): each input's projections on its channels' first right singular vector.

    along: (B, h, w), the map that the projections shall go along with rather than against.
    """
    o = channels.flatten(2).mT.double()  # (B, h·w, K)
    if centred:
        o = o - o.mean(1, keepdim=True)
    u, s, _ = torch.linalg.svd(o, full_matrices=False)
    projected = (u[..., 0] * s[..., :1]).reshape(along.shape)  # O V_1
    against = (projected * along).sum((1, 2), keepdim=True) < 0
    return torch.where(against, -projected, projected).float()


EigenCAM.about = Card(
    name="Eigen-CAM",
    question="focus",
    answers="Where most of the layer's channels are active together.",
    misleads="The same for every class, as it knows nothing of the target: shows what stands out in the "
    "layer, not what the score is made of.",
    signed=False,
    conserves=None,
    resolution="layer",
    unit="activation, no fixed unit",
    needs="a layer with a spatial map or patch tokens",
    cost="1 forward",
    source="Muhammad & Yeasin 2020, arXiv:2008.00299",
    randomisation=False,
)

EigenGradCAM.about = replace(
    EigenCAM.about,
    name="Eigen-Grad-CAM",
    answers="Where most of the layer's channels contribute to the target together.",
    misleads="The component's sign is set by the mean contribution, so it may stand for evidence against as "
    "well; what the other components hold is lost.",
    unit="score per layer position, no fixed sum",
    cost="1 forward + the backward above the layer",
    source="Muhammad & Yeasin 2020, arXiv:2008.00299, of g ∘ A as in pytorch-grad-cam",
)
