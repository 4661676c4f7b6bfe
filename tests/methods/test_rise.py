"""RISE: the mean score under random masks that show a place, less that under all masks."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import underhood as uh
from tests.methods.nets import NETS, Linear, pictures
from underhood.methods.rise import Masks


def test_a_linear_score_has_the_closed_form_in_expectation() -> None:
    """E[S m]/p - E[S] = Σ_μ w_μ Cov(m_μ, m_λ)/p, with the covariance of enlarged and shifted coin tosses."""
    height, width, grid, p = 8, 6, 3, 0.4
    weight = torch.randn(1, height, width, generator=torch.Generator().manual_seed(1))
    tall, wide = 3, 2
    basis = torch.eye(grid * grid).reshape(grid * grid, 1, grid, grid)
    large = F.interpolate(basis, (4 * tall, 4 * wide), mode="bilinear", align_corners=False)[:, 0]
    covariance = torch.zeros(height * width, height * width)
    for y in range(tall):
        for x in range(wide):
            part = large[:, y : y + height, x : x + width].reshape(grid * grid, -1)
            covariance += p * (1 - p) * part.T @ part / (tall * wide)
    expected = (covariance @ weight.flatten() / p).reshape(height, width)
    found = uh.RISE(n=20000, grid=grid, p=p)(Linear(weight, 5.0), torch.ones(1, 1, height, width), 0)
    off = abs(found.values - expected.numpy())
    assert (off < 4.5 * found.arrays["standard_error"]).all()
    assert off.max() < 0.05 * expected.abs().max()
    assert found.diagnostics["mean_score"] == pytest.approx(5 + p * float(weight.sum()), abs=0.1)


def test_rows_have_a_coin_for_each_element() -> None:
    weight = torch.tensor([3.0, -2.0, 0.0])
    found = uh.RISE(n=20000)(Linear(weight), torch.ones(1, 3), 0)
    assert np.allclose(found.values, weight / 2, atol=5 * found.arrays["standard_error"].max())


def test_the_standard_error_is_how_far_seeds_lie_apart() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 1))
    x = torch.randn(1, 1, 8, 8)
    truth = uh.RISE(n=40000, grid=3)(net, x, 0, seed=999).values
    found = [uh.RISE(n=300, grid=3)(net, x, 0, seed=seed) for seed in range(60)]
    said = np.mean([f.arrays["standard_error"] ** 2 for f in found]) ** 0.5
    apart = np.mean([(f.values - truth) ** 2 for f in found]) ** 0.5
    assert said == pytest.approx(apart, rel=0.15)
    inside = np.mean([abs(f.values - truth) <= 1.96 * f.arrays["standard_error"] for f in found])
    assert 0.92 <= inside <= 0.98
    narrow = uh.RISE(n=1200, grid=3)(net, x, 0).arrays["standard_error"].mean()
    assert said / narrow == pytest.approx(2, rel=0.15)


def test_masks_are_smooth_shifted_and_show_p_of_every_place() -> None:
    masks = Masks((20, 30), 4000, 7, 0.3, 0)
    shown = masks.of(torch.arange(4000))
    assert shown.shape == (4000, 20, 30)
    assert (shown.min(), shown.max()) == (0, 1)
    assert torch.allclose(shown.mean(0), torch.tensor(0.3), atol=0.04)
    assert shown.diff(dim=2).abs().max() < 1 / 4  # a cell is 5 places wide
    assert torch.equal(masks.of(torch.tensor([17, 3])), shown[[17, 3]])
    assert len(masks.shift.unique(dim=0)) == 3 * 5
    assert not torch.equal(Masks((20, 30), 9, 7, 0.3, 1).of(torch.arange(9)), shown[:9])


@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
def test_real_networks_equal_a_plain_loop(build: Any) -> None:
    x, net = pictures(1, 64), build()
    found = uh.RISE(n=24)(net, x, 3)
    masks = Masks((64, 64), 24, 7, 0.5, 0).of(torch.arange(24))
    with torch.no_grad():
        scores = torch.cat([net(x * mask)[:, 3] for mask in masks])
    expected = torch.tensordot(scores, masks, 1) / masks.sum(0).clamp(min=1e-9) - scores.mean()
    expected[masks.sum(0) == 0] = 0
    seen = masks.sum(0) > 1e-3
    assert np.allclose(found.values[seen], expected[seen], atol=1e-3 * float(expected[seen].abs().max()))


def test_a_wanted_error_stops_early() -> None:
    x = torch.ones(1, 1, 12, 12)
    weight = torch.zeros(1, 12, 12)
    weight[:, :6] = 1
    found = uh.RISE(n=20000, error=0.1)(Linear(weight), x, 0)
    assert found.diagnostics["relative_standard_error"] <= 0.1
    assert found.diagnostics["masks"] < 20000
    assert found.no_signal is None


def test_a_score_that_does_not_move_is_no_signal() -> None:
    found = uh.RISE(n=50)(Linear(torch.zeros(1, 12, 12), 3.0), torch.ones(1, 1, 12, 12), 0)
    assert found.no_signal == "the map is zero everywhere"


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"n": 1}, "from 2 on"),
        ({"grid": 1}, "from 2 on"),
        ({"p": 1}, "between 0 and 1"),
        ({"error": -1}, "above 0"),
        ({"baseline": "inpaint"}, "cannot stand for a whole input"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(uh.UnderhoodError, match=sentence):
        uh.RISE(**parameters)
