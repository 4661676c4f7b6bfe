"""bfloat16: only for passes without gradient, only where a sample agrees, and always on record."""

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from tests.engine.nets import NETS, explained, pictures
from underhood.engine.precision import AGREEMENT, SAMPLE, agreement


class Watched(nn.Module):
    """Scores with an offset; keeps the type and grad mode of every pass."""

    seen: ClassVar[list[tuple[torch.dtype, bool]]] = []

    def __init__(self, offset: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head, self.offset = nn.Conv2d(3, 8, 3), nn.Linear(8, 3), offset

    def forward(self, x: Tensor) -> Tensor:
        Watched.seen.append((x.dtype, torch.is_grad_enabled()))
        return self.head(self.conv(x).relu().mean((2, 3))) + self.offset


@pytest.fixture(autouse=True)
def fast_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor with bfloat16."""
    monkeypatch.setattr("underhood.engine.precision.has_bfloat16", lambda _device: True)
    monkeypatch.setattr(Watched, "seen", [])


def types() -> set[torch.dtype]:
    return {dtype for dtype, _ in Watched.seen}


MANY = uh.Occlusion(size=4, stride=1)  # 169 windows: enough for bfloat16 to be worth while
FEW = uh.Occlusion(size=8, stride=8)


def test_auto_takes_bfloat16_where_a_sample_agrees_and_says_so() -> None:
    net, x = Watched(), pictures(1)
    x[:, :, 4:10, 4:10] *= 10
    found = MANY(net, x[0], 0)
    assert found.provenance["precision"].startswith("bfloat16 (agrees with float32 to 0.99")
    assert found.diagnostics["precision"] == found.provenance["precision"]
    assert types() == {torch.float32, torch.bfloat16}
    exact = MANY(net, x[0], 0, precision="float32")
    assert exact.provenance["precision"] == "float32"
    both = torch.stack([torch.from_numpy(e.heatmap()).flatten() for e in (found, exact)])
    assert not torch.equal(*both)
    assert torch.corrcoef(both)[0, 1] > 0.99
    assert found.values.dtype == "float32"


def test_auto_falls_back_where_the_sample_disagrees_and_says_so() -> None:
    net, x = Watched(offset=1000), pictures(1)  # bfloat16 has steps of 4 there
    found = MANY(net, x[0], 0)
    assert found.provenance["precision"].startswith("float32 (bfloat16 agreed with it to ")
    exact = MANY(net, x[0], 0, precision="float32")
    assert (found.values == exact.values).all()


def test_inputs_far_apart_do_not_hide_that_their_variants_disagree() -> None:
    class Far(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :1].mean((2, 3)) + x[:, 1:2, :1, :1].flatten(1).sign() * 1000

    x = pictures(2)
    x[0, 1], x[1, 1] = 1.0, -1.0
    method = uh.Occlusion(grouping=torch.arange(256).reshape(16, 16).clamp(min=1))
    found = method(Far(), x, 0)
    assert found[0].provenance["precision"].startswith("float32 (bfloat16")
    exact = method(Far(), x, 0, precision="float32")
    assert all((a.values == b.values).all() for a, b in zip(found, exact, strict=True))


def test_auto_stays_with_float32_for_few_passes() -> None:
    found = FEW(Watched(), pictures(1)[0], 0)
    assert found.provenance["precision"] == "float32"
    assert types() == {torch.float32}


@pytest.mark.parametrize("precision", ["auto", "bfloat16"])
@pytest.mark.parametrize(
    "method",
    [
        uh.Saliency(),
        uh.SmoothGrad(n=130),
        uh.IntegratedGradients(steps=130),
        uh.GradCAM("conv"),
        uh.IntegratedGradients(steps=4, baseline=torch.zeros(130, 3, 16, 16)),
    ],
    ids=["saliency", "smoothgrad", "integrated_gradients", "gradcam", "many baselines"],
)
def test_gradients_are_always_float32(method: uh.Method, precision: Any) -> None:
    x = pictures(1)
    found = explained(method, Watched(), x, precision=precision)
    assert types() == {torch.float32}
    assert torch.equal(found, explained(method, Watched(), x, precision="float32"))


@pytest.mark.parametrize("precision", ["auto", "bfloat16"])
def test_the_completeness_gap_is_measured_in_float32(precision: Any) -> None:
    net, x = nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), pictures(1)
    baseline = pictures(200, seed=5)
    found = uh.IntegratedGradients(steps=1, baseline=baseline)(net, x[0], 0, precision=precision)
    assert abs(found.diagnostics["relative_gap"]) < 1e-4
    assert found.provenance["precision"] == "float32"


def test_bfloat16_can_be_demanded_for_forward_passes() -> None:
    net, x = Watched(), pictures(1)
    found = FEW(net, x[0], 0, precision="bfloat16")
    assert found.provenance["precision"] == "bfloat16 (demanded)"
    assert torch.bfloat16 in types()
    assert not any(graph for dtype, graph in Watched.seen if dtype == torch.bfloat16)
    exact = FEW(net, x[0], 0, precision="float32")
    assert found.score == exact.score  # the prediction itself is always float32
    assert abs(found.values - exact.values).max() < 0.05 * abs(exact.values).max() + 1e-2


def test_the_users_weights_stay_float32() -> None:
    net = NETS["cnn"]()
    FEW(net, pictures(1), 0, precision="bfloat16")
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def test_agreement_is_a_correlation_within_inputs() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.arange(SAMPLE) % 2
    a, b = torch.randn(2, SAMPLE, generator=generator)
    far = 1e4 * rows
    within = agreement(a + far, b + far, rows)
    by_hand = torch.cat([a[rows == r] - a[rows == r].mean() for r in (0, 1)])
    other = torch.cat([b[rows == r] - b[rows == r].mean() for r in (0, 1)])
    assert within == pytest.approx(float(torch.corrcoef(torch.stack((by_hand, other)))[0, 1]), abs=1e-2)
    assert agreement(a, 3 * a + 5, rows) == pytest.approx(1)
    assert 0 < AGREEMENT < 1


@pytest.mark.parametrize("rough", [torch.zeros(4), torch.tensor([1.0, 2.0, float("inf"), 0.0])])
def test_where_agreement_is_undefined_it_is_0(rough: Tensor) -> None:
    assert agreement(torch.arange(4.0), rough, torch.zeros(4, dtype=torch.long)) == 0
    assert agreement(torch.ones(4), torch.arange(4.0), torch.zeros(4, dtype=torch.long)) == 0


class FloatInside(nn.Module):
    """Makes a float32 tensor of its own, which does not multiply with bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).relu().mean((2, 3)) @ torch.eye(4)


def test_a_model_that_does_not_run_in_bfloat16_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("underhood.engine.precision.has_bfloat16", lambda _device: True)
    found = uh.Occlusion(4, 2)(FloatInside(), torch.rand(1, 3, 32, 32), 0)
    assert found.provenance["precision"].startswith("float32 (in bfloat16")
