"""In which order a forward pass uses a model's parameters."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from underhood.engine.engine import Engine
from underhood.engine.passes import forward


def parameter_order(engine: Engine, example: Tensor) -> tuple[list[str], set[str]]:
    """Parameters in the order of their last use for one input (C, H, W); and those that were not seen.

    Use is what counts, not definition: raw parameters such as a class token have no layer that runs. What is
    not seen (unused, or used inside compiled code) keeps its place after the parameter defined before it.
    """
    with engine.borrowed(engine.form) as module:
        uses = Uses(module)
        with torch.inference_mode(), uses:
            forward(module, engine.form.ready(example[None]), engine.log)
        defined = [name for name, _ in module.named_parameters()]
    place, at = (-1, 0), {}
    for name in defined:
        place = uses.last.get(name, place)
        at[name] = place
    return sorted(defined, key=at.__getitem__), set(defined) - set(uses.last)


class Uses(TorchFunctionMode):
    """Notes when each parameter was last an argument of an operation: the operation, and which argument."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self._names = {id(parameter): name for name, parameter in module.named_parameters()}
        self._count = 0
        self.last: dict[str, tuple[int, int]] = {}

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self._count += 1
        for number, leaf in enumerate(tree_leaves((tuple(args), kwargs or {}))):
            if isinstance(leaf, Tensor) and id(leaf) in self._names:
                self.last[self._names[id(leaf)]] = self._count, number
        return function(*args, **(kwargs or {}))
