"""Fused operations written as the plain ones they stand for, so that rules see inside them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def scaled_dot_product_attention(  # noqa: PLR0917 - torch's own
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,  # noqa: ARG001 - networks run in evaluation mode
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(q kᵀ · scale + mask) v, over (…, heads, tokens, width)."""
    if enable_gqa:
        key, value = (x.repeat_interleave(query.shape[-3] // x.shape[-3], -3) for x in (key, value))
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    logits = torch.matmul(query * scale, key.transpose(-2, -1))
    if is_causal:
        past = torch.ones(logits.shape[-2:], dtype=torch.bool, device=query.device).tril()
        logits = logits.masked_fill(~past, -math.inf)
    return torch.matmul(torch.softmax(_masked(logits, attn_mask), -1), value)


def multi_head_attention_forward(  # noqa: PLR0917 - torch's own
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,  # noqa: ARG001
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,  # noqa: ARG001
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """`torch.nn.MultiheadAttention`, over (tokens, batch, width) or (tokens, width)."""
    if (
        bias_k is not None
        or bias_v is not None
        or add_zero_attn
        or static_k is not None
        or static_v is not None
    ):
        raise NotImplementedError("nn.MultiheadAttention with bias_k, bias_v, add_zero_attn or static keys")
    alone = query.dim() == 2
    if alone:
        query, key, value = (x.unsqueeze(1) for x in (query, key, value))
        key_padding_mask = key_padding_mask.unsqueeze(0) if key_padding_mask is not None else None
    weights: Sequence[Tensor | None]
    if use_separate_proj_weight:
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
    else:
        assert in_proj_weight is not None
        weights = in_proj_weight.chunk(3)
    biases: Sequence[Tensor | None] = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)

    def heads(x: Tensor, weight: Any, bias: Tensor | None) -> Tensor:
        """(tokens, batch, width) → (batch, heads, tokens, width / heads)."""
        tokens, batch, _ = x.shape
        width = embed_dim_to_check // num_heads
        return F.linear(x, weight, bias).reshape(tokens, batch, num_heads, width).permute(1, 2, 0, 3)

    q, k, v = (heads(*each) for each in zip((query, key, value), weights, biases, strict=True))
    logits = torch.matmul(q / math.sqrt(q.shape[-1]), k.transpose(-2, -1))
    if attn_mask is None and is_causal:
        attn_mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    if attn_mask is not None:
        mask = attn_mask if attn_mask.dim() == 2 else attn_mask.unflatten(0, (-1, num_heads))
        logits = _masked(logits, ~mask if mask.dtype == torch.bool else mask)
    if key_padding_mask is not None:
        hidden = key_padding_mask[:, None, None]
        logits = _masked(logits, ~hidden if hidden.dtype == torch.bool else hidden)
    attention = torch.softmax(logits, -1)  # (batch, heads, tokens, tokens)
    joined = torch.matmul(attention, v).permute(2, 0, 1, 3).flatten(2)  # (tokens, batch, width)
    out = F.linear(joined, out_proj_weight, out_proj_bias)
    shown = (attention.mean(1) if average_attn_weights else attention) if need_weights else None
    if alone:
        return out.squeeze(1), None if shown is None else shown.squeeze(0)
    return out, shown


def _masked(logits: Tensor, mask: Tensor | None) -> Tensor:
    """A boolean mask says what may be looked at; any other is added."""
    if mask is None:
        return logits
    return logits.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else logits + mask


def addmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    product = torch.matmul(a, b)
    product = product if alpha == 1 else product * alpha
    return product + (bias if beta == 1 else bias * beta) if beta else product


def glu(x: Tensor, dim: int = -1) -> Tensor:
    a, b = x.chunk(2, dim)
    return a * torch.sigmoid(b)


def rsub(x: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    return -x * alpha + other if alpha != 1 else -x + other


def rdiv(x: Tensor, other: Any) -> Tensor:
    return torch.reciprocal(x) * other


DECOMPOSED: dict[str, Callable[..., Any]] = {
    "scaled_dot_product_attention": scaled_dot_product_attention,
    "multi_head_attention_forward": multi_head_attention_forward,
    "addmm": addmm,
    "baddbmm": addmm,
    "glu": glu,
    "rsub": rsub,
    "rdiv": rdiv,
    "rmatmul": lambda x, other: torch.matmul(other, x),
}
