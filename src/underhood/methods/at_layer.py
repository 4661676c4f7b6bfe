"""Showing what was attributed to a layer's activations."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from underhood.methods.cam import upsample
from underhood.models.layers import as_grid, kind_of


def shown(
    values: Tensor,
    layer: str | None,
    inputs: Tensor,
    arrays: Mapping[str, Tensor] | None = None,
    *,
    largest: bool = False,
) -> dict[str, Any]:
    """What an `Attribution` says of values (B, …) of a layer; None is the input.

    Maps and patch tokens are summed over their channels (or the largest taken) and upsampled to the input;
    tokens of a text are summed over their dimensions; vectors stay as they are. The values themselves are
    kept under the layer's name, beside other arrays.
    """
    if layer is None:
        return {"values": values, "arrays": arrays or {}}
    arrays, kind = {layer: values, **(arrays or {})}, kind_of(values, inputs.shape)
    if kind in ("map", "map (channels last)", "tokens"):
        maps = _over(as_grid(values, inputs.shape, kind), 1, largest=largest)  # (B, h, w)
        size, grid = tuple(inputs.shape[2:]), (maps.shape[1], maps.shape[2])
        return {"values": upsample(maps, size), "grid": grid, "arrays": arrays}
    if values.ndim == 3 and inputs.ndim == 2:  # (B, L, D)
        return {"values": _over(values, 2, largest=largest), "arrays": arrays}
    return {"values": values.flatten(1), "arrays": arrays}


def _over(values: Tensor, dim: int, *, largest: bool) -> Tensor:
    return values.amax(dim) if largest else values.sum(dim)
