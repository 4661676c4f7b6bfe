"""Whole levels of checks: what they cost, that they repeat, and what they say of awkward maps and models."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from tests.support import torchvision_ops  # noqa: F401 - before timm
from underhood.checks import LEVELS, Verdicts
from underhood.checks.suite import planned
from underhood.engine.passes import Log
from underhood.errors import InvalidArgument
from underhood.methods import Given

WORDS = ("corroborated", "contested", "not to be trusted")
PICTURES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def small_net(classes: int = 2, channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, classes),
    ).eval()  # fmt: skip


def with_preprocess(net: nn.Module) -> uh.Model:
    return uh.load(net, preprocess="unit,size=8,crop=8")


# -- what it costs -----------------------------------------------------------------------------------


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What all engines' logs count, in forward passes; a list of one number."""
    total = [0.0]
    weights = {"forward": 1, "partial": 1, "backward": 2}

    def counting(self: Log, name: str, value: Any) -> None:
        total[0] += weights.get(name, 0) * (value - self.__dict__.get(name, 0) if name in weights else 0)
        self.__dict__[name] = value

    monkeypatch.setattr(Log, "__setattr__", counting)
    return total


METHODS = {
    "gradcam": "gradcam",
    "integrated_gradients": uh.IntegratedGradients(steps=50),
    "occlusion": uh.Occlusion(4, 4),
    "input_x_gradient": "input_x_gradient",
}
COMPANIES = [*(([name], 1) for name in METHODS), (list(METHODS)[:3], 1), (list(METHODS), 2)]


@pytest.mark.parametrize(("company", "count"), COMPANIES)
def test_quick_takes_no_more_than_60_passes_and_no_level_more_than_planned(
    company: list[str], count: int, passes: list[float]
) -> None:
    model = with_preprocess(small_net())
    found = uh.explain(model, PICTURES[:count], methods=[METHODS[name] for name in company])
    for level in ("quick", "standard"):
        before = passes[0]
        verdicts = uh.check(found, level)
        used = passes[0] - before
        assert used <= sum(planned(e, len(company), level) for e in found) + 1e-9
        told = {id(r): r.calls for v in verdicts for r in v.readings.values()}
        assert sum(told.values()) == pytest.approx(used)
        if level == "quick":
            assert used <= 60 * len(found)


@pytest.mark.slow
def test_full_takes_no_more_than_planned(passes: list[float]) -> None:
    found = uh.explain(with_preprocess(small_net()), PICTURES[:1], methods=["saliency", "gradcam"])
    before = passes[0]
    uh.check(found, "full")
    assert passes[0] - before <= sum(planned(e, 2, "full") for e in found)


def test_what_is_left_out_for_its_cost_says_so() -> None:
    """A dear method's map is not made again; a cheap one's is, and all its questions are asked."""
    found = uh.explain(
        with_preprocess(small_net()), PICTURES, methods=[METHODS["integrated_gradients"], "gradcam"]
    )
    verdicts = uh.check(found, "quick")
    dear, cheap = verdicts["integrated_gradients"][0], verdicts["gradcam"][0]
    for key in ("randomisation", "class_sensitivity"):
        assert "beyond the 60 of this level" in dear.readings[key].undefined
        assert cheap.readings[key].undefined is None
    assert dear.word != "corroborated"
    assert "beyond the 60 of this level" in dear.paragraph


def test_a_cheap_method_alone_is_asked_everything_by_quick() -> None:
    verdict = uh.check(uh.explain(with_preprocess(small_net()), PICTURES[:1], methods="gradcam"), "quick")[0]
    assert not [r.undefined for r in verdict.readings.values() if "beyond" in str(r.undefined)]


# -- that it repeats ---------------------------------------------------------------------------------


def test_two_runs_come_to_the_same_bits() -> None:
    first, second = (
        [v.as_dict() for v in uh.check(uh.explain(small_net(), PICTURES, methods=["saliency", "gradcam"]))]
        for _ in range(2)
    )
    assert first == second


def test_verdicts_are_selected_by_method() -> None:
    found = uh.explain(small_net(), PICTURES, methods=["saliency", "gradcam"])
    verdicts = uh.check(found, "quick")
    assert len(verdicts["saliency"]) == 2
    assert verdicts["gradcam"][0].method == "gradcam"
    assert len(verdicts[:3]) == 3
    assert verdicts.table().count("\n") == 4
    with pytest.raises(uh.UnderhoodError, match="no method among these verdicts named 'lrp'"):
        verdicts["lrp"]
    with pytest.raises(InvalidArgument, match="The level is one of quick, standard, full, not 'deep'"):
        uh.check(found, "deep")  # type: ignore[arg-type]


# -- awkward maps, inputs and models -----------------------------------------------------------------


class Brittle(nn.Module):
    """Sure of one picture; anything else, however near, is another class."""

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(PICTURES[:1].clone())

    def forward(self, x: Tensor) -> Tensor:
        away = (x - self.at).abs().flatten(1).sum(1)
        return torch.stack([3 - 1e4 * away, 0 * away], 1)


class AtZero(nn.Module):
    """Scores of 0 for the first picture."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x - PICTURES[:1]).flatten(1)


def vit() -> nn.Module:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    net = timm.models.VisionTransformer(
        img_size=8, patch_size=2, embed_dim=16, depth=2, num_heads=2, num_classes=3
    )
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net.eval()


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


ROWS = torch.rand(2, 12, generator=torch.Generator().manual_seed(2))
CNN = ["saliency", "gradcam", "occlusion"]
AWKWARD: dict[str, tuple[Any, Tensor, Any, Any]] = {
    "constant map": (small_net, PICTURES, None, Given(torch.ones(2, 8, 8))),
    "all-negative map": (small_net, PICTURES, None, Given(-PICTURES[:, 0] - 0.1)),
    "map of zeros": (small_net, PICTURES, None, Given(torch.zeros(2, 8, 8))),
    "map with a NaN": (
        small_net,
        PICTURES,
        None,
        Given(PICTURES[:, 0].where(PICTURES[:, 0] < 0.9, torch.nan)),
    ),
    "infinite map": (small_net, PICTURES, None, Given(torch.full((2, 8, 8), torch.inf))),
    "one colour": (small_net, torch.full((2, 3, 8, 8), 0.5), None, CNN),
    "black": (small_net, torch.zeros(2, 3, 8, 8), None, CNN),
    "batch of one": (small_net, PICTURES[:1], None, CNN),
    "one output": (lambda: small_net(1), PICTURES, None, CNN),
    "grey pictures": (lambda: small_net(2, 1), PICTURES[:, :1], None, CNN),
    "score of 0": (AtZero, PICTURES[:1], 0, ["saliency", "occlusion", "integrated_gradients"]),
    "changes under every perturbation": (Brittle, PICTURES[:1], None, ["saliency", "occlusion"]),
    "contrast": (lambda: small_net(3), PICTURES, uh.Contrast(0, 1), CNN),
    "unit": (lambda: small_net(3), PICTURES, uh.Unit("3", 1), ["saliency", "occlusion"]),
    "several targets": (lambda: small_net(3), PICTURES, uh.Several(0, 1), CNN),
    "function": (lambda: small_net(3), PICTURES, lambda scores: scores.sum(1), CNN),
    "probability": (lambda: small_net(3), PICTURES, uh.Class(0, output="probability"), CNN),
    "rows": (mlp, ROWS, None, ["saliency", "integrated_gradients", "occlusion"]),
    "rows of two": (lambda: nn.Linear(2, 2), ROWS[:, :2], None, ["saliency", "occlusion"]),
    "transformer": (vit, PICTURES, None, ["saliency", "attention_rollout", "attention_relevance"]),
}


QUICK_TOO = ("batch of one", "map with a NaN", "rows", "one output")


@pytest.mark.parametrize(
    ("case", "level"),
    [*((case, "standard") for case in AWKWARD), *((case, "quick") for case in QUICK_TOO)],
)
def test_every_figure_is_defined_or_says_why_not(case: str, level: Any) -> None:
    build, inputs, target, methods = AWKWARD[case]
    verdicts = uh.check(uh.explain(build(), inputs, target, methods=methods), level)
    assert isinstance(verdicts, Verdicts)
    for verdict in verdicts:
        json.dumps(verdict.as_dict(), allow_nan=False)
        assert verdict.word in WORDS
        assert 0 <= verdict.score <= 1
        for key, reading in verdict.readings.items():
            assert (reading.value is None) == (reading.undefined is not None)
            assert "the check failed" not in str(reading.undefined), f"{key}: {reading.undefined}"
            assert reading.passed is None or reading.undefined is None
        for word in ("nan", "None", "inf ", "{", "Traceback"):
            assert word not in verdict.paragraph
        if case in ("constant map", "all-negative map", "map of zeros", "map with a NaN", "infinite map"):
            assert verdict.word != "corroborated"


def test_without_positive_relevance_there_is_no_evidence() -> None:
    for case, told in (("all-negative map", "no positive relevance"), ("map with a NaN", "not finite")):
        build, inputs, target, methods = AWKWARD[case]
        verdict = uh.check(uh.explain(build(), inputs, target, methods=methods))[0]
        assert told in verdict.readings["confirmed_share"].undefined
        assert verdict.score < 0.01


def test_every_level_asks_the_questions_that_are_needed() -> None:
    for suite in LEVELS.values():
        asked = {step.check.card.question for step in suite.steps}
        assert {"controls", "certainty", "model", "class", "completeness", "support"} <= asked


# -- what is no explanation, and other mistakes -------------------------------------------------------


def test_mistakes_are_told_in_one_sentence() -> None:
    [found] = uh.explain(with_preprocess(small_net()), PICTURES[:1], 0, methods="saliency")
    mask = torch.ones(8, 8)
    for call, says in {
        (lambda: uh.check("x.json")): "Only explanations can be checked, .* not 'x.json'",
        (lambda: uh.check(None)): "Only explanations can be checked, .* not None",
        (lambda: uh.check([found, 3])): "Only explanations can be checked, .* not 3",
        (lambda: uh.check([])): "There is no explanation to check",
        (lambda: planned(found, 0)): "at least one method, not of 0",
        (lambda: planned(None)): "Only explanations can be checked",
        (lambda: uh.checks.PointingGame(None)): "A mask is a tensor",
        (lambda: uh.checks.RelevanceMass(mask * torch.nan)): "The mask holds NaN",
        (lambda: uh.checks.DataRandomisation(None)): "needs the model trained on shuffled labels",
        (lambda: uh.checks.ConfirmedShare(ridge=-1)): "ridge is a number above 0, not -1",
    }.items():
        with pytest.raises(InvalidArgument, match=says):
            call()
