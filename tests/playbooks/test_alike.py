"""Groups of points, and whether flags gather there by more than chance."""

import numpy as np
import pytest
from numpy.typing import NDArray

from underhood.playbooks.errors.alike import grouped, groups, neighbourhood


def blobs(centres: list[tuple[float, float]], each: int, seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return np.concatenate([random.normal(c, 0.05, (each, 2)) for c in centres]).astype(np.float32)


def test_blobs_are_groups_and_what_lies_between_belongs_to_none() -> None:
    apart = np.array([[-2, 2], [2, -2], [3, 3], [-3, -1]], dtype=np.float32)
    points = np.concatenate([blobs([(0, 0)], 30), blobs([(1, 1)], 20, seed=1), apart])
    found = groups(points)
    assert set(found[:30]) == {0}  # the largest first
    assert set(found[30:50]) == {1}
    assert set(found[50:]) == {-1}


def test_one_blob_is_one_group() -> None:
    for seed in range(5):
        found = groups(blobs([(0, 0)], 40, seed))
        assert found.max() == 0
        assert (found == 0).sum() >= 30


def test_too_few_points_make_no_group() -> None:
    assert groups(blobs([(0, 0)], 4)).tolist() == [-1] * 4
    assert groups(np.zeros((0, 2), dtype=np.float32)).tolist() == []


def test_surprise_is_the_ratio_of_binomial_likelihoods() -> None:
    from scipy.stats import binom

    points = np.array([[0.0, 0]] * 10 + [[5, 5]] * 40, dtype=np.float32)
    flags = np.array([True] * 6 + [False] * 4 + [True] * 4 + [False] * 36)
    found = neighbourhood(points, flags, np.arange(6))
    assert (found.hits, found.of, found.other_hits, found.others) == (6, 10, 4, 40)
    apart = binom.logpmf(6, 10, 0.6) + binom.logpmf(4, 40, 0.1)
    assert found.surprise == pytest.approx(apart - binom.logpmf(6, 10, 0.2) - binom.logpmf(4, 40, 0.2))


def test_flags_that_gather_are_told_from_chance_and_others_are_not() -> None:
    points = np.concatenate([blobs([(0, 0)], 200), blobs([(1, 1)], 20, seed=1)])
    flags = np.zeros(220, dtype=bool)
    flags[200:212] = True
    flags[:200:20] = True
    found = grouped(points, flags, 100, 99, 0)
    number = found.group[np.searchsorted(found.members, 205)]
    assert number >= 0
    assert found.p(int(number)) == 0.01
    assert found.around[number].rate == pytest.approx(0.6, abs=0.15)


def test_chance_is_found_more_than_chance_as_rarely_as_promised() -> None:
    random, wrong = np.random.default_rng(0), 0
    for seed in range(30):
        points = random.standard_normal((100, 3)).astype(np.float32)
        found = grouped(points, random.random(100) < 0.3, 100, 19, seed)
        wrong += any(found.p(number) <= 0.05 for number in range(len(found.around)))
    assert wrong <= 5  # 5 % of 30 are 1.5; three standard errors above


def test_a_sample_is_grouped_where_there_are_more() -> None:
    points = blobs([(0, 0), (1, 1)], 100)
    found = grouped(points, np.ones(200, dtype=bool), 30, 19, 0)
    assert len(found.members) == len(found.group) == 30
