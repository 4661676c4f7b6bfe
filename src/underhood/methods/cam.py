"""What all class activation maps share: a map on a layer's grid, upsampled to the input.

A class activation map joins a layer's channels A_k into one map on the layer's grid; the methods differ
in how much each channel, or place, counts. Tokens are laid out as a grid, without class and register tokens.
Maps are upsampled bilinearly (corners not aligned); those of several layers are averaged, each divided by its
largest magnitude. The activations say whether the layer is after a rectifier, which most of the papers
assume.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from underhood.engine import Run, grad_cam_layer
from underhood.errors import BadModel, InvalidArgument
from underhood.methods.card import Card
from underhood.methods.method import Attribution, Method, zero_maps
from underhood.models.layers import as_grid, kind_of

UNREACHED = "the target's score does not depend on the places of this layer; choose an earlier one"
AGAINST = "nothing in this layer speaks for the target (the map before its ReLU is negative)"


@dataclass(frozen=True)
class Map:
    """One layer's map, before its ReLU, for B inputs.

    activation: (B, …), as the layer gave it; reached: whether its places can move the score at all.
    """

    values: Tensor  # (B, h, w)
    activation: Tensor
    reached: Tensor  # (B,)
    diagnostics: Sequence[Mapping[str, Any]] = field(default=())


@dataclass(frozen=True)
class CAM(Method):
    """Base of the class activation maps.

    layer: a convolutional or token layer; None takes the default for the architecture, which the result
           names; several are averaged, each map divided by its largest magnitude.
    relu:  False keeps what the last ReLU would remove: what speaks against the target, with its sign.

    The map before upsampling is kept in `arrays`, under the layer's name.
    """

    layer: str | Sequence[str] | None = None
    relu: bool = True

    about: ClassVar[Card]

    @abstractmethod
    def maps(self, run: Run, layers: Sequence[str]) -> Iterator[Map]:
        """Each layer's map before the ReLU."""

    @property
    def card(self) -> Card:
        return replace(self.about, signed=not self.relu)

    def __post_init__(self) -> None:
        if self.layer is not None and not self.layer:
            raise InvalidArgument(f"{self.about.name} needs at least one layer, or None for the default.")

    def attribute(self, run: Run) -> Attribution:
        layers, reason = self._layers(run)
        found = list(self.maps(run, layers))
        maps = [m.values.relu() if self.relu else m.values for m in found]
        coarsest = min(maps, key=lambda m: m[0].numel())
        values = _joined([upsample(m, tuple(run.inputs.shape[-2:])) for m in maps])
        reached = torch.stack([m.reached for m in found]).any(0)
        return Attribution(
            values,
            diagnostics=[
                {
                    "layer": ", ".join(layers),
                    "layer_reason": reason,
                    "layer_is_nonnegative": all(bool(m.activation[i].min() >= 0) for m in found),
                    **{name: of for m in found if m.diagnostics for name, of in m.diagnostics[i].items()},
                }
                for i in range(len(run))
            ],
            grid=(coarsest.shape[1], coarsest.shape[2]),
            no_signal=[self._judged(*pair) for pair in zip(zero_maps(values), reached.tolist(), strict=True)],
            arrays=dict(zip(layers, maps, strict=True)),
        )

    def _layers(self, run: Run) -> tuple[list[str], str]:
        if self.layer is None:
            chosen = grad_cam_layer(run.engine, run.inputs[0])
            return [chosen.name], chosen.reason
        return [self.layer] if isinstance(self.layer, str) else list(self.layer), "chosen by the user"

    def _judged(self, zero: str | None, reached: bool) -> str | None:
        if zero and not reached:
            return UNREACHED
        return AGAINST if zero and self.relu else zero


@dataclass(frozen=True)
class Channels:
    """Those of a layer's channels that are asked about, listed for each of B inputs."""

    index: Tensor  # (B, n), with others at the end where an input has fewer
    among: Tensor  # (B, K)

    @staticmethod
    def where(among: Tensor) -> "Channels":
        count = max(1, int(among.sum(1).max()))
        return Channels(among.int().argsort(dim=1, descending=True, stable=True)[:, :count], among)

    @property
    def count(self) -> int:
        return self.index.shape[1]

    def spread(self, values: Tensor, other: float = 0) -> Tensor:
        """(B, n) to (B, K); the channels that are not asked about get `other`."""
        spread = torch.full(self.among.shape, float(other)).scatter(1, self.index, values)
        return spread.where(self.among, other)


def weighted(weights: Tensor, a: Tensor) -> Tensor:
    """Σ_k w_k A_k: (B, K) and (B, K, h, w) to (B, h, w)."""
    return torch.einsum("bk,bkhw->bhw", weights, a)


def grids(layer: str, inputs: Tensor, *tensors: Tensor) -> list[Tensor]:
    """What a layer gave (B, …), and what is shaped like it, as maps (B, K, h, w)."""
    kind = kind_of(tensors[0], inputs.shape)
    if kind in ("vector", "other"):
        raise BadModel(
            f"Layer '{layer}' gives shape {tuple(tensors[0].shape[1:])} for each input, which has no "
            "place in the picture; choose a convolutional or token layer."
        )
    return [as_grid(tensor, inputs.shape, kind) for tensor in tensors]


def upsample(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """(B, h, w) to (B, H, W), bilinear, corners not aligned."""
    up = F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)
    return up.squeeze(1)


def _joined(maps: Sequence[Tensor]) -> Tensor:
    if len(maps) == 1:
        return maps[0]
    peaks = [m.flatten(1).abs().amax(1).clamp(min=1e-30)[:, None, None] for m in maps]
    return torch.stack([m / peak for m, peak in zip(maps, peaks, strict=True)]).mean(0)
