"""Attention rollout (Abnar & Zuidema 2020, "Quantifying attention flow in transformers").

Each layer's attention, its heads fused and what went round it added, multiplied through the layers (eq. 1),

    Â_l = α_l A_l + (1 - α_l) I, rows normalised,      R = Â_L … Â_2 Â_1,

so that row i of R says from which input tokens token i came. α is the attention's weight and 1 - α that of
the residual; the paper's is 0.5. Here it can also be measured: a block y = x + c·x has α = c / (1 + c).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from underhood.engine import Attentions, Run
from underhood.errors import InvalidArgument
from underhood.inputs.baseline import BaselineLike, as_whole
from underhood.methods.attention import LOOKED, Fusion, attribution, check_fusion, fused, stack_of
from underhood.methods.card import Card
from underhood.methods.method import Attribution, Method


@dataclass(frozen=True)
class AttentionRollout(Method):
    """Where the class token's content came from, were attention all that moves content between tokens.

    alpha:     the attention's weight against the residual's, 0…1: one number, one per layer, or "patching",
               which measures it for each input and layer: the attention's part, or the part that went round
               it, is replaced by what it is for `reference`, and the effects on the score are compared.
    fusion:    of the heads: "mean", "max" or "min".
    discard:   share of each layer's weights, the smallest of each input, that is set to 0; never those that
               go to a class token.
    reference: the baseline that patching takes activations from.

    `arrays["tokens"]` has the whole row, class token and all, which sums to 1.
    """

    alpha: float | Sequence[float] | str = 0.5
    fusion: Fusion = "mean"
    discard: float = 0.0
    reference: BaselineLike = "zeros"

    key = "attention_rollout"

    def __post_init__(self) -> None:
        check_fusion(self.fusion, "fusion is ")
        if not 0 <= self.discard < 1:
            raise InvalidArgument(f"discard is a share from 0 to below 1, not {self.discard}.")
        if self.alpha != "patching" and not (self._given and all(_is_share(a) for a in self._given)):
            raise InvalidArgument(
                f"alpha is a weight from 0 to 1, one for each layer, or 'patching', not {self.alpha!r}."
            )
        as_whole(self.reference)

    @property
    def card(self) -> Card:
        patched = replace(CARD, cost="4 forward + 2 forward for each layer")
        return patched if self.alpha == "patching" else CARD

    def attribute(self, run: Run) -> Attribution:
        measured = self._measured(run) if self.alpha == "patching" else None

        def fold(found: Attentions) -> dict[str, Tensor]:
            layers = stack_of(found, type(run.engine.model.module).__name__)
            alpha = self._weights(sum(a.between_tokens for a in layers), found, measured)  # (m, layers)
            rolled = torch.eye(layers[0].weights.shape[-1], device=alpha.device)
            for i, a in enumerate(layers):
                table = fused(a.weights, self.fusion)
                table = discarded(table, self.discard, found.class_tokens)
                mixed = with_residual(table, alpha[:, i]) if a.between_tokens else table
                rolled = mixed @ rolled  # (m, queries, tokens)
            return {"rows": found.rows(rolled), "read": found.read, "alpha": alpha}

        found = run.attentions(fold)
        return attribution(
            run,
            found["rows"],
            found["read"],
            {"fusion": self.fusion, "discard": self.discard},
            each=[{"alpha": alpha.tolist()} for alpha in found["alpha"]],
        )

    @property
    def _given(self) -> tuple[Any, ...]:
        return (self.alpha,) if isinstance(self.alpha, int | float | str) else tuple(self.alpha)

    def _weights(self, layers: int, found: Attentions, measured: Tensor | None) -> Tensor:
        """α of each input and layer, (m, layers)."""
        if measured is not None:
            return measured[found.inputs, :layers].to(found.read.device)
        given = self._given
        if len(given) not in (1, layers):
            raise InvalidArgument(f"alpha has {len(given)} weights, but the model has {layers} layers.")
        alpha = torch.tensor(given, dtype=found.read.dtype, device=found.read.device)
        return alpha.expand(len(found.read), layers)

    def _measured(self, run: Run) -> Tensor:
        reference = as_whole(self.reference).values(run.inputs, run.engine.model.preprocess, run.seed)
        return run.residual_shares(reference[0])


def discarded(table: Tensor, share: float, kept: Tensor) -> Tensor:
    """(m, queries, keys) with that share of each input's weights, the smallest, set to 0; columns `kept`
    (m, keys) are left."""
    open_to_it = ~kept[:, None].expand_as(table).flatten(1)
    order = table.flatten(1).masked_fill(~open_to_it, torch.inf).argsort(1)
    place = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1]).to(order).expand_as(order)
    )
    dropped = place < (share * open_to_it.sum(1, keepdim=True)).long()
    return table.masked_fill(dropped.view_as(table), 0)


def with_residual(table: Tensor, alpha: Tensor) -> Tensor:
    """α A + (1 - α) I with rows that sum to 1, (m, N, N); a token that takes from none keeps itself."""
    same = torch.eye(table.shape[-1], dtype=table.dtype, device=table.device)
    mixed = torch.lerp(same, table, alpha[:, None, None])
    total = mixed.sum(-1, keepdim=True)
    return torch.where(total > 1e-30, mixed / total.clamp(min=1e-30), same)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


CARD = Card(
    name="Attention rollout",
    question="focus",
    answers="From which patches the class token's content came, were attention all that moves it; "
    "the same for every target.",
    misleads=f"{LOOKED}; it leaves out what values and perceptrons do with what is moved, hardly depends on "
    "what the upper layers learned, and changes with the weight of the residual.",
    signed=False,
    conserves=None,
    resolution="layer",
    unit="share of the attention",
    needs="attention between the same tokens in every layer, not windowed",
    cost="1 forward",
    source="Abnar & Zuidema 2020, arXiv:2005.00928",
    randomisation=False,
)
