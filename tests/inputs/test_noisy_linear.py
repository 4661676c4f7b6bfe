"""Noisy linear imputation: the linear system of its paper, on any holes in pictures of any colour."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor

from underhood.errors import InvalidArgument
from underhood.inputs import NoisyLinear
from underhood.inputs.baseline import as_whole, gaussian_blur
from underhood.inputs.imputation import impute

WEIGHTS = torch.tensor([[1, 2, 1], [2, 0, 2], [1, 2, 1]]) / 12


def by_the_book(picture: Tensor, hidden: Tensor) -> Tensor:
    """(C, H, W) filled by solving the paper's equations, one row for each hidden pixel, in float64."""
    height, width = hidden.shape
    at = {tuple(p): i for i, p in enumerate(hidden.nonzero().tolist())}
    matrix, right = torch.zeros(len(at), len(at)).double(), torch.zeros(len(at), len(picture)).double()
    for (y, x), row in at.items():
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                near, weight = (y + dy, x + dx), float(WEIGHTS[dy + 1, dx + 1])
                if 0 <= near[0] < height and 0 <= near[1] < width:
                    matrix[row, row] += weight
                    if near in at:
                        matrix[row, at[near]] -= weight
                    else:
                        right[row] += weight * picture[:, near[0], near[1]].double()
    filled = picture.clone()
    filled[:, hidden] = torch.linalg.solve(matrix, right).T.float()
    return filled


def by_a_sparse_solver(picture: Tensor, hidden: Tensor) -> Tensor:
    """The same for many pixels."""
    height, width = hidden.shape
    line = [sparse.diags([1.0, 2.0, 1.0], [-1, 0, 1], shape=(n, n)) for n in (height, width)]
    every = sparse.kron(*line).tolil()
    every.setdiag(0)
    every, under = every.tocsr(), hidden.flatten().numpy()
    among = every[under]
    equations = (sparse.diags(among.sum(1).A1) - among[:, under]).tocsc()
    values = picture.flatten(1).double().numpy().T
    filled = picture.double().flatten(1).clone()
    filled[:, hidden.flatten()] = torch.from_numpy(spsolve(equations, among[:, ~under] @ values[~under])).T
    return filled.view_as(picture).float()


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6), height=st.integers(1, 13), width=st.integers(1, 13), share=st.floats(0, 0.99)
)
def test_hidden_pixels_solve_the_papers_equations(seed: int, height: int, width: int, share: float) -> None:
    random = torch.Generator().manual_seed(seed)
    picture = torch.randn(3, height, width, generator=random)
    hidden = torch.rand(height, width, generator=random) < share
    hidden[int(torch.randint(height, (), generator=random)), 0] = False  # something is known
    found = impute(picture[None], hidden[None, None])[0]
    torch.testing.assert_close(found, by_the_book(picture, hidden), atol=1e-4, rtol=0)


def test_without_noise_a_linear_ramp_is_reproduced() -> None:
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(130.0), indexing="ij")
    ramp = torch.stack([x / 130, y / 96, 1 - x / 130 + 2 * y / 96])[None]  # red, green and blue each its own
    hidden = torch.zeros(1, 96, 130, dtype=torch.bool)
    hidden[:, 10:80, 20:120] = True
    hidden[:, 30:40, 50:60] = False  # an island
    exact = NoisyLinear(sigma=0).values(ramp, None, 0)[0]
    torch.testing.assert_close(NoisyLinear(sigma=0).hide(ramp, hidden, exact), ramp, atol=2e-5, rtol=0)


def test_a_large_hole_up_to_the_edges_is_solved_to_the_end() -> None:
    random = torch.Generator().manual_seed(0)
    picture, hidden = torch.randn(1, 2, 224, 224, generator=random), torch.ones(1, 1, 224, 224).bool()
    hidden[..., 100:103, 60:64] = False
    found = impute(picture, hidden)
    mean = torch.nn.functional.conv2d(
        found.reshape(2, 1, 224, 224).double(), WEIGHTS[None, None].double(), padding=1
    )
    weight = torch.nn.functional.conv2d(
        torch.ones(1, 1, 224, 224).double(), WEIGHTS[None, None].double(), padding=1
    )
    apart = (found.double() - (mean / weight).reshape(1, 2, 224, 224)).abs()
    assert float(apart[hidden.expand(1, 2, -1, -1)].max()) < 1e-4
    known = picture[0, :, 100:103, 60:64].flatten(1)
    filled = found[0].flatten(1)  # a weighted mean lies between what it is made of
    assert (filled.amax(1) <= known.amax(1) + 1e-5).all()
    assert (filled.amin(1) >= known.amin(1) - 1e-5).all()


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("sigma", [0, 1.5, 6], ids=["pixels", "specks", "blobs"])
def test_holes_of_any_kind_are_filled_to_less_than_a_grey_level(share: float, sigma: float) -> None:
    """Specks are holes of a few pixels, of which coarse grids make equations with weights above 0."""
    random = torch.Generator().manual_seed(0)
    picture = gaussian_blur(torch.randn(1, 2, 150, 111, generator=random), 1.0)
    picture = picture / picture.std()
    order = gaussian_blur(torch.randn(1, 1, 150, 111, generator=random), sigma)
    hidden = order >= order.flatten().quantile(1 - share)
    exact = by_a_sparse_solver(picture[0], hidden[0, 0])
    apart = (impute(picture, hidden)[0] - exact)[:, hidden[0, 0]]
    assert float(apart.square().mean().sqrt()) < 3e-5
    assert float(apart.abs().max()) < 4e-4  # a grey level is 2e-2 where the standard deviation is 1


def test_pictures_and_channels_with_holes_of_their_own_are_filled_as_alone_to_the_bit() -> None:
    random = torch.Generator().manual_seed(0)
    pictures = torch.randn(5, 3, 70, 90, generator=random)
    hidden = gaussian_blur(torch.randn(5, 3, 70, 90, generator=random), 3.0) > 0
    together = impute(pictures, hidden)
    for i in range(5):
        assert torch.equal(together[i : i + 1], impute(pictures[i : i + 1], hidden[i : i + 1]))
        for c in range(3):
            alone = impute(pictures[i : i + 1, c : c + 1], hidden[i : i + 1, c : c + 1])
            assert torch.equal(together[i : i + 1, c : c + 1], alone)


def test_what_is_hidden_is_never_looked_at_and_the_rest_stays() -> None:
    random = torch.Generator().manual_seed(0)
    picture, hidden = torch.randn(1, 3, 20, 30, generator=random), torch.rand(1, 1, 20, 30) < 0.5
    other = torch.where(hidden, torch.full_like(picture, 1e6), picture)
    found = impute(picture, hidden)
    assert torch.equal(found, impute(other, hidden))
    assert torch.equal(found[~hidden.expand_as(found)], picture[~hidden.expand_as(found)])


def test_a_batch_is_filled_as_its_pictures_one_by_one() -> None:
    random = torch.Generator().manual_seed(0)
    pictures = torch.randn(11, 3, 24, 24, generator=random)
    shares = torch.linspace(0, 1, 11)[:, None, None]  # from nothing to everything hidden
    hidden = torch.rand(11, 24, 24, generator=random) < shares
    baseline = NoisyLinear(0.1)
    noise = baseline.values(pictures, None, 3)[0]
    together = baseline.hide(pictures, hidden, noise)
    assert together.isfinite().all()
    for i in range(11):
        one = baseline.hide(
            pictures[i : i + 1], hidden[i : i + 1], baseline.values(pictures[i : i + 1], None, 3)[0]
        )
        assert torch.equal(together[i : i + 1], one)


def test_a_picture_that_is_hidden_whole_becomes_its_mean() -> None:
    picture = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = impute(picture, torch.ones(1, 1, 8, 8, dtype=torch.bool))
    torch.testing.assert_close(found, picture.mean((2, 3), keepdim=True).expand_as(picture))


def test_the_noise_has_its_standard_deviation_and_lies_on_hidden_pixels_only() -> None:
    picture, hidden = torch.full((1, 3, 64, 64), 0.5), torch.zeros(1, 64, 64, dtype=torch.bool)
    hidden[:, 8:56, 8:56] = True
    baseline = NoisyLinear(0.2)
    found = baseline.hide(picture, hidden, baseline.values(picture, None, 1)[0])
    noise = (found - 0.5)[0, :, hidden[0]]
    assert np.isclose(float(noise.std()), 0.2, rtol=0.03)
    assert abs(float(noise.mean())) < 0.01
    assert (found[0, :, ~hidden[0]] == 0.5).all()


def test_bad_noise_and_whole_inputs_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="standard deviation"):
        NoisyLinear(-1)
    with pytest.raises(InvalidArgument, match="'noisy_linear' fills hidden parts"):
        as_whole("noisy_linear")
