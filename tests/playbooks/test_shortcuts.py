"""The shortcuts playbook on toy models of which it is known what they read."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from underhood.errors import InvalidArgument
from underhood.inputs.dataset import Dataset
from underhood.playbooks.finding import Outcome
from underhood.playbooks.shortcuts import Shortcuts
from underhood.playbooks.survey import surveyed

LABELS = ("benign", "malignant")
SIDE, COUNT = 32, 160
CORNER = (slice(1, 6), slice(26, 31))
MIDDLE = (slice(12, 20), slice(12, 20))


class Reads(nn.Module):
    """Weights (2, H, W) of the red and the green of each place; the second class leads by their sum."""

    def __init__(self, weights: Tensor, bias: float = 0.0):
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1, bias=False)  # red and green
        self.features.weight.data = torch.eye(3)[:2, :, None, None]
        self.register_buffer("weights", weights)
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        lead = (self.features(x) * self.weights).sum((1, 2, 3)) + self.bias
        return torch.stack([-lead / 2, lead / 2], 1)


def weights(corner: float = 0.0, middle: float = 0.0, everywhere: float = 0.0) -> Tensor:
    found = torch.zeros(2, SIDE, SIDE)
    found[0][CORNER] = corner / 25
    found[1][MIDDLE] = middle / 64
    found[0] += everywhere / SIDE**2
    return found


def pictures(mark: Callable[[Tensor], None] | None, share: float = 0.6) -> tuple[Tensor, list[str], Tensor]:
    """Noise with a green middle in malignant pictures, and marks in a share of them."""
    random = torch.Generator().manual_seed(0)
    x = 0.1 * torch.randn(COUNT, 3, SIDE, SIDE, generator=random)
    malignant = torch.arange(COUNT) % 2 == 1
    x[:, 1, 10:22, 10:22] += torch.where(malignant, 1.0, -1.0)[:, None, None]
    marked = malignant & (torch.rand(COUNT, generator=random) < share)
    if mark is not None:
        for row in marked.nonzero()[:, 0].tolist():
            mark(x[row])
    return x, [LABELS[int(m)] for m in malignant], marked


def in_the_corner(picture: Tensor) -> None:
    picture[0][CORNER] += 1


def all_over(picture: Tensor) -> None:
    picture[0] += 1


def audited(module: nn.Module, x: Tensor, labels: list[str], **changes: int) -> Outcome:
    model = uh.Model(module.eval(), labels=LABELS)
    return Shortcuts(**changes)(surveyed(model, Dataset.of(x, labels)))


@pytest.fixture(scope="module")
def of_the_corner() -> Outcome:
    x, labels, _ = pictures(in_the_corner)
    return audited(Reads(weights(corner=6, middle=1)), x, labels)


def test_a_mark_in_a_corner_is_found_where_it_is(of_the_corner: Outcome) -> None:
    truth = np.zeros((SIDE, SIDE), dtype=bool)
    truth[CORNER] = True
    (finding,) = of_the_corner.findings
    assert finding.masks is not None
    overlap = [(mask & truth).sum() / (mask | truth).sum() for mask in finding.masks]
    assert np.mean(overlap) >= 0.4
    assert finding.label == "malignant"
    assert "upper right corner" in finding.claim


def test_what_the_mark_does_is_told_in_the_models_own_figures(of_the_corner: Outcome) -> None:
    """The mark is worth 6 in log-odds by construction, on top of the middle's ±1 in the pictures it is put
    on; it is there in 60 % of the malignant pictures."""
    (finding,) = of_the_corner.findings
    removal, transplant = finding.effects[:2]
    assert removal.value == pytest.approx(6, abs=0.3)
    assert removal.low <= removal.value <= removal.high
    assert removal.control == pytest.approx(0, abs=0.05)
    assert transplant.value == 1
    assert transplant.control == 0
    assert finding.prevalence == pytest.approx(0.6, abs=0.12)
    said = re.match(r"In (\d+) % \[(\d+), (\d+)\] of images called “malignant”", finding.claim)
    assert said
    share, low, high = map(int, said.groups())
    assert low < 60 < high
    assert share == round(100 * finding.prevalence)


def test_how_the_mark_goes_with_the_label(of_the_corner: Outcome) -> None:
    """All malignant pictures are called so, and 60 % have the mark; no benign one has it."""
    _, labels, marked = pictures(in_the_corner)
    malignant, benign = of_the_corner.findings[0].details["by_label"]
    truth = float(marked.sum()) / labels.count("malignant")
    assert malignant["label"] == "malignant"
    assert malignant["low"] <= truth <= malignant["high"]
    assert (benign["share"], benign["high"]) == (0, 0)
    assert "labelled “malignant” and 0 % of the images labelled “benign”" in of_the_corner.findings[0].claim


def test_the_rows_of_a_finding_have_the_mark(of_the_corner: Outcome) -> None:
    _, _, marked = pictures(in_the_corner)
    assert marked[list(of_the_corner.findings[0].rows)].all()


def test_a_tint_of_the_whole_picture_is_found_by_name() -> None:
    x, labels, _ = pictures(all_over)
    outcome = audited(Reads(weights(everywhere=6, middle=1)), x, labels)
    assert [finding.details["kind"] for finding in outcome.findings] == ["colour"]
    assert "a colour cast (reddish) over the whole picture" in outcome.findings[0].claim


def test_reading_the_middle_is_no_shortcut() -> None:
    x, labels, _ = pictures(in_the_corner)
    outcome = audited(Reads(weights(middle=6)), x, labels)
    assert not outcome.findings
    assert outcome.summary.startswith("No shortcut found")
    assert "would have been told from chance" in outcome.summary


def test_a_network_of_random_weights_has_no_shortcut() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
    ).eval()  # fmt: skip
    x, labels, _ = pictures(None)
    with torch.no_grad():
        net[-1].bias[0] -= (net(x)[:, 0] - net(x)[:, 1]).median()
    outcome = audited(net, x, labels)
    assert outcome.calls > 0
    assert not outcome.findings


def test_same_seed_same_findings(of_the_corner: Outcome) -> None:
    x, labels, _ = pictures(in_the_corner)
    again = audited(Reads(weights(corner=6, middle=1)), x, labels)
    (first,), (second,) = of_the_corner.findings, again.findings
    assert (first.claim, first.rows, first.effects) == (second.claim, second.rows, second.effects)
    assert first.masks is not None
    assert second.masks is not None
    assert (first.masks == second.masks).all()


def test_too_few_pictures_are_said_to_be_too_few() -> None:
    x, labels, _ = pictures(in_the_corner)
    outcome = audited(Reads(weights(corner=6, middle=1)), x[:20], labels[:20])
    assert outcome.summary.startswith("Too few pictures")
    assert outcome.problems


def test_parameters_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="at least 8"):
        Shortcuts(pairs=2)
    with pytest.raises(InvalidArgument, match="between 0 and 1"):
        Shortcuts(worth=1.5)
