"""How far maps can be believed: shares of verdicts, on models whose maps are right or meaningless."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.counted_shares import assert_counted
from underhood.demo.dermoscopy import draw_set
from underhood.demo.factors import WITH_MALIGNANT
from underhood.demo.models import load
from underhood.errors import InvalidArgument, UnknownName
from underhood.inputs.dataset import Dataset
from underhood.models import Model
from underhood.playbooks.survey import Survey, surveyed
from underhood.playbooks.trust import Trust
from underhood.playbooks.trust.shares import WORDS, Shares, best_beside
from underhood.playbooks.trust.words import believed, doubt_finding


class Verdict:
    """As much of one as shares are counted from."""

    level = "quick"

    def __init__(self, word: str, score: float, doubts: tuple[str, ...], asked: tuple[str, ...]):
        self.word, self.score = word, score
        answers = {**dict.fromkeys(asked, True), **dict.fromkeys(doubts, False)}
        self.reasons = [type("Reason", (), {"question": q, "answer": a})() for q, a in answers.items()]


def shares(method: str, words: str, asked: tuple[str, ...] = ("controls", "model")) -> Shares:
    of = {"+": "corroborated", "o": "contested", "-": "not to be trusted"}
    doubts = {"+": (), "o": ("class",), "-": ("controls", "class")}
    return Shares(method, tuple(Verdict(of[w], i / 100, doubts[w], asked) for i, w in enumerate(words)))  # type: ignore[arg-type,misc]


@pytest.fixture(scope="module")
def cheating() -> Survey:
    data = draw_set(16, seed=5, ruler=WITH_MALIGNANT)
    names = ["malignant" if m else "benign" for m in data.malignant]
    return surveyed(load("cheating"), Dataset.of(data.images, names))


def test_the_verdicts_are_those_of_check(cheating: Survey) -> None:
    import underhood as uh

    outcome = Trust(count=4, others=("lrp",))(cheating)
    rows = outcome.details["rows"]
    assert sorted(cheating.predicted[rows].tolist()) == [0, 0, 1, 1]
    explained = uh.explain(cheating.model, cheating.inputs(rows), methods=["gradcam", "lrp"])
    verdicts = uh.check(explained, "quick")
    for method, row in zip(("gradcam", "lrp"), outcome.tables["Verdicts"], strict=True):
        words = [v.word for v in verdicts if v.method == method]
        assert row["method"] == method
        assert row["maps"] == 4
        for word in WORDS:
            assert row[word].startswith(f"{25 * words.count(word)} %")
    assert outcome.calls > 0
    assert outcome.summary.startswith("Of 4 maps of this audit (by Grad-CAM), ")


def test_the_same_seed_takes_the_same_sample(cheating: Survey) -> None:
    one, two = (Trust(count=2, others=())(cheating) for _ in range(2))
    assert one.details == two.details
    assert one.summary == two.summary


class Constant(nn.Module):
    """Scores that depend on nothing to speak of."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.conv(x).relu().mean((1, 2, 3))
        return torch.stack([1e-4 * seen + 1, -1e-4 * seen], 1)


def test_maps_of_a_model_that_looks_at_nothing_are_a_finding() -> None:
    torch.manual_seed(0)
    x = torch.rand(6, 3, 16, 16)
    survey = surveyed(Model(Constant(), labels=("a", "b")), Dataset.of(x, ["a", "b"] * 3))
    (finding,) = Trust(count=6, others=())(survey).findings
    assert finding.key == "maps-in-doubt"
    assert finding.severity == "medium"
    assert finding.effects[0].value == 1
    assert_counted(finding.effects[0])
    assert set(finding.rows) == set(range(6))
    assert "0 % [0 %, 39 %] are corroborated" in finding.claim  # Wilson of 0 of 6


def test_a_better_method_is_named_with_how_sure_that_is() -> None:
    own, other = shares("gradcam", "+ooo----"), shares("lrp", "++++++o-")
    assert best_beside(own, [own, other]) is other
    assert best_beside(other, [own, other]) is None
    assert own.sign_test(other) == pytest.approx(2 / 2**5)  # five pictures apart, all for the other
    assert "LRP does not clearly fare better (p = 0.062): 75 %" in believed(own, other)
    assert "LRP fares better (p = 0.031): 88 %" in believed(own, shares("lrp", "+++++++-"))
    assert own.doubt == "class"
    assert own.doubted() == [1, 2, 3, 4, 5, 6, 7]


def test_methods_of_which_too_little_was_asked_are_not_compared() -> None:
    own, costly = shares("gradcam", "++oo"), shares("occlusion", "+++o", asked=("controls",))
    assert not costly.is_tested
    assert costly.row()["corroborated"] == "not asked at level quick"
    assert best_beside(own, [own, costly]) is None


@pytest.mark.parametrize(
    ("words", "severity"), [("++" + "-" * 6, "medium"), ("+" + "o" * 11, "low"), ("+++oooo", "low")]
)
def test_severity_goes_with_how_many_are_in_doubt(words: str, severity: str) -> None:
    own = shares("gradcam", words)
    assert doubt_finding(own, None, list(range(len(words)))).severity == severity


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean"):
        Trust(others=("gradcams",))
    with pytest.raises(InvalidArgument, match="always asked"):
        Trust(others=("gradcam",))
    with pytest.raises(InvalidArgument, match="level"):
        Trust(level="slow")
    with pytest.raises(InvalidArgument, match="at least 2"):
        Trust(count=1)


def test_what_does_not_suit_the_model_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from underhood.errors import Unfit
    from underhood.methods import LRP

    def refuse(*_: Any) -> None:
        raise Unfit("it knows no rule for this")

    monkeypatch.setattr(LRP, "attribute", refuse)
    data = draw_set(2, seed=6)
    names = ["malignant" if m else "benign" for m in data.malignant]
    survey = surveyed(load("honest"), Dataset.of(np.asarray(data.images), names))
    outcome = Trust(count=2, others=("lrp",))(survey)
    assert [row["method"] for row in outcome.tables["Verdicts"]] == ["gradcam"]
    assert any("was left out: it knows no rule for this" in problem for problem in outcome.problems)
