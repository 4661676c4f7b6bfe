"""Rank correlation, overlap and sign agreement against scipy, brute force and known answers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from underhood.checks.similarity import figure, pearson, ranks, sign_agreement, spearman, top_overlap

MAPS = st.lists(st.integers(-3, 3), min_size=5, max_size=12)  # many ties


@given(MAPS, st.randoms())
def test_ranks_and_spearman_agree_with_scipy(values: list[int], random: object) -> None:
    other = random.sample(values, len(values))  # type: ignore[attr-defined]
    a, b = torch.tensor(values).float(), torch.tensor(other).float()
    assert (ranks(a) + 1).tolist() == rankdata(values).tolist()
    if len(set(values)) == 1:
        assert spearman(a, b).isnan()
    else:
        assert float(spearman(a, b)) == pytest.approx(spearmanr(values, other).statistic, abs=1e-12)


def test_batches_are_compared_pair_by_pair() -> None:
    a, b = torch.randn(2, 7, 3, 20, generator=torch.Generator().manual_seed(0))
    for measure in (spearman, pearson, top_overlap, sign_agreement):
        found = measure(a, b)
        assert found.shape == (7, 3)
        for i, j in ((0, 0), (3, 2), (6, 1)):
            torch.testing.assert_close(found[i, j], measure(a[i, j], b[i, j]))


def test_spearman_of_monotone_maps_is_one() -> None:
    a = torch.tensor([0.1, 3.0, -2.0, 7.0])
    assert float(spearman(a, a.exp())) == pytest.approx(1)
    assert float(spearman(a, -a)) == pytest.approx(-1)


@given(MAPS, st.floats(0.1, 0.9))
def test_a_map_overlaps_with_itself_by_one(values: list[int], share: float) -> None:
    a = torch.tensor(values).float()
    found = figure(top_overlap(a, a, share))
    assert found == (None if len(set(values)) == 1 else pytest.approx(1))


def test_overlap_of_known_maps() -> None:
    a = torch.tensor([9.0, 8, 1, 0, 0, 0, 0, 0, 0, 0])
    b = torch.tensor([9.0, 1, 8, 0, 0, 0, 0, 0, 0, 0])
    assert figure(top_overlap(a, b, 0.2)) == 0.5
    assert figure(top_overlap(a, a.flip(0), 0.2)) == 0
    shared = torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0, 0, 0])  # four places, two seats: half a seat each
    assert figure(top_overlap(a, shared, 0.2)) == 0.5


def test_signs_are_weighed_by_magnitude() -> None:
    a = torch.tensor([2.0, -1.0, 1e-9, 0.0])
    assert figure(sign_agreement(a, a)) == 1
    assert figure(sign_agreement(a, -a)) == 0
    assert figure(sign_agreement(a, torch.tensor([1.0, 2.0, -1.0, 5.0]))) == pytest.approx(0.5)
    assert figure(sign_agreement(a, torch.tensor([0.0, 0.0, 0.0, 1.0]))) is None


def test_flat_maps_have_no_correlation() -> None:
    flat, a = torch.full((2, 5), 3.0), torch.randn(2, 5)
    for measure in (spearman, pearson, top_overlap):
        assert measure(flat, a).isnan().all()
        assert measure(a, flat).isnan().all()
