"""Three small networks, whose last maps are an eighth of the picture's side, or a fourth with stride 1."""

from collections.abc import Callable

from torch import Tensor, nn

from benchmarks.verdict.nets import Residual


class Plain(nn.Module):
    """Five convolutions with batch normalisation, then an average over all places."""

    def __init__(self, classes: int, stride: int) -> None:
        super().__init__()
        widths, strides = (3, 8, 16, 24, 32, 32), (stride, 2, 2, 1, 1)
        self.features = nn.Sequential(
            *(normalised(*widths[i : i + 2], stride) for i, stride in enumerate(strides))
        )
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.features(x).mean((2, 3)))
        return scores


class ResNet(nn.Module):
    """Three residual blocks after one convolution, then an average over all places."""

    def __init__(self, classes: int, stride: int) -> None:
        super().__init__()
        self.stem = normalised(3, 8, stride)
        self.layers = nn.Sequential(Residual(8, 16, 2), Residual(16, 32, 2), Residual(32, 32, 1))
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.layers(self.stem(x)).mean((2, 3)))
        return scores


class VGG(nn.Module):
    """Biases instead of normalisation, max pooling, and linear layers that know the places."""

    def __init__(self, classes: int, stride: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            seen(3, 8, stride), nn.ReLU(), nn.Conv2d(8, 16, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 24, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(24, 32, 3, 1, 1), nn.ReLU(),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(9 * 32, 32), nn.ReLU(), nn.Linear(32, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.features(x))
        return scores


def normalised(before: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(seen(before, width, stride, bias=False), nn.BatchNorm2d(width), nn.ReLU())


def seen(before: int, width: int, stride: int, *, bias: bool = True) -> nn.Conv2d:
    """A convolution that overlooks no pixel: 3 x 3, or 5 x 5 with stride 4."""
    side = max(3, stride + 1)
    return nn.Conv2d(before, width, side, stride, side // 2, bias=bias)


ARCHITECTURES: dict[str, Callable[[int, int], nn.Module]] = {"cnn": Plain, "resnet": ResNet, "vgg": VGG}
