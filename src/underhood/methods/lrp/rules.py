"""Rules of layers with weights: how the relevance R_j of outputs z_j = Σ_i x_i w_ij + b_j goes to inputs.

All of them share R_j in proportion to some contributions c_ij of the inputs,

    R_i = Σ_j c_ij / (Σ_i c_ij + bias_j) R_j,

and differ in what they call a contribution. What a bias contributes is absorbed, unless bias="ignored".
Denominators are kept from 0 by `epsilon`, which takes their sign (+ at 0).

Bach et al. 2015, doi:10.1371/journal.pone.0130140 (0, ε, αβ); Montavon et al. 2017, arXiv:1512.02479 (z⁺, w²,
z^B); Montavon et al. 2019, doi:10.1007/978-3-030-28954-6_10 (γ, composites); Lapuschkin et al. 2019,
arXiv:1902.10178 (flat); Andéol et al. 2021, arXiv:2106.04923 (γ for inputs of any sign).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from underhood.errors import BadModel, InvalidArgument
from underhood.methods.lrp.affine import Affine

Bias = Literal["absorbs", "ignored"]
Part = tuple[Tensor, Tensor, Tensor | None]  # inputs, weights and bias that contribute x̃ w̃ and b̃


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """epsilon: keeps the denominators from 0.
    bias:    "absorbs" relevance as it contributes, or is "ignored".
    """

    epsilon: float = 1e-6
    bias: Bias = "absorbs"

    reads_output: ClassVar[bool] = False  # whether it needs the layer's output z

    def __post_init__(self) -> None:
        if not self.epsilon >= 0:
            raise InvalidArgument(f"A rule's epsilon is 0 or more, not {self.epsilon}.")
        if self.bias not in ("absorbs", "ignored"):
            raise InvalidArgument(f"A rule's bias is 'absorbs' or 'ignored', not {self.bias!r}.")

    @abstractmethod
    def __call__(self, layer: Affine, x: Tensor, z: Callable[[], Tensor], R: Tensor) -> Tensor:
        """R_i of the inputs x from R_j; z gives the layer's output."""

    def share(self, layer: Affine, parts: Sequence[Part], R: Tensor, total: Tensor | None = None) -> Tensor:
        """R in proportion to what the parts contribute; total: their sum, where it is known."""
        if total is None:
            total = added([layer.run(*part) for part in parts])
        s = ratio(R, total, self.epsilon)
        like = parts[0][0].expand(len(R), *parts[0][0].shape[1:])
        return added([layer.transposed(s, w, like).mul_(x) for x, w, _ in parts])


@dataclass(frozen=True)
class Epsilon(Rule):
    """LRP-ε: c = x w."""

    epsilon: float = 1e-6

    reads_output = True

    def __call__(self, layer: Affine, x: Tensor, z: Callable[[], Tensor], R: Tensor) -> Tensor:
        return self.share(layer, [(x, layer.weight, layer.bias)], R, z())


@dataclass(frozen=True)
class Zero(Epsilon):
    """LRP-0: c = x w; what comes to a z of 0 is lost."""

    epsilon: float = 0.0


@dataclass(frozen=True)
class Gamma(Rule):
    """LRP-γ: contributions of the sign of z count (1 + γ)-fold.

    Of z > 0: c = x⁺(w + γ w⁺) + x⁻(w + γ w⁻); of z < 0: c = x⁺(w + γ w⁻) + x⁻(w + γ w⁺).
    """

    gamma: float = 0.25

    reads_output = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.gamma >= 0:
            raise InvalidArgument(f"LRP's gamma is 0 or more, not {self.gamma}.")

    def __call__(self, layer: Affine, x: Tensor, z: Callable[[], Tensor], R: Tensor) -> Tensor:
        up, down = (lambda a: a + self.gamma * positive(a)), (lambda a: a + self.gamma * negative(a))
        for_positive, for_negative = signed(layer, x, up, down), signed(layer, x, down, up)
        output = z()
        total = added([layer.run(*part) for part in for_positive])
        below = R * (output <= 0)
        if not below.any():  # as below a rectifier
            return self.share(layer, for_positive, R, total)
        found = self.share(layer, for_positive, R - below, total)
        # Both kinds of contributions together are those of (2 + γ) w: a forward pass saved.
        against = (2 + self.gamma) * output - total
        return found.add_(self.share(layer, for_negative, below, against))


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """LRP-αβ, α − β = 1: α-fold by positive contributions, less β-fold by negative ones.

    c⁺ = x⁺ w⁺ + x⁻ w⁻, c⁻ = x⁺ w⁻ + x⁻ w⁺.
    """

    alpha: float = 2.0
    beta: float = 1.0

    reads_output = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if abs(self.alpha - self.beta - 1) > 1e-9 or self.beta < 0:
            raise InvalidArgument(
                f"LRP-αβ needs α − β = 1 and β of 0 or more, so that relevance is conserved; got "
                f"α = {self.alpha}, β = {self.beta}."
            )

    def __call__(self, layer: Affine, x: Tensor, z: Callable[[], Tensor], R: Tensor) -> Tensor:
        parts = signed(layer, x, positive, negative)
        total = added([layer.run(*part) for part in parts])
        if not self.beta:
            return self.share(layer, parts, R, total)
        found = self.share(layer, parts, R, total).mul_(self.alpha)
        against = signed(layer, x, negative, positive)
        return found.sub_(self.share(layer, against, R, (z() - total).clamp_(max=0)), alpha=self.beta)


@dataclass(frozen=True)
class ZPlus(AlphaBeta):
    """z⁺: positive contributions alone, c = x⁺ w⁺ + x⁻ w⁻."""

    alpha: float = 1.0
    beta: float = 0.0

    reads_output = False


@dataclass(frozen=True)
class WSquare(Rule):
    """w²: c = w², whatever the inputs are."""

    def __call__(self, layer: Affine, x: Tensor, z: Callable[[], Tensor], R: Tensor) -> Tensor:  # noqa: ARG002
        squared = None if layer.bias is None else layer.bias**2
        return self.share(layer, [(torch.ones_like(x[:1]), layer.weight**2, squared)], R)


@dataclass(frozen=True)
class Flat(Rule):
    """Flat: c = 1, the same to every input that reaches an output."""

    def __call__(self, layer: Affine, x: Tensor, z: Callable[[], Tensor], R: Tensor) -> Tensor:  # noqa: ARG002
        return self.share(layer, [(torch.ones_like(x[:1]), torch.ones_like(layer.weight), None)], R)


@dataclass(frozen=True)
class ZBox(Rule):
    """z^B for pixels between the bounds l and h: c = x w − l w⁺ − h w⁻. The bias takes no part.

    low, high: one for each channel, or one for all; None takes those of the model's preprocessing, or
               where it has none those of each input itself.
    """

    low: tuple[float, ...] | float | None = None
    high: tuple[float, ...] | float | None = None

    reads_output = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.low is None) != (self.high is None):
            raise InvalidArgument("LRP-z^B needs both bounds, or neither.")

    def __call__(self, layer: Affine, x: Tensor, z: Callable[[], Tensor], R: Tensor) -> Tensor:
        low, high = (
            self._bound(value, x, reduce) for value, reduce in ((self.low, "amin"), (self.high, "amax"))
        )
        up, down = positive(layer.weight), negative(layer.weight)
        total = z() - layer.run(low, up, layer.bias) - layer.run(high, down, None)
        return self.share(layer, [(x - low, up, None), (x - high, down, None)], R, total)

    def _bound(self, value: Any, x: Tensor, reduce: str) -> Tensor:
        """(1 or B, C, …), shaped like the inputs, as padding must be seen by the layer."""
        if value is None:
            places = list(range(2, x.ndim)) or [1]
            return getattr(x, reduce)(places, keepdim=True).expand_as(x).contiguous()
        bound = x.new_tensor(value).reshape(1, -1, *[1] * (x.ndim - 2))
        return bound.expand_as(x[:1]).contiguous()


@dataclass(frozen=True)
class Pass(Rule):
    """Relevance goes on as it is, for layers whose outputs are as many as their inputs."""

    def __call__(self, layer: Affine, x: Tensor, z: Callable[[], Tensor], R: Tensor) -> Tensor:  # noqa: ARG002
        if x.shape != R.shape:
            raise BadModel(
                "The rule Pass() needs a layer that keeps its input's shape; this one makes "
                f"{tuple(R.shape)} of {tuple(x.shape)}."
            )
        return R


def positive(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def negative(x: Tensor) -> Tensor:
    return x.clamp(max=0)


def signed(
    layer: Affine, x: Tensor, of_positive: Callable[[Tensor], Tensor], of_negative: Callable[[Tensor], Tensor]
) -> list[Part]:
    """x⁺ with some weights and x⁻ with others; no second part where no input is negative."""
    bias = None if layer.bias is None else of_positive(layer.bias)
    if layer.nonnegative or x.amin() >= 0:
        return [(x, of_positive(layer.weight), bias)]
    return [(positive(x), of_positive(layer.weight), bias), (negative(x), of_negative(layer.weight), None)]


def ratio(R: Tensor, z: Tensor, epsilon: float) -> Tensor:
    """R / z, z kept from 0 by epsilon with its sign, + at 0; without epsilon, 0 where z is 0."""
    if epsilon == 0:
        return torch.where(z == 0, 0, R / z)
    kept = torch.copysign(z.new_tensor(epsilon), z).add_(z)
    return torch.div(R, kept, out=kept) if kept.shape == R.shape and kept.dtype == R.dtype else R / kept


def added(tensors: Sequence[Tensor]) -> Tensor:
    first, *others = tensors
    return sum(others, first)
