"""The demo's networks: a small convolutional network and a small vision transformer."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SmallCNN(nn.Module):
    """Convolutions down to an eighth of the input's side, then an average over all places.

    For inputs (B, 3, 128, 128) the last map, `features`, is (B, widths[-1], 16, 16).
    """

    def __init__(self, classes: int, widths: tuple[int, ...] = (16, 24, 32, 48, 48)) -> None:
        super().__init__()
        strides = (2, 2, 2, *([1] * (len(widths) - 3)))
        self.features = nn.Sequential(
            *(
                _convolution(before, width, stride)
                for before, width, stride in zip((3, *widths), widths, strides, strict=False)
            )
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B, classes) of normalised images (B, 3, H, W)."""
        scores: Tensor = self.head(self.pool(self.features(images)).flatten(1))
        return scores


def _convolution(before: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


class SmallViT(nn.Module):
    """A vision transformer: patches, a class token, blocks of attention, a linear head."""

    def __init__(
        self,
        classes: int,
        *,
        size: int = 128,
        patch: int = 16,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
    ) -> None:
        super().__init__()
        tokens = (size // patch) ** 2 + 1
        self.patch_embed = nn.Conv2d(3, width, patch, stride=patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B, classes) of normalised images (B, 3, size, size)."""
        patches = self.patch_embed(images).flatten(2).transpose(1, 2)  # (B, tokens - 1, width)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        tokens = tokens + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        scores: Tensor = self.head(self.norm(tokens)[:, 0])
        return scores


class Block(nn.Module):
    """Attention between tokens, then a perceptron on each, both added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        changed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return changed


class Attention(nn.Module):
    """Softmax attention in several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, tokens, width / heads)
        mixed = F.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, count, width))
        return projected
