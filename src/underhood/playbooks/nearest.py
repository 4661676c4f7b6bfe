"""The rows of a survey that are most alike, by the model's own features."""

from dataclasses import dataclass

import numpy as np

from underhood.playbooks.portions import ENTRIES, portions
from underhood.playbooks.survey import Floats, Indices, Rows, Survey


@dataclass(frozen=True)
class Nearest:
    """rows: (k, n), the most alike first, -1 where there are fewer; cosine: (k, n) of their features."""

    rows: Indices
    cosine: Floats


def nearest(features: Rows, asked: Indices, among: Indices, count: int) -> Nearest:
    """Of the rows `among` those nearest to each of the `asked`, itself left out; of equals the earlier.

    Features (n, K) are read some at a time, so that only those of the asked are ever held.
    """
    wanted = np.concatenate([unit(features[part]) for part in portions(asked, ENTRIES)])
    rows = np.full((len(asked), count), -1)
    cosine = np.full((len(asked), count), -np.inf, dtype=np.float32)
    for part in portions(among, ENTRIES):
        found = wanted @ unit(features[part]).T
        found[asked[:, None] == part] = -np.inf
        rows, cosine = _best(
            np.hstack([rows, np.broadcast_to(part, found.shape)]), np.hstack([cosine, found]), count
        )
    rows[cosine == -np.inf] = -1
    return Nearest(rows, cosine)


def unit(features: Floats) -> Floats:
    """Each row (k, K) divided by its length; rows of zeros stay."""
    values = np.array(features, dtype=np.float32)
    lengths: Floats = np.linalg.norm(values, axis=1, keepdims=True)
    values /= np.maximum(lengths, np.finfo(np.float32).tiny)
    return values


def training(survey: Survey) -> Indices:
    """Rows of the split "train"; all of them where none is called so."""
    splits = np.array([survey.dataset[int(number)].split == "train" for number in survey.number])
    return np.flatnonzero(splits) if splits.any() else np.arange(len(survey))


def _best(rows: Indices, cosine: Floats, count: int) -> tuple[Indices, Floats]:
    """The highest few of each line, highest first; stable, as the earlier rows stand further left."""
    if cosine.shape[1] > 8 * count:  # most are out at once: all below the highest few
        least = np.partition(cosine, -count, axis=1)[:, -count]
        cosine = np.where(cosine >= least[:, None], cosine, -np.inf)
    order = np.argsort(-cosine, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(cosine, order, 1)
