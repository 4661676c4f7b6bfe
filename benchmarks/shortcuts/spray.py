"""SpRAy alone, as the peer: spectral clusters of the maps of each class, and how far apart they are.

Lapuschkin et al., Unmasking Clever Hans predictors and assessing what machines really learn (2019): maps are
made small and normalised, joined to their nearest neighbours, and embedded by the eigenvectors of the graph's
Laplacian; the largest gap between its eigenvalues says how many clusters there are. What a person then does
by looking is done here by a figure: a class is suspicious as far as one of its smaller clusters stands apart
by its silhouette. The region is where that cluster's maps are on average at least half as high as at most.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

Floats = NDArray[np.floating]
NEIGHBOURS, MOST, LEAST = 10, 10, 5  # per map; clusters of a class; maps of a cluster
SMALL = 20  # the maps' side
SHOWN = 8  # maps nearest to the cluster's middle


@dataclass(frozen=True, eq=False)
class Cluster:
    """separation: its mean silhouette, -1 to 1; rows: of its maps, those nearest to its middle first."""

    separation: float
    rows: NDArray[np.int64]
    mean: Floats  # (h, w)


def spray(maps: Floats, classes: NDArray[np.int64]) -> Cluster | None:
    """The cluster that stands apart most, over maps (n, h, w) not negative; None where no class has two."""
    small = reduced(maps)
    found = [
        cluster for of in np.unique(classes) for cluster in clusters(small, np.flatnonzero(classes == of))
    ]
    return max(found, key=lambda cluster: cluster.separation, default=None)


def reduced(maps: Floats) -> Floats:
    """(n, s, s), each to a sum of 1."""
    tensor = torch.from_numpy(np.asarray(maps, dtype=np.float32))[:, None]
    side = [min(SMALL, length) for length in maps.shape[1:]]
    small = F.adaptive_avg_pool2d(tensor, side)[:, 0].numpy()
    return small / np.maximum(small.sum((1, 2), keepdims=True), 1e-12)


def clusters(small: Floats, rows: NDArray[np.int64]) -> Iterator[Cluster]:
    """Of one class: those with less than half of its maps, and more than a few."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_samples

    if len(rows) < 4 * LEAST:
        return
    values, vectors = spectrum(small[rows].reshape(len(rows), -1))
    count = 2 + int(np.argmax(np.diff(values)[1:]))
    embedded = vectors[:, :count]
    fitted = KMeans(count, n_init=4, random_state=0).fit(embedded)
    silhouettes = silhouette_samples(embedded, fitted.labels_)
    for label in range(count):
        own = fitted.labels_ == label
        if LEAST <= own.sum() < len(rows) / 2:
            away = np.linalg.norm(embedded[own] - fitted.cluster_centers_[label], axis=1)
            members = rows[own][np.argsort(away, kind="stable")]
            yield Cluster(float(silhouettes[own].mean()), members, small[members].mean(0))


def spectrum(points: Floats) -> tuple[Floats, Floats]:
    """The lowest eigenvalues (MOST + 1,) of the neighbours' normalised Laplacian, and their vectors."""
    from scipy.linalg import eigh
    from scipy.sparse.csgraph import laplacian
    from sklearn.neighbors import kneighbors_graph

    graph = kneighbors_graph(points, min(NEIGHBOURS, len(points) - 1)).toarray()
    last = min(MOST, len(points) - 1)
    values, vectors = eigh(laplacian(np.maximum(graph, graph.T), normed=True), subset_by_index=(0, last))
    return values, vectors


def region(small: Floats, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(h, w) enlarged to (H, W): where it is at least half as high as at most."""
    large = F.interpolate(
        torch.from_numpy(np.asarray(small, dtype=np.float32))[None, None], shape, mode="bilinear"
    )[0, 0].numpy()
    found: NDArray[np.bool_] = large >= large.max() / 2
    return found & (large > 0)
