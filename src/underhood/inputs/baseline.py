"""Baselines: what *absent* means. The answer depends on it, so every result names it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from underhood.errors import InvalidArgument, UnknownName
from underhood.inputs.imputation import impute
from underhood.inputs.random import BASELINE, normal, uniform
from underhood.inputs.variants import broadcast_as
from underhood.models import Preprocess


class Baseline(ABC):
    """What an input is compared with, or its hidden parts are filled with.

    Each input has baselines of its own, made from nothing but itself and the seed, so that a batch
    equals its inputs one by one.
    """

    name: str

    @abstractmethod
    def values(self, inputs: Tensor, preprocess: Preprocess | None, seed: int) -> Tensor:
        """Baselines (n, B, …) for inputs (B, …), in the network's input units."""

    def hide(self, inputs: Tensor, hidden: Tensor, values: Tensor) -> Tensor:
        """Inputs (m, …) with the elements under `hidden` (m, …), bool, taken from `values` (m, …)."""
        return torch.where(_over_channels(hidden, inputs), values, inputs)

    @property
    def is_local(self) -> bool:
        """Whether hidden elements are filled without a look at those around them."""
        return type(self).hide is Baseline.hide


@dataclass(frozen=True)
class Zeros(Baseline):
    """Zero in the network's input units: the mean colour, where inputs are normalised."""

    name: str = "zeros"

    def values(self, inputs: Tensor, preprocess: Preprocess | None, seed: int) -> Tensor:  # noqa: ARG002
        return torch.zeros_like(inputs)[None]


@dataclass(frozen=True)
class Constant(Baseline):
    """One value everywhere: a grey level in 0…1 for pictures, an input value where there is none."""

    value: float
    name: str = "constant"

    def values(self, inputs: Tensor, preprocess: Preprocess | None, seed: int) -> Tensor:  # noqa: ARG002
        flat = torch.full_like(inputs, self.value)
        return (preprocess.normalise(flat) if preprocess else flat)[None]


@dataclass(frozen=True)
class Mean(Baseline):
    """The data set's mean: the given one (…), or per channel the one that the preprocessing subtracts."""

    mean: Tensor | None = None
    name: str = "mean"

    def values(self, inputs: Tensor, preprocess: Preprocess | None, seed: int) -> Tensor:  # noqa: ARG002
        if self.mean is not None:
            return self.mean.expand_as(inputs)[None].clone()
        if preprocess is None or not any(preprocess.mean):
            raise InvalidArgument(
                "The baseline 'mean' needs a preprocessing that knows the data's mean, or "
                "Mean(tensor); otherwise use another baseline, such as 'zeros'."
            )
        return torch.zeros_like(inputs)[None]


@dataclass(frozen=True)
class Blur(Baseline):
    """The input through a Gaussian blur; sigma as a share of the shorter side."""

    sigma: float = 0.05
    name: str = "blur"

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise InvalidArgument(f"A blur needs a sigma above 0, got {self.sigma}.")

    def values(self, inputs: Tensor, preprocess: Preprocess | None, seed: int) -> Tensor:  # noqa: ARG002
        if inputs.ndim != 4:
            raise InvalidArgument("The baseline 'blur' needs pictures (B, C, H, W).")
        return gaussian_blur(inputs, self.sigma * min(inputs.shape[2:]))[None]


@dataclass(frozen=True)
class Noise(Baseline):
    """Uniform noise over the range of values: of pixels, or of each input where there is no picture."""

    count: int = 4
    name: str = "noise"

    def values(self, inputs: Tensor, preprocess: Preprocess | None, seed: int) -> Tensor:
        if not inputs.is_floating_point():
            raise InvalidArgument(
                "The inputs are whole numbers, such as token ids, of which noise makes no others; as the "
                "baseline give some to compare with, a tensor (n, length)."
            )
        noise = uniform((self.count, 1, *inputs.shape[1:]), seed, BASELINE)
        if preprocess is not None:
            return preprocess.normalise(noise).expand(-1, len(inputs), *inputs.shape[1:])
        low = broadcast_as(inputs.flatten(1).amin(1), inputs)
        high = broadcast_as(inputs.flatten(1).amax(1), inputs)
        return low + noise * (high - low)


@dataclass(frozen=True)
class Samples(Baseline):
    """Real inputs (n, …), already preprocessed: the answer is averaged over them."""

    samples: Tensor
    name: str = "samples"

    def values(self, inputs: Tensor, preprocess: Preprocess | None, seed: int) -> Tensor:  # noqa: ARG002
        if self.samples.shape[1:] != inputs.shape[1:]:
            raise InvalidArgument(
                f"The baseline samples have shape {tuple(self.samples.shape[1:])}, "
                f"the inputs {tuple(inputs.shape[1:])}."
            )
        return self.samples[:, None].expand(-1, len(inputs), *inputs.shape[1:])


@dataclass(frozen=True)
class Inpaint(Baseline):
    """Hidden parts are grown in smoothly from what surrounds them."""

    name: str = "inpaint"

    def values(self, inputs: Tensor, preprocess: Preprocess | None, seed: int) -> Tensor:  # noqa: ARG002
        return inputs[None]  # `hide` takes the surroundings of each mask instead

    def hide(self, inputs: Tensor, hidden: Tensor, values: Tensor) -> Tensor:  # noqa: ARG002
        if inputs.ndim != 4:
            raise InvalidArgument("The baseline 'inpaint' needs pictures (B, C, H, W).")
        return _push_pull(inputs, (~_over_channels(hidden, inputs)).to(inputs.dtype))


@dataclass(frozen=True)
class NoisyLinear(Baseline):
    """Hidden pixels are weighted means of their neighbours, plus noise (ROAD, Rong et al. 2022).

    The noise, of standard deviation `sigma` in the network's input units, hides from the network where the
    unnaturally smooth parts lie: their outline may give the class away.
    """

    sigma: float = 0.01
    name: str = "noisy_linear"

    def __post_init__(self) -> None:
        if not self.sigma >= 0:
            raise InvalidArgument(f"The noise has a standard deviation of at least 0, not {self.sigma}.")

    def values(self, inputs: Tensor, preprocess: Preprocess | None, seed: int) -> Tensor:  # noqa: ARG002
        """The noise; `hide` adds what it is on top of."""
        return (self.sigma * normal((1, 1, *inputs.shape[1:]), seed, BASELINE)).expand(1, *inputs.shape)

    def hide(self, inputs: Tensor, hidden: Tensor, values: Tensor) -> Tensor:
        if inputs.ndim != 4:
            raise InvalidArgument("The baseline 'noisy_linear' needs pictures (B, C, H, W).")
        hidden = _over_channels(hidden, inputs)
        return torch.where(hidden, impute(inputs, hidden) + values, inputs)


NAMED: dict[str, Callable[[], Baseline]] = {
    "zeros": Zeros,
    "mean": Mean,
    "black": lambda: Constant(0.0, "black"),
    "grey": lambda: Constant(0.5, "grey"),
    "white": lambda: Constant(1.0, "white"),
    "blur": Blur,
    "noise": Noise,
    "inpaint": Inpaint,
    "noisy_linear": NoisyLinear,
}

BaselineLike = Baseline | str | float | Tensor


def as_baseline(value: BaselineLike) -> Baseline:
    """A baseline from a name, a number, a tensor of samples (n, …) or a `Baseline`."""
    if isinstance(value, Baseline):
        return value
    if isinstance(value, str):
        if value not in NAMED:
            raise UnknownName("baseline", value, NAMED)
        return NAMED[value]()
    if isinstance(value, Tensor):
        return Samples(value)
    if not isinstance(value, int | float):
        raise InvalidArgument(
            f"A baseline is a name, a number, a tensor of samples or a Baseline, not {type(value).__name__}."
        )
    return Constant(float(value))


def as_whole(value: BaselineLike) -> Baseline:
    """A baseline that stands for a whole absent input; what is filled from its surroundings cannot."""
    baseline = as_baseline(value)
    if isinstance(baseline, Inpaint | NoisyLinear):
        raise InvalidArgument(
            f"The baseline '{baseline.name}' fills hidden parts from their surroundings and cannot stand "
            "for a whole input; use another here, such as 'blur'."
        )
    return baseline


def gaussian_blur(pictures: Tensor, sigma: float) -> Tensor:
    """Pictures (B, C, H, W) convolved with a Gaussian of `sigma` pixels, edges repeated."""
    if sigma <= 0:
        return pictures.clone()
    height, width = (_blurring(size, sigma) for size in pictures.shape[2:])
    return height @ pictures @ width.T


def _blurring(size: int, sigma: float) -> Tensor:
    """The matrix (size, size) that convolves with a Gaussian; for wide ones faster than a convolution."""
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-(offsets.double() ** 2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).float()
    places = torch.arange(size)[:, None]
    seen = (places + offsets).clamp(0, size - 1)  # edges repeated
    return torch.zeros(size, size).scatter_add_(1, seen, kernel.expand(size, -1))


def _push_pull(pictures: Tensor, known: Tensor) -> Tensor:
    """Fill what is not known (0 in `known`) from ever coarser means of what is."""
    if known.all() or max(pictures.shape[2:]) < 2:
        return pictures * known
    half = ((pictures.shape[2] + 1) // 2, (pictures.shape[3] + 1) // 2)
    weight = F.adaptive_avg_pool2d(known, half)
    mean = F.adaptive_avg_pool2d(pictures * known, half) / weight.clamp(min=1e-6)
    coarse = _push_pull(mean, (weight > 0).to(pictures.dtype))
    up = F.interpolate(coarse, size=pictures.shape[2:], mode="bilinear", align_corners=False)
    return pictures * known + up * (1 - known)


def _over_channels(hidden: Tensor, inputs: Tensor) -> Tensor:
    return hidden[:, None] if hidden.ndim == inputs.ndim - 1 else hidden
