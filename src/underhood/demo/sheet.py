"""A contact sheet of the synthetic pictures: one row per factor or artefact."""

from typing import Any

import numpy as np
from PIL import Image

from underhood.demo.dermoscopy import Dermoscopy, draw

_STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)
_CALM: dict[str, Any] = {
    "irregularity": 0.15,
    "variegation": 0.15,
    "asymmetry": 0.15,
    "hairs": 0,
    "vignette": 0.0,
}


def sheet(seed: int = 1, size: int = 128) -> Image.Image:
    """Rows: irregularity, variegation, asymmetry, skin tone, then ruler, patch, ink, hair; RGB.

    The first four rows show one lesion with its factor rising from 0 to 1, the others five lesions.
    """
    rising = [
        [draw(seed, malignant=False, size=size, **(_CALM | {factor: step})) for step in _STEPS]
        for factor in ("irregularity", "variegation", "asymmetry", "tone")
    ]
    shown: list[dict[str, Any]] = [
        {"ruler": True},
        {"patch": True},
        {"ink": True},
        {"hairs": 9},
    ]
    placed = [
        [draw(seed + i, size=size, **({"hairs": 0} | artefact)) for i in range(len(_STEPS))]
        for artefact in shown
    ]
    return Image.fromarray(np.concatenate([_row(samples) for samples in rising + placed]))


def _row(samples: list[Dermoscopy]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.concatenate([sample.image for sample in samples], axis=1)
