"""Networks of different kinds for planted causes; the demo has two more."""

from torch import Tensor, nn


class TinyResNet(nn.Module):
    """Residual blocks with batch normalisation, down to an eighth of the side."""

    def __init__(self, classes: int = 2, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.layers = nn.Sequential(
            Residual(width, width, 1), Residual(width, 2 * width, 2), Residual(2 * width, 3 * width, 2)
        )
        self.head = nn.Linear(3 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.layers(self.stem(x)).mean((2, 3)))
        return scores


class Residual(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width))
        self.two = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))
        self.skip = nn.Conv2d(before, width, 1, stride) if before != width else nn.Identity()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.act(self.two(self.act(self.one(x))) + self.skip(x))
        return changed


class TinyVGG(nn.Module):
    """Convolutions with biases, max pooling, and two linear layers over what is left of the places."""

    def __init__(self, classes: int = 2, width: int = 16) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_stage(3, width),
            *_stage(width, 2 * width),
            *_stage(2 * width, 2 * width),
            *_stage(2 * width, 2 * width),
        )
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(9 * 2 * width, 32),
            nn.ReLU(),
            nn.Linear(32, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.features(x))
        return scores


def _stage(before: int, width: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, width, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2)
