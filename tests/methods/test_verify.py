"""`verify` finds the truth about every claim of a card, by a method that lies about each."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

import underhood as uh
from underhood.cli import tables
from underhood.demo import models as demo
from underhood.engine import Run
from underhood.methods.verify import correlation, half_random, passes, verify

HONEST = replace(
    uh.Saliency().card, signed=True, conserves="S(x) - S(x')", cost="1 forward + 1 backward", needs="nothing"
)


@dataclass(frozen=True)
class Picture(uh.Method):
    """Shows the picture itself, signed, whose sum is S(x) - S(0), by two passes forward and none back."""

    about: uh.Card = HONEST

    key = "picture"

    @property
    def card(self) -> uh.Card:
        return self.about

    def attribute(self, run: Run) -> uh.Attribution:
        score = run.target.score(run.engine.outputs(run.inputs))
        absent = run.target.score(run.engine.outputs(run.zeros()))
        x = run.inputs - run.inputs.mean((1, 2, 3), keepdim=True)
        return uh.Attribution(x + ((score - absent) / x[0].numel())[:, None, None, None])


def holds(**claims: object) -> dict[str, bool | None]:
    found = verify([Picture(replace(HONEST, **claims))])  # type: ignore[arg-type]
    return {one.claim: one.holds for one in found}


TRUTH = {"signed": True, "conserves": "S(x) - S(x')", "randomisation": False, "cost": "2 forward"}


def test_claims_that_are_true_hold() -> None:
    assert holds(**TRUTH) == {"signed": True, "sums to": True, "upper layers random": True, "cost": True}


@pytest.mark.parametrize(
    ("lie", "claim"),
    [
        ({"signed": False}, "signed"),
        ({"conserves": "S(x)"}, "sums to"),
        ({"randomisation": True}, "upper layers random"),
        ({"cost": "1 backward"}, "cost"),
    ],
)
def test_a_lie_is_found_and_nothing_else(lie: dict[str, object], claim: str) -> None:
    assert [name for name, held in holds(**TRUTH | lie).items() if not held] == [claim]


def test_what_cannot_be_computed_is_neither_held_nor_failed() -> None:
    found = holds(**TRUTH | {"conserves": "the weather", "cost": "as long as it takes"})
    assert found["sums to"] is None
    assert found["cost"] is None

    class Unfit(Picture):
        def attribute(self, run: Run) -> uh.Attribution:  # noqa: ARG002
            raise uh.UnderhoodError("This needs another model.")

    (only,) = verify([Unfit()])
    assert only.holds is None
    assert only.found == "This needs another model."


@pytest.mark.parametrize(
    "method",
    [uh.Saliency(), uh.InputXGradient(), uh.GradCAM(), uh.GuidedBackprop(), uh.RawAttention(),
     uh.AttentionRollout(), uh.AttentionRelevance()],
    ids=lambda m: m.key,
)  # fmt: skip
def test_the_claims_of_quick_methods_hold(method: uh.Method) -> None:
    for one in verify([method]):
        assert one.holds, one


@pytest.mark.slow
@pytest.mark.parametrize("method", [method() for method in uh.METHODS], ids=lambda m: m.key)
def test_the_claims_of_every_method_hold(method: uh.Method) -> None:
    for one in verify([method]):
        assert one.holds is not False, one


def test_half_of_the_layers_are_made_random_the_upper_ones() -> None:
    trained, random = demo.load("honest").module, half_random("honest", 0).module
    same = {
        name: torch.equal(a, b)
        for (name, a), b in zip(trained.state_dict().items(), random.state_dict().values(), strict=True)
        if name.endswith("weight") and a.ndim > 1
    }
    assert list(same.values()) == [True, True, True, False, False, False]
    again = half_random("honest", 0).module
    assert torch.equal(random.head.weight, again.head.weight)
    assert not torch.equal(random.head.weight, half_random("honest", 1).module.head.weight)


def test_rank_correlation() -> None:
    a = np.array([1.0, 2, 3, 4], dtype=np.float32)
    assert correlation(a, a**3) == pytest.approx(1)
    assert correlation(a, -a) == pytest.approx(-1)
    tied = np.array([1.0, 1, 2, 3], dtype=np.float32)
    assert correlation(a, tied) == pytest.approx(0.9486833)
    assert correlation(a, np.ones(4, dtype=np.float32)) is None


@pytest.mark.parametrize(
    ("cost", "number"),
    [
        ("1 forward", (1, 0)),
        ("1 forward + 1 backward", (1, 1)),
        ("50 × (forward + backward) + 2 forward", (52, 50)),
        ("1,000 forward", (1000, 0)),
        ("1 forward + the backward above the layer", (1, 1)),
        ("one forward for each position (about 850)", (850, 0)),
        ("4 forward + 2 forward for each layer", None),
        ("(2 forward + 1 backward) × background samples", None),
    ],
)
def test_passes_are_read_from_the_cards_words(cost: str, number: tuple[float, float] | None) -> None:
    assert passes(cost) == number


def test_the_command_prints_every_claim_and_fails_where_one_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Liar(Picture):
        def __init__(self) -> None:
            super().__init__(replace(HONEST, **TRUTH | {"signed": False}))

    monkeypatch.setattr(tables, "METHODS", [uh.Saliency])
    assert tables.verify_methods(as_json=False) == 0
    assert "3 of 3 claims hold" in capsys.readouterr().out
    monkeypatch.setattr(tables, "METHODS", [uh.Saliency, Liar])
    assert tables.verify_methods(as_json=False) == 1
    assert "FAILS     picture               signed: no negative values" in capsys.readouterr().out
    assert tables.verify_methods(as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert [(one["method"], one["claim"]) for one in told if one["holds"] is False] == [("picture", "signed")]
