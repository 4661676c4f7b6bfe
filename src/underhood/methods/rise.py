"""RISE (Petsiuk, Das & Saenko 2018, "Randomized input sampling for explanation of black-box models").

The score of the input under random masks, averaged with the masks as weights (eq. 4 and 6),

    E[S(x ∘ m) | place λ is shown] = Σ_i S(x ∘ m_i) m_i(λ) / Σ_i m_i(λ),

here less the mean score over all masks: by how much the score rises, on average, where a place is shown.
Masks are grids of coin tosses, enlarged smoothly and shifted at random; what they hide fades into the
baseline.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from underhood.engine import Run
from underhood.errors import InvalidArgument, Unfit
from underhood.inputs import Absence
from underhood.inputs.baseline import BaselineLike, as_whole
from underhood.inputs.grouping import places
from underhood.inputs.random import MASKS, generator
from underhood.methods.card import Card
from underhood.methods.method import Attribution, Method, check_error

LOOK = 400  # masks between two looks at the error
CHUNK = 64  # masks held at once


@dataclass(frozen=True)
class RISE(Method):
    """The mean score under random masks that show a place, less that under all masks; in units of the score.

    n:        masks, the same for every input.
    grid:     coin tosses along each side of a picture; rows have one for each element.
    p:        the probability that one is heads: shown.
    baseline: what is hidden fades into it.
    error:    stop early once the mean standard error is below this share of the largest |value|.

    `arrays["standard_error"]` has the standard error of each place.
    """

    n: int = 4000
    grid: int = 7
    p: float = 0.5
    baseline: BaselineLike = "zeros"
    error: float | None = None

    key = "rise"

    def __post_init__(self) -> None:
        if self.n < 2 or self.grid < 2:
            raise InvalidArgument(f"RISE takes n and grid from 2 on, not {self.n} and {self.grid}.")
        if not 0 < self.p < 1:
            raise InvalidArgument(f"RISE's p lies between 0 and 1, not at {self.p}.")
        check_error(self.error)
        as_whole(self.baseline)

    @property
    def card(self) -> Card:
        return CARD

    def attribute(self, run: Run) -> Attribution:
        masks = Masks(places(run.inputs), self.n, self.grid, self.p, run.seed)
        found = [self._averaged(one, masks) for one in run.each()]
        return Attribution(
            torch.stack([sums.values for sums in found]),
            diagnostics=[self._about(run, sums) for sums in found],
            no_signal=[_judged(sums) for sums in found],
            arrays={"standard_error": torch.stack([sums.standard_error for sums in found])},
        )

    def _averaged(self, run: Run, masks: "Masks") -> "Sums":
        """One input's scores, folded with the masks; as many as it takes."""
        absence = Absence(run.inputs, as_whole(self.baseline), run.engine.model.preprocess, run.seed)
        sums, step = Sums(float(run.score[0])), self.n if self.error is None else LOOK
        for numbers in torch.arange(self.n).split(step):
            first = int(numbers[0])
            variants = absence.variants(len(numbers), lambda _, which, first=first: masks.of(first + which))  # type: ignore[misc]
            sums.add(masks, numbers, absence.averaged(run.scores(variants))[:, 0])
            if self.error is not None and sums.relative_error <= self.error:
                break
        return sums

    def _about(self, run: Run, sums: "Sums") -> dict[str, Any]:
        return {
            "masks": sums.n,
            "mean_score": sums.mean_score,
            "relative_standard_error": sums.relative_error,
            "precision": run.engine.log.precision,
        }


class Masks:
    """n smooth masks over places (H, W), made when asked for; only their coin tosses are kept."""

    def __init__(self, shape: tuple[int, ...], n: int, grid: int, p: float, seed: int):
        if len(shape) > 2:
            raise Unfit(f"RISE needs pictures, rows or sequences, not places {shape}.")
        rng, self.shape = generator(seed, MASKS), shape
        tosses = rng.random((n, *[grid] * len(shape)) if len(shape) == 2 else (n, *shape)) < p
        self.tosses = torch.from_numpy(tosses).float()
        self.cell = [math.ceil(length / grid) for length in shape]
        self.shift = torch.from_numpy(rng.integers(0, self.cell, size=(n, len(shape))))

    def of(self, numbers: Tensor) -> Tensor:
        """How much of each place is shown, (m, *shape)."""
        if len(self.shape) == 1:
            return self.tosses[numbers]
        height, width = self.shape
        grid, (tall, wide) = self.tosses.shape[1], self.cell
        size = ((grid + 1) * tall, (grid + 1) * wide)
        large = F.interpolate(self.tosses[numbers, None], size, mode="bilinear", align_corners=False)[:, 0]
        corners = self.shift[numbers].tolist()
        return torch.stack(
            [one[y : y + height, x : x + width] for one, (y, x) in zip(large, corners, strict=True)]
        )


class Sums:
    """Running sums of masks m and scores s, which are taken off S(x): little is lost in rounding."""

    def __init__(self, origin: float):
        self.origin, self.n = origin, 0
        self._s = torch.zeros(3, dtype=torch.float64)  # Σ s⁰, s, s²
        self._m = self._m2 = torch.zeros(())  # Σ m s⁰, m s, m s² and Σ m² s⁰, …: (3, *places)

    def add(self, masks: Masks, numbers: Tensor, scores: Tensor) -> None:
        for part, s in zip(numbers.split(CHUNK), (scores - self.origin).split(CHUNK), strict=True):
            powers, m = torch.stack((torch.ones_like(s), s, s**2)), masks.of(part)  # (3, k), (k, *places)
            self._s += powers.double().sum(1)
            self._m = self._m + torch.tensordot(powers, m, 1).double()
            self._m2 = self._m2 + torch.tensordot(powers, m.square_(), 1).double()
        self.n += len(numbers)

    @property
    def mean_score(self) -> float:
        """Over all masks."""
        return self.origin + float(self._s[1]) / self.n

    @property
    def values(self) -> Tensor:
        m, ms, _ = self._m
        return ((ms - m * self._s[1] / self.n) / m.clamp(min=1e-9)).float()

    @property
    def standard_error(self) -> Tensor:
        """Of `values`, from each mask's share m (s - R) / mean m - (s - mean s), with R the mean shown."""
        (m, ms, mss), (m2, m2s, m2ss), mean = self._m, self._m2, self._s[1] / self.n
        shown, share = ms / m.clamp(min=1e-9), m.clamp(min=1e-9) / self.n
        own = m2ss - 2 * shown * m2s + shown**2 * m2
        cross = mss - (shown + mean) * ms + shown * mean * m
        rest = self._s[2] - self.n * mean**2
        return ((own / share**2 - 2 * cross / share + rest).clamp(min=0).sqrt() / self.n).float()

    @property
    def relative_error(self) -> float:
        """Mean standard error over the largest |value|."""
        peak = self.values.abs().max().clamp(min=torch.finfo().tiny)
        return float(self.standard_error.mean() / peak)


def _judged(sums: Sums) -> str | None:
    """Of some 50 cells one may well stand out at 3 standard errors, hardly one at 4."""
    if not sums.values.abs().max() > 0:
        return "the map is zero everywhere"
    stands_out = (sums.values.abs() > 4 * sums.standard_error).any()
    return (
        None if stands_out else "no place's value rises above its standard error; more masks (n) would help"
    )


CARD = Card(
    name="RISE",
    question="attribution",
    answers="By how much the score rises, on average over random masks, where a place is shown.",
    misleads="Masked inputs are unlike the data the model has seen; the map is as coarse as the masks' grid, "
    "and at a place it mixes in what its neighbours do.",
    signed=True,
    conserves=None,
    resolution="region",
    unit="score where shown",
    needs="nothing but scores",
    cost="4,000 forward",
    source="Petsiuk et al. 2018, arXiv:1806.07421",
)
