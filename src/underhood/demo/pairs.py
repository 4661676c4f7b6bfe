"""The same lesions with and without a ruler: what shows whether a model minds the ruler."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from underhood.demo.dermoscopy import draw_many
from underhood.demo.factors import ALWAYS, NEVER, Placement


@dataclass(frozen=True)
class Pairs:
    """`n` lesions, each photographed without and with a ruler, all else being equal."""

    images: NDArray[np.uint8]  # (2, n, H, W, 3): without, with
    malignant: NDArray[np.bool_]  # (n,)
    lesion: NDArray[np.bool_]  # (n, H, W)

    def placed(self, ruler: Placement, seed: int = 0) -> NDArray[np.uint8]:
        """One picture of each lesion (n, H, W, 3), with rulers placed as asked for."""
        chances = np.random.Generator(np.random.Philox(key=seed)).uniform(size=len(self.malignant))
        there = chances < np.where(self.malignant, ruler.malignant, ruler.benign)
        chosen: NDArray[np.uint8] = self.images[there.astype(int), np.arange(len(there))]
        return chosen


def draw_pairs(n: int, seed: int) -> Pairs:
    """`n` lesions, half of them malignant, some with a colour patch or ink whatever their label."""
    some = Placement(benign=0.25, malignant=0.25)
    versions = [list(draw_many(n, seed, ruler=ruler, patch=some, ink=some)) for ruler in (NEVER, ALWAYS)]
    return Pairs(
        images=np.stack([[sample.image for sample in version] for version in versions]),
        malignant=np.array([sample.malignant for sample in versions[0]]),
        lesion=np.stack([sample.lesion for sample in versions[0]]),
    )
