"""Operations on cones that are computed inside the boxes alone."""

from typing import TYPE_CHECKING

from torch import Tensor

from underhood.engine.cones.patches import Activation, Patch, around
from underhood.engine.cones.windows import Window, window_of
from underhood.engine.ops import words

if TYPE_CHECKING:
    from underhood.engine.cones.cone import Call

ALL = 0.9  # a box of this share of the picture is all of it

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


def inside_boxes(call: "Call") -> Patch | None:
    """What an operation makes of patches; None where it takes whole pictures."""
    if call.name in POINTWISE or call.name in CHANNELWISE or call.name == "cat":
        return _pointwise(call) if _keeps_places(call) else None
    if call.leaves[0] is not call.cones[0] or len(call.cones) > 1:  # a kernel that depends on the variants
        return None
    window = window_of(call.name, call.named, call.cones[0].shape)
    return _slid(call, window) if window else None


def _pointwise(call: "Call") -> Patch | None:
    """One number in, one number out, in the box around all that changed."""
    patches = call.patches
    top, height = around([(p.top, p.crop.shape[2]) for p in patches], patches[0].original.height)
    left, width = around([(p.left, p.crop.shape[3]) for p in patches], patches[0].original.width)
    if _is_all(height, width, patches[0].original):
        return None
    crop = call.for_others()([patch.seen_from(top, left, height, width) for patch in patches])
    result = call.on_original()
    call.original.work.add(crop, result.shape, 0)
    return Patch(result, top, left, crop)


def _slid(call: "Call", window: Window) -> Patch | None:
    """A window that slides over the picture: a convolution or a pooling."""
    result = call.on_original()
    [patch] = call.patches
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
    call.original.work.add(crop, result.shape, window.products, moved=seen.numel())
    return Patch(result, top, left, crop)


def _keeps_places(call: "Call") -> bool:
    """Whether an operation is the same at every place of every variant."""
    if call.name == "cat":
        along = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim", 0)
        return along in (1, -3) and len(call.args[0]) == len(call.cones)
    if len({cone.shape for cone in call.cones}) > 1:
        return False
    if call.name in CHANNELWISE:
        return not call.named.get("training") and len(call.cones) == 1
    others = [leaf for leaf in call.constants if isinstance(leaf, Tensor)]
    return all(other.numel() == 1 or _is_of_channels(other) for other in others) and "out" not in call.kwargs


def _is_of_channels(constant: Tensor) -> bool:
    return constant.ndim in (3, 4) and constant.shape[-2:] == (1, 1) and constant.shape[:-3].numel() == 1


def _is_all(height: int, width: int, of: Activation) -> bool:
    return height * width >= ALL * of.height * of.width
