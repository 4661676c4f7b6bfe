"""The operations that networks are made of, each under one name, however it was written.

`x + y`, `x += y` and `torch.add(x, y)` are all "add"; `F.relu(x, inplace=True)` and `x.relu_()` are "relu".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils import _pytree as tree


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Elements are moved, copied or dropped, never changed: what comes back goes to where each came from.
MOVES = words(
    """
    alias broadcast_to cat chunk clone concat concatenate contiguous copy_ diagonal double dropout
    dropout1d dropout2d dropout3d alpha_dropout feature_dropout expand expand_as flatten flip float
    gather getitem hsplit hstack index_select masked_fill masked_select mH moveaxis movedim mT
    narrow narrow_copy native_channel_shuffle channel_shuffle pad permute pixel_shuffle
    pixel_unshuffle repeat repeat_interleave requires_grad_ reshape reshape_as roll rot90 select
    setitem split split_with_sizes squeeze stack swapaxes swapdims t T H take take_along_dim
    tensor_split tile to transpose tril triu type type_as unbind unflatten unfold unsqueeze view
    view_as vsplit vstack where
    """
)
SUMS = frozenset({"add", "sub"})
CONVOLUTIONS = frozenset(f"conv{kind}{d}d" for d in (1, 2, 3) for kind in ("", "_transpose"))
POOLS = frozenset(f"{kind}avg_pool{d}d" for d in (1, 2, 3) for kind in ("", "adaptive_"))
# Linear in the input, given the weights (batch_norm: networks run in evaluation mode).
LINEAR = CONVOLUTIONS | POOLS | {"linear", "batch_norm", "mean", "sum", "interpolate", "fold", "cumsum"}
PRODUCTS = frozenset({"mul", "div", "matmul", "einsum", "baddbmm", "addmm"})
# One number in, one number out.
POINTWISE = words(
    """
    relu relu6 leaky_relu prelu rrelu elu celu selu gelu silu mish softplus softsign sigmoid
    hardsigmoid logsigmoid tanh hardtanh hardswish tanhshrink softshrink hardshrink threshold clamp
    clamp_min clamp_max exp expm1 log log1p log2 sqrt rsqrt square pow abs erf sin cos reciprocal
    neg
    """
)
NORMALISATIONS = frozenset({"layer_norm", "group_norm", "instance_norm", "rms_norm", "normalize"})
MAXIMA = frozenset({f"{kind}max_pool{d}d" for d in (1, 2, 3) for kind in ("", "adaptive_")} | {"amax", "max"})

_ALIASES = {
    "__radd__": "add", "__rsub__": "rsub", "__rmul__": "mul", "__truediv__": "div", "__rtruediv__": "rdiv",
    "true_divide": "div", "divide": "div", "multiply": "mul", "subtract": "sub", "__rdiv__": "rdiv",
    "__matmul__": "matmul", "__rmatmul__": "rmatmul", "mm": "matmul", "bmm": "matmul", "mv": "matmul",
    "__rpow__": "rpow", "negative": "neg", "clip": "clamp", "_softmax": "softmax",
    "swish": "silu", "upsample": "interpolate", "arctan": "atan", "special_softmax": "softmax",
}  # fmt: skip


@dataclass(frozen=True)
class Op:
    """One operation of one forward pass.

    name:    as in the sets above, or torch's own where it is in none.
    layer:   dotted name of the layer it runs in, "" for the model itself.
    index:   its number among the operations of the pass.
    inputs:  the tensors that depend on the network's input, in order; weights and constants are no inputs.
    sources: for each of them, the index of the operation that made it, -1 for the network's input.
    """

    name: str
    layer: str
    index: int
    inputs: tuple[Tensor, ...]
    sources: tuple[int, ...]
    function: Callable[..., Any]
    leaves: tuple[Any, ...]  # all arguments, flat
    places: tuple[int, ...]  # of the inputs among the leaves
    form: tree.TreeSpec

    def __call__(self, *inputs: Tensor) -> Any:
        """The operation on its own inputs, or on others in their place."""
        args, kwargs = self.arguments(*inputs)
        return self.function(*args, **kwargs)

    def arguments(self, *inputs: Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
        leaves = list(self.leaves)
        for place, tensor in zip(self.places, inputs, strict=False):
            leaves[place] = tensor
        args, kwargs = tree.tree_unflatten(leaves, self.form)
        return args, kwargs

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """One of its arguments, wherever it was given."""
        args, kwargs = self.arguments()
        return args[place] if len(args) > place else kwargs.get(name, default)

    def named(self, *order: str) -> dict[str, Any]:
        """The arguments that were given, by name; those without one come in this order."""
        args, kwargs = self.arguments()
        return dict(zip(order, args, strict=False)) | kwargs

    def with_weight(self, change: Callable[[Tensor], Tensor]) -> "Op":
        """The same with another weight, and without a bias."""
        places = [
            i for i, leaf in enumerate(self.leaves) if isinstance(leaf, Tensor) and i not in self.places
        ]
        changed = dict.fromkeys(places) | {places[0]: change(self.leaves[places[0]])}
        return replace(self, leaves=tuple(changed.get(i, leaf) for i, leaf in enumerate(self.leaves)))


def name_of(function: Callable[..., Any]) -> str:
    """The operation's own name; in-place ones end in an underscore."""
    name = getattr(function, "__name__", type(function).__name__)
    if name == "__get__":  # a property such as x.T
        return str(getattr(function.__self__, "__name__", name))  # type: ignore[attr-defined]
    if name in _ALIASES:
        return _ALIASES[name]
    if name.startswith("__i") and name.endswith("__") and name not in ("__invert__", "__index__", "__int__"):
        return name[3:-2] + "_"
    name = name.strip("_") + ("_" if name.endswith("_") and not name.startswith("__") else "")
    return _ALIASES.get(name, name)


def out_of_place(name: str) -> Callable[..., Any] | None:
    """What "relu_" does, without writing into its input."""
    for home in (torch.Tensor, torch, F):
        if found := getattr(home, name.removesuffix("_"), None):
            return found
    return None


def tensors_in(value: Any) -> Sequence[Tensor]:
    return [leaf for leaf in tree.tree_leaves(value) if isinstance(leaf, Tensor)]
