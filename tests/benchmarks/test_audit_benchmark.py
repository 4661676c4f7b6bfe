"""The throughput benchmark counts what it says it counts."""

from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.audit import Passes, _summary, photos, told
from benchmarks.measure import Cost


class Counted(nn.Module):
    """Notes the sizes of its batches, and whether there is a graph below its last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)
        self.batches: list[int] = []
        self.graphs: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        below = self.conv(x)
        self.graphs.append(below.requires_grad)
        return self.last(below).mean((2, 3))


def test_passes_are_as_many_as_the_inputs_and_no_graph_is_kept_below_the_layer() -> None:
    module = Counted().eval().requires_grad_(False)
    Passes(module, "last", 8, channels_last=False)(torch.randn(16, 3, 9, 9), 37)
    assert sum(module.batches) == 37
    assert max(module.batches) == 8
    assert not any(module.graphs)


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    spent = {"passes": [Cost(1, 1), Cost(9, 1), Cost(2, 1)], "audit": [Cost(2, 2), Cost(10, 2), Cost(2, 2)]}
    assert _summary(spent, "wall") == {"passes": 2, "audit": 2, "ratio": 0.9}
    row = {
        "network": "net", "pictures": 100, "threads": 1, "setting": "8 at a time", "rounds": 3,
        "wall": {"passes": 2.0, "audit": 4.0, "reading": 1.0, "ratio": 0.5},
        "cpu": {"passes": 2.0, "audit": 2.5, "reading": 0.5, "ratio": 0.8},
    }  # fmt: skip
    *_, line = told([row])
    assert line == "| net | 100 | 1 | 50.0/s (8 at a time) | 25.0/s | 0.50 | 0.80 | 5.0 ms of CPU each | 3 |"


def test_there_are_as_many_pictures_as_asked_for(tmp_path: Path) -> None:
    photos(tmp_path / "data", 5)
    assert len(list((tmp_path / "data").glob("*.jpg"))) == 5
