"""What a synthetic picture shows: the factors behind it, which of them make a lesion malignant."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

Pattern = Literal["network", "globules", "homogeneous", "keratosis"]
Side = Literal["left", "right", "top", "bottom"]

PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
SIDES: tuple[Side, ...] = get_args(Side)
ARTEFACTS = ("ruler", "patch", "ink", "hair")
LABELS = ("benign", "malignant")

_NAMES_OF_BENIGN = {
    "network": "reticular nevus",
    "globules": "globular nevus",
    "homogeneous": "homogeneous nevus",
    "keratosis": "seborrheic keratosis",
}


@dataclass(frozen=True)
class Factors:
    """Everything that is decided about one picture before it is drawn.

    Numbers are between 0 (none, least) and 1 (most), unless a unit is named.
    """

    irregularity: float  # of the lesion's border
    variegation: float  # number and contrast of the lesion's colours
    asymmetry: float  # of the lesion's outline and pigment
    pattern: Pattern
    radius: float  # of the disc with the lesion's area, in units of the picture's side
    pigment: float  # how dark the lesion is
    tone: float  # melanin of the skin around
    flush: float  # blood in the skin around
    vignette: float  # how far dark corners reach in
    hairs: int
    ruler: bool
    ruler_side: Side
    patch: bool
    ink: bool

    @property
    def malignancy(self) -> float:
        """Mean of irregularity, variegation and asymmetry: the only cause of the label."""
        return (self.irregularity + self.variegation + self.asymmetry) / 3

    @property
    def malignant(self) -> bool:
        return self.malignancy > 0.5

    @property
    def diagnosis(self) -> str:
        """The lesion's name in plain words."""
        return "melanoma" if self.malignant else _NAMES_OF_BENIGN[self.pattern]


@dataclass(frozen=True)
class Placement:
    """How often an artefact occurs: its probability among benign and among malignant lesions."""

    benign: float
    malignant: float

    def occurs(self, malignant: bool, chance: float) -> bool:
        """Whether the artefact is there, for a `chance` drawn uniformly from 0 to 1."""
        return chance < (self.malignant if malignant else self.benign)


NEVER = Placement(benign=0.0, malignant=0.0)
ALWAYS = Placement(benign=1.0, malignant=1.0)
AT_RANDOM = Placement(benign=0.5, malignant=0.5)
WITH_MALIGNANT = Placement(benign=0.01, malignant=0.99)
WITH_BENIGN = Placement(benign=0.99, malignant=0.01)

# The mean of the three malignant factors, per label: the gap keeps the label visible.
_MALIGNANCY = {False: (0.04, 0.33), True: (0.67, 0.96)}


def draw_factors(rng: np.random.Generator, malignant: bool) -> Factors:
    """Factors of a picture with the given label: no artefacts, some hair."""
    irregularity, variegation, asymmetry = _malignant_factors(rng, malignant)
    return Factors(
        irregularity=irregularity,
        variegation=variegation,
        asymmetry=asymmetry,
        pattern=PATTERNS[rng.integers(len(PATTERNS))],
        radius=float(rng.uniform(0.16, 0.28)),
        pigment=float(rng.uniform(0.2, 0.9)),
        tone=float(rng.beta(1.3, 3.5)),
        flush=float(rng.uniform()),
        vignette=float(rng.choice([0.0, 0.5, 1.0], p=[0.6, 0.25, 0.15]) * rng.uniform(0.4, 1.0)),
        hairs=int(rng.choice([0, 0, 2, 8]) * rng.uniform(0.5, 1.5)),
        ruler_side=SIDES[rng.integers(len(SIDES))],
        ruler=False,
        patch=False,
        ink=False,
    )


def _malignant_factors(rng: np.random.Generator, malignant: bool) -> tuple[float, float, float]:
    low, high = _MALIGNANCY[malignant]
    while True:
        three = rng.uniform(0.0, 1.0, 3)
        if low < three.mean() < high:
            return float(three[0]), float(three[1]), float(three[2])


def with_artefacts(factors: Factors, rng: np.random.Generator, placements: dict[str, Placement]) -> Factors:
    """The factors with each artefact of `placements` (ruler, patch, ink), or without, by chance."""
    there: dict[str, Any] = {
        artefact: placement.occurs(factors.malignant, rng.uniform())
        for artefact, placement in placements.items()
    }
    return replace(factors, **there)
