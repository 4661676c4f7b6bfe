"""PartitionSHAP: Owen values of a hierarchy, exact where the budget allows, and always complete."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import NETS, Linear, pictures
from tests.support.toys import MIN
from underhood.inputs import patches
from underhood.inputs.players import centroids
from underhood.methods.partition_shap import halved


def net(inputs: int = 6, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1))


def orders(tree: Any) -> list[tuple[int, ...]]:
    """All orders that keep every branch of the hierarchy together, each as likely as the others."""
    if isinstance(tree, int):
        return [(tree,)]
    left, right = (orders(half) for half in tree)
    return [a + b for a, b in product(left, right)] + [b + a for a, b in product(left, right)]


@torch.no_grad()
def owen_values(module: nn.Module, x: Tensor, tree: Any) -> Tensor:
    """What each element adds, on average over these orders."""
    every = orders(tree)
    total = torch.zeros(len(x))
    for order in every:
        shown = torch.stack([torch.zeros_like(x).index_copy(0, torch.tensor(order[:k], dtype=torch.long),
                             x[list(order[:k])]) for k in range(len(x) + 1)])  # fmt: skip
        added = module(shown)[:, 0].diff()
        total[list(order)] += added
    return total / len(every)


@pytest.mark.parametrize(
    "tree", [((0, 1), (2, (3, (4, 5)))), (((0, 5), 3), ((1, 2), 4)), (0, (1, (2, (3, (4, 5)))))]
)
def test_values_are_the_mean_over_the_orders_that_keep_branches_together(tree: Any) -> None:
    x = 2 * torch.randn(1, 6, generator=torch.Generator().manual_seed(1))
    found = uh.PartitionSHAP(n=200, hierarchy=tree)(net(), x, 0)
    assert np.allclose(found.values, owen_values(net(), x[0], tree), atol=1e-5)
    assert found.diagnostics["groups_that_share"] == 0


@pytest.mark.parametrize("n", [2, 3, 4, 7, 12, 30, 500])
def test_values_sum_to_the_score_difference_at_any_budget(n: int) -> None:
    x = 2 * torch.randn(1, 9, generator=torch.Generator().manual_seed(1))
    found = uh.PartitionSHAP(n=n)(net(9), x, 0)
    assert found.values.sum() == pytest.approx(found.diagnostics["score_difference"], abs=1e-5)
    assert found.diagnostics["calls"] <= max(n, 2)
    if n < 4:
        assert len(set(found.values.tolist())) == 1  # nothing opened: all is shared equally


def test_two_groups_have_shapley_values() -> None:
    for x in ([1.0, 2.0], [3.0, 1.0]):
        assert uh.PartitionSHAP()(MIN(), torch.tensor([x]), 0).values.tolist() == [0.5, 0.5]


def test_a_hierarchy_over_pairs_equals_shaps_partition_explainer() -> None:
    shap = pytest.importorskip("shap")
    x = 2 * torch.randn(1, 6, generator=torch.Generator().manual_seed(2))

    def f(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return net()(torch.from_numpy(rows).float())[:, 0].numpy()

    merges = np.array([[0, 1, 0.1, 2], [2, 3, 0.2, 2], [4, 5, 0.3, 2], [6, 7, 0.4, 4], [8, 9, 0.5, 6]])
    masker = shap.maskers.Partition(np.zeros((1, 6)), clustering=merges)
    peer = shap.explainers.Partition(f, masker)(x.numpy(), max_evals=400, silent=True).values[0]
    tree = ((4, 5), ((0, 1), (2, 3)))
    found = uh.PartitionSHAP(n=400, hierarchy=tree)(net(), x, 0)
    assert np.allclose(found.values, owen_values(net(), x[0], tree), atol=1e-5)
    assert np.allclose(found.values, peer, atol=1e-5)


def test_a_picture_is_halved_along_its_longer_side() -> None:
    groups = patches((2, 4), 1)
    assert halved(centroids(groups)) == (((0, 1), (4, 5)), ((2, 3), (6, 7)))


def test_the_largest_effect_is_opened_first() -> None:
    """64 groups lie 6 openings deep, in 1 + 2 + … + 32 surroundings."""
    weight = torch.zeros(1, 8, 8)
    weight[:, 5, 2] = 1.0
    found = uh.PartitionSHAP(n=128)(Linear(weight), torch.ones(1, 1, 8, 8), 0)
    assert found.diagnostics["groups"] == 64
    assert np.allclose(found.values, weight[0], atol=1e-6)


@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
def test_real_networks_are_complete_and_a_batch_shares_no_values(build: Any) -> None:
    x, model = pictures(2, 64), uh.Model(build())
    together = uh.PartitionSHAP(n=20)(model, x, [7, 0])
    for i, target in enumerate((7, 0)):
        alone = uh.PartitionSHAP(n=20)(model, x[i], target)
        assert np.allclose(together[i].values, alone.values, atol=1e-4 * abs(alone.values).max())
        assert abs(alone.diagnostics["completeness_gap"]) < 1e-5
        assert alone.diagnostics["players"] == "1024 patches of 2 × 2"


@pytest.mark.parametrize(
    ("hierarchy", "sentence"),
    [
        ((0, 1), "leaves out group 2 of 3"),
        ((0, (1, 3)), "names group 3; there are groups 0 to 2"),
        ((0, (1, (1, 2))), "names group 1 twice"),
        ((0, 1, 2), "consists of pairs"),
    ],
)
def test_a_hierarchy_that_does_not_fit_is_refused(hierarchy: Any, sentence: str) -> None:
    with pytest.raises(uh.UnderhoodError, match=sentence):
        uh.PartitionSHAP(hierarchy=hierarchy)(Linear(torch.ones(3)), torch.ones(1, 3), 0)


def test_too_small_a_budget_is_refused() -> None:
    with pytest.raises(uh.UnderhoodError, match="from 2 on"):
        uh.PartitionSHAP(n=1)
