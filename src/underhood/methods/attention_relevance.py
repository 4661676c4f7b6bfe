"""Attention relevance (Chefer, Gur & Wolf 2021, "Generic attention-model explainability for interpreting
bi-modal and encoder-decoder transformers"), for self-attention.

Each layer's attention weighted by the target's gradient, where that is positive, joins the relevances of the
layers below (eq. 5-6),

    Ā = mean_heads((∂S/∂A ⊙ A)⁺),      R ← R + Ā R,      R = I at first,

so that unlike rollout the map is of one target. Shown is the row of R - I that the score reads: I, the
relevance of tokens to themselves, adds nothing where a class token is read, and a constant where a mean is.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from underhood.engine import Attentions, Run
from underhood.methods.attention import LOOKED, attribution, stack_of
from underhood.methods.card import Card
from underhood.methods.method import Attribution, Method


@dataclass(frozen=True)
class AttentionRelevance(Method):
    """Which patches the target's class token took evidence from; in no fixed unit."""

    key = "attention_relevance"

    @property
    def card(self) -> Card:
        return CARD

    def attribute(self, run: Run) -> Attribution:
        def fold(found: Attentions) -> dict[str, Tensor]:
            layers = stack_of(found, type(run.engine.model.module).__name__)
            tokens = layers[0].weights.shape[-1]
            identity = torch.eye(tokens, device=found.read.device)
            relevance = torch.zeros_like(identity).expand(
                len(found.read), -1, -1
            )  # R - I, (m, tokens, tokens)
            for a in layers:
                if a.gradient is None:
                    continue
                weighted = (a.gradient * a.weights).relu().mean(1)  # (m, queries, tokens)
                step = weighted @ relevance + weighted
                relevance = relevance + step if a.between_tokens else step
            return {"rows": found.rows(relevance), "read": found.read}

        found = run.attentions(fold, gradients=True)
        return attribution(run, found["rows"], found["read"], {})


CARD = Card(
    name="Attention relevance",
    question="focus",
    answers="From which patches attention brought what speaks for the target to where the score is read.",
    misleads=f"{LOOKED}; only what speaks for the target is kept, and what perceptrons do is left out.",
    signed=False,
    conserves=None,
    resolution="layer",
    unit="no fixed unit",
    needs="gradients, and attention between the same tokens in every layer, not windowed",
    cost="1 forward + 1 backward",
    source="Chefer, Gur & Wolf 2021, arXiv:2103.15679",
)
