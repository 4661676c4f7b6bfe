"""Groups of maps that look alike: spectral clustering (Ng, Jordan & Weiss 2002) of a nearest-neighbour graph,
as SpRAy does (Lapuschkin et al. 2019), with the number of groups by the relative eigengap, and only where
the groups come out the same when the maps are drawn anew."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from underhood.inputs.random import CLUSTERS, generator

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Normalisation = Literal["sum", "max", "rank"]
NORMALISATIONS: tuple[Normalisation, ...] = ("sum", "max", "rank")

SIDE = 16  # places along a map's side, at most
MOST = 8  # groups
EXACT = 20_000  # points; beyond them the others follow their nearest landmarks
FEWEST = 12  # points that can be grouped at all
STABLE = 0.7  # adjusted Rand index between groupings of two resamples
RESAMPLES = 3  # pairs
LARGEST = 2000  # points of a resample
TRIED = 3  # numbers of groups, the largest eigengap first
NOISE = -1


@dataclass(frozen=True, eq=False)
class Groups:
    """labels (n,): the group of each point, `NOISE` where it belongs to none; one group where all look alike.

    stability: mean adjusted Rand index between groupings of resamples; gap: the relative eigengap.
    """

    labels: Indices
    count: int
    stability: float
    gap: float
    how: str = ""


def normalised(maps: NDArray[np.float32], how: Normalisation) -> Floats:
    """Maps (n, h, w) as points (n, d): downsized, then each divided by its sum or maximum, or ranked."""
    height, width = maps.shape[1:]
    small = F.adaptive_avg_pool2d(
        torch.from_numpy(np.ascontiguousarray(maps, dtype=np.float32))[:, None],
        (min(height, SIDE), min(width, SIDE)),
    )
    points = small.flatten(1).numpy().astype(np.float64)
    if how == "rank":
        return np.asarray(points.argsort(1).argsort(1) / max(1, points.shape[1] - 1))
    whole = points.sum(1) if how == "sum" else points.max(1)
    scaled = points / np.maximum(whole, 1e-12)[:, None]
    return scaled * points.shape[1] if how == "sum" else scaled


def map_groups(maps: NDArray[np.float32], seed: int) -> Groups:
    """The most stable grouping of maps (n, h, w) over the normalisations; empty ones belong to no group."""
    labels, shown = np.full(len(maps), NOISE, np.int64), maps.any((1, 2))
    if not shown.any():
        return _one(len(maps))
    found = [replace(group(normalised(maps[shown], how), seed), how=how) for how in NORMALISATIONS]
    best = max(found, key=lambda groups: (groups.count > 1, groups.stability))
    labels[shown] = best.labels
    return replace(best, labels=labels)


def group(points: Floats, seed: int, *, most: int = MOST, exact: int = EXACT) -> Groups:
    """Groups of points (n, d); those that are the same count as one."""
    _, first, same = np.unique(points, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)  # as they came
    found = _of_different(points[first[order]], seed, most, exact)
    return replace(found, labels=found.labels[np.argsort(order)[same.reshape(-1)]])


def _of_different(points: Floats, seed: int, most: int, exact: int) -> Groups:
    n = len(points)
    if n < FEWEST:
        return _one(n)
    random = generator(seed, CLUSTERS)
    chosen = np.arange(n) if n <= exact else np.sort(random.choice(n, exact, replace=False))
    landmarks = points[chosen]
    vectors, gaps = embedding(landmarks, most, seed)
    halves = _resampled(landmarks, most, random, seed)
    for count in np.argsort(-gaps, kind="stable")[:TRIED] + 2:
        stability = _stability(halves, int(count), seed)
        if stability >= STABLE:
            labels = without_noise(vectors[:, :count], _parted(vectors, int(count), seed))
            everyone = labels if n <= exact else _followed(points, landmarks, labels)
            return Groups(everyone, int(labels.max()) + 1, stability, float(gaps[count - 2]))
    return _one(n, float(gaps.max(initial=0)))


def _one(n: int, gap: float = 0.0) -> Groups:
    return Groups(np.zeros(n, np.int64), 1, 1.0, gap)


def embedding(points: Floats, most: int, seed: int) -> tuple[Floats, Floats]:
    """Leading eigenvectors (n, most) of the normalised graph, and the relative eigengap of 2, 3, … groups.

    With eigenvalues 0 = l1 ≤ l2 ≤ … of the Laplacian, that of k groups is (l[k+1] - l[k]) / l[k+1]: 1 where
    the graph falls into k parts.
    """
    from scipy.sparse import diags
    from scipy.sparse.linalg import eigsh

    most = min(most, len(points) // 4)
    graph = neighbours(points)
    degree = np.asarray(graph.sum(1)).ravel()
    scale = diags(1 / np.sqrt(degree))
    start = generator(seed, CLUSTERS, 1).standard_normal(len(points))
    values, vectors = eigsh(scale @ graph @ scale, k=most + 1, which="LA", v0=start)
    order = np.argsort(-values)
    laplacian = np.maximum(1 - values[order], 0)
    gaps = (laplacian[2:] - laplacian[1:-1]) / np.maximum(laplacian[2:], 1e-9)
    return vectors[:, order[:most]], gaps


def neighbours(points: Floats) -> Any:
    """Who is among whose nearest, either way: a sparse (n, n) with 1s, or ½ where it is not mutual."""
    from sklearn.neighbors import kneighbors_graph

    near = kneighbors_graph(points, min(len(points) - 1, max(5, round(np.log2(len(points))))))
    return (near + near.T) / 2


def _parted(vectors: Floats, count: int, seed: int) -> Indices:
    from sklearn.cluster import KMeans

    rows = vectors[:, :count]
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return np.asarray(KMeans(count, n_init=4, random_state=seed).fit_predict(unit), dtype=np.int64)


def _resampled(
    points: Floats, most: int, random: np.random.Generator, seed: int
) -> list[tuple[Indices, Floats]]:
    """Pairs of resamples of 80 % of the points, each with its embedding."""
    size = min(round(0.8 * len(points)), LARGEST)
    drawn = [np.sort(random.choice(len(points), size, replace=False)) for _ in range(2 * RESAMPLES)]
    return [(some, embedding(points[some], most, seed)[0]) for some in drawn]


def _stability(resamples: list[tuple[Indices, Floats]], count: int, seed: int) -> float:
    """Mean adjusted Rand index between the groups of two resamples, on the points of both."""
    from sklearn.metrics import adjusted_rand_score

    found = []
    for (mine, own), (theirs, other) in zip(resamples[::2], resamples[1::2], strict=True):
        if count > min(own.shape[1], other.shape[1]):
            return 0.0
        _, first, second = np.intersect1d(mine, theirs, return_indices=True)
        labels = _parted(own, count, seed)[first], _parted(other, count, seed)[second]
        found.append(adjusted_rand_score(*labels))
    return float(np.mean(found))


def without_noise(vectors: Floats, labels: Indices, fewest: int = 4) -> Indices:
    """Points nearer to another group than to their own belong to none, nor do groups of very few."""
    from sklearn.metrics import silhouette_samples

    cleaned = labels.copy()
    if len(labels) <= 5000:  # all distances at once
        cleaned[silhouette_samples(vectors, labels) < 0] = NOISE
    kept = [label for label in np.unique(labels) if (cleaned == label).sum() >= fewest]
    renamed = {label: number for number, label in enumerate(kept)}
    return np.array([renamed.get(label, NOISE) for label in cleaned.tolist()], dtype=np.int64)


def _followed(points: Floats, landmarks: Floats, labels: Indices) -> Indices:
    """Every point takes the label that most of its five nearest landmarks have."""
    from sklearn.neighbors import KNeighborsClassifier

    nearest = KNeighborsClassifier(5).fit(landmarks, labels)
    return np.asarray(nearest.predict(points), dtype=np.int64)
