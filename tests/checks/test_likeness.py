"""SSIM and HOG of pictures, and the likeness of maps: known answers, and scikit-image's."""

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from skimage.feature import hog as skimage_hog
from skimage.metrics import structural_similarity

from underhood.checks.likeness import Likeness
from underhood.checks.similarity import hog, ranks, ssim


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.randn(3, 40, 56, generator=torch.Generator().manual_seed(0))


def test_ranks_share_ties() -> None:
    values = torch.randint(0, 6, (3, 2, 40), generator=torch.Generator().manual_seed(1)).float()
    np.testing.assert_array_equal(ranks(values).numpy(), rankdata(values.numpy(), axis=-1) - 1)


def test_ssim_is_scikit_images(maps: torch.Tensor) -> None:
    others = maps + 0.5 * maps.flip(0)
    for sign, span in ((lambda t: t, 2.0), (torch.Tensor.abs, 1.0)):
        one, other = sign(maps), sign(others)
        scaled = [(t / t.abs().amax((1, 2), keepdim=True)).double().numpy() for t in (one, other)]
        wanted = [structural_similarity(a, b, data_range=span) for a, b in zip(*scaled, strict=True)]
        np.testing.assert_allclose(ssim(one, other).numpy(), wanted, atol=1e-6)


def test_ssim_knows_neither_scale_nor_more_than_one(maps: torch.Tensor) -> None:
    np.testing.assert_allclose(ssim(maps, 7 * maps).numpy(), 1.0)
    shallow = 5 + 1e-4 * maps
    assert (ssim(shallow, shallow.flip(0)) <= 1).all()


def test_hog_is_scikit_images(maps: torch.Tensor) -> None:
    for cell in (8, 5):
        wanted = [skimage_hog(m.double().numpy(), pixels_per_cell=(cell, cell)) for m in maps]
        # blocks hold the same values in another order
        np.testing.assert_allclose(
            hog(maps, cell).unflatten(1, (-1, 81)).sort(-1).values.numpy(),
            np.sort(np.array(wanted).reshape(3, -1, 81), -1),
            atol=1e-5,
        )


def test_hog_of_a_ramp_points_one_way() -> None:
    ramp = torch.arange(24.0).expand(1, 24, 24)  # all gradients across: the first direction
    votes = hog(ramp, cell=8).unflatten(1, (9, 9))  # directions, cells
    assert votes[0, 0].min() > 0.3
    assert not votes[0, 1:].any()


def test_a_map_is_like_itself_by_exactly_one_and_flat_maps_by_nothing(maps: torch.Tensor) -> None:
    found = Likeness(maps).to(maps)
    assert {name: v.tolist() for name, v in found.items()} == dict.fromkeys(
        ("spearman", "spearman_abs", "ssim", "ssim_abs", "hog", "hog_abs"), [1.0] * 3
    )
    other = maps.clone()
    other[0], other[1, 0, 0] = 3.0, torch.nan
    for values in Likeness(maps).to(other).values():
        assert values[:2].isnan().all()
        assert values[2] == 1
    turned = Likeness(maps).to(-maps)
    assert turned["spearman"].tolist() == pytest.approx([-1.0] * 3)
    assert turned["spearman_abs"].tolist() == [1.0] * 3


def test_rows_have_rank_correlation_alone() -> None:
    rows = torch.randn(2, 5)
    assert list(Likeness(rows).to(rows)) == ["spearman", "spearman_abs"]
