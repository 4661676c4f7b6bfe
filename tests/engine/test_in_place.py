"""Operations in place are run out of place, and nothing shows."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from underhood.engine import Engine, PlainRules, Run
from underhood.models import Model, as_target


class Discards(nn.Module):
    """Throws away what the operations return."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.relu, self.last = nn.Linear(6, 6), nn.ReLU(inplace=True), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        x.mul_(2)
        self.relu(x)
        return self.last(torch.cat([x[:, 3:], x[:, :3]], 1))


class LooksBack(Discards):
    """Keeps a view of what is written afterwards."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        half = x[:, :3]
        x.sigmoid_()
        return self.last(torch.cat([half, x[:, 3:]], 1))


class WritesAView(Discards):
    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        x.view(-1).mul_(3)
        x[:, :3].sigmoid_()
        return self.last(x)


class ReturnsWhatItWrote(Discards):
    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.linear(x))
        x.tanh_()
        return x


class DropsNothing(Discards):
    """Dropout in place does nothing in evaluation mode."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        return self.last(nn.functional.dropout(x, 0.5, self.training, inplace=True))


class InABranch(Discards):
    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        y = x
        y += self.relu(self.linear(x))
        return self.last(x * y)


@pytest.mark.parametrize(
    "kind", [Discards, LooksBack, WritesAView, ReturnsWhatItWrote, DropsNothing, InABranch]
)
def test_writing_in_place_gives_the_same_scores_and_gradients(kind: Any) -> None:
    torch.manual_seed(0)
    module, x = kind().eval().requires_grad_(False), torch.randn(4, 6)
    leaf = x.clone().requires_grad_()
    scores = module(leaf.clone())
    (expected,) = torch.autograd.grad(scores[:, 1].sum(), leaf)
    found = Run(Engine(Model(module)), x, as_target(1)).gradients(rules=PlainRules())
    torch.testing.assert_close(found.outputs, scores.detach())
    torch.testing.assert_close(found.gradients[0], expected)


class Skips(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.last = (nn.Linear(3, 3) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        x = x + self.c(self.b(x).relu_())
        return self.last(x)


def test_the_path_holds_the_layers_that_everything_came_through() -> None:
    found = Run(Engine(Model(Skips())), torch.randn(2, 3), as_target(1)).gradients(rules=PlainRules())
    assert found.path == ("a", "last")
    assert set(found.totals) == {"a", "b", "c", "last"}
