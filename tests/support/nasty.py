"""Networks written as people write them, each with one thing that trips whoever looks at modules only.

All take pictures (m, 3, H, W) and give five scores; `TwoInputs` takes a picture and four numbers.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ReusedReLU(nn.Module):
    """One ReLU module, one convolution and one norm, each run several times."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.relu, self.head = nn.BatchNorm2d(8), nn.ReLU(), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.first(x)))
        for _ in range(2):
            x = self.relu(self.norm(self.again(x)) + x)
        return self.head(x.mean((2, 3)))


class Functional(nn.Module):
    """No layer but the one that holds the weights: every operation is a function or an operator."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.deeper, self.head = (
            nn.Parameter(torch.randn(shape) * 0.3) for shape in ((8, 3, 3, 3), (8, 8, 3, 3), (5, 16))
        )
        self.mean, self.variance = nn.Buffer(torch.randn(8) * 0.1), nn.Buffer(torch.rand(8) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.conv, padding=1)
        x = F.relu(F.batch_norm(x, self.mean, self.variance))
        x = F.max_pool2d(x, 2)
        y = F.gelu(F.conv2d(x, self.deeper, padding=1)) * torch.sigmoid(x)
        x = torch.cat([x, x + y], 1)
        return F.linear(F.adaptive_avg_pool2d(x, 1).flatten(1), self.head)


class InPlace(nn.Module):
    """Every operation that can writes over what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(0.9).add_(0.1)
        x = self.relu(self.conv1(x))
        kept = x.clone()
        x = F.silu(self.conv2(x), inplace=True)
        x += kept
        x *= 0.5
        x[:, :2].tanh_()
        return self.head(x.mean((2, 3))).div_(2)


class TwoInputs(nn.Module):
    """A picture and a row of four numbers, multiplied and joined."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.row = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(4, 8)
        self.relu, self.head = nn.ReLU(), nn.Linear(16, 5)

    def forward(self, picture: Tensor, row: Tensor) -> Tensor:
        seen, told = self.relu(self.conv(picture)).mean((2, 3)), self.relu(self.row(row))
        return self.head(torch.cat([seen * told, told], 1))


class Tuples(nn.Module):
    """Blocks hand on tuples, and so does the network."""

    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.conv, self.relu = nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU()

        def forward(self, pair: tuple[Tensor, list[Tensor]]) -> tuple[Tensor, list[Tensor]]:
            x = self.relu(self.conv(pair[0]))
            return x, [*pair[1], x]

    def __init__(self) -> None:
        super().__init__()
        self.blocks, self.head = nn.Sequential(self.Block(3), self.Block(8)), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, list[Tensor]]]:
        _, features = self.blocks((x, []))
        return self.head(torch.cat(features, 1).mean((2, 3))), {"features": features}
