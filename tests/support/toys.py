"""The toy models of METHODS.md, "Toy models with known answers": small enough to work out by hand."""

import torch
from torch import Tensor, nn


class ML(nn.Module):
    """y = W2·relu(W1·x + b1) + b2, from (m, 3) to (m, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear1, self.relu, self.linear2 = nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)
        _set(self.linear1.weight, torch.ones(4, 3))
        _set(self.linear1.bias, [-10, 1, 1, 1])
        _set(self.linear2.weight, torch.ones(2, 4))
        _set(self.linear2.bias, [-1, 1])

    def forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.relu(self.linear1(x)))


class CN(nn.Module):
    """conv → relu → flatten → linear → relu, from (m, 1, 4, 4) to (m, 4); 54 for every class at `x0()`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu1 = nn.Conv2d(1, 2, 3), nn.ReLU()
        self.linear, self.relu2 = nn.Linear(8, 4, bias=False), nn.ReLU()
        _set(self.conv.weight, torch.ones(2, 1, 3, 3))
        _set(self.conv.bias, [-50, -75])
        _set(self.linear.weight, [[1, 1, 1, 1, 1, -1, -1, -1]] * 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu2(self.linear(self.relu1(self.conv(x)).flatten(1)))

    @staticmethod
    def x0() -> Tensor:
        return torch.arange(16.0).reshape(1, 1, 4, 4)


class B2(nn.Module):
    """relu(relu(x1) − 1 − relu(x2)), from (m, 2) to (m, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        x1, x2 = x[:, :1], x[:, 1:]
        return torch.relu(torch.relu(x1) - 1 - torch.relu(x2))


class B3(nn.Module):
    """relu(relu(x1 − 1) − relu(x2)): the same function as `B2`, written differently."""

    def forward(self, x: Tensor) -> Tensor:
        x1, x2 = x[:, :1], x[:, 1:]
        return torch.relu(torch.relu(x1 - 1) - torch.relu(x2))


class S3(nn.Module):
    """linear(3→3, all 2) → relu → linear(3→1, all 3), no bias."""

    def __init__(self) -> None:
        super().__init__()
        self.linear1, self.relu = nn.Linear(3, 3, bias=False), nn.ReLU()
        self.linear2 = nn.Linear(3, 1, bias=False)
        _set(self.linear1.weight, torch.full((3, 3), 2.0))
        _set(self.linear2.weight, torch.full((1, 3), 3.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.relu(self.linear1(x)))


class MIN(nn.Module):
    """a − relu(a − b), the smaller of the two, from (m, 2) to (m, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = x[:, :1], x[:, 1:]
        return a - torch.relu(a - b)


class SumNet(nn.Module):
    """5·ones(2,2)·x + x: a linear layer with a skip around it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2, bias=False)
        _set(self.linear.weight, torch.full((2, 2), 5.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + x


class Linear(nn.Module):
    """S = w·x + b over a flattened input, (m, …) to (m, 1)."""

    def __init__(self, weight: Tensor, bias: float = 0.0) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.clone()), bias

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight).flatten(1).sum(1, keepdim=True) + self.bias


def _set(parameter: nn.Parameter, values: Tensor | list[int] | list[list[int]]) -> None:
    with torch.no_grad():
        parameter.copy_(torch.as_tensor(values, dtype=parameter.dtype))


class Blind(nn.Module):
    """A module of some of a row's elements."""

    def __init__(self, inner: nn.Module, seen: list[int]):
        super().__init__()
        self.inner, self.seen = inner, seen

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x[:, self.seen])


class Mixture(nn.Module):
    """a f + b g."""

    def __init__(self, f: nn.Module, g: nn.Module, a: float, b: float):
        super().__init__()
        self.f, self.g, self.a, self.b = f, g, a, b

    def forward(self, x: Tensor) -> Tensor:
        return self.a * self.f(x) + self.b * self.g(x)
