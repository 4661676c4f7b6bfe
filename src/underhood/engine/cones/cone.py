"""`Cone`, a tensor of which only what changed is held, and the calls of operations that it meets."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as tree

from underhood.engine.cones.inside import inside_boxes
from underhood.engine.cones.patches import Activation, Patch
from underhood.engine.cones.work import Work
from underhood.engine.ops import words

_CONE = object()  # where a cone was among the arguments
UNCHANGED = words("dropout feature_dropout alpha_dropout detach alias lift_fresh")


class CannotFollow(RuntimeError):
    """The network does something that only whole pictures can go through."""


class Original:
    """The activations of the one picture that all variants were made from.

    They are kept as long as each batch of variants asks for them again.
    """

    def __init__(self, picture: Tensor):  # (1, C, H, W)
        self.input = Activation(lambda: picture)
        self.work = Work()
        self._kept: dict[Any, tuple[Activation, Any]] = {}
        self._before = self._kept

    def cone(self, top: Tensor, left: Tensor, crop: Tensor) -> "Cone":
        """Variants whose boxes with these corners (m,) hold `crop` (m, C, h, w)."""
        for activation, _ in self._kept.values():
            activation.forget()
        self._before, self._kept = self._kept, {}
        return Cone(self, Patch(self.input, top, left, crop))

    def activation(self, call: "Call") -> Activation:
        """What an operation on cones of this original makes of the original itself."""
        inputs, constants = [patch.original for patch in call.patches], call.constants
        key = (call.function, call.form, *map(id, inputs), *map(_identity, constants))
        found = self._kept.get(key) or self._before.get(key)
        if found is None:
            again = call.for_others()
            found = Activation(lambda: again([each.picture for each in inputs])), constants
        self._kept[key] = found
        return found[0]

    @property
    def memory(self) -> int:
        """Bytes of what is kept from one batch of variants to the next."""
        for activation, _ in self._kept.values():
            activation.forget()
        return self.input.memory + sum(activation.memory for activation, _ in self._kept.values())


class Cone(torch.Tensor):
    """A batch (m, C, H, W) of which only patches are held, or, once an operation asked for it, all.

    Made in inference mode. What depends on the variants stays a `Cone` to the end, so that it is never
    mistaken for a constant.
    """

    original: Original
    patch: Patch | None
    _whole: Tensor | None

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, original: Original, content: Patch | Tensor) -> "Cone":
        if isinstance(content, Patch):
            _, c, h, w = content.shape
            strides: tuple[int, ...] = (c * h * w, 1, c * w, c)
            like = content.crop
        else:
            strides, like = content.stride(), content
        self = torch.Tensor._make_wrapper_subclass(
            cls, content.shape, strides=strides, dtype=like.dtype, device=like.device
        )
        self.original = original
        self.hold(content)
        return self

    def hold(self, content: Patch | Tensor) -> None:
        self.patch = content if isinstance(content, Patch) else None
        self._whole = None if isinstance(content, Patch) else content

    def whole(self) -> Tensor:
        """All of it, and from now on."""
        if self._whole is None:
            assert self.patch is not None
            picture = self.patch.whole()
            self.original.work.move(picture)
            self.hold(picture)
        assert self._whole is not None
        return self._whole

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Cone({'patches' if self.patch else 'whole'}, shape={tuple(self.shape)})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, _types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        call = Call(function, tuple(args), kwargs or {})
        if all(cone.patch for cone in call.cones):
            if call.name in UNCHANGED and not any(leaf is True for leaf in call.leaves):  # training
                return call.cones[0]
            plain = call.out_of_place()
            patch = inside_boxes(plain) if plain else None
            if patch is not None:
                return call.returned(patch)
        return _on_whole(call)


def whole(value: Tensor) -> Tensor:
    """The tensor, all of it."""
    return value.whole() if isinstance(value, Cone) else value


class Call:
    """One call of an operation."""

    def __init__(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]):
        self.function, self.args, self.kwargs = function, args, kwargs
        self.name: str = function._schema.name.removeprefix("aten::")
        self.leaves, self.form = tree.tree_flatten((args, kwargs))
        self.cones = [leaf for leaf in self.leaves if isinstance(leaf, Cone)]
        self.original = self.cones[0].original

    @property
    def patches(self) -> list[Patch]:
        """Of its cones, in order, where they are not whole."""
        return [cone.patch for cone in self.cones if cone.patch]

    @property
    def constants(self) -> list[Any]:
        """What does not depend on the variants."""
        return [leaf for leaf in self.leaves if not isinstance(leaf, Cone)]

    @property
    def named(self) -> dict[str, Any]:
        """All arguments by name, defaults too."""
        parameters = self.function._schema.arguments
        given = {**dict(zip((p.name for p in parameters), self.args, strict=False)), **self.kwargs}
        return {p.name: given.get(p.name, p.default_value) for p in parameters}

    def out_of_place(self) -> "Call | None":
        """The same without writing into an argument."""
        if not self.function._schema.is_mutable:
            return self
        packet = getattr(torch.ops.aten, self.name.removesuffix("_"), None)
        plain = getattr(packet, self.function._overloadname, None)
        writes = plain is None or not self.name.endswith("_") or self.cones[0] is not self.args[0]
        return None if writes else Call(plain, self.args, self.kwargs)

    def for_others(self) -> Callable[[Iterable[Any]], Any]:
        """The operation on other values in the place of its cones, in order; holds on to no cone."""
        function, form = self.function, self.form
        leaves = [_CONE if isinstance(leaf, Cone) else leaf for leaf in self.leaves]

        def on(values: Iterable[Any]) -> Any:
            others = iter(values)
            args, kwargs = tree.tree_unflatten([next(others) if x is _CONE else x for x in leaves], form)
            return function(*args, **kwargs)

        return on

    def on_original(self) -> Activation:
        return self.original.activation(self)

    def returned(self, patch: Patch) -> Cone:
        if not self.function._schema.is_mutable:
            return Cone(self.original, patch)
        if patch.shape != self.args[0].shape:
            raise CannotFollow(f"'{self.name}' changes a tensor's shape.")
        self.args[0].hold(patch)
        return self.args[0]


def _on_whole(call: Call) -> Any:
    """The operation on whole pictures; what it makes of them is not mistaken for a constant."""
    for argument, value in zip(call.function._schema.arguments, call.args, strict=False):
        written = argument.alias_info is not None and argument.alias_info.is_write
        if written and not isinstance(value, Cone):
            raise CannotFollow(f"'{call.name}' writes into a tensor that is kept.")
    if call.kwargs.get("out") is not None:
        raise CannotFollow(f"'{call.name}' writes into a tensor that is kept.")
    pictures = [cone.whole() for cone in call.cones]
    result = call.for_others()(pictures)
    for cone, picture in zip(call.cones, pictures, strict=True):
        if cone.shape != picture.shape:
            raise CannotFollow(f"'{call.name}' changes a tensor's shape.")
    known = {id(picture): cone for cone, picture in zip(call.cones, pictures, strict=True)}

    def wrapped(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return known[id(value)] if id(value) in known else Cone(call.original, value)

    call.original.work.add_whole(tree.tree_leaves(result), _products(call, pictures))
    return tree.tree_map(wrapped, result)


def _products(call: Call, pictures: Sequence[Tensor]) -> int:
    """Multiplications for each number of the result."""
    if "conv" in call.name:
        return int(call.named["weight"][0].numel())
    if call.name == "linear" or "mm" in call.name or "matmul" in call.name:
        return pictures[0].shape[-1]
    return 0


def _identity(constant: Any) -> Any:
    """What changes when a constant does, as long as it is held."""
    if not isinstance(constant, Tensor):
        return type(constant), constant
    return id(constant), 0 if constant.is_inference() else constant._version
