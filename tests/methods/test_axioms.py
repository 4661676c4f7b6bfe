"""Axioms that hold for every model and input, checked on random ones."""

import hypothesis.strategies as st
import torch
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import Linear, explained
from tests.support.cheap import cheap
from tests.support.toys import B2, B3
from underhood.inputs.grouping import elements, places
from underhood.methods.integrated_gradients import gauss_legendre

quick = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**16)
numbers = st.floats(-3, 3, width=32)
rows = hnp.arrays("float32", (3, 4), elements=numbers).map(torch.from_numpy)

METHODS = cheap(torch.zeros(4))
IG = uh.IntegratedGradients(steps=64)
few = settings(max_examples=4, deadline=None)  # of every method

NOT_FOR_ROWS = {
    **dict.fromkeys([key for key in METHODS if "cam" in key], "needs a layer with positions"),
    **dict.fromkeys([key for key in METHODS if "attention" in key], "needs attention"),
    "blur_ig": "blurs pictures",
}
ON_ROWS = {key: method for key, method in METHODS.items() if key not in NOT_FOR_ROWS} | {
    "saliency": uh.Saliency("signed"),
    "occlusion": uh.Occlusion(),  # element by element
}
GIVES_THE_IGNORED_SOMETHING = {
    "partition_shap": "spreads the value of a group that it had no calls left to split",
    "lime": "fits a line to samples",
    "rise": "is a mean over random masks",
}
NOT_LINEAR = {
    "guided_ig": "takes a path that depends on the model",
    "guided_backprop": "drops negative gradients on the way",
    "deconvnet": "drops negative gradients on the way",
    "fullgrad": "adds magnitudes",
    "lrp": "divides by what is kept away from zero",
    "partition_shap": "splits what matters most to the model",
}
TREATS_TWINS_BY_CHANCE = {
    "smoothgrad": "draws their noise apart",
    "expected_gradients": "draws a background in which they differ",
    "deepshap": "draws a background in which they differ",
    "shapley_sampling": "draws orders",
    "kernel_shap": "draws coalitions",
    "rise": "draws masks",
    "lime": "draws samples",
    "partition_shap": "splits one and not the other where calls run out",
}


def all_but(exceptions: dict[str, str]) -> list[uh.Method]:
    return [method for key, method in ON_ROWS.items() if key not in exceptions]


def net(seed: int, inputs: int = 4, outputs: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(inputs, 8), nn.Softplus(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, outputs)
    )


@quick
@given(seeds, rows)
def test_integrated_gradients_sum_to_the_score_difference(seed: int, x: Tensor) -> None:
    module = net(seed)
    found = IG(module, x, [0, 1, 2])
    expected = (module(x) - module(torch.zeros_like(x))).detach()[[0, 1, 2], [0, 1, 2]]
    for explanation, difference in zip(found, expected.tolist(), strict=True):
        assert abs(explanation.values.sum() - difference) < 4e-2 * max(1, abs(difference))
        gap = explanation.values.sum() - difference
        assert abs(explanation.diagnostics["completeness_gap"] - gap) < 1e-4


@quick
@given(hnp.arrays("float32", (1, 2), elements=numbers).map(torch.from_numpy))
def test_equal_functions_written_differently_have_equal_integrated_gradients(x: Tensor) -> None:
    assert torch.allclose(B2()(x), B3()(x), atol=1e-5)
    a, b = (explained(uh.IntegratedGradients(steps=200), module, x) for module in (B2(), B3()))
    assert torch.allclose(a, b, atol=0.05)


@few
@given(seeds, rows)
def test_what_the_score_ignores_gets_nothing(seed: int, x: Tensor) -> None:
    class Blind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net(seed, inputs=3)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x[:, [0, 1, 3]])

    for method in all_but(GIVES_THE_IGNORED_SOMETHING):
        assert explained(method, Blind(), x, 1)[:, 2].abs().max() < 1e-6, method.key


@quick
@given(hnp.arrays("float32", (1, 4), elements=numbers).map(torch.from_numpy), seeds, st.integers(0, 3))
def test_what_alone_changes_the_score_gets_all_of_it(x: Tensor, seed: int, changed: int) -> None:
    """Sensitivity: input and baseline differ in one element only."""
    module, baseline = net(seed), x.clone()
    baseline[0, changed] += 1
    found = explained(uh.IntegratedGradients(steps=64, baseline=baseline), module, x, 0)[0]
    assert found[changed].item() == torch.tensor(0.0).add(found.sum()).item()
    difference = (module(x) - module(baseline)).detach()[0, 0]
    assert torch.allclose(found[changed], difference, atol=4e-2)


@few
@given(seeds, rows, st.floats(-2, 2), st.floats(-2, 2))
def test_attribution_is_linear_in_the_model(seed: int, x: Tensor, a: float, b: float) -> None:
    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f, self.g = net(seed), net(seed + 1)

        def forward(self, x: Tensor) -> Tensor:
            return a * self.f(x) + b * self.g(x)

    mixture = Mixture()
    for method in all_but(NOT_LINEAR):
        f, g, both = (explained(method, module, x, 1) for module in (mixture.f, mixture.g, mixture))
        assert torch.allclose(both, a * f + b * g, atol=1e-3), method.key


@few
@given(seeds, rows)
def test_elements_that_the_model_treats_alike_and_are_alike_get_the_same(seed: int, x: Tensor) -> None:
    class Symmetric(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net(seed, inputs=3)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(torch.stack((x[:, 0] + x[:, 1], x[:, 2], x[:, 3]), 1))

    alike = x.clone()
    alike[:, 1] = alike[:, 0]
    for method in all_but(TREATS_TWINS_BY_CHANCE):
        found = explained(method, Symmetric(), alike, 1)
        assert torch.allclose(found[:, 0], found[:, 1], atol=1e-5), method.key


@quick
@given(rows, hnp.arrays("float32", (4,), elements=numbers).map(torch.from_numpy), numbers)
def test_on_a_linear_model_all_attributions_are_weight_times_input(x: Tensor, w: Tensor, bias: float) -> None:
    for method in (uh.IntegratedGradients(steps=2), uh.InputXGradient(), uh.Occlusion()):
        found = explained(method, Linear(w, bias), x)
        assert torch.allclose(found, w * x, atol=2e-4), method.key


@quick
@given(st.integers(3, 12), st.integers(3, 12), st.integers(1, 4), st.integers(1, 4), seeds)
def test_mirroring_picture_and_model_mirrors_the_occlusion_of_full_rows_of_windows(
    height: int, width: int, size: int, stride: int, seed: int
) -> None:
    size = min(size, height, width)
    stride = min(stride, size)
    # Windows that fit exactly: mirroring then maps windows to windows.
    height, width = (
        size + stride * (height // stride),
        size + stride * (width // stride),
    )
    generator = torch.Generator().manual_seed(seed)
    w, x = torch.randn(2, 1, 1, height, width, generator=generator)
    method = uh.Occlusion(size=size, stride=stride)
    plain = explained(method, Linear(w[0]), x)
    mirrored = explained(method, Linear(w[0].flip(-1)), x.flip(-1)).flip(-1)
    assert torch.allclose(plain, mirrored, atol=1e-4)
    turned = explained(method, Linear(w[0].mT), x.mT).mT
    assert torch.allclose(plain, turned, atol=1e-4)


@quick
@given(seeds, rows)
def test_grouping_every_element_alone_is_the_default_for_rows(seed: int, x: Tensor) -> None:
    alone = uh.Occlusion(grouping=elements(places(x)))
    assert torch.equal(explained(alone, net(seed), x), explained(uh.Occlusion(), net(seed), x))


def test_quadrature_weights_sum_to_one_and_integrate_polynomials_exactly() -> None:
    """PEERS 3: weights that sum to 1 - 1/n lose 2 % of a linear model's attribution at n = 50."""
    for steps in (*range(1, 60), 200, 1600):
        points, weights = gauss_legendre(steps)
        assert abs(weights.double().sum().item() - 1) < 1e-6
        assert ((points > 0) & (points < 1)).all()
        assert (weights > 0).all()
        for power in range(min(2 * steps, 12)):
            integral = (weights.double() * points.double() ** power).sum().item()
            assert abs(integral - 1 / (power + 1)) < 1e-6
