"""Pictures that differ from an original inside a box, carried through a network at the cost of the box.

What a layer makes of such a picture differs from what it makes of the original inside a box too: wider by
the kernel's reach, smaller by its stride. `Cone` is a batch of them that passes for a tensor (m, C, H, W):
each operation that is known here is computed inside the boxes alone, on what changed and a margin of the
original's activations, which are computed once. Any other operation gets the whole pictures, so that
results are always those of full passes. See docs/decisions/0009-receptive-cones.md.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as tree

from underhood.engine.ops import words

ALL = 0.9  # a box of this share of the picture is all of it
_CONE = object()  # where a cone was among the arguments
TRAFFIC = 30  # multiplications in the time that it takes to read and write one number

# What is done to each place by itself, in the dispatcher's names.
POINTWISE = words(
    """
    add sub rsub mul div neg abs exp log sqrt rsqrt square pow reciprocal relu relu6 hardtanh leaky_relu elu
    celu selu gelu silu mish softplus sigmoid hardsigmoid log_sigmoid tanh hardswish clamp clamp_min clamp_max
    maximum minimum clone
    """
)
# The same, where other tensors than the first hold one number for each channel.
CHANNELWISE = words("batch_norm native_batch_norm cudnn_batch_norm prelu _prelu_kernel")
UNCHANGED = words("dropout feature_dropout alpha_dropout detach alias lift_fresh")


class CannotFollow(RuntimeError):
    """The network does something that only whole pictures can go through."""


@dataclass
class Work:
    """Multiplications, and numbers moved as so many of them: with cones, and without."""

    done: int = 0
    full: int = 0
    sizes: list[int] = field(default_factory=list)  # bytes of each result

    @property
    def gain(self) -> float:
        """How many times quicker the cones are, roughly."""
        return self.full / max(1, self.done)

    def add(self, crop: Tensor, result: "Activation", products: int, moved: int = 0) -> None:
        """A result inside boxes, of so many products for each number, on so many numbers moved."""
        cost = products + TRAFFIC
        self.done += crop.numel() * cost + moved * TRAFFIC
        self.full += len(crop) * result.shape.numel() * cost
        self.sizes.append(max(crop.numel(), moved) * crop.element_size())

    def add_whole(self, results: Iterable[Any], products: int) -> None:
        for result in results:
            if isinstance(result, Tensor):
                self.done += result.numel() * (products + TRAFFIC)
                self.full += result.numel() * (products + TRAFFIC)
                self.sizes.append(result.numel() * result.element_size())

    def move(self, pictures: Tensor) -> None:
        self.done += pictures.numel() * TRAFFIC
        self.sizes.append(pictures.numel() * pictures.element_size())


class Activation:
    """What an operation makes of the original, its places as rows of channels; one more row is padding.

    Forgotten where only the operations that made it asked for it, and made again where one does later.
    """

    def __init__(self, make: Callable[[], Tensor]):  # gives (1, C, H, W)
        self._make, self._asked = make, False
        self._rows: Tensor | None = None
        made = make()
        self.shape = made.shape[1:]
        self.channels, self.height, self.width = self.shape
        self._fill(made)

    @property
    def rows(self) -> Tensor:
        """(H·W + 1, C)."""
        return self._fill(self._make()) if self._rows is None else self._rows

    def _fill(self, made: Tensor) -> Tensor:
        self._rows = made.new_empty(self.height * self.width + 1, self.channels)
        _picture(self._rows[:-1], self.height, self.width).copy_(made)
        return self._rows

    @property
    def picture(self) -> Tensor:
        """(1, C, H, W)."""
        return _picture(self.rows[:-1], self.height, self.width)

    def crops(self, top: Tensor, left: Tensor, height: int, width: int, padding: float) -> Tensor:
        """Boxes with these corners (m,), which may lie across the edges: (m, C, height, width)."""
        self._asked = True
        self.rows[-1] = padding
        y, x = top[:, None] + torch.arange(height), left[:, None] + torch.arange(width)
        inside = (_within(y, self.height)[:, :, None]) & (_within(x, self.width)[:, None, :])
        place = torch.where(inside, (y * self.width)[:, :, None] + x[:, None, :], self.height * self.width)
        return _picture(self.rows.index_select(0, place.flatten().to(self.rows.device)), height, width)

    def forget(self) -> None:
        if not self._asked:
            self._rows = None

    @property
    def memory(self) -> int:
        """Bytes, of what is not forgotten."""
        return 0 if self._rows is None else self._rows.numel() * self._rows.element_size()


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
        inputs = [cone.patch.original for cone in call.cones if cone.patch]
        constants = [leaf for leaf in call.leaves if not isinstance(leaf, Cone)]
        named = map(_identity, constants)
        key = (call.function, call.form, *map(id, inputs), *named)
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


@dataclass(frozen=True)
class Patch:
    """m boxes in one activation, and what they hold instead of it."""

    original: Activation
    top: Tensor  # (m,)
    left: Tensor  # (m,)
    crop: Tensor  # (m, C, h, w)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.crop), *self.original.shape))

    def whole(self) -> Tensor:
        """The pictures, (m, C, H, W)."""
        start = torch.zeros_like(self.top)
        return self.seen_from(start, start, self.original.height, self.original.width)

    def seen_from(self, top: Tensor, left: Tensor, height: int, width: int, padding: float = 0.0) -> Tensor:
        """What other boxes hold, (m, C, height, width), with padding beyond the picture's edges."""
        count, _, h, w = self.crop.shape
        if (h, w) == (height, width) and torch.equal(self.top, top) and torch.equal(self.left, left):
            return self.crop
        found = self.original.crops(top, left, height, width, padding)
        y = (self.top - top)[:, None] + torch.arange(h)  # of the crop, counted from the new box
        x = (self.left - left)[:, None] + torch.arange(w)
        place = (torch.arange(count)[:, None] * height + y)[:, :, None] * width + x[:, None, :]
        inside = _within(y, height)[:, :, None] & _within(x, width)[:, None, :]
        rows, device = _rows(self.crop), self.crop.device
        if not inside.all():
            rows, place = rows[inside.flatten().to(device)], place[inside]
        _rows(found).index_copy_(0, place.flatten().to(device), rows)
        return found


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
            patch = _inside_boxes(call)
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


def _inside_boxes(call: Call) -> Patch | None:
    """The operation on patches; None where it takes whole pictures."""
    plain = call.out_of_place()
    if plain is None:
        return None
    if plain.name in POINTWISE or plain.name in CHANNELWISE or plain.name == "cat":
        return _pointwise(plain) if _keeps_places(plain) else None
    window = _window(plain)
    return _slid(plain, window) if window else None


def _pointwise(call: Call) -> Patch | None:
    """One number in, one number out, in the box around all that changed."""
    patches = [cone.patch for cone in call.cones if cone.patch]
    top, height = _around([(p.top, p.crop.shape[2]) for p in patches], patches[0].original.height)
    left, width = _around([(p.left, p.crop.shape[3]) for p in patches], patches[0].original.width)
    if _is_all(height, width, patches[0].original):
        return None
    crop = call.for_others()([patch.seen_from(top, left, height, width) for patch in patches])
    result = call.on_original()
    call.original.work.add(crop, result, 0)
    return Patch(result, top, left, crop)


def _slid(call: Call, window: "Window") -> Patch | None:
    """A window that slides over the picture: a convolution or a pooling."""
    result = call.on_original()
    patch = call.cones[0].patch
    assert patch is not None
    vertical, horizontal = window.axes
    top, height = vertical.reached(patch.top, patch.crop.shape[2], result.height)
    left, width = horizontal.reached(patch.left, patch.crop.shape[3], result.width)
    if _is_all(height, width, result):
        return None
    seen = patch.seen_from(
        vertical.origin(top), horizontal.origin(left), vertical.extent(height), horizontal.extent(width),
        window.beyond,
    )  # fmt: skip
    others = dict(list(call.named.items())[1:])
    crop = call.function(seen, **{**others, **window.unpadded})
    call.original.work.add(crop, result, window.products, moved=seen.numel())
    return Patch(result, top, left, crop)


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


@dataclass(frozen=True)
class Axis:
    """How a window slides along one axis."""

    size: int
    stride: int
    padding: int
    dilation: int

    def reached(self, start: Tensor, length: int, limit: int) -> tuple[Tensor, int]:
        """Starts and common length of the results, of `limit`, that see a place from `start` (m,) on."""
        low = -((self.dilation * (self.size - 1) - self.padding - start) // self.stride)
        high = (start + length - 1 + self.padding) // self.stride
        return _common(low, high + 1, limit)

    def origin(self, start: Tensor) -> Tensor:
        """The first place that results from `start` on see."""
        return start * self.stride - self.padding

    def extent(self, length: int) -> int:
        """How many places so many results see."""
        return (length - 1) * self.stride + self.dilation * (self.size - 1) + 1


@dataclass(frozen=True)
class Window:
    axes: tuple[Axis, Axis]
    beyond: float  # what lies beyond the edges
    products: int  # for each result
    unpadded: dict[str, Any]  # arguments for a picture that has its padding


def _window(call: Call) -> Window | None:
    """The window of a convolution or a pooling; None where its edges take more than padding."""
    if call.name in ("conv2d", "convolution"):
        return _convolution(call.named)
    if call.name == "max_pool2d":
        return _pool(call.named, -torch.inf)
    if call.name == "avg_pool2d":
        return _pool(call.named, 0.0) if _divides_by_its_size(call) else None
    return None


def _convolution(named: dict[str, Any]) -> Window | None:
    weight, padding = named["weight"], named["padding"]
    if isinstance(weight, Cone) or weight.ndim != 4 or named.get("transposed"):
        return None
    size, stride, dilation = weight.shape[2:], _pair(named["stride"]), _pair(named["dilation"])
    around = [d * (k - 1) for d, k in zip(dilation, size, strict=True)]
    if isinstance(padding, str):
        if padding == "same" and any(length % 2 for length in around):
            return None
        pads = tuple(length // 2 if padding == "same" else 0 for length in around)
        unpadded: dict[str, Any] = {"padding": "valid"}
    else:
        pads, unpadded = _pair(padding), {"padding": [0, 0]}
    vertical, horizontal = (Axis(*along) for along in zip(size, stride, pads, dilation, strict=True))
    return Window((vertical, horizontal), 0.0, weight[0].numel(), unpadded)


def _pool(named: dict[str, Any], beyond: float) -> Window:
    size = _pair(named["kernel_size"])
    stride, padding = _pair(named["stride"] or size), _pair(named["padding"])
    dilation = _pair(named.get("dilation", 1))
    vertical, horizontal = (Axis(*along) for along in zip(size, stride, padding, dilation, strict=True))
    return Window((vertical, horizontal), beyond, size[0] * size[1], {"padding": [0, 0], "ceil_mode": False})


def _divides_by_its_size(call: Call) -> bool:
    """Whether a mean is over the whole window, padding included, at the edges too."""
    named = call.named
    size, padding = _pair(named["kernel_size"]), _pair(named["padding"])
    stride = _pair(named["stride"] or size)
    sides = zip(call.cones[0].shape[2:], size, stride, padding, strict=True)
    complete = all((length + 2 * p - k) % s == 0 for length, k, s, p in sides)
    return (not any(padding) or named["count_include_pad"]) and (complete or not named["ceil_mode"])


def _keeps_places(call: Call) -> bool:
    """Whether an operation is the same at every place of every variant."""
    if call.name == "cat":
        along = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim", 0)
        return along in (1, -3) and len(call.args[0]) == len(call.cones)
    if len({cone.shape for cone in call.cones}) > 1:
        return False
    if call.name in CHANNELWISE:
        return not call.named.get("training") and len(call.cones) == 1
    others = [leaf for leaf in call.leaves if isinstance(leaf, Tensor) and not isinstance(leaf, Cone)]
    return all(other.numel() == 1 or _is_of_channels(other) for other in others) and "out" not in call.kwargs


def _is_of_channels(constant: Tensor) -> bool:
    return constant.ndim in (3, 4) and constant.shape[-2:] == (1, 1) and constant.shape[:-3].numel() == 1


def _around(spans: Sequence[tuple[Tensor, int]], limit: int) -> tuple[Tensor, int]:
    """Starts and the common length of spans that hold all of these spans (start (m,), length)."""
    if len(spans) == 1:
        return spans[0]
    low = torch.stack([start for start, _ in spans]).amin(0)
    high = torch.stack([start + length for start, length in spans]).amax(0)
    return _common(low, high, limit)


def _common(low: Tensor, high: Tensor, limit: int) -> tuple[Tensor, int]:
    """Starts and the common length of spans in 0…limit - 1 that hold low…high - 1, (m,) each."""
    low, high = low.clamp(0, limit - 1), high.clamp(1, limit)
    length = max(1, int((high - low).max()))
    return low.clamp(max=limit - length), length


def _is_all(height: int, width: int, of: Activation) -> bool:
    return height * width >= ALL * of.height * of.width


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


def _within(place: Tensor, length: int) -> Tensor:
    return (place >= 0) & (place < length)


def _rows(pictures: Tensor) -> Tensor:
    """(m, C, h, w) as (m·h·w, C); a view of pictures that are channels-last."""
    return pictures.permute(0, 2, 3, 1).reshape(-1, pictures.shape[1])


def _picture(rows: Tensor, height: int, width: int) -> Tensor:
    """(m·h·w, C) as (m, C, h, w), channels-last."""
    return rows.view(-1, height, width, rows.shape[1]).permute(0, 3, 1, 2)


def _pair(value: Any) -> tuple[int, int]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * 2 if len(values) == 1 else values
