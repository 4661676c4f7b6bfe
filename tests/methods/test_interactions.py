"""What groups do two or three at a time: against sums over all coalitions, and plain least squares."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from underhood.methods import interactions
from underhood.methods.coalitions import all_coalitions, looks
from underhood.methods.interactions import RATIOS, Interactions
from underhood.methods.kernel_shap import Pairs, regression
from underhood.methods.local_fit import Known, LocalFit, chances, cosine_kernel
from underhood.methods.shapley import shares


def cubic(M: int, seed: int, *, noise: float = 0.0) -> Tensor:
    """Worths (2^M,) of a game of single groups, pairs and triples of them."""
    rng, spins = np.random.default_rng(seed), 2 * all_coalitions(M).double().numpy() - 1
    worth = spins @ rng.normal(size=M) + noise * rng.normal(size=2**M)
    for size in (2, 3):
        for some in combinations(range(M), size):
            worth += 0.3 * rng.normal() * spins[:, some].prod(1)
    return torch.from_numpy(worth)


def sampled(worth: Tensor, pairs: Pairs) -> tuple[Tensor, float]:
    """Half the differences of pairs, and what all groups add to none."""
    bits = 2 ** torch.arange(pairs.kept.shape[1] - 1, -1, -1)
    kept, left = ((part.long() * bits).sum(1) for part in (pairs.kept, ~pairs.kept))
    return (worth[kept] - worth[left]) / 2, float(worth[-1] - worth[0])


def terms(pairs: Pairs) -> Tensor:
    return 2 * pairs.kept.double() - 1


def test_the_shapley_values_of_what_was_learned_are_those_of_all_its_coalitions() -> None:
    pairs = Pairs.drawn(8, 60, seed=0)
    halves, _ = sampled(cubic(8, 0), pairs)
    found = Interactions.learned(3, pairs.kept, halves, terms(pairs))
    exact = shares(all_coalitions(8)) @ found.at(all_coalitions(8))
    assert found.pull.abs().max() > 0.1
    assert torch.allclose(found.shapley, exact, atol=1e-12)


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_what_a_linear_fit_makes_of_it_is_that_of_all_coalitions(degree: int) -> None:
    """For degree 1 it is f itself."""
    every, rng = all_coalitions(8), np.random.default_rng(degree)
    kept = every[rng.permutation(256)[:30]]
    found = Interactions(degree, 2 * kept.double() - 1, torch.from_numpy(rng.normal(size=30)), torch.zeros(0))
    kernel = cosine_kernel(torch.arange(9), 8, 0.25)
    fit = LocalFit.of(every, found.at(every), kernel[every.sum(1)], 0.0)
    assert fit.weights.abs().max() > 1e-4
    assert torch.allclose(found.slopes(chances(kernel)), fit.weights, atol=1e-10)


@pytest.mark.parametrize("degree", [1, 2, 3, 4, 5])
def test_its_shapley_values_are_those_of_the_definition(degree: int) -> None:
    every, rng = all_coalitions(7), np.random.default_rng(degree)
    found = Interactions(degree, 2 * every[3:50].double() - 1, torch.from_numpy(rng.normal(size=47)), every)
    assert torch.allclose(found.shapley, shares(every) @ found.at(every), atol=1e-12)


def test_two_and_three_at_a_time_are_known_to_lime_from_few_coalitions() -> None:
    worth, every, kernel = cubic(12, 6), all_coalitions(12), cosine_kernel(torch.arange(13), 12, 0.25)
    exact = LocalFit.of(every, worth, kernel[every.sum(1)], 0.0).weights
    kept = every[np.random.default_rng(0).integers(0, 4096, 300)]
    both = torch.stack((kept, ~kept), 1).reshape(-1, 12)
    v = worth[(both.long() * 2 ** torch.arange(11, -1, -1)).sum(1)]
    pi, off = kernel[both.sum(1)], []
    for known in (Known.learned(both, v, kernel), None):
        fit = LocalFit.of(both, v, pi, 0.0, known=known)
        off.append(float((fit.weights - exact).abs().max() / exact.abs().max()))
    assert off[0] < 5e-3
    assert off[0] < 0.1 * off[1]


def test_a_ridge_shrinks_what_was_learned_too() -> None:
    worth, every, kernel = cubic(12, 7), all_coalitions(12), cosine_kernel(torch.arange(13), 12, 0.25)
    kept = every[np.random.default_rng(1).integers(0, 4096, 300)]
    both = torch.stack((kept, ~kept), 1).reshape(-1, 12)
    v, pi = worth[(both.long() * 2 ** torch.arange(11, -1, -1)).sum(1)], kernel[both.sum(1)]
    known = Known.learned(both, v, kernel)
    fit = LocalFit.of(both, v, pi, 1e6, known=known)
    assert fit.weights.abs().max() < 1e-2 * LocalFit.of(both, v, pi, 0.0, known=known).weights.abs().max()


def test_it_is_a_polynomial_of_degree_three_without_lower_terms() -> None:
    pairs, every = Pairs.drawn(7, 40, seed=1), all_coalitions(7)
    found = Interactions.learned(3, pairs.kept, sampled(cubic(7, 1), pairs)[0], terms(pairs)).at(every)
    spins = 2 * every.double() - 1
    products = {
        size: torch.stack([spins[:, some].prod(1) for some in combinations(range(7), size)])
        for size in range(8)
    }
    amount = {size: float((found @ product.T / 128).square().sum()) for size, product in products.items()}
    assert amount[3] == pytest.approx(float(found.square().mean()), rel=1e-9)
    assert all(part < 1e-20 for size, part in amount.items() if size != 3)


def test_what_a_pair_is_missed_by_is_found_by_learning_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactions, "RATIOS", (3.0,))
    pairs = Pairs.drawn(7, 45, seed=2)
    halves, _ = sampled(cubic(7, 2), pairs)
    found = Interactions.learned(3, pairs.kept, halves, terms(pairs))
    for row in (0, 9, 20, 44):
        rest = torch.arange(45) != row
        spins = terms(pairs)
        pull, weights = _least_squares(spins[rest], halves[rest])
        foretold = spins[row] @ weights + _covariance(spins[row : row + 1], spins[rest]) @ pull
        assert float(found.missed[row]) == pytest.approx(float(halves[row] - foretold), rel=1e-6)


def _least_squares(spins: Tensor, halves: Tensor) -> tuple[Tensor, Tensor]:
    """α and the weights of single groups, by the textbook's generalised least squares."""
    inverse = torch.linalg.inv(torch.eye(len(spins), dtype=torch.float64) + 3 * _covariance(spins, spins))
    weights = torch.linalg.solve(spins.T @ inverse @ spins, spins.T @ inverse @ halves)
    return 3 * inverse @ (halves - spins @ weights), weights


def _covariance(some: Tensor, others: Tensor) -> Tensor:
    """The mean product over all triples of groups, by going through them."""
    M = some.shape[1]
    found = [some[:, t].prod(1)[:, None] * others[:, t].prod(1) for t in combinations(range(M), 3)]
    return torch.stack(found).mean(0)


def test_three_at_a_time_is_known_from_a_seventh_of_the_coalitions(monkeypatch: pytest.MonkeyPatch) -> None:
    worth, pairs = cubic(12, 3), Pairs.drawn(12, 290, seed=3)
    exact = shares(all_coalitions(12)) @ worth

    def off() -> float:
        values, _ = regression(pairs, *sampled(worth, pairs))
        return float((values - exact).abs().max() / exact.abs().max())

    with_triples = off()
    assert with_triples < 3e-3
    monkeypatch.setattr(interactions, "RATIOS", RATIOS[:1])
    assert with_triples < 0.1 * off()


def test_where_nothing_of_the_kind_is_there_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of single groups and noise alone: the error is that of the regression without triples."""

    def error() -> float:
        off = []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            spins = 2 * all_coalitions(10).double() - 1
            worth = spins @ torch.from_numpy(rng.normal(size=10)) + torch.from_numpy(rng.normal(size=1024))
            pairs = Pairs.drawn(10, 60, seed)
            off.append(regression(pairs, *sampled(worth, pairs))[0] - shares(all_coalitions(10)) @ worth)
        return float(torch.stack(off).square().mean().sqrt())

    with_triples = error()
    monkeypatch.setattr(interactions, "RATIOS", RATIOS[:1])
    assert RATIOS[0] == 0
    assert with_triples < 1.1 * error()


def test_intervals_hold_the_truth_where_groups_act_in_threes_and_more() -> None:
    inside = []
    for seed in range(100):
        worth, pairs = cubic(10, seed % 5, noise=0.3), Pairs.drawn(10, 90, seed)
        values, error = regression(pairs, *sampled(worth, pairs))
        exact = shares(all_coalitions(10)) @ worth
        inside.append((values - exact).abs() <= 1.99 * error)
    assert 0.93 <= float(torch.stack(inside).double().mean()) <= 0.97


def test_few_pairs_few_groups_and_many_pairs() -> None:
    for M, count in ((2, 1), (3, 3), (4, 7), (12, 16)):
        worth, pairs = cubic(M, 4), Pairs.drawn(M, count, seed=4)
        values, error = regression(pairs, *sampled(worth, pairs))
        assert values.isfinite().all()
        assert error.isfinite().all()
        assert float(values.sum()) == pytest.approx(float(worth[-1] - worth[0]))
        if pairs.complete:
            assert torch.allclose(values, shares(all_coalitions(M)) @ worth, atol=1e-9)


def test_more_pairs_than_are_learned_from_only_help(monkeypatch: pytest.MonkeyPatch) -> None:
    worth = cubic(12, 5, noise=0.2)
    exact = shares(all_coalitions(12)) @ worth
    monkeypatch.setattr(interactions, "MOST", 150)

    def off(count: int) -> float:
        found = [Pairs.drawn(12, count, seed) for seed in range(6)]
        errors = [regression(pairs, *sampled(worth, pairs))[0] - exact for pairs in found]
        return float(torch.stack(errors).square().mean())

    assert off(600) < off(150)


def test_looks_at_the_error_grow_apart_and_end_with_all_there_are() -> None:
    counts = list(looks(32, 3000))
    assert counts[:3] == [32, 64, 96]
    assert counts[-1] == 3000
    for before, after in pairwise(counts[:-1]):
        assert before + 32 <= after <= max(before + 32, 9 / 8 * before)
    assert len(counts) < 30
    assert list(looks(40, 40)) == list(looks(99, 40)) == [40]
