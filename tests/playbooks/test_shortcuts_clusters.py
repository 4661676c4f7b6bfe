"""Groups of maps against planted groups, and scikit-learn's own figures."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from underhood.playbooks.shortcuts.clusters import (
    NOISE,
    NORMALISATIONS,
    embedding,
    group,
    map_groups,
    neighbours,
    normalised,
)


def blobs(counts: tuple[int, ...], seed: int = 0, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    centres = 3 * random.standard_normal((len(counts), 6))
    labels = np.repeat(np.arange(len(counts)), counts)
    return centres[labels] + spread * random.standard_normal((len(labels), 6)), labels


def planted_maps(counts: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Each group looks at a place of its own, on maps of 12 x 12, with noise and any scale."""
    random = np.random.default_rng(seed)
    places = [(2, 2), (9, 9), (2, 9), (6, 5)]
    labels = np.repeat(np.arange(len(counts)), counts)
    y, x = np.mgrid[:12, :12]
    maps = np.stack(
        [np.exp(-((y - places[label][0]) ** 2 + (x - places[label][1]) ** 2) / 6) for label in labels]
    )
    maps = (maps + 0.05 * random.random(maps.shape)) * random.uniform(0.1, 10, (len(maps), 1, 1))
    return maps.astype(np.float32), labels


@pytest.mark.parametrize("counts", [(40, 40), (60, 20, 30), (25, 25, 25, 25)])
def test_planted_groups_of_maps_are_found(counts: tuple[int, ...]) -> None:
    maps, labels = planted_maps(counts)
    found = map_groups(maps, seed=0)
    assert found.count == len(counts)
    kept = found.labels != NOISE
    assert kept.mean() > 0.9
    assert adjusted_rand_score(labels[kept], found.labels[kept]) > 0.95


def test_noise_is_one_group() -> None:
    found = group(np.random.default_rng(0).standard_normal((150, 20)), seed=0)
    assert found.count == 1
    assert (found.labels == 0).all()


def test_too_few_points_and_equal_points_are_one_group() -> None:
    assert group(blobs((3, 3))[0], seed=0).count == 1
    assert group(np.ones((50, 4)), seed=0).count == 1


def test_empty_maps_belong_to_no_group_however_many_they_are() -> None:
    maps, labels = planted_maps((40, 40))
    order = np.random.default_rng(0).permutation(480)
    mixed, planted = (
        np.concatenate((maps, 0 * maps[:1].repeat(400, 0)))[order],
        np.r_[labels, [2] * 400][order],
    )
    found = map_groups(mixed, seed=0)
    assert found.count == 2
    assert (found.labels[planted == 2] == NOISE).all()
    kept = found.labels != NOISE
    assert adjusted_rand_score(planted[kept], found.labels[kept]) > 0.95
    assert map_groups(0 * maps, seed=0).count == 1


@pytest.mark.parametrize("seed", [2, 5, 7, 13])
def test_a_few_that_differ_among_many_that_are_the_same(seed: int) -> None:
    """Taken one by one, their graph has too few eigenvalues for Arnoldi's iteration: it raised an error."""
    random = np.random.default_rng(seed)
    points, same = np.zeros((179, 108)), np.ones(179, dtype=bool)
    same[random.permutation(179)[:14]] = False
    points[~same] = random.random((14, 108))
    assert len(set(group(points, seed=0).labels[same])) == 1


def test_points_that_are_the_same_are_in_the_same_group() -> None:
    points, labels = blobs((30, 30))
    copied = np.random.default_rng(0).integers(60, size=500)
    found = group(points[copied], seed=0)
    assert found.count == 2
    assert adjusted_rand_score(labels[copied], found.labels) == 1


def test_the_eigengap_is_1_at_as_many_groups_as_there_are_parts() -> None:
    """The Laplacian of a graph of three parts has the eigenvalue 0 three times (von Luxburg 2007)."""
    points, _ = blobs((30, 30, 30), spread=0.05)
    _, gaps = embedding(points, most=6, seed=0)
    assert gaps.argmax() + 2 == 3
    assert gaps[1] == pytest.approx(1, abs=1e-6)


def test_the_eigengap_is_that_of_the_dense_laplacian() -> None:
    points = np.random.default_rng(1).standard_normal((60, 5))
    graph = neighbours(points).toarray()
    degree = graph.sum(1)
    laplacian = np.eye(60) - graph / np.sqrt(np.outer(degree, degree))
    values = np.linalg.eigvalsh(laplacian)
    expected = (values[2:7] - values[1:6]) / values[2:7]
    _, gaps = embedding(points, most=6, seed=0)
    np.testing.assert_allclose(gaps, expected, atol=1e-8)


def test_landmarks_group_as_all_points_do() -> None:
    points, labels = blobs((150, 150, 100))
    exact, fewer = group(points, seed=0), group(points, seed=0, exact=120)
    assert exact.count == fewer.count == 3
    assert adjusted_rand_score(exact.labels, fewer.labels) > 0.98
    assert adjusted_rand_score(labels, fewer.labels) > 0.98


def test_a_scale_of_the_maps_changes_nothing() -> None:
    maps, _ = planted_maps((30, 30))
    for how in NORMALISATIONS:
        np.testing.assert_allclose(normalised(maps, how), normalised(7 * maps, how), rtol=1e-4, atol=1e-6)


def test_normalised_maps_sum_reach_or_rank_as_they_say() -> None:
    maps, _ = planted_maps((5, 5))
    assert normalised(maps, "sum").mean(1) == pytest.approx(np.ones(10))
    assert normalised(maps, "max").max(1) == pytest.approx(np.ones(10))
    assert (np.sort(normalised(maps, "rank"), 1) == np.linspace(0, 1, 144)).all()


def test_large_maps_are_downsized() -> None:
    assert normalised(np.ones((2, 56, 40), np.float32), "sum").shape == (2, 256)


def test_same_seed_same_groups() -> None:
    maps, _ = planted_maps((40, 40))
    first, second = map_groups(maps, seed=3), map_groups(maps, seed=3)
    assert (first.labels == second.labels).all()
    assert first.stability == second.stability
