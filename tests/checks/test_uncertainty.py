"""Intervals that cover what they promise, on cases where the truth is known."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from underhood.checks import Uncertainty
from underhood.checks.dropout import dropped
from underhood.checks.intervals import of_noise, student
from underhood.engine import Run
from underhood.errors import InvalidArgument
from underhood.inputs.random import NOISE, normal
from underhood.methods import Drawn, Given

FEATURES = 1000  # each an interval of its own


@dataclass(frozen=True)
class Noisy(uh.Method):
    """w ∘ x and noise of size 1 that depends on the seed alone."""

    key = "noisy"
    sigma: float = 1.0

    @property
    def card(self) -> uh.Card:
        return uh.InputXGradient().card

    def attribute(self, run: Run) -> uh.Attribution:
        exact = uh.InputXGradient().attribute(run).values
        return uh.Attribution(exact + self.sigma * normal(tuple(exact.shape[1:]), run.seed, NOISE))


class Cubes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x**3).sum(1, keepdim=True)


def linear(w: Tensor) -> uh.Model:
    net = nn.Linear(len(w), 2, bias=False)
    net.weight.data = torch.stack([w, -w])
    return uh.Model(net)


@pytest.fixture
def row() -> Tensor:
    return torch.randn(1, FEATURES, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def w() -> Tensor:
    return torch.randn(FEATURES, generator=torch.Generator().manual_seed(1))


def covered(reading: uh.checks.Reading, truth: Tensor) -> float:
    values, half = (torch.tensor(reading.details[name]) for name in ("values", "half_widths"))
    return float(((values - truth).abs() <= half).float().mean())


def test_students_quantiles() -> None:
    assert student(0.95, None) == pytest.approx(1.959964, abs=1e-4)
    assert student(0.95, 5) == pytest.approx(2.570582, abs=1e-4)
    assert student(0.95, 1) == pytest.approx(12.7062, abs=1e-2)
    assert student(0.99, 30) == pytest.approx(2.749996, abs=1e-4)


def test_intervals_over_seeds_cover_the_exact_map(row: Tensor, w: Tensor) -> None:
    found = [
        covered(Uncertainty(by="seeds", draws=4)(Noisy()(linear(w), row, 0, seed=10 * seed))[0], w * row[0])
        for seed in range(6)
    ]
    assert sum(found) / 6 == pytest.approx(0.95, abs=0.02)


def test_intervals_over_trainings_cover_the_mean_map(row: Tensor, w: Tensor) -> None:
    """Weights of each training w + ε, so that maps are x ∘ (w + ε)."""
    found = []
    for repeat in range(6):
        drawn = [linear(w + normal((FEATURES,), repeat, NOISE, member)) for member in range(6)]
        explanation = uh.InputXGradient()(drawn[0], row, 0)
        found.append(covered(Uncertainty(models=drawn[1:])(explanation)[0], w * row[0]))
    assert sum(found) / 6 == pytest.approx(0.95, abs=0.02)


def test_intervals_of_a_methods_own_draws_cover_the_exact_map(row: Tensor) -> None:
    """The mean gradient of x³ over noise of variance σ² is 3x² + 3σ²."""
    sigma = 0.1 * float(row.max() - row.min())
    exact, found = 3 * row[0] ** 2 + 3 * sigma**2, []
    for seed in range(3):
        explanation = uh.SmoothGrad(n=400, sigma=0.1)(Cubes(), row, 0, seed=seed)
        reading = Uncertainty()(explanation)[0]
        assert reading.details["by"] == "draws"
        assert reading.calls == 0
        found.append(covered(reading, exact))
    assert sum(found) / 3 == pytest.approx(0.95, abs=0.02)


def test_dropout_spreads_as_it_must(row: Tensor, w: Tensor) -> None:
    """Φ = w∘x∘m/(1-p), whose variance is (w∘x)²·p/(1-p)."""
    module = nn.Sequential(nn.Dropout(0.3), nn.Linear(FEATURES, 2, bias=False))
    module[1].weight.data = torch.stack([w, -w])
    module.train()
    model = uh.Model(module)
    explanation = uh.InputXGradient()(model, row, 0)
    reading = Uncertainty(by="dropout", draws=30)(explanation)[0]
    spread = torch.tensor(reading.details["half_widths"]) / student(0.95, 29)
    ratio = (spread / (w * row[0])).square().mean()
    assert float(ratio) == pytest.approx(0.3 / 0.7, rel=0.05)
    assert type(module[0]) is nn.Dropout
    assert module.training
    assert reading.calls == 30 * 3 + 1  # forward and backward; and what is predicted


def test_a_draw_of_dropout_is_one_network_that_shares_the_weights() -> None:
    module = nn.Sequential(nn.Conv2d(1, 6, 1), nn.Dropout2d(0.5), nn.Flatten(), nn.Dropout(0.5)).eval()
    model = uh.Model(module)
    first, again, second = dropped(model, 0, 0), dropped(model, 0, 0), dropped(model, 0, 1)
    x = torch.ones(3, 1, 4, 4)
    outputs = [m.module.eval()(x) for m in (first, again, second)]
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert torch.equal(outputs[0][0], outputs[0][2])  # the same units of every input
    channels = first.module[1](torch.ones(1, 6, 4, 4))
    assert all(len(channel.unique()) == 1 for channel in channels[0])
    assert first.module[0].weight is module[0].weight


def test_the_share_of_noise_alone_is_what_its_control_says(row: Tensor) -> None:
    found = [
        Uncertainty(by="seeds", draws=5)(Noisy()(linear(torch.zeros(FEATURES)), row, 0, seed=10 * seed))[0]
        for seed in range(3)
    ]
    expected = of_noise(student(0.95, 4), 4)
    assert found[0].controls["noise"] == pytest.approx(expected)
    assert sum(r.value for r in found) / 3 == pytest.approx(expected, abs=0.02)
    assert not any(r.passed for r in found)


def test_what_is_certain_and_what_is_not() -> None:
    x = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    explanation = Noisy(0.01)(linear(torch.tensor([3.0, -2.0, 0.001, -0.001])), x, 0)
    reading = Uncertainty(by="seeds", draws=8)(explanation)[0]
    assert reading.details["certain_groups"] in (2, 3)
    assert reading.value > 0.99
    assert reading.passed
    assert "sign is certain" in reading.sentence


def test_without_chance_there_is_nothing_to_say() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 36, 2)).eval()
    x = torch.randn(2, 1, 8, 8)
    nan = Drawn(lambda x: torch.full_like(x[:, 0], torch.nan), "nan")
    found = uh.explain(net, x, methods=["saliency", Given(torch.ones(2, 8, 8)), nan])
    readings = Uncertainty()(found)
    assert "uses no chance, and no other models" in str(readings.of("saliency")[0].undefined)
    assert "was given" in str(readings.of("given")[0].undefined)
    assert "no dropout layers" in str(Uncertainty(by="dropout")(found)[0].undefined)
    assert "no standard error" in str(Uncertainty(by="draws")(found)[0].undefined)
    others = Uncertainty(models=[uh.Model(net), uh.Model(net)])(found)
    assert others.of("saliency")[0].value == 1.0
    assert "not finite" in str(others.of("nan")[0].undefined)
    unit = uh.explain(net, x, uh.Unit("0", 1), methods="saliency")
    assert "other units" in str(Uncertainty(models=[uh.Model(net)] * 2)(unit)[0].undefined)


@pytest.mark.parametrize("check", [Uncertainty(), Uncertainty(by="seeds", draws=2), Uncertainty(grouping=3)])
def test_a_batch_equals_its_inputs_one_by_one(check: Uncertainty) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 2)).eval()
    x = torch.randn(3, 3, 10, 10)
    for method in (uh.RISE(n=40, grid=3), uh.SmoothGrad(n=4)):
        together = check(uh.explain(net, x, methods=method))
        assert list(together) == list(check(uh.explain(net, x, methods=method)))
        for number, alone in enumerate(x):
            assert together[number].value == pytest.approx(
                check(uh.explain(net, alone, methods=method)).value, abs=1e-3
            )


def test_bad_parameters_are_refused() -> None:
    model = linear(torch.ones(2))
    for wrong, words in (
        ({"by": "luck"}, "by auto"), ({"draws": 1}, "at least 2 draws"), ({"level": 1.0}, "level"),
        ({"models": [model]}, "at least two other models"), ({"grouping": 0}, "at least 1"),
    ):  # fmt: skip
        with pytest.raises(InvalidArgument, match=words):
            Uncertainty(**wrong)
    assert "sha256" in Uncertainty(models=[model, model]).parameters()["models"][0]
