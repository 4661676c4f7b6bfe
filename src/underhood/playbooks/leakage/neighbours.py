"""Each input's nearest others by the model's features."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from underhood.inputs.random import LEAKAGE, generator
from underhood.playbooks.survey import Rows

DIRECTIONS = 128  # at most; more features are projected onto as many random ones
BLOCK = 4096  # rows

Indices = NDArray[np.int64]


def nearest(features: Rows, count: int, *, seed: int = 0) -> Indices:
    """(n, count): the rows with the highest cosine of features (n, K), themselves left out.

    Features are first brought to mean 0 and spread 1, since those of a rectifier all point the same way.
    They are held in a file, and compared block by block.
    """
    from sklearn.neighbors import NearestNeighbors

    total = features.shape[0]
    count = min(count, total - 1)
    found = np.zeros((total, count), dtype=np.int64)
    if count < 1:
        return found
    with TemporaryDirectory(prefix="underhood-") as folder:
        directions = _directions(features, folder, seed)
        search = NearestNeighbors(n_neighbors=count + 1, algorithm="brute").fit(directions)
        for rows in _blocks(total):
            near = search.kneighbors(directions[rows], return_distance=False)
            others = near != np.arange(total)[rows, None]
            others[others.all(1), -1] = False  # itself is not among them: as many are equal
            found[rows] = near[others].reshape(-1, count)
    return found


def _directions(features: Rows, folder: str, seed: int) -> NDArray[np.float32]:
    """(n, k) of length 1, whose distances go with the angles between standardised features."""
    total, width = features.shape[0], int(np.prod(features.shape[1:]))
    sums, squares = np.zeros(width), np.zeros(width)
    for rows in _blocks(total):
        block = np.asarray(features[rows], dtype=np.float64)
        sums, squares = sums + block.sum(0), squares + (block**2).sum(0)
    mean = sums / total
    spread = np.sqrt(np.maximum(squares / total - mean**2, 0))
    scale = np.where(spread > 1e-6 * np.abs(mean).max(initial=1e-30), 1 / np.maximum(spread, 1e-30), 0.0)
    kept = min(width, DIRECTIONS)
    mixed = generator(seed, LEAKAGE, 2).standard_normal((width, kept)) if kept < width else np.eye(width)
    directions: NDArray[np.float32] = np.lib.format.open_memmap(
        str(Path(folder) / "directions.npy"), mode="w+", dtype=np.float32, shape=(total, kept)
    )
    for rows in _blocks(total):
        block = (np.asarray(features[rows], dtype=np.float64) - mean) * scale @ mixed
        directions[rows] = block / np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-12)
    return directions


def _blocks(total: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, total)) for start in range(0, total, BLOCK)]
