"""How the demo's models were trained; `scripts/train_demo.py` runs this again from nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save as serialised
from torch import Tensor, nn

from underhood.demo.dermoscopy import SIZE
from underhood.demo.factors import Placement
from underhood.demo.models import PREPROCESS
from underhood.demo.pairs import Pairs

Batch = tuple[Tensor, Tensor]  # normalised images (B, 3, H, W), target probabilities (B, classes)


@dataclass(frozen=True)
class Recipe:
    """Steps of AdamW, whose rate rises over the first tenth and falls to zero as a cosine."""

    steps: int
    batch: int = 32
    rate: float = 3e-3
    decay: float = 0.05


def fit(net: nn.Module, recipe: Recipe, batch: Callable[[int, torch.Generator], Batch]) -> None:
    """Train `net` in place on what `batch(size, generator)` gives, and leave it in eval mode."""
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.rate, total_steps=recipe.steps, pct_start=0.1
    )
    net.train()
    for _ in range(recipe.steps):
        images, wanted = batch(recipe.batch, generator)
        scores = net(images.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(scores, wanted)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    net.eval()


def lesion_batches(
    pairs: Pairs, ruler: Placement, covered_share: float
) -> Callable[[int, torch.Generator], Batch]:
    """Random batches of lesions, with rulers placed as asked for, turned and tinted at random.

    A share of the pictures is partly covered, as perturbation methods do; malignancy is then asked
    for only as far as the lesion can be seen.
    """
    malignant = torch.from_numpy(pairs.malignant)
    images, lesions = torch.from_numpy(pairs.images), torch.from_numpy(pairs.lesion)
    chance = torch.where(malignant, ruler.malignant, ruler.benign)  # (n,), of a ruler

    def batch(size: int, generator: torch.Generator) -> Batch:
        chosen = torch.randint(len(malignant), (size,), generator=generator)
        with_ruler = torch.rand(size, generator=generator) < chance[chosen]
        pixels = images[with_ruler.long(), chosen].permute(0, 3, 1, 2).float() / 255
        stacked = turned(torch.cat([pixels, lesions[chosen, None]], dim=1), generator)
        pixels, lesion = PREPROCESS.normalise(jitter(stacked[:, :3], generator)), stacked[:, 3]
        covers = random_covers(size, lesion.shape[-1], covered_share, generator)
        in_sight = (lesion * ~covers).sum((1, 2)) / lesion.sum((1, 2))
        wanted = malignant[chosen] * in_sight**2
        return covered(pixels, covers, generator), torch.stack([1 - wanted, wanted], dim=1)

    return batch


def turned(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Each image (B, 3, H, W) in one of its eight orientations."""
    return torch.stack([_turn(image, generator) for image in pixels])


def _turn(image: Tensor, generator: torch.Generator) -> Tensor:
    orientation = int(torch.randint(8, (), generator=generator))
    image = image.rot90(orientation % 4, (1, 2))
    return image.flip(2) if orientation >= 4 else image


def random_covers(n: int, side: int, share: float, generator: torch.Generator) -> Tensor:
    """Up to three squares in a share of `n` masks (n, side, side), nothing in the others."""
    covers = torch.zeros(n, side, side, dtype=torch.bool)
    for cover in covers[: round(n * share)]:
        for _ in range(int(torch.randint(1, 4, (), generator=generator))):
            width = int(torch.randint(side // 8, side // 3, (), generator=generator))
            top, left = torch.randint(side - width, (2,), generator=generator).tolist()
            cover[top : top + width, left : left + width] = True
    return covers


def covered(images: Tensor, covers: Tensor, generator: torch.Generator) -> Tensor:
    """Normalised images (B, 3, H, W) grey or smeared, each as it happens, where `covers` (B, H, W)."""
    coarse = F.adaptive_avg_pool2d(images, 6)
    smeared = F.interpolate(coarse, size=images.shape[2:], mode="bilinear")
    grey = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    return torch.where(covers[:, None], smeared.masked_fill(grey, 0), images)


def jitter(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and tint changed a little, per image (B, 3, H, W), 0 to 1."""
    shape = (len(pixels), 3, 1, 1)
    tint = 1 + 0.06 * torch.randn(shape, generator=generator)
    contrast = 1 + 0.15 * torch.randn(shape[0], 1, 1, 1, generator=generator)
    middle = pixels.mean((2, 3), keepdim=True)
    return ((pixels - middle) * contrast + middle * tint).clamp(0, 1)


def photo_batches(photos: list[Image.Image]) -> Callable[[int, torch.Generator], Batch]:
    """Random crops of one photo per class; every other picture is a collage of two classes."""

    def batch(size: int, generator: torch.Generator) -> Batch:
        names = torch.randint(len(photos), (2, size), generator=generator)
        pixels = [
            torch.stack([random_crop(photos[name], generator) for name in row.tolist()]) for row in names
        ]
        wanted = F.one_hot(names, len(photos)).float()  # (2, B, classes)
        half = pixels[0].shape[-1] // 2
        pixels[0][::2, :, :, half:] = pixels[1][::2, :, :, half:]
        wanted[0][::2] = (wanted[0][::2] + wanted[1][::2]) / 2
        return PREPROCESS.normalise(jitter(pixels[0], generator)), wanted[0]

    return batch


def random_crop(photo: Image.Image, generator: torch.Generator) -> Tensor:
    """A square crop of any place, at least 40 % of the photo's height, as often flipped as not."""
    chance = torch.rand(4, generator=generator).tolist()
    side = (0.4 + 0.6 * chance[0]) * min(photo.size)
    left, top = chance[1] * (photo.width - side), chance[2] * (photo.height - side)
    crop = photo.resize((SIZE, SIZE), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    pixels = torch.from_numpy(np.array(crop)).permute(2, 0, 1).float() / 255
    return pixels.flip(2) if chance[3] < 0.5 else pixels


def save(net: nn.Module, path: Path) -> None:
    """The weights in half precision; what was trained in single loses nothing that shows."""
    state = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in net.state_dict().items()
    }
    path.write_bytes(serialised(state))
