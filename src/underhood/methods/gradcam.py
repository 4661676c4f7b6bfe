"""Grad-CAM (Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks").

A layer's channels A_k, weighted by the target's gradient averaged over places (eq. 1-2),

    w_k = 1/(h w) Σ_ij ∂S/∂A_k(i, j),      L = ReLU(Σ_k w_k A_k),

upsampled to the input bilinearly (corners not aligned).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from underhood.engine import Run, grad_cam_layer
from underhood.errors import BadModel, InvalidArgument
from underhood.methods.card import Card
from underhood.methods.method import Attribution, Method, zero_maps
from underhood.models.layers import as_grid, kind_of


@dataclass(frozen=True)
class GradCAM(Method):
    """ReLU of a layer's channels weighted by their mean gradient; in units of the score, not summing to it.

    layer: a convolutional or token layer; None takes the default for the architecture, which the result
           names; several are averaged, each map divided by its largest magnitude.
    relu:  False keeps what speaks against the target, with its sign.

    The map before upsampling is kept in `arrays`, under the layer's name.
    """

    layer: str | Sequence[str] | None = None
    relu: bool = True

    key = "gradcam"

    @property
    def card(self) -> Card:
        return replace(CARD, signed=not self.relu)

    def attribute(self, run: Run) -> Attribution:
        layers, reason = self._layers(run)
        found = run.gradients(at=layers)
        size = tuple(run.inputs.shape[-2:])
        parts = zip(layers, found.activations, found.gradients, strict=True)
        maps, reached = zip(*(self._map(*part, run.inputs) for part in parts), strict=True)  # (B, h, w)
        coarsest = min(maps, key=lambda m: m[0].numel())
        values = _joined([upsample(m, size) for m in maps])
        return Attribution(
            values,
            diagnostics=[
                {
                    "layer": ", ".join(layers),
                    "layer_reason": reason,
                    "layer_is_nonnegative": all(bool(a[i].min() >= 0) for a in found.activations),
                }
                for i in range(len(run))
            ],
            grid=(coarsest.shape[1], coarsest.shape[2]),
            no_signal=[self._judged(*pair) for pair in zip(zero_maps(values), sum(reached) > 0, strict=True)],
            arrays=dict(zip(layers, maps, strict=True)),
        )

    def __post_init__(self) -> None:
        if self.layer is not None and not self.layer:
            raise InvalidArgument("Grad-CAM needs at least one layer, or None for the default.")

    def _layers(self, run: Run) -> tuple[list[str], str]:
        if self.layer is None:
            chosen = grad_cam_layer(run.engine, run.inputs[0])
            return [chosen.name], chosen.reason
        return [self.layer] if isinstance(self.layer, str) else list(self.layer), "chosen by the user"

    def _map(self, name: str, activation: Tensor, gradient: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The map (B, h, w), and whether any of its places reaches the score, (B,)."""
        kind = kind_of(activation, inputs.shape)
        if kind in ("vector", "other"):
            raise BadModel(
                f"Layer '{name}' gives shape {tuple(activation.shape[1:])} for each input, which has no "
                "place in the picture; choose a convolutional or token layer."
            )
        a, g = (as_grid(tensor, inputs.shape, kind) for tensor in (activation, gradient))
        weights = g.mean((2, 3))  # (B, K)
        cam = torch.einsum("bk,bkhw->bhw", weights, a)
        return cam.relu() if self.relu else cam, g.flatten(1).any(1)

    def _judged(self, zero: str | None, reached: Tensor) -> str | None:
        if zero and not reached:
            return "the target's score does not depend on the places of this layer; choose an earlier one"
        if zero and self.relu:
            return "nothing in this layer speaks for the target (the map before its ReLU is negative)"
        return zero


def upsample(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """(B, h, w) to (B, H, W), bilinear, corners not aligned."""
    up = F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)
    return up.squeeze(1)


def _joined(maps: Sequence[Tensor]) -> Tensor:
    if len(maps) == 1:
        return maps[0]
    peaks = [m.flatten(1).abs().amax(1).clamp(min=1e-30)[:, None, None] for m in maps]
    return torch.stack([m / peak for m, peak in zip(maps, peaks, strict=True)]).mean(0)


CARD = Card(
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
