"""Class activation maps of a layer's channels A_k and the target's gradient there, g_k = ∂S/∂A_k.

Each is a function of (A, g), before its last ReLU; i, j run over the layer's h × w places:

    Grad-CAM (Selvaraju et al. 2017, eq. 1-2)        Σ_k w_k A_k,      w_k = 1/(h w) Σ_ij g_k
    Grad-CAM++ (Chattopadhay et al. 2018, eq. 19)    Σ_k w_k A_k,      w_k = Σ_ij α_k ReLU(g_k),
                                                     α_k = g_k² / (2 g_k² + g_k³ Σ_ab A_k)
    XGrad-CAM (Fu et al. 2020, eq. 9)                Σ_k w_k A_k,      w_k = Σ_ij g_k A_k / Σ_ij A_k
    HiResCAM (Draelos & Carin 2020, eq. 5)           Σ_k g_k A_k
    LayerCAM (Jiang et al. 2021, eq. 6)              Σ_k ReLU(g_k) A_k

Those that one call asks for at the same layers share one forward and one backward pass.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from underhood.engine import Run
from underhood.methods.cam import CAM, Map, grids, weighted
from underhood.methods.card import Card


@dataclass(frozen=True)
class GradientCAM(CAM):
    """Base of the maps that are a function of a layer's activations and gradients; fields as in `CAM`."""

    @abstractmethod
    def join(self, a: Tensor, g: Tensor) -> Tensor:
        """(B, h, w) from A and g, (B, K, h, w)."""

    def maps(self, run: Run, layers: Sequence[str]) -> Iterator[Map]:
        found = run.gradients(at=layers)
        for name, activation, gradient in zip(layers, found.activations, found.gradients, strict=True):
            a, g = grids(name, run.inputs, activation, gradient)
            yield Map(self.join(a, g), activation, reached=g.flatten(1).any(1))


@dataclass(frozen=True)
class GradCAM(GradientCAM):
    """ReLU of a layer's channels weighted by their mean gradient; in units of the score, not summing to it.

    layer, relu: see `CAM`.
    """

    key = "gradcam"

    def join(self, a: Tensor, g: Tensor) -> Tensor:
        return weighted(g.mean((2, 3)), a)


@dataclass(frozen=True)
class GradCAMPlusPlus(GradientCAM):
    """Channels weighted by their positive gradients, α making several objects of a class count alike.

    α is the paper's for a score that goes through an exponential, whose factor exp(S) all places share
    and which is left out. It takes the layer to be non-negative, and by the exponential the map's shape
    depends on how large the scores are, as in the paper; on the scale of the layer it does not depend.
    """

    key = "gradcam_plus_plus"

    def join(self, a: Tensor, g: Tensor) -> Tensor:
        alpha = ratio(torch.ones_like(g), 2 + g * a.sum((2, 3), keepdim=True))  # g² cancelled
        return weighted((alpha * g.relu()).sum((2, 3)), a)


@dataclass(frozen=True)
class XGradCAM(GradientCAM):
    """Channels weighted by their mean gradient where they are active; the map sums to Σ g A, as HiResCAM's.

    A channel whose activations cancel (their sum is below a millionth of their magnitudes' sum) has no such
    mean, and gets no weight.
    """

    key = "xgradcam"

    def join(self, a: Tensor, g: Tensor) -> Tensor:
        total, size = a.sum((2, 3)), a.abs().sum((2, 3))
        total = total.where(total.abs() > 1e-6 * size, torch.zeros_like(total))
        return weighted(ratio((g * a).sum((2, 3)), total), a)


@dataclass(frozen=True)
class HiResCAM(GradientCAM):
    """Each place's activations times its own gradients: 0 where the score does not depend on a place."""

    key = "hirescam"

    def join(self, a: Tensor, g: Tensor) -> Tensor:
        return (g * a).sum(1)


@dataclass(frozen=True)
class LayerCAM(GradientCAM):
    """Each place's activations times its own gradients where these are positive; for shallow layers too."""

    key = "layercam"

    def join(self, a: Tensor, g: Tensor) -> Tensor:
        return (g.relu() * a).sum(1)


def ratio(over: Tensor, under: Tensor) -> Tensor:
    """Their quotient, 0 where it has no value."""
    return torch.where(under == 0, torch.zeros_like(over), over / under.where(under != 0, 1))


GradCAM.about = Card(
    name="Grad-CAM",
    question="focus",
    answers="From which regions the layer took evidence for the target.",
    misleads="As coarse as its layer; averaging the gradient can light up regions that the score does "
    "not depend on, and it shows where, not what.",
    signed=False,
    conserves=None,
    resolution="layer",
    unit="evidence per layer position, no fixed unit",
    needs="a layer with a spatial map or patch tokens",
    cost="1 forward + the backward above the layer",
    source="Selvaraju et al. 2017, arXiv:1610.02391",
)

GradCAMPlusPlus.about = replace(
    GradCAM.about,
    name="Grad-CAM++",
    answers="From which regions the layer took evidence for the target, several of a kind alike.",
    misleads="As coarse as its layer; it leaves out all gradients against the target, its weights come from "
    "an exponential of the score that the model does not have, and they assume a layer after a ReLU.",
    source="Chattopadhay et al. 2018, arXiv:1710.11063",
)

XGradCAM.about = replace(
    GradCAM.about,
    name="XGrad-CAM",
    answers="From which regions the layer took evidence for the target, channels weighted where they are "
    "active.",
    misleads="As coarse as its layer; within a channel every active place counts alike, also where the score "
    "does not depend on it, and channels whose activations cancel are left out.",
    source="Fu et al. 2020, arXiv:2008.02312",
)

HiResCAM.about = replace(
    GradCAM.about,
    name="HiResCAM",
    answers="How much each place of the layer adds to the score in a linear picture of what follows.",
    misleads="As coarse as its layer; exact only where pooling and one linear layer follow, and it shows "
    "where, not what.",
    unit="score per layer position",
    source="Draelos & Carin 2020, arXiv:2011.08891",
)

LayerCAM.about = replace(
    GradCAM.about,
    name="LayerCAM",
    answers="Where the layer is active and more of it would raise the score.",
    misleads="Leaves out all gradients against the target, so what speaks against it may light up as well; "
    "in shallow layers it follows edges.",
    unit="score per layer position",
    source="Jiang et al. 2021, IEEE TIP 30, doi:10.1109/TIP.2021.3089943",
)
