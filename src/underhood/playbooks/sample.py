"""A sample of labelled rows with as many of each class as there are, up to a number."""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def balanced(kind: Indices, count: int, random: np.random.Generator) -> Indices:
    """Up to `count` rows, in order, of kinds (n,) from 0 on; kinds with few rows give all they have."""
    rows = [random.permutation(np.flatnonzero(kind == one)) for one in np.unique(kind[kind >= 0])]
    chosen: list[Indices] = []
    left = count
    for number, of_kind in enumerate(sorted(rows, key=len)):
        share = -(-left // (len(rows) - number))  # rounded up
        chosen.append(of_kind[: min(share, left)])
        left -= len(chosen[-1])
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, dtype=np.int64)
