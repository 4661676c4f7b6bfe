"""Networks with several inputs, as networks of one."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from underhood.errors import InvalidArgument


class Joined(nn.Module):
    """A network of several inputs as one that takes them end to end, in a single row.

    >>> net = Joined(network, shapes=[(3, 32, 32), (8,)])
    >>> rows = net.join(pictures, columns)  # (B, 3 · 32 · 32 + 8)
    >>> explanation = IntegratedGradients()(net, rows[0], "dog")
    >>> to_picture, to_columns = net.split(explanation.values)

    Every input gets its own attribution, and baselines, noise and batches apply to all of them alike. An
    input that is not explained can be fixed instead, by a module that holds it.
    """

    def __init__(self, module: nn.Module, shapes: Sequence[Sequence[int]]):
        super().__init__()
        self.module, self.shapes = module, tuple(tuple(shape) for shape in shapes)
        if not self.shapes:
            raise InvalidArgument("Joined needs the shape of each input, without the batch's dimension.")

    def forward(self, rows: Tensor) -> object:
        return self.module(*self.split(rows))

    def join(self, *inputs: Tensor) -> Tensor:
        """Inputs (B, …) as rows (B, F)."""
        shapes = tuple(tuple(x.shape[1:]) for x in inputs)
        if shapes != self.shapes:
            raise InvalidArgument(f"The inputs have the shapes {shapes}, not {self.shapes}.")
        return torch.cat([x.flatten(1) for x in inputs], 1)

    def split(self, rows: object) -> tuple[Tensor, ...]:
        """Rows (…, F), such as an explanation's values, back as the inputs."""
        rows = rows if isinstance(rows, Tensor) else torch.as_tensor(rows)
        sizes = [prod(shape) for shape in self.shapes]
        if rows.shape[-1] != sum(sizes):
            raise InvalidArgument(f"A row has {rows.shape[-1]} values, the inputs {sum(sizes)}.")
        parts = rows.split(sizes, -1)
        return tuple(part.unflatten(-1, shape) for part, shape in zip(parts, self.shapes, strict=True))
