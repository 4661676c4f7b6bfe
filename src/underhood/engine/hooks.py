"""Reading and cutting a network at named layers, on a stand-in."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from underhood.errors import BadModel, InvalidArgument
from underhood.models.layers import find_layer, first_tensor, split_call


class StopForward(Exception):
    """Ends a forward pass once every layer asked for has run."""


@dataclass
class Taps:
    """The outputs of named layers during one forward pass.

    With `graph`, an output that no graph leads to yet becomes a leaf, and from there on autograd is switched
    on, and that context entered: below the first layer nothing is recorded.
    """

    layers: Sequence[str]
    graph: AbstractContextManager[Any] | None = None
    stop_after: bool = False
    outputs: dict[str, list[Tensor]] = field(default_factory=dict)
    _open: ExitStack = field(default_factory=ExitStack, init=False)
    _recording: bool = field(default=False, init=False)

    @contextmanager
    def on(self, module: nn.Module) -> Iterator[None]:
        with self._open as handles:
            for base in dict.fromkeys(split_call(name)[0] for name in self.layers):
                hook = find_layer(module, base).register_forward_hook(self._hook(base))
                handles.callback(hook.remove)
            yield

    def record(self) -> None:
        """From here on there is a graph."""
        torch.set_grad_enabled(True)  # the caller's context restores it
        if self.graph is not None and not self._recording:
            self._recording = True
            self._open.enter_context(self.graph)

    def _hook(self, base: str) -> Callable[[nn.Module, Any, Any], Any]:
        def read(_module: nn.Module, _args: Any, output: Any) -> Any:
            tensor = first_tensor(output)
            if tensor is None:
                raise InvalidArgument(
                    f"Layer '{base}' gives {type(output).__name__}, not a tensor; choose another."
                )
            kept = self._cut(tensor)
            self.outputs.setdefault(base, []).append(kept)
            if self.stop_after and self._complete():
                raise StopForward
            # The copy keeps what was read safe from in-place operations further on.
            return replaced(output, tensor, kept.clone())

        return read

    def _cut(self, tensor: Tensor) -> Tensor:
        if self.graph is None:
            return tensor.clone()
        self.record()
        return tensor if tensor.requires_grad else tensor.detach().requires_grad_()

    def _complete(self) -> bool:
        """Every layer has run; one named without '#' may run again, so only '#' names end early."""
        wanted = [split_call(name) for name in self.layers]
        return all(call is not None and len(self.outputs.get(b, ())) >= call for b, call in wanted)

    def __getitem__(self, name: str) -> Tensor:
        base, call = split_call(name)
        runs = self.outputs.get(base, [])
        if not runs:
            raise InvalidArgument(f"Layer '{base}' did not run in this forward pass.")
        if call is None and len(runs) > 1:
            raise InvalidArgument(
                f"Layer '{base}' runs {len(runs)} times in a forward pass; name one of the runs, "
                f"'{base}#1' to '{base}#{len(runs)}'."
            )
        if call is not None and call > len(runs):
            raise InvalidArgument(f"Layer '{base}' runs only {len(runs)} times, not {call}.")
        return runs[(call or 1) - 1]


def replaced(output: Any, tensor: Tensor, by: Tensor) -> Any:
    if isinstance(output, Tensor):
        return by
    items = [by if item is tensor else item for item in output]
    if hasattr(output, "_fields"):  # a named tuple
        return type(output)(*items)
    if isinstance(output, tuple | list):
        return type(output)(items)
    raise BadModel(f"Cannot replace an output of type {type(output).__name__}.")
