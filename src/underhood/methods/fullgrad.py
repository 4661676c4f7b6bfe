"""FullGrad (Srinivas & Fleuret 2019, "Full-gradient representation for neural network visualization").

A network of linear layers and ReLUs is, around any input, linear in the input and its biases b together. So
its score is completely shared out (proposition 1) over the input and every place that adds a bias,

    S(x) = Σ x ∘ ∂S/∂x + Σ_l Σ b_l ∘ ∂S/∂z_l,

z_l being what b_l is added to. Batch normalisation's bias is implicit, β - γ μ / σ. The map adds up these
parts (eq. 6), each made ψ: the magnitude, stretched to 0…1 over the layer and upsampled,

    ψ(x ∘ ∂S/∂x) + Σ_l Σ_c ψ(b_l ∘ ∂S/∂z_l)_c.

Biases are found in the operations, not in the layers, so it makes no difference how they are written. Those
of layers without places, such as the last linear one, have no share in the map. What other operations than
linear ones and ReLUs leave out is reported as the completeness gap.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from underhood.engine import Op, PlainRules, Run
from underhood.engine.ops import CONVOLUTIONS
from underhood.errors import BadModel, InvalidArgument
from underhood.methods.cam import upsample
from underhood.methods.card import Card
from underhood.methods.method import Attribution, Method, zero_maps
from underhood.models.layers import as_grid, kind_of

BIAS_AT = {"linear": 2, "layer_norm": 3, "group_norm": 3}  # which argument it is, where it is one
AFFINE = ("batch_norm", "add", "sub", "rsub", "addmm", "baddbmm")  # what they give for 0 is the bias


@dataclass(frozen=True)
class FullGrad(Method):
    """The parts of the score that the input and all biases have, added up where they are.

    kind: "rescaled" takes each layer's magnitudes stretched to 0…1, as in the paper; "signed" the parts
          themselves, in units of the score, each spread evenly over the pixels of its place.
    """

    kind: Literal["rescaled", "signed"] = "rescaled"

    key = "fullgrad"

    def __post_init__(self) -> None:
        if self.kind not in ("rescaled", "signed"):
            raise InvalidArgument(f"FullGrad's kind is rescaled or signed, not {self.kind!r}.")

    @property
    def card(self) -> Card:
        return replace(CARD, signed=self.kind == "signed")

    def attribute(self, run: Run) -> Attribution:
        psi, spread = (_rescaled, upsample) if self.kind == "rescaled" else (_as_it_is, _spread)
        biases = Biases(run.inputs.shape[1:], psi, spread)
        of_input = run.inputs * run.gradients(rules=biases).gradients[0]
        placed, sums, placeless = biases.of(len(run))
        values = psi(of_input)
        if run.inputs.ndim == 4:
            values = values.sum(1) + placed
        total = of_input.flatten(1).sum(1)
        return Attribution(
            values,
            diagnostics=[
                {
                    "input_part": x,
                    "bias_part": b,
                    "bias_part_without_places": nowhere,
                    "completeness_gap": x + b - s,
                }
                for x, b, nowhere, s in zip(
                    total.tolist(), sums.tolist(), placeless.tolist(), run.score.tolist(), strict=True
                )
            ],
            no_signal=zero_maps(values),
        )


@dataclass
class Parts:
    """What the biases add in one pass over m inputs."""

    placed: Tensor  # (m, H, W), made ψ and upsampled
    sums: Tensor  # (m,)
    placeless: Tensor  # (m,), of the sums


@dataclass
class Biases(PlainRules):
    """Plain gradients, noting on the way back b ∘ ∂S/∂z of every bias."""

    shape: torch.Size  # of an input
    psi: Callable[[Tensor], Tensor]
    spread: Callable[[Tensor, tuple[int, ...]], Tensor]
    passes: list[Parts] = field(default_factory=list)

    def apply(self, op: Op) -> Any:
        z = op()
        if isinstance(z, Tensor) and z.requires_grad and (b := bias_of(op)) is not None:
            z.register_hook(lambda gradient: self._note(gradient.detach() * b))
        return z

    def seed(self, values: Tensor, gradient: Tensor) -> Tensor:
        count, size = len(values), self.shape[1:] if len(self.shape) == 3 else (1, 1)
        self.passes.append(Parts(*(values.new_zeros(count, *s) for s in (size, (), ()))))
        return gradient

    def of(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of so many inputs: the last passes', as one that ran out of memory is followed by others."""
        found: list[Parts] = []
        while count > 0:
            found.insert(0, self.passes.pop())
            count -= len(found[0].sums)
        gathered = zip(*((p.placed, p.sums, p.placeless) for p in found), strict=True)
        placed, sums, placeless = (torch.cat(parts).float().cpu() for parts in gathered)
        return placed, sums, placeless

    def _note(self, part: Tensor) -> None:
        now, grid = self.passes[-1], self._grid(part)
        total = part.reshape(len(now.sums), -1).sum(1)
        now.sums += total
        if grid is None:
            now.placeless += total
        else:
            now.placed += self.spread(self.psi(grid).sum(1), tuple(now.placed.shape[1:]))

    def _grid(self, part: Tensor) -> Tensor | None:
        """(m, K, h, w), or None where it has no places in the picture."""
        shape = (len(part), *self.shape)
        kind = kind_of(part, shape)
        if len(self.shape) != 3 or kind in ("vector", "other") or len(part) != len(self.passes[-1].sums):
            return None
        try:
            return as_grid(part, shape, kind)
        except BadModel:  # tokens that make no grid
            return None


def bias_of(op: Op) -> Tensor | None:
    """The constant that an operation adds, ready to be multiplied with its result; None for none."""
    if op.name in AFFINE:
        with torch.no_grad():
            nothing = op(*(torch.zeros_like(tensor) for tensor in op.inputs))
        return nothing if nothing.any() else None
    if not (op.name in CONVOLUTIONS or op.name in BIAS_AT):
        return None
    bias = op.argument(BIAS_AT.get(op.name, 2), "bias")
    if bias is None or op.name not in CONVOLUTIONS | {"group_norm"}:
        return bias
    return bias.reshape(-1, *[1] * (op.inputs[0].ndim - 2))


def _rescaled(part: Tensor) -> Tensor:
    """Magnitudes (m, K, …), from 0 to 1 over each input's."""
    size = part.abs().flatten(1)
    low, high = size.aminmax(dim=1, keepdim=True)
    return ((size - low) / (high - low).where(high > low, 1)).reshape(part.shape)


def _as_it_is(part: Tensor) -> Tensor:
    return part


def _spread(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Upsampled to the same sum."""
    return upsample(maps, size) * (maps[0].numel() / (size[0] * size[1]))


CARD = Card(
    name="FullGrad",
    question="attribution",
    answers="Which places the score is made of, counting what every layer's biases add there.",
    misleads="The rescaling of each layer counts layers alike that add much and little, and takes what "
    "speaks against the target as what speaks for it; the parts sum to the score, the map does not.",
    signed=False,
    conserves=None,
    resolution="region",
    unit="share of each layer's largest part, summed over channels and layers",
    needs="gradients; complete for networks of linear layers and ReLUs",
    cost="1 forward + 1 backward",
    source="Srinivas & Fleuret 2019, arXiv:1905.00780",
)
