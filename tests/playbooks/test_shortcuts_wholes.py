"""Which pictures are, as a whole, like none of other classes and like others of their own."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from torch import Tensor

from underhood.playbooks.shortcuts.wholes import (
    DIRECTIONS,
    LEAST,
    TOLD,
    WAVES,
    Whole,
    Wholes,
    colour,
    contrast,
    texture,
    times,
    whitening,
)

SIDE = 40


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


def scenes(count: int, seed: int) -> Tensor:
    """Coarse and fine noise, lighter or darker, some with more contrast."""
    random = np.random.default_rng(seed)
    coarse = torch.nn.functional.interpolate(drawn(count, 3, 8, 8, seed=seed), SIDE, mode="bicubic")
    fine = drawn(count, 3, SIDE, SIDE, seed=seed + 100)
    stretch, light = (
        torch.from_numpy(random.uniform(*ends, (count, 1, 1, 1))).float() for ends in ((0.8, 1.2), (-1, 1))
    )
    return stretch * (coarse + 0.1 * fine) + light


def waves(length: float, side: int = SIDE) -> Tensor:
    """Oblique ones, down and right alike."""
    down, right = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.sin(2 * np.pi * (down + right) / 2**0.5 / length)


CHANGED = {
    "colour": lambda pictures: pictures + torch.tensor([2.0, 0, -2])[:, None, None],
    "contrast": lambda pictures: (
        pictures.mean((2, 3), keepdim=True) + 0.3 * (pictures - pictures.mean((2, 3), keepdim=True))
    ),
    "texture": lambda pictures: pictures + 0.4 * waves(4),
}


def found(own: Tensor, others: Tensor) -> dict[Whole, np.ndarray]:
    everything, rows = torch.cat([own, others]), np.arange(len(own) + len(others))
    first, second = np.split(rows, [len(own)])
    return Wholes(lambda some: everything[some], first, second).novel(first)


@pytest.mark.parametrize("kind", CHANGED)
@pytest.mark.parametrize("every", [1, 4])
def test_what_pictures_of_a_class_share_and_no_other_has_is_novel(kind: Whole, every: int) -> None:
    own = scenes(64, seed=1)
    own[::every] = CHANGED[kind](own[::every])
    novel = found(own, scenes(64, seed=2))[kind] > 0
    assert novel[::every].mean() > 0.8
    if every > 1:
        assert np.delete(novel, np.arange(0, 64, every)).mean() < 0.05


@pytest.mark.parametrize("kind", CHANGED)
def test_what_other_classes_have_too_is_not_novel(kind: Whole) -> None:
    own, others = CHANGED[kind](scenes(64, seed=1)), scenes(64, seed=2)
    others[::4] = CHANGED[kind](others[::4])
    assert (found(own, others)[kind] > 0).mean() < 0.1


@pytest.mark.parametrize("kind", CHANGED)
def test_pictures_of_one_kind_are_not_novel_among_each_other(kind: Whole) -> None:
    assert (found(scenes(64, seed=1), scenes(64, seed=2))[kind] > 0).mean() <= 0.05


def test_one_picture_alone_has_no_like_of_its_own() -> None:
    own = scenes(32, seed=1)
    own[3] = CHANGED["texture"](own[3])
    assert found(own, scenes(64, seed=2))["texture"][3] == 0


def test_times_are_distances_to_others_over_distances_to_ones_own() -> None:
    others = np.array([[-1.0, 0], [1, 0], [0, -1], [0, 1]]) * 2**0.5  # mean 0, almost of covariance 1
    own = np.array([[10.0, 0], [10, 1], [0, 0]])
    scale = (3 / 4) ** 0.5  # NumPy divides by n - 1
    away = [np.hypot(10 - 2**0.5, 0), np.hypot(10 - 2**0.5, 1)]
    np.testing.assert_allclose(times(own * scale, others * scale)[:2], away, rtol=1e-5)
    assert times(own, others)[2] == 0


def test_whitened_distances_are_those_of_mahalanobis() -> None:
    points = np.random.default_rng(0).normal(size=(60, 3)) @ np.array([[1.0, 0.5, 0], [0, 2, 1], [0, 0, 3]])
    expected = EmpiricalCovariance().fit(points).mahalanobis(points) * 59 / 60
    np.testing.assert_allclose((whitening(points)(points) ** 2).sum(1), expected, rtol=1e-9)


@pytest.mark.parametrize("ring", [0, 1, 2])
def test_waves_are_told_by_length_and_direction(ring: int) -> None:
    told = texture(waves(1 / WAVES[ring], side=80).expand(1, 3, 80, 80))[0]
    assert told.shape == (len(WAVES) * DIRECTIONS,)
    assert told.argmax() == ring * DIRECTIONS + 1  # a quarter of the half turn


def test_long_waves_are_no_texture_of_a_small_picture() -> None:
    kept = sum(wave * SIDE >= LEAST for wave in WAVES)
    assert kept == 2
    assert texture(drawn(1, 3, SIDE, SIDE)).shape == (1, kept * DIRECTIONS)


def test_a_texture_in_half_of_the_picture_hardly_counts() -> None:
    whole = waves(4).expand(1, 3, SIDE, SIDE)
    half = torch.where(torch.arange(SIDE) < SIDE // 2, whole, 0)
    assert texture(half).max() < texture(whole).max() - np.log(50)


def test_colours_are_the_mean_and_the_ends_of_each_channel() -> None:
    ramp = torch.linspace(0, 1, 101).expand(1, 2, 1, 101)
    np.testing.assert_allclose(
        colour(ramp), [[0.5, 0.5] + [0.01] * 2 + [0.05] * 2 + [0.95] * 2 + [0.99] * 2], rtol=1e-5
    )


def test_contrast_doubles_with_the_spread() -> None:
    picture = 10 * drawn(1, 3, SIDE, SIDE)
    np.testing.assert_allclose(contrast(2 * picture) - contrast(picture), np.log(2), atol=0.01)


@pytest.mark.parametrize("tell", TOLD.values(), ids=TOLD)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_flat_pictures_and_any_channels_are_told(tell: Callable[[Tensor], np.ndarray], channels: int) -> None:
    told = tell(torch.zeros(3, channels, 12, 14))
    assert np.isfinite(told).all()
    assert not times(told, told).any()
