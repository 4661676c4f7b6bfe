"""Shapley values: exact, by regression and by permutations; their axioms, and that their intervals hold."""

from itertools import permutations
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import NETS, Linear, explained, pictures
from tests.support.toys import MIN, ML, Blind, Mixture
from underhood.inputs import Noise, Windows, patches
from underhood.inputs.players import players
from underhood.methods.coalitions import student_t
from underhood.methods.kernel_shap import Pairs, regression
from underhood.methods.shapley import shares

ALL: list[uh.Method] = [uh.ExactShapley(), uh.KernelSHAP(), uh.ShapleySampling()]
every_method = pytest.mark.parametrize("method", ALL, ids=lambda m: m.key)
quick = settings(max_examples=10, deadline=None)
seeds = st.integers(0, 2**16)
rows = hnp.arrays("float32", (2, 5), elements=st.floats(-3, 3, width=32)).map(torch.from_numpy)


def net(seed: int, inputs: int = 5, outputs: int = 2) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(inputs, 12), nn.Tanh(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, outputs)
    )


def brute_force(module: nn.Module, x: Tensor, target: int, absent: Tensor) -> Tensor:
    """The mean over all orders, one by one."""
    orders = list(permutations(range(len(x))))
    total = torch.zeros(len(x))
    for order in orders:
        shown = absent.clone()
        before = module(shown[None])[0, target]
        for player in order:
            shown[player] = x[player]
            after = module(shown[None])[0, target]
            total[player] += after - before
            before = after
    return (total / len(orders)).detach()


@every_method
@pytest.mark.parametrize(
    ("module", "x", "expected"),
    [
        (MIN(), [1.0, 2.0], [0.5, 0.5]),
        (MIN(), [3.0, 1.0], [0.5, 0.5]),
        (Linear(torch.tensor([3.0, -2.0, 0.0]), 7.0), [1.0, 2.0, 4.0], [3, -4, 0]),
    ],
)
def test_known_answers(method: uh.Method, module: nn.Module, x: list[float], expected: Any) -> None:
    assert torch.allclose(explained(method, module, torch.tensor([x])), torch.tensor([expected]) + 0.0)


@torch.no_grad()
def test_exact_and_exhaustive_values_are_the_mean_over_all_orders() -> None:
    x = 2 * torch.randn(2, 5, generator=torch.Generator().manual_seed(1))
    expected = torch.stack([brute_force(net(3), x[i], i, torch.zeros(5)) for i in range(2)])
    assert torch.allclose(explained(uh.ExactShapley(), net(3), x, [0, 1]), expected, atol=1e-5)
    found = uh.KernelSHAP(n=32)(net(3), x, [0, 1])
    assert np.allclose([e.values for e in found], expected, atol=1e-5)
    assert found[0].diagnostics["exhaustive"]
    assert not found[0].arrays["standard_error"].any()
    assert not uh.KernelSHAP(n=30)(net(3), x, [0, 1])[0].diagnostics["exhaustive"]


def test_the_fills_of_a_baseline_are_averaged() -> None:
    x, fills = torch.ones(1, 3), torch.tensor([[0.0, 0.5, 3.0], [2.0, -1.0, 1.0]])
    each = [explained(uh.ExactShapley(baseline=fill[None]), net(0, 3), x) for fill in fills]
    for method in (uh.ExactShapley(baseline=fills), uh.KernelSHAP(baseline=fills)):
        assert torch.allclose(explained(method, net(0, 3), x), sum(each) / 2, atol=1e-6)


def test_a_groups_value_belongs_to_the_group_and_is_repeated() -> None:
    x, pairs = torch.tensor([[20.0, 50.0, 30.0]]), torch.tensor([7, 7, -3])
    for kind in (uh.ExactShapley, uh.KernelSHAP, uh.ShapleySampling):
        found = kind(grouping=pairs)(ML(), x, 0)
        assert found.values[0] == found.values[1]
        assert found.values[1] + found.values[2] == pytest.approx(390)
        assert found.diagnostics["groups"] == 2
        assert found.diagnostics["players"] == "2 given groups"
        assert found.arrays["groups"].tolist() == [1, 1, 0]


@every_method
@quick
@given(seed=seeds, x=rows)
def test_values_sum_to_the_score_difference(method: uh.Method, seed: int, x: Tensor) -> None:
    module = net(seed)
    with torch.no_grad():
        difference = module(x)[:, 1] - module(torch.zeros_like(x))[:, 1]
    assert torch.allclose(explained(method, module, x, 1).sum(1), difference, atol=1e-5)


@every_method
@quick
@given(seed=seeds, x=rows)
def test_what_the_score_ignores_gets_nothing(method: uh.Method, seed: int, x: Tensor) -> None:
    blind = Blind(net(seed, inputs=4), [0, 1, 3, 4])
    assert explained(method, blind, x, 1)[:, 2].abs().max() < 1e-5


@quick
@given(seed=seeds, x=rows)
def test_groups_that_the_model_treats_alike_get_the_same(seed: int, x: Tensor) -> None:
    class Symmetric(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net(seed, inputs=4)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(torch.cat((x[:, :1] + x[:, 1:2], x[:, 2:]), 1))

    x[:, 1] = x[:, 0]
    for method in (uh.ExactShapley(), uh.KernelSHAP()):
        found = explained(method, Symmetric(), x, 1)
        assert torch.allclose(found[:, 0], found[:, 1], atol=1e-5)


@every_method
@quick
@given(seed=seeds, x=rows, a=st.floats(-2, 2), b=st.floats(-2, 2))
def test_values_are_linear_in_the_model(method: uh.Method, seed: int, x: Tensor, a: float, b: float) -> None:
    mixture = Mixture(net(seed), net(seed + 1), a, b)
    f, g, both = (explained(method, module, x, 1) for module in (mixture.f, mixture.g, mixture))
    assert torch.allclose(both, a * f + b * g, atol=1e-4)


def test_an_additive_score_is_found_from_few_coalitions_even_with_many_groups() -> None:
    weight = torch.randn(40, generator=torch.Generator().manual_seed(0))
    for method in (uh.KernelSHAP(n=150), uh.ShapleySampling(4)):
        found = method(Linear(weight), torch.ones(1, 40), 0, precision="float32")
        assert np.allclose(found.values, weight, atol=1e-4)
        assert found.arrays["standard_error"].max() < 1e-4
        assert found.diagnostics["calls"] <= 160


# How well sampling does, on games played without a network.

M = 8
COALITIONS = torch.cartesian_prod(*[torch.tensor([False, True])] * M)
BITS = 2 ** torch.arange(M - 1, -1, -1)


@torch.no_grad()
def small_game() -> tuple[Tensor, Tensor]:
    """All worths of a nonlinear game, (2^M,), and its Shapley values."""
    worth = net(5, M)(3 * COALITIONS.float())[:, 0].double()
    return worth, shares(COALITIONS) @ worth


def kernel_values(worth: Tensor, n: int, seed: int) -> tuple[Tensor, Tensor, float]:
    pairs = Pairs.drawn(M, (n - 2) // 2, seed)
    z, rest = (worth[(kept.long() * BITS).sum(1)] for kept in (pairs.kept, ~pairs.kept))
    values, error = regression(pairs, (z - rest) / 2, float(worth[-1] - worth[0]))
    return values, error, len(pairs.kept) - M + 1


def test_kernel_shaps_intervals_hold_the_truth_as_often_as_they_say() -> None:
    worth, exact = small_game()
    inside = []
    for seed in range(500):
        values, error, freedom = kernel_values(worth, 60 + seed % 60, seed)
        inside.append(((values - exact).abs() <= student_t(freedom) * error).double().mean())
    assert 0.93 <= torch.stack(inside).mean() <= 0.97


def test_kernel_shaps_error_is_what_it_says_and_shrinks_at_least_like_the_square_root() -> None:
    worth, exact = small_game()
    actual, said = {}, {}
    for n in (50, 100, 200):
        drawn = [kernel_values(worth, n, seed) for seed in range(100)]
        actual[n] = torch.stack([(v - exact).square().mean() for v, _, _ in drawn]).mean().sqrt()
        said[n] = torch.stack([e.square().mean() for _, e, _ in drawn]).mean().sqrt()
        assert 0.9 < said[n] / actual[n] < 1.4  # errs on the safe side where coalitions are few
    assert actual[200] < 0.75 * actual[100] < 0.75**2 * actual[50]


@torch.no_grad()
def test_shapley_samplings_intervals_hold_the_truth_and_narrow_like_the_square_root() -> None:
    module, x = net(5, M), 3 * torch.ones(1, M)
    exact = explained(uh.ExactShapley(), module, x)[0]
    width: dict[int, float] = {}
    for permutations_, repeats in ((20, 150), (80, 40)):
        inside, widths = [], []
        for seed in range(repeats):
            found = uh.ShapleySampling(permutations_)(module, x, 0, seed=seed)
            interval = torch.from_numpy(found.arrays["interval"])
            inside.append(((torch.from_numpy(found.values) - exact).abs() <= interval).double().mean())
            widths.append(float(found.arrays["standard_error"].mean()))
        assert 0.92 <= torch.stack(inside).mean() <= 0.98
        width[permutations_] = float(np.mean(widths))
    assert width[20] / width[80] == pytest.approx(2, rel=0.1)


def test_the_quantiles_of_student_t() -> None:
    for freedom, expected in ((3, 3.182), (9, 2.262), (30, 2.042), (float("inf"), 1.960)):
        assert student_t(freedom) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("groups", "count"), [(5, 15), (6, 20), (7, 63), (30, 200), (75, 400)])
def test_pairs_are_all_different_and_of_every_size_alike(groups: int, count: int) -> None:
    pairs = Pairs.drawn(groups, count, 3)
    both = torch.cat((pairs.kept, ~pairs.kept))
    assert len(both.unique(dim=0)) == 2 * count
    assert torch.equal(pairs.kept.sum(1), pairs.size)
    for part in (pairs, pairs.first(count // 2)):
        unfinished = part.taken[part.taken < part.existing]
        assert not len(unfinished) or part.taken.max() <= unfinished.min() + 1
    assert torch.equal(Pairs.drawn(groups, count, 3).kept, pairs.kept)
    assert count == 2 ** (groups - 1) - 1 or not torch.equal(Pairs.drawn(groups, count, 4).kept, pairs.kept)


def test_a_wanted_error_stops_early_and_a_smaller_one_takes_longer() -> None:
    x = torch.randn(1, 30, generator=torch.Generator().manual_seed(2))
    for method, n, error in ((uh.KernelSHAP, 4000, 0.04), (uh.ShapleySampling, 400, 0.05)):
        wide, narrow = (method(n, error=e)(net(1, 30), x, 0).diagnostics for e in (error, error / 2))
        assert wide["relative_standard_error"] <= error
        assert narrow["relative_standard_error"] <= error / 2
        assert wide["calls"] < narrow["calls"] < 20000


@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
def test_on_real_networks_all_three_agree(build: Any) -> None:
    x, model = pictures(1, 64), uh.Model(build())
    groups = torch.arange(8).reshape(2, 4).repeat_interleave(32, 0).repeat_interleave(16, 1)
    exact = uh.ExactShapley(grouping=groups)(model, x, 7)
    for method in (uh.KernelSHAP(n=100, grouping=groups), uh.ShapleySampling(20, grouping=groups)):
        found = method(model, x, 7)
        assert abs(found.diagnostics["completeness_gap"]) < 1e-5
        assert (abs(found.values - exact.values) <= 4.5 * found.arrays["standard_error"] + 2e-5).all()


def test_a_pictures_players_are_superpixels_or_patches() -> None:
    [plain] = players(uh.Model(Linear(torch.ones(1))), pictures(1, 64), None, 12)  # noise has no superpixels
    assert plain.words == "16 patches of 19 × 19"


def test_inputs_may_have_groups_of_their_own() -> None:
    x, weight = torch.ones(2, 1, 4, 4), torch.arange(16.0).reshape(1, 4, 4)
    found = uh.ExactShapley(grouping=[patches((4, 4), 2), torch.arange(4)[:, None].expand(4, 4)])(
        Linear(weight), x, 0
    )
    assert found[0].values[0].tolist() == [10, 10, 18, 18]
    assert found[1].values[:, 0].tolist() == [6, 22, 38, 54]


def test_the_game_is_played_with_fills_of_any_baseline() -> None:
    x = pictures(1, 16)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(784, 2))
    for baseline in ("blur", Noise(2), 0.5):
        found = uh.ExactShapley(grouping=patches((16, 16), 8), baseline=baseline)(module, x, 0)
        assert abs(found.diagnostics["completeness_gap"]) < 1e-5
        assert found.diagnostics["calls"] == 1 + 15 * (2 if isinstance(baseline, Noise) else 1)


@pytest.mark.parametrize(
    ("method", "parameters", "sentence"),
    [
        (uh.KernelSHAP, {"n": 2}, "from 4 on"),
        (uh.KernelSHAP, {"error": 0}, "above 0"),
        (uh.KernelSHAP, {"grouping": 1}, "from 2 on"),
        (uh.KernelSHAP, {"baseline": "inpaint"}, "cannot stand for a whole input"),
        (uh.ShapleySampling, {"permutations": 5}, "even number"),
        (uh.ShapleySampling, {"error": -1}, "above 0"),
        (uh.ExactShapley, {"grouping": Windows((4, 4), 2, 1)}, "may not overlap"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(
    method: Any, parameters: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(uh.UnderhoodError, match=sentence):
        method(**parameters)


def test_what_cannot_be_played_is_refused_in_a_sentence() -> None:
    with pytest.raises(uh.UnderhoodError, match=r"at most 12 groups .* not 13"):
        uh.ExactShapley()(Linear(torch.ones(13)), torch.ones(1, 13), 0)
    with pytest.raises(uh.UnderhoodError, match="n of at least 410"):
        uh.KernelSHAP(n=400)(Linear(torch.ones(200)), torch.ones(1, 200), 0)
    with pytest.raises(uh.UnderhoodError, match="2 groupings for 1 inputs"):
        uh.ExactShapley(grouping=[torch.zeros(3)] * 2)(Linear(torch.ones(3)), torch.ones(1, 3), 0)


def test_a_score_that_does_not_move_is_no_signal() -> None:
    for method in ALL:
        found = method(Linear(torch.zeros(4), 3.0), torch.ones(1, 4), 0)
        assert found.no_signal == "the map is zero everywhere"
