"""What excites the units of a layer (Zeiler & Fergus 2014, figure 2).

For each unit, a channel at its strongest place, the inputs of a collection that excite it most, cropped to
the receptive field of that place, beside the deconvnet's reconstructions of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from underhood.engine import Engine, Op, PlainRules, Run, Settings, attached
from underhood.engine.ops import CONVOLUTIONS, POINTWISE, PRODUCTS
from underhood.errors import BadModel, InvalidArgument
from underhood.inputs import gather
from underhood.inputs.gather import displayed
from underhood.methods.guided import Deconvnet
from underhood.models import Model, Target

BLOCK = 16  # inputs read at a time
SHOWN = 9  # units, where none are named


@dataclass(frozen=True)
class Top:
    """One of the inputs that excite a unit most.

    position: where in the layer's map; box: its receptive field in the input, (top, left, bottom, right).
    picture:  the input inside the box, uint8 (h, w, 3) or, where it is no picture, float32 (C, h, w).
    reconstruction: the deconvnet's, inside the box, (C, h, w).
    """

    input: int
    name: str
    activation: float
    position: tuple[int, int]
    box: tuple[int, int, int, int]
    picture: NDArray[Any]
    reconstruction: NDArray[np.float32]


@dataclass(frozen=True)
class DeconvnetSheet:
    """For each unit (channel) of a layer the inputs that excite it most, strongest first."""

    layer: str
    inputs: int
    units: dict[int, list[Top]]


def deconvnet_sheet(
    model: Model,
    images: Iterable[Any],
    layer: str,
    units: Sequence[int] | None = None,
    *,
    top: int = 9,
    **settings: Any,
) -> DeconvnetSheet:
    """The `top` inputs for each unit of a convolutional layer, with their reconstructions.

    images: as many as you like: of those read, only the top ones of each unit are kept.
    units:  channels of the layer; None takes the first nine.
    """
    if top < 1:
        raise InvalidArgument(f"top is at least 1, not {top}.")
    engine = Engine(model, Settings(**settings))
    best = _strongest(engine, images, layer, units, top)
    flat = [(unit, found) for unit, many in best.found.items() for found in many]
    if not flat:
        raise InvalidArgument(f"No input excites any of the units asked for in layer '{layer}'.")
    x = torch.stack([best.inputs[found.input] for _, found in flat])
    asked = UnitOfEach(
        layer,
        torch.tensor([unit for unit, _ in flat]),
        torch.tensor([found.position for _, found in flat]),
    )
    maps = Deconvnet().attribute(Run(engine, x, asked)).values
    fields = receptive_fields(engine, x[:1], layer, best.grid)
    sheet: dict[int, list[Top]] = {unit: [] for unit in best.found}
    for (unit, found), image, map_ in zip(flat, x, maps, strict=True):
        rows, columns = fields[0][found.position[0]], fields[1][found.position[1]]
        shown = displayed(model, image)
        sheet[unit].append(
            replace(
                found,
                box=(rows.start, columns.start, rows.stop, columns.stop),
                picture=image[:, rows, columns].numpy() if shown is None else shown[rows, columns],
                reconstruction=map_[:, rows, columns].numpy(),
            )
        )
    return DeconvnetSheet(layer, best.count, sheet)


@dataclass
class _Best:
    """The strongest so far, and the inputs that they are in."""

    found: dict[int, list[Top]] = field(default_factory=dict)
    inputs: dict[int, Tensor] = field(default_factory=dict)
    grid: tuple[int, int] = (0, 0)
    count: int = 0


def _strongest(
    engine: Engine, images: Iterable[Any], layer: str, units: Sequence[int] | None, top: int
) -> _Best:
    best, items = _Best(), iter(images)
    while block := list(islice(items, BLOCK)):
        read = gather(engine.model, block)
        activations = engine.capture(read.tensor, [layer])[layer]  # (m, K, h, w)
        wanted = _checked(activations, layer, units)
        best.grid = (activations.shape[2], activations.shape[3])
        for unit in wanted:
            new = _found(activations[:, unit], best.count, read.names)
            ranked = sorted([*best.found.get(unit, []), *new], key=lambda found: -found.activation)
            best.found[unit] = ranked[:top]
        best.inputs |= {best.count + i: x for i, x in enumerate(read.tensor)}
        kept = {found.input for many in best.found.values() for found in many}
        best.inputs = {i: x for i, x in best.inputs.items() if i in kept}
        best.count += len(block)
    if not best.count:
        raise InvalidArgument("There are no inputs.")
    return best


def _checked(activations: Tensor, layer: str, units: Sequence[int] | None) -> Sequence[int]:
    if activations.ndim != 4:
        raise BadModel(
            f"Layer '{layer}' gives shape {tuple(activations.shape[1:])} for each input, not channels of a "
            "map; choose a convolutional layer."
        )
    channels = activations.shape[1]
    for unit in units or ():
        if not 0 <= unit < channels:
            raise InvalidArgument(f"Layer '{layer}' has units 0 to {channels - 1}, not {unit}.")
    return range(min(SHOWN, channels)) if units is None else units


def _found(activations: Tensor, before: int, names: Sequence[str]) -> Iterator[Top]:
    """A unit's strongest place in each input (m, h, w), where it is active at all."""
    values, places = activations.flatten(1).max(1)
    nothing = np.zeros((0, 0, 0), np.float32)
    for i, (value, place) in enumerate(zip(values.tolist(), places.tolist(), strict=True)):
        if value > 0:
            position = divmod(place, activations.shape[2])
            yield Top(before + i, names[i], value, position, (0, 0, 0, 0), nothing, nothing)


@dataclass(frozen=True)
class UnitOfEach(Target):
    """For each input a unit of its own: a channel (B,) of a layer, None for all, at a position (B, 2)."""

    at: str
    channels: Tensor | None
    positions: Tensor

    @property
    def layer(self) -> str:
        return self.at

    def rows(self, rows: Tensor) -> Target:
        channels = None if self.channels is None else self.channels[rows]
        return replace(self, channels=channels, positions=self.positions[rows])

    def score(self, values: Tensor) -> Tensor:
        each, (rows, columns) = torch.arange(len(values)), self.positions.T
        if self.channels is None:
            return values[each, :, rows, columns].sum(1)
        return values[each, self.channels, rows, columns]

    def name(self, labels: tuple[str, ...] | None, row: int = 0) -> str:  # noqa: ARG002
        channel = "all channels" if self.channels is None else f"channel {int(self.channels[row])}"
        return f"{channel} of {self.at} at {tuple(self.positions[row].tolist())}"


def receptive_fields(
    engine: Engine, x: Tensor, layer: str, grid: tuple[int, int]
) -> tuple[list[slice], list[slice]]:
    """The input's rows that each row of a layer's map can depend on, and the columns of each column.

    Found by sending a signal back from the map's diagonal that every operation passes on to all it reads.
    """
    steps = max(grid)
    diagonal = torch.stack([torch.arange(steps).clamp(max=side - 1) for side in grid], 1)
    asked = UnitOfEach(layer, None, diagonal)
    run = Run(engine, x.expand(steps, *x.shape[1:]), asked)
    reached = run.gradients(rules=Reach()).gradients[0].abs().sum(1) > 0  # (steps, H, W)
    rows = [_extent(reached[i].any(1)) for i in range(grid[0])]
    return rows, [_extent(reached[j].any(0)) for j in range(grid[1])]


def _extent(reached: Tensor) -> slice:
    places = reached.nonzero()
    return slice(int(places.min()), int(places.max()) + 1) if len(places) else slice(0, len(reached))


class Reach(PlainRules):
    """Sends back 1 to whatever an operation can depend on, whatever its weights and values are."""

    def apply(self, op: Op) -> Any:
        x, read = op.inputs[0], _reading(op)
        if read is None:
            return op()
        with torch.no_grad():
            result = op(*(each.detach() for each in op.inputs))

        def back(signal: Tensor) -> Sequence[Tensor]:
            with torch.enable_grad():
                leaves = [torch.zeros_like(each).requires_grad_() for each in op.inputs]
                found = torch.autograd.grad(read(*leaves), leaves, (signal > 0).to(x.dtype))
            return [(each > 0).to(x.dtype) for each in found]

        return attached(result, op.inputs, back)

    def seed(self, values: Tensor, gradient: Tensor) -> Tensor:  # noqa: ARG002
        return gradient


def _reading(op: Op) -> Any:
    """A plain operation that reads the same places, all of them with positive weights."""
    if op.name in CONVOLUTIONS and len(op.inputs) == 1:
        return op.with_weight(torch.ones_like)
    if op.name in POINTWISE | {"batch_norm"} and len(op.inputs) == 1:
        return lambda x: x
    if op.name in PRODUCTS and op.name in ("mul", "div"):
        return lambda *factors: sum(factors) + torch.zeros_like(op())
    if op.name == "max_pool2d":
        return _mean_pool(op)
    return None


def _mean_pool(op: Op) -> Any:
    given = op.named("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode")
    given = {key: value for key, value in given.items() if key not in ("input", "return_indices")}
    if given.pop("dilation", 1) not in (1, (1, 1), [1, 1]):
        return None
    return lambda x: F.avg_pool2d(x, **given)
