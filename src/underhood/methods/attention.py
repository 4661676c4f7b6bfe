"""Attention weights as they are, and what the methods made of them share.

A (heads, queries, keys), softmax(q kᵀ / √d), says how much each token took from each other one. Shown is the
row of the token that the score reads (the class token), or the mean row where it reads several.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from underhood.engine import Attention, Attentions, Run, patch_tokens
from underhood.errors import BadModel, InvalidArgument, UnknownName
from underhood.methods.cam import upsample
from underhood.methods.card import Card
from underhood.methods.method import Attribution, Method

Fusion = Literal["mean", "max", "min"]
LOOKED = "It shows where the model looked, not what caused the answer"


@dataclass(frozen=True)
class RawAttention(Method):
    """The attention weights of one layer: how much the class token took from each patch.

    layer: of the attention, or of what holds it; None takes the last, "all" takes all; several are averaged.
    head:  a head's number, or "mean", "max" or "min" over the heads.

    Every head's map before upsampling is kept in `arrays`, (heads, h, w) under the layer's name, and the
    whole row, class token and all, in `arrays["tokens"]`.
    """

    layer: str | Sequence[str] | None = None
    head: int | Fusion = "mean"

    key = "raw_attention"

    def __post_init__(self) -> None:
        if isinstance(self.head, str):
            check_fusion(self.head, "head is a number, ")
        if self.layer is not None and not self.layer:
            raise InvalidArgument("Attention needs at least one layer, or None for the last.")

    @property
    def card(self) -> Card:
        return CARD

    def attribute(self, run: Run) -> Attribution:
        def fold(found: Attentions) -> dict[str, Tensor]:
            rows = {}
            for a in self._chosen(found.layers):
                heads = [found.rows(head) for head in a.weights.unbind(1)]
                rows[a.layer] = torch.stack(heads, 1)  # (m, heads, keys)
            return rows | {"read": found.read}

        rows = run.attentions(fold)
        read = rows.pop("read")
        shown = torch.stack([self._fused(row) for row in rows.values()]).mean(0)  # (B, keys)
        about: dict[str, Any] = {"layer": ", ".join(rows), "head": self.head}
        by_head = {layer: places(run, row)[0] for layer, row in rows.items()}
        return attribution(run, shown, read, about, arrays=by_head)

    def _chosen(self, layers: Sequence[Attention]) -> Sequence[Attention]:
        if self.layer is None:
            return layers[-1:]
        if self.layer == "all":
            return layers
        names = [self.layer] if isinstance(self.layer, str) else self.layer
        for name in names:
            if not any(_is_in(a.layer, name) for a in layers):
                raise UnknownName("layer with attention", name, [a.layer for a in layers])
        return [a for a in layers if any(_is_in(a.layer, name) for name in names)]

    def _fused(self, rows: Tensor) -> Tensor:
        if isinstance(self.head, str):
            return fused(rows, self.head)
        if not 0 <= self.head < rows.shape[1]:
            raise InvalidArgument(f"There is no head {self.head}; the layer has {rows.shape[1]}, from 0 on.")
        return rows[:, self.head]


def fused(weights: Tensor, fusion: Fusion) -> Tensor:
    """Heads (m, heads, …) joined into one, (m, …)."""
    if fusion == "mean":
        return weights.mean(1)
    return weights.amax(1) if fusion == "max" else weights.amin(1)


def check_fusion(fusion: str, what: str) -> None:
    if fusion not in get_args(Fusion):
        raise InvalidArgument(f"{what}{' or '.join(map(repr, get_args(Fusion)))}, not {fusion!r}.")


def stack_of(found: Attentions, model: str) -> Sequence[Attention]:
    """The layers, which must be among the same tokens, so that their tables can be multiplied.

    Only the last may look with queries of its own (attention pooling).
    """
    tokens = found.layers[0].weights.shape[-1]
    for i, a in enumerate(found.layers):
        queries, keys = a.weights.shape[-2:]
        if keys != tokens or (queries != keys and i + 1 < len(found.layers)):
            raise BadModel(
                f"{model} has attention among different tokens ({queries} look at {keys} in layer "
                f"'{a.layer}', the first layer has {tokens}), so it cannot be followed through the layers; "
                "use Grad-CAM, or raw attention of one layer."
            )
    return found.layers


def places(run: Run, rows: Tensor) -> tuple[Tensor, tuple[int, int] | None]:
    """Of token rows (B, …, keys) the picture's patches as maps (B, …, h, w), with (h, w).

    All tokens where the inputs are no pictures.
    """
    if run.inputs.ndim != 4:
        return rows, None
    patches, grid = patch_tokens(run.engine, run.inputs[0], rows.shape[-1])
    return rows[..., patches].unflatten(-1, grid), grid


def attribution(
    run: Run,
    rows: Tensor,
    read: Tensor,
    about: dict[str, Any],
    *,
    arrays: dict[str, Tensor] | None = None,
    each: Sequence[dict[str, Any]] = (),
) -> Attribution:
    """A map from token rows (B, keys), from which the score reads `read` (B, queries)."""
    maps, grid = places(run, rows)
    diagnostics = about | {"tokens": rows.shape[1], "tokens_without_place": rows.shape[1] - maps[0].numel()}
    return Attribution(
        upsample(maps, tuple(run.inputs.shape[-2:])) if grid else maps,
        diagnostics=[
            diagnostics | {"read": _told(weights)} | (each[i] if each else {})
            for i, weights in enumerate(read)
        ],
        grid=grid,
        no_signal=[_judged(*pair) for pair in zip(maps, read, strict=True)],
        arrays={**(arrays or {}), "tokens": rows},
    )


def _told(read: Tensor) -> str:
    """Which rows the score reads, in words."""
    rows = read.nonzero().flatten().tolist()
    if len(rows) > 4:
        return f"mean of {len(rows)} of {len(read)} tokens"
    return "token " + ", ".join(map(str, rows)) if rows else "none"


def _judged(found: Tensor, read: Tensor) -> str | None:
    if not read.any():
        return "the target's score does not depend on any attention"
    if not found.any():
        return "no patch has any weight"
    if found.max() - found.min() <= 1e-5 * found.abs().max():
        return "every patch has the same weight"
    return None


def _is_in(layer: str, name: str) -> bool:
    return layer == name or layer.partition("#")[0] == name or layer.startswith(name + ".")


CARD = Card(
    name="Raw attention",
    question="focus",
    answers="How much the class token took from each patch in one layer; the same for every target.",
    misleads=f"{LOOKED}; what is taken may have been mixed by earlier layers, or change nothing.",
    signed=False,
    conserves=None,
    resolution="layer",
    unit="share of the attention",
    needs="attention between tokens, not windowed",
    cost="1 forward",
    source="Vaswani et al. 2017, arXiv:1706.03762",
)
