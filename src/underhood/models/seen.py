"""Noticing that a module has changed, without reading all its weights."""

import operator
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

CONTAINERS = {dict, OrderedDict, list, set}
SEALED = (bool, int, float, str, tuple, type(None), Tensor, nn.Module, type, FunctionType, *CONTAINERS)
END = object()
SAMPLE = 1024  # values of a tensor, or one in each row where those are more


@dataclass(frozen=True, eq=False)
class Seen:
    """A module's parts as they were, to compare with what they are now.

    Objects are compared by identity (keeping them alive keeps their identity theirs), tensors also by
    address, version, shape and some of their values, since writing through `.data` leaves no other trace.
    """

    owners: tuple[Any, ...]  # of attributes: the module, those inside it, and other objects they hold
    containers: tuple[Any, ...]  # that are attributes: of parameters, hooks, …
    objects: tuple[Any, ...]  # all that these hold, and END
    tensors: tuple[Tensor, ...]
    states: tuple[Any, ...]  # of the tensors
    views: tuple[tuple[Tensor, ...], ...]  # of some of their values, those of a kind together
    sample: tuple[Tensor, ...]  # what those were

    @staticmethod
    def of(module: nn.Module) -> "Seen":
        children = tuple(module.modules())
        attributes = [value for child in children for value in vars(child).values()]
        containers = _of_types(attributes, lambda kind: kind in CONTAINERS)
        others = _of_types(attributes, lambda kind: not issubclass(kind, SEALED))
        owners = (*children, *(value for value in others if hasattr(value, "__dict__")))
        objects = tuple(_held(owners, containers))
        tensors = _of_types(objects, lambda kind: issubclass(kind, Tensor))
        with torch.inference_mode(False), torch.no_grad():
            views = _by_kind(_spread(t) for t in tensors if t.layout is torch.strided and not t.is_quantized)
            states = tuple(map(_state, tensors))
            return Seen(owners, containers, (*objects, END), tensors, states, views, _values(views))

    def unchanged(self) -> bool:
        """Whether the module still is as it was; far cheaper than seeing it anew."""
        now = chain(_held(self.owners, self.containers), (END,))
        return (
            all(map(operator.is_, now, self.objects))
            and tuple(map(_state, self.tensors)) == self.states
            and all(map(torch.equal, _values(self.views), self.sample))
        )


def _held(owners: Sequence[Any], containers: Sequence[Any]) -> Iterable[Any]:
    attributes = chain.from_iterable(vars(owner).values() for owner in owners)
    return chain(attributes, chain.from_iterable(map(_items, filter(None, containers))))


def _items(container: Any) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _of_types(values: Sequence[Any], chosen: Callable[[type], bool]) -> tuple[Any, ...]:
    """Values whose type is chosen; asked once for each type, as there are thousands of values."""
    kinds = {kind for kind in set(map(type, values)) if chosen(kind)}
    return tuple(value for value in values if type(value) in kinds)


def _state(tensor: Tensor) -> tuple[int, int, torch.Size]:
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version, tensor.shape


def _by_kind(views: Iterable[Tensor]) -> tuple[tuple[Tensor, ...], ...]:
    """Joining them takes a third less time where all are of one type, and in one piece or not."""
    kinds: dict[Any, list[Tensor]] = {}
    for view in views:
        kinds.setdefault((view.dtype, view.device, view.is_contiguous()), []).append(view)
    return tuple(map(tuple, kinds.values()))


def _values(views: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
    with torch.inference_mode(False), torch.no_grad():
        return tuple(
            torch.cat([view if view.ndim == 1 else view.flatten() for view in kind]).cpu() for kind in views
        )


def _spread(tensor: Tensor) -> Tensor:
    """A view of values spread over the tensor, where it is in one piece; else of all of it."""
    tensor = tensor.detach()
    if not (tensor.is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last)):
        return tensor
    step = max(1, tensor.numel() // max(SAMPLE, len(tensor) if tensor.ndim else 1))
    return tensor.as_strided((-(-tensor.numel() // step),), (step,))
