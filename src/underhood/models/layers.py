"""Named layers: looking one up, choosing one for Grad-CAM, reading a layer's output as a grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from underhood.errors import BadModel, InvalidArgument, UnknownName

Kind = Literal["map", "map (channels last)", "tokens", "vector", "other"]


@dataclass(frozen=True)
class LayerRecord:
    """What one layer gave in a forward pass over a single input."""

    name: str
    type: str
    shape: tuple[int, ...]
    kind: Kind
    output: int  # number of the output tensor; layers that hand on the same tensor share it
    calls: int = 1
    bare: bool = True  # a tensor, rather than one inside a tuple, where it may not be what is read later


@dataclass(frozen=True)
class DefaultLayer:
    name: str
    reason: str


def named_layers(module: nn.Module) -> dict[str, nn.Module]:
    """Dotted name → module, in the order of definition, without the model itself."""
    return {name: child for name, child in module.named_modules() if name}


def split_call(name: str) -> tuple[str, int | None]:
    """ "relu#2" is the second run of layer "relu" in a forward pass → ("relu", 2)."""
    base, mark, call = name.rpartition("#")
    if not mark:
        return name, None
    if not call.isdigit() or call == "0":
        raise InvalidArgument(f"'{name}': after '#' comes which run of the layer, from 1 on.")
    return base, int(call)


def find_layer(module: nn.Module, name: str) -> nn.Module:
    """The layer of that dotted name; otherwise an error that offers the nearest names."""
    base, _ = split_call(name)
    try:
        return module.get_submodule(base or "?")  # the module itself, "", is no layer
    except AttributeError:
        raise UnknownName("layer", base, named_layers(module)) from None


def kind_of(output: object, input_shape: Sequence[int]) -> Kind:
    """How a layer's output is laid out, judged by its shape and the input's proportions."""
    if not isinstance(output, Tensor):
        return "other"
    if output.ndim == 4 and len(input_shape) == 4:
        *_, height, width = input_shape
        return (
            "map"
            if _fits(output.shape[2:], height, width) or not _fits(output.shape[1:3], height, width)
            else "map (channels last)"
        )
    if output.ndim == 3 and len(input_shape) == 4:
        return "tokens"
    return "vector" if output.ndim == 2 else "other"


def _fits(grid: Sequence[int], height: int, width: int) -> bool:
    """Whether a grid can be the input, reduced alike in both directions (up to rounding)."""
    h, w = grid
    return abs(h - w * height / width) <= 1 and h <= height and w <= width


def default_layer(trace: Sequence[LayerRecord]) -> DefaultLayer:
    """The layer Grad-CAM looks at unless told otherwise.

    Convolutional networks: the last spatial map before pooling. Token networks: the normalisation
    before the last attention; after it, where only a class token is read out, patch tokens no longer
    reach the score and their gradient is zero.
    """
    pooled = {r.output for r in trace if "pool" in r.type.lower()}
    inside = tuple(trace[i].name + "." for i in _attentions(trace))  # queries and keys are no maps
    grids = [r for r in trace if _is_grid(r) and r.output not in pooled and not r.name.startswith(inside)]
    if not grids:
        raise BadModel(
            "No layer of this model gives a spatial map or a sequence of patch tokens, "
            "so there is nothing for Grad-CAM to look at; use a method that needs no layer."
        )
    return _token_layer(trace) if grids[-1].kind == "tokens" else _map_layer(grids)


def _is_grid(record: LayerRecord) -> bool:
    if record.kind == "map":
        return record.shape[2] * record.shape[3] > 1
    if record.kind == "map (channels last)":
        return record.shape[1] * record.shape[2] > 1
    return record.kind == "tokens" and record.shape[1] > 1


def _map_layer(grids: Sequence[LayerRecord]) -> DefaultLayer:
    same = [r for r in grids if r.output == grids[-1].output]
    chosen = min(reversed(same), key=lambda r: (not r.bare, r.type == "Identity", r.name.count(".")))
    return DefaultLayer(chosen.name, "the last spatial map before pooling")


def _token_layer(trace: Sequence[LayerRecord]) -> DefaultLayer:
    attentions = _attentions(trace)
    if not attentions:
        raise BadModel(
            "This model works on tokens but has no layer whose type is called attention; "
            "name the layer that Grad-CAM should look at."
        )
    last = attentions[-1]
    before = [
        r
        for r in trace[: last + 1]
        if r.kind in ("tokens", "map (channels last)")
        and _is_grid(r)
        and "norm" in r.type.lower()
        and not r.name.startswith(trace[last].name + ".")
    ]
    if not before:
        raise BadModel("No normalisation comes before the last attention; name a layer.")
    return DefaultLayer(
        before[-1].name,
        "the normalisation before the last attention, the last place where patch tokens still "
        "reach the score",
    )


def _attentions(trace: Sequence[LayerRecord]) -> list[int]:
    """Where in the trace they are; of nested ones the inner, as a block that is called attention holds
    the normalisation that comes before it."""
    called = [i for i, r in enumerate(trace) if "attention" in r.type.lower() or "attn" in r.type.lower()]
    return [i for i in called if not any(trace[j].name.startswith(trace[i].name + ".") for j in called)]


def as_grid(activation: Tensor, input_shape: Sequence[int], kind: Kind) -> Tensor:
    """A layer's output (B, …) as maps (B, K, h, w); class, distillation and register tokens dropped.

    Tokens (B, N, D) become a grid of the input's proportions: of N tokens the last h·w, where at most
    16 come before them.
    """
    if kind == "map":
        return activation
    if kind == "map (channels last)":
        return activation.movedim(-1, 1)
    if kind != "tokens":
        raise InvalidArgument(
            f"A layer whose output has shape {tuple(activation.shape)} has no spatial map; "
            "choose a convolutional or token layer."
        )
    h, w = token_grid(activation.shape[1], input_shape[-2], input_shape[-1])
    patches = activation[:, activation.shape[1] - h * w :]
    return patches.transpose(1, 2).reshape(len(activation), -1, h, w)


def token_grid(tokens: int, height: int, width: int) -> tuple[int, int]:
    """(h, w) of the patch grid among that many tokens, for an input of that size."""
    for slack in (1e-6, 0.5):  # exact proportions first: 4 × 12 patches and 4 registers are not 4 × 13
        for n in range(tokens, max(tokens - 17, 0), -1):
            h = round((n * height / width) ** 0.5)
            if h and n % h == 0 and abs(h - n // h * height / width) < slack:
                return h, n // h
    raise BadModel(
        f"{tokens} tokens do not make a grid of the proportions of a {height} × {width} input, "
        "not even without up to 16 class or register tokens."
    )


def first_tensor(output: object) -> Tensor | None:
    """A layer's output itself, or the first tensor of the tuple it returned."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, tuple | list):
        return next((item for item in output if isinstance(item, torch.Tensor)), None)
    return None
