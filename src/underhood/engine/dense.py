"""Dense layers on rows that differ from a known one in few columns.

    W x + b = (W x' + b) + W (x - x'),

where W needs only the columns in which x and x' differ. A channel set to 0 changes its h·w columns of a
flattened map alone: of VGG-16's first dense layer 49 in 25,088.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

ROWS = 16  # at once: their columns are taken from the first to the last that changes
FEW = 0.5  # of the columns


@dataclass(frozen=True)
class Known:
    """What a dense layer was given and gave for one input."""

    weight: Tensor  # (O, F)
    given: Tensor  # (…, F)
    gave: Tensor  # (…, O)


class Noting(TorchFunctionMode):
    """Within, notes what dense layers are given and give for the first input, in the order of their calls."""

    def __init__(self) -> None:
        super().__init__()
        self.known: list[Known] = []

    def __torch_function__(
        self, function: Any, _types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is F.linear:
            x, weight, _ = _arguments(*args, **(kwargs or {}))
            self.known.append(Known(weight, x[0].clone(), result[0].clone()))
        return result


class FewColumns(TorchFunctionMode):
    """Within, one pass whose dense layers multiply only the columns that differ from what is known."""

    def __init__(self, known: Sequence[Known]):
        super().__init__()
        self._left = iter(known)

    def __torch_function__(
        self, function: Any, _types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function is F.linear:
            return _linear(next(self._left, None), *_arguments(*args, **(kwargs or {})))
        return function(*args, **(kwargs or {}))


def _arguments(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    return input, weight, bias


def _linear(known: Known | None, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x: (m, …, F)."""
    if known is None or weight is not known.weight or x.shape[1:] != known.given.shape:
        return F.linear(x, weight, bias)
    first, last = _changed(x[:ROWS] - known.given)
    if last - first > FEW * x.shape[-1]:
        return F.linear(x, weight, bias)
    y = known.gave.expand(len(x), *known.gave.shape).clone()
    for rows, results in zip(x.split(ROWS), y.split(ROWS), strict=True):
        change = rows - known.given
        first, last = _changed(change)
        if last:
            results.add_(F.linear(change[..., first:last], weight[:, first:last]))
    return y


def _changed(change: Tensor) -> tuple[int, int]:
    """From which column on, and before which, (m, …, F) is not 0 throughout; 0, 0 where it is."""
    columns = change.flatten(0, -2).any(0).nonzero()
    return (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, 0)
