"""Rules for a modified backward pass, seeing every operation of a network, functional ones among them.

See docs/decisions/0010-seeing-operations.md.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as tree

from underhood.engine.decompose import DECOMPOSED
from underhood.engine.ops import Op, name_of, out_of_place, tensors_in, words
from underhood.errors import NotDifferentiable
from underhood.models.layers import first_tensor


class Rules(Protocol):
    """What each operation does on the way back.

    memory:  how many times the memory of a plain backward pass they take.
    fresh:   these rules for one forward and backward pass, free to remember things of it.
    recorder: rules for a pass over the reference inputs that goes before; None where there is no such pass.
    apply:   the operation's result, with the backward pass that the rules want; `op()` is the plain one,
             with its gradient.
    seed:    what the backward pass starts with, from the values that the target reads (m, …) and the
             target's gradient by them.
    """

    memory: float

    def fresh(self) -> "Rules": ...

    def recorder(self) -> "Rules | None": ...

    def apply(self, op: Op) -> Any: ...

    def seed(self, values: Tensor, gradient: Tensor) -> Tensor: ...


class PlainRules:
    """Every operation with its own gradient: to be refined."""

    memory = 1.0

    def fresh(self) -> Rules:
        return self

    def recorder(self) -> Rules | None:
        return None

    def apply(self, op: Op) -> Any:
        return op()

    def seed(self, values: Tensor, gradient: Tensor) -> Tensor:  # noqa: ARG002
        return gradient


class Interceptor(TorchFunctionMode):
    """Hands every operation on tensors that depend on the network's input to rules.

    An operation that cannot be seen (inside compiled code or a custom autograd function) is an error.
    """

    def __init__(self, rules: Rules):
        super().__init__()
        self._rules = rules
        self._made_by: dict[int, tuple[weakref.ref[Tensor], int]] = {}  # id of a tensor → who made it
        self._count = 0
        self._running: list[str] = []  # names of the layers that are running, outermost first
        self._written: dict[int, tuple[weakref.ref[Tensor], Tensor]] = {}  # id → what it would hold by now
        self._viewed: dict[int, weakref.ref[Tensor]] = {}  # tensors that others are views of
        self._last_use: dict[int, int] = {}  # of an operation's result: the last operation that takes it
        self._ends: dict[str, int] = {}  # of a layer: the operation that made its output
        self._summed: tuple[Tensor, Tensor] | None = None  # what came back last, and its sum
        self.totals: dict[str, Tensor] = {}  # what came back to each layer's output, summed, (m,)

    @contextmanager
    def on(self, module: nn.Module, leaf: Tensor) -> Iterator[None]:
        """While `module` runs on `leaf`."""
        for name, child in module.named_modules():
            if isinstance(child, torch.jit.ScriptModule):
                raise NotDifferentiable(
                    f"Layer '{name}' is compiled by TorchScript, which hides its operations; give the model "
                    "as Python code, or use a method that needs no rules, such as integrated gradients."
                )
        self._note(leaf, -1)
        handles = []
        for name, child in module.named_modules():
            handles.append(child.register_forward_pre_hook(self._enter(name)))
            handles.append(child.register_forward_hook(self._leave(len(leaf)), always_call=True))
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not torch.is_grad_enabled():
            return function(*args, **kwargs)
        name = name_of(function)
        if name in _QUESTIONS and name != "requires_grad_" and not self._written:
            return function(*args, **kwargs)  # most are these, and looking through arguments takes time
        leaves, form = tree.tree_flatten((tuple(args), kwargs))
        if self._written:
            leaves = [self._now(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            args, kwargs = tree.tree_unflatten(leaves, form)
        places = tuple(i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.requires_grad)
        if name == "requires_grad_":  # a layer that was cut: gradients are wanted from here on
            self._note(args[0], -1)
        if not places or name in _QUESTIONS:
            return function(*args, **kwargs)
        if name in _NATIVE:  # autograd itself follows values written into a part of a tensor
            self._use(leaves[i] for i in places)
            result = function(*args, **kwargs)
            self._note(args[0], self._next())
            return result
        if kwargs.get("out") is not None:
            raise NotDifferentiable(
                f"The model writes the result of '{name}' into out=, which has no gradient."
            )
        if name.endswith("_") or kwargs.get("inplace"):
            return self._in_place(name, function, args, kwargs)
        if name in DECOMPOSED:
            with self:
                return DECOMPOSED[name](*args, **kwargs)
        inputs = tuple(leaves[i] for i in places)
        sources = tuple(self._source(tensor, name) for tensor in inputs)
        self._use(inputs)
        op = Op(name, self._layer, self._count, inputs, sources, function, tuple(leaves), places, form)
        result = self._rules.apply(op)
        made = [tensor for tensor in tensors_in(result) if tensor.requires_grad]
        if made:
            index = self._next()
            for tensor in made:
                self._note(tensor, index)
                if (base := tensor._base) is not None:
                    self._viewed[id(base)] = weakref.ref(base)
        return result

    def _in_place(
        self, name: str, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Tensor:
        """The operation out of place: rules may keep what they were given.

        Nothing is written: what takes the target later is given the result. Where other tensors may share its
        memory, it is done on a copy and written back.
        """
        target, *others = args
        plain = function if "inplace" in kwargs else out_of_place(name)
        if plain is None:
            raise NotDifferentiable(f"The model's operation '{name}' is not known here.")
        kwargs = {**kwargs, "inplace": False} if "inplace" in kwargs else kwargs
        if target.requires_grad and not target._is_view() and not self._is_viewed(target):
            with self:
                result: Tensor = plain(target, *others, **kwargs)
            if result is not target:
                key = id(target)
                self._written[key] = (weakref.ref(target, lambda _: self._written.pop(key, None)), result)
            return result
        with self:
            copy = target.clone()
            result = plain(copy, *others, **kwargs)
        if result is copy:  # as dropout gives what it was given
            return target
        self._use([result])
        target.copy_(result)
        self._note(target, self._next())
        return target

    def _now(self, tensor: Tensor) -> Tensor:
        """The tensor, or what it holds after an operation in place that was done out of place."""
        while (entry := self._written.get(id(tensor))) and entry[0]() is tensor:
            tensor = entry[1]
        return tensor

    def _is_viewed(self, tensor: Tensor) -> bool:
        known = self._viewed.get(id(tensor))
        return known is not None and known() is tensor

    def _use(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            self._last_use[self._made_by.get(id(tensor), (None, -1))[1]] = self._count

    @property
    def path(self) -> tuple[str, ...]:
        """The layers whose output is all that later operations depend on, in order."""
        latest, on_path = -1, set()
        for index in range(self._count):
            latest = max(latest, self._last_use.get(index - 1, -1))
            if latest <= index:
                on_path.add(index)
        names = [name for name, index in self._ends.items() if index in on_path]
        return tuple(sorted(names, key=lambda name: self._ends[name]))

    @property
    def _layer(self) -> str:
        return self._running[-1] if self._running else ""

    def _next(self) -> int:
        self._count += 1
        return self._count - 1

    def _note(self, tensor: Tensor, index: int) -> None:
        self._made_by[id(tensor)] = (weakref.ref(tensor), index)

    def _source(self, tensor: Tensor, name: str) -> int:
        reference, index = self._made_by.get(id(tensor), (None, 0))
        if reference is None or reference() is not tensor:
            raise NotDifferentiable(
                f"Before '{name}' in layer '{self._layer or 'the model itself'}' the model runs an "
                "operation that cannot be seen (a custom autograd function or compiled code), so its rule is "
                "not known; use a method that needs none, such as integrated gradients."
            )
        return index

    def _enter(self, name: str) -> Callable[..., None]:
        def enter(_module: nn.Module, _args: Any) -> None:
            self._running.append(name)

        return enter

    def _leave(self, inputs: int) -> Callable[..., Any]:
        def leave(_module: nn.Module, _args: Any, output: Any) -> Any:
            name = self._running.pop() if self._running else ""
            tensor = first_tensor(output)
            if tensor is None:
                return None
            tensor = self._now(tensor)
            if name and tensor.requires_grad and tensor.ndim and len(tensor) % inputs == 0:
                self._ends[name] = self._made_by.get(id(tensor), (None, -1))[1]
                tensor.register_hook(self._total(name, inputs))
            return tensor if isinstance(output, Tensor) else None

        return leave

    def _total(self, name: str, inputs: int) -> Callable[[Tensor | None], None]:
        def add_up(gradient: Tensor | None) -> None:
            if gradient is None:  # rules may let nothing come back
                return
            if self._summed is None or self._summed[0] is not gradient:  # nested layers share theirs
                found = gradient.detach().unflatten(0, (inputs, -1)).sum(list(range(1, gradient.ndim + 1)))
                self._summed = gradient, found.float().cpu()
            self.totals[name] = self.totals.get(name, 0) + self._summed[1]

        return add_up


_QUESTIONS = words(
    """
    shape size dim ndim dtype device is_nested requires_grad grad_fn is_leaf numel stride layout
    is_cuda is_floating_point is_contiguous data_ptr storage_offset element_size item tolist
    register_hook requires_grad_ retain_grad_ names is_complex is_sparse is_quantized is_meta is_mps
    is_xpu retain_grad detach data storage untyped_storage backward grad version is_inference
    has_names len hash repr format bool
    """
)
_NATIVE = frozenset(
    {"setitem", "copy_", "fill_", "zero_", "index_copy_", "masked_scatter_", "scatter_", "detach_"}
)
