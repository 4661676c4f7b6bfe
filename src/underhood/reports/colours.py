"""Colour maps, each from a few anchors; figure and page interpolate between the same ones."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# A diverging map has zero at its middle anchor. After ColorBrewer; the magnitudes after matplotlib.
SIGNED: dict[str, str] = {
    "RdBu_r": "053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f",
    "PuOr": "7f3b08 b35806 e08214 fdb863 fee0b6 f7f7f7 d8daeb b2abd2 8073ac 542788 2d004b",
}
MAGNITUDE: dict[str, str] = {
    "viridis": "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21908c 1f9f88 27ad81 "
    "3ebc74 5cc863 82d34d aadc32 d5e21a fde725",
    "cividis": "00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7c7c78 8b8778 9a9376 "
    "aaa073 bbad6d ccba64 ddc858 efd748 fee838",
    "inferno": "000004 0b0724 210c4a 3d0965 56106e 70196e 89226a a32c61 bb3654 d14545 e35932 "
    "f1721e f98c0a fcaa0f f9c932 f2e865 fcffa4",
}


def anchors(name: str) -> NDArray[np.float64]:
    """The map's colours at equal steps from 0 to 1, (n, 3), 0 … 255."""
    codes = (SIGNED | MAGNITUDE)[name].split()
    return np.array([list(bytes.fromhex(code)) for code in codes], dtype=np.float64)


def colour(name: str, position: NDArray[Any]) -> NDArray[np.float64]:
    """Colours at positions 0 … 1, one more axis of three, 0 … 255."""
    known = anchors(name)
    at = np.linspace(0, 1, len(known))
    return np.stack([np.interp(position, at, known[:, channel]) for channel in range(3)], axis=-1)


def as_json() -> dict[str, dict[str, list[list[int]]]]:
    """All anchors, for the page's script."""
    return {
        kind: {name: anchors(name).astype(int).tolist() for name in maps}
        for kind, maps in (("signed", SIGNED), ("magnitude", MAGNITUDE))
    }
