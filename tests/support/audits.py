"""A small audit of a planted model, to be run in processes that are killed."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import underhood as uh
from underhood.inputs.dataset import Dataset
from underhood.playbooks.survey import Survey

LABELS = ("dark", "bright")
SIZE = 12  # pixels


class Corner(nn.Module):
    """Reads the upper left 4 × 4 pixels, and nothing else: bright where their mean is above 0."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([-1.0, 1.0])[:, None, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[:, :, :4, :4].mean((2, 3))


def model() -> uh.Model:
    return uh.Model(Corner().eval(), labels=LABELS, layer="conv")


def data(count: int) -> Dataset:
    """Noise, labelled by its corner, but for every tenth."""
    made = torch.Generator().manual_seed(3)
    pictures = torch.randn(count, 1, SIZE, SIZE, generator=made)
    right = pictures[:, 0, :4, :4].mean((1, 2)) > 0
    return Dataset.of(pictures, [LABELS[int(r) ^ (n % 10 == 0)] for n, r in enumerate(right)])


@dataclass(frozen=True)
class Wrong(uh.Playbook):
    """Counts the errors; a planted playbook that is easy to check."""

    key = "wrong"
    question = "How many are wrong?"
    most: int = 3

    def __call__(self, survey: Survey) -> uh.Outcome:
        wrong = (survey.label != survey.predicted) & (survey.label >= 0)
        share = float(wrong.mean())
        rows = [int(n) for n in survey.number[wrong][: self.most]]
        effect = uh.Effect("share", share, share, share, "share", len(survey))
        masks = survey.maps[:][wrong][: self.most] > 0
        finding = uh.Finding(
            self.key,
            "wrong/all",
            f"{wrong.sum()} are wrong.",
            "low",
            (effect,),
            tuple(rows),
            "-",
            "-",
            masks=masks,
        )
        return uh.Outcome(self.key, f"{wrong.sum()} of {len(survey)} are wrong.", (finding,))


def run(folder: Path, count: int, shard: int) -> None:
    """What a killed process does."""
    torch.set_num_threads(1)
    uh.audit(model(), data(count), Wrong(), out=folder, shard=shard)
