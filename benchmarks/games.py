"""Sampled Shapley values and LIME weights beside exact ones: our estimates and peers', on the same game.

All 2^12 coalitions of a picture's superpixels are scored once; then every library plays from that table.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from underhood.demo.dermoscopy import draw
from underhood.engine import Engine, Run, Settings
from underhood.inputs import Zeros, gather
from underhood.inputs.players import players
from underhood.inputs.random import generator
from underhood.methods.coalitions import Game, all_coalitions
from underhood.methods.kernel_shap import Pairs, regression
from underhood.methods.local_fit import Known, LocalFit, cosine_kernel, size_terms
from underhood.methods.shapley import shares
from underhood.models import as_target, load

M, REPEATS = 12, 8
BUDGETS = (60, 120, 250, 500, 1000, 2000)
COALITIONS = all_coalitions(M)
BITS = 2 ** torch.arange(M - 1, -1, -1)
KERNEL = cosine_kernel(torch.arange(M + 1), M, 0.25)
Estimate = Callable[[Tensor, int, int], Tensor]  # worths of all coalitions, calls, seed


def game(name: str, first_seed: int) -> Tensor:
    """The worths of all coalitions of the first picture that falls into 12 superpixels, (2^12,)."""
    model = load(name)
    for seed in range(first_seed, first_seed + 50):
        inputs = gather(model, draw(seed, malignant=True).image).tensor
        [found] = players(model, inputs, M, M)
        if found.groups.count == M:
            break
    run = Run(Engine(model, Settings()), inputs, as_target(None))
    return Game(run, found, Zeros()).worth(COALITIONS, "float32")


def at(worth: Tensor, kept: Tensor) -> Tensor:
    return worth[(kept.long() * BITS).sum(1)]


class Table(nn.Module):
    """The game as a network, for captum: rows of zeros and ones to scores."""

    def __init__(self, worth: Tensor):
        super().__init__()
        self.worth = worth

    def forward(self, x: Tensor) -> Tensor:
        return at(self.worth, x > 0.5).float()


def kernel_shap(worth: Tensor, calls: int, seed: int) -> Tensor:
    pairs = Pairs.drawn(M, (calls - 2) // 2, seed)
    halves = (at(worth, pairs.kept) - at(worth, ~pairs.kept)) / 2
    return regression(pairs, halves, float(worth[-1] - worth[0]))[0]


def shapley_sampling(worth: Tensor, calls: int, seed: int) -> Tensor:
    """As the method, which shows no coalition twice: orders until so many different ones were asked for."""
    rng, seen, total, count = generator(seed, 0), {0, 2**M - 1}, torch.zeros(M, dtype=torch.float64), 0
    while True:
        order = torch.from_numpy(rng.permutation(M))
        added = torch.zeros(M, dtype=torch.float64)
        for one in (order, order.flip(0)):
            codes = torch.cat((torch.zeros(1, dtype=torch.long), BITS[one].cumsum(0)))
            added[one] += worth[codes].diff() / 2
            seen |= set(codes.tolist())
        if count and (len(seen) > calls or count > 20000):
            return total / count
        total, count = total + added, count + 1


def shap_kernel(worth: Tensor, calls: int, seed: int) -> Tensor:
    import shap

    np.random.seed(seed)  # the generator that shap draws from
    explainer = shap.KernelExplainer(_function(worth), np.zeros((1, M)), silent=True)
    return torch.tensor(explainer.shap_values(np.ones((1, M)), nsamples=calls - 2, l1_reg=0, silent=True)[0])


def shap_permutation(worth: Tensor, calls: int, seed: int) -> Tensor:
    import shap

    explainer = shap.explainers.Permutation(_function(worth), np.zeros((1, M)), seed=seed)
    evals = max(1, calls // (2 * M + 1)) * (2 * M + 1)
    return torch.tensor(explainer(np.ones((1, M)), max_evals=evals, silent=True).values[0])


def captum_kernel(worth: Tensor, calls: int, seed: int) -> Tensor:
    from captum.attr import KernelShap

    torch.manual_seed(seed)
    peer = KernelShap(Table(worth))
    return peer.attribute(torch.ones(1, M), n_samples=calls, perturbations_per_eval=calls)[0]


def captum_sampling(worth: Tensor, calls: int, seed: int) -> Tensor:
    from captum.attr import ShapleyValueSampling

    torch.manual_seed(seed)
    return ShapleyValueSampling(Table(worth)).attribute(torch.ones(1, M), n_samples=max(1, calls // M))[0]


def lime(worth: Tensor, calls: int, seed: int) -> Tensor:
    kept = torch.from_numpy(generator(seed, 0).random((calls // 2, M)) < 0.5)
    both = torch.stack((kept, ~kept), 1).reshape(-1, M)
    size, worths = both.sum(1), at(worth, both)
    known = Known.learned(both, worths, KERNEL)
    along = size_terms(KERNEL)[size]
    return LocalFit.of(both, worths, KERNEL[size], 0.01, along=along, known=known).weights


def lime_peer(worth: Tensor, calls: int, seed: int) -> Tensor:
    """lime's image explainer: its draws, distances and ridge."""
    from lime.lime_base import LimeBase

    rng = np.random.RandomState(seed)
    kept = rng.randint(0, 2, calls * M).reshape(calls, M)
    kept[0] = 1
    base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)), random_state=rng)
    v = at(worth, torch.from_numpy(kept) > 0).numpy()
    distance = 1 - np.sqrt(kept.mean(1))
    weights = base.explain_instance_with_data(
        kept.astype(float), v[:, None], distance, 0, M, feature_selection="none"
    )[1]
    return torch.tensor([weight for _, weight in sorted(weights)])


def _function(worth: Tensor) -> Callable[[np.ndarray], np.ndarray]:
    return lambda rows: at(worth, torch.from_numpy(np.asarray(rows) > 0.5)).numpy()


SHAPLEY: dict[str, Estimate] = {
    "Underhood KernelSHAP": kernel_shap,
    "shap KernelExplainer": shap_kernel,
    "captum KernelShap": captum_kernel,
    "Underhood ShapleySampling": shapley_sampling,
    "shap PermutationExplainer": shap_permutation,
    "captum ShapleyValueSampling": captum_sampling,
}
LIMES: dict[str, Estimate] = {"Underhood LIME": lime, "lime": lime_peer}


def shapley_values(worth: Tensor) -> Tensor:
    return shares(COALITIONS) @ worth


def lime_weights(worth: Tensor) -> Tensor:
    """The weighted regression over all coalitions."""
    return LocalFit.of(COALITIONS, worth, KERNEL[COALITIONS.sum(1)], 0.0).weights


def errors(estimates: dict[str, Estimate], worth: Tensor, truth: Tensor) -> dict[str, list[float]]:
    """Root mean squared error at each budget, as a share of the largest exact value."""

    def error(estimate: Estimate, calls: int) -> float:
        off = [(estimate(worth, calls, seed) - truth).square().mean() for seed in range(REPEATS)]
        return float(torch.stack(off).mean().sqrt() / truth.abs().max())

    return {name: [error(estimate, calls) for calls in BUDGETS] for name, estimate in estimates.items()}


def calls_needed(line: list[float], level: float) -> float:
    """Calls at which the error falls to this level, on straight lines between logarithms."""
    return float(np.exp(np.interp(-np.log(level), -np.log(line), np.log(BUDGETS), right=np.inf)))
