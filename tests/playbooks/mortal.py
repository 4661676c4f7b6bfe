"""A network that can kill the process it runs in, data for it, and its audits compared bit for bit."""

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

import underhood as uh
from underhood.inputs import Dataset
from underhood.playbooks import Effect, Finding, Outcome, Playbook, Survey
from underhood.playbooks.audit import Audit, audit

ROWS, SHARD = 40, 8
FATAL = 20  # the row that ends the process that looks at it


class Mortal(nn.Module):
    """A small network that kills the process it runs in, at one picture, unless that is the user's own."""

    def __init__(self, marker: Path, times: int = 0):
        super().__init__()
        self.conv, self.deeper, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3), nn.Linear(16, 3)
        self.marker, self.times, self.owner = marker, times, os.getpid()

    def forward(self, x: Tensor) -> Tensor:
        if os.getpid() != self.owner and (x[:, 0, 0, 0] == 9).any() and self.deaths() < self.times:
            with self.marker.open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        x = self.deeper(self.conv(x).relu()).relu()
        return self.head(x.mean((2, 3)))

    def deaths(self) -> int:
        return len(self.marker.read_text()) if self.marker.exists() else 0


@dataclass(frozen=True)
class Confident(Playbook):
    """A finding of figures in full precision, from what is stored and from passes of its own."""

    key: ClassVar[str] = "confident"
    question: ClassVar[str] = "How sure is the model?"

    def __call__(self, survey: Survey) -> Outcome:
        order = np.argsort(-survey.probability, kind="stable")
        again = survey.engine.outputs(survey.inputs(order[:4])).numpy()
        value = float(np.asarray(survey.maps[order]).sum() + survey.features[order].sum() + again.sum())
        effect = Effect("sum", value, value, value, "", len(survey))
        rows = tuple(int(survey.number[row]) for row in order)
        return Outcome(self.key, "", (Finding(self.key, "sum", str(value), "low", (effect,), rows, "", ""),))


def model(marker: Path, times: int = 0) -> uh.Model:
    torch.manual_seed(0)
    return uh.Model(Mortal(marker, times), labels=("a", "b", "c"))


def data() -> Dataset:
    torch.manual_seed(1)
    pictures = torch.rand(ROWS, 3, 12, 12)
    pictures[FATAL, 0, 0, 0] = 9
    dataset = Dataset.of(list(pictures), [*"abca"] * (ROWS // 4))
    rows = [replace(row, source=torch.zeros(3, 5, 5)) if row.number == 3 else row for row in dataset]
    return Dataset(rows)  # one of them of another shape


def run(out: Path, model: uh.Model, engine: str = "local", **options: object) -> Audit:
    return audit(model, data(), [Confident()], out=out, shard=SHARD, engine=engine, options=options)


def assert_same(one: Audit, other: Audit) -> None:
    assert list(one.store.records()) == list(other.store.records())
    for name in ("scores", "maps", "features", "number", "label", "predicted"):
        here, there = np.asarray(getattr(one.survey, name)), np.asarray(getattr(other.survey, name))
        assert here.dtype == there.dtype
        assert here.tobytes() == there.tobytes()
    assert one.store.data_digest() == other.store.data_digest()
    assert one.problems == other.problems
    told, again = one.as_dict()["outcomes"], other.as_dict()["outcomes"]
    assert len(told[0]["findings"]) == 1
    assert told == again
