"""When passes without gradient may run in bfloat16."""

import torch
from torch import Tensor

from underhood.inputs.variants import Variants

SAMPLE = 16  # variants run in both precisions before bfloat16 is trusted
SAMPLED_INPUTS = 4  # of so many inputs at most
WORTHWHILE = 8 * SAMPLE  # below that many inputs the sample costs more than it saves
AGREEMENT = 0.998  # least correlation of the sampled scores


def has_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies in bfloat16; where it only imitates it, it is far slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return False


def sample(variants: Variants) -> tuple[Tensor, Tensor]:
    """Rows and tensors of a few variants of a few inputs."""
    rows = torch.arange(SAMPLE) % min(len(variants.inputs), SAMPLED_INPUTS)
    numbers = torch.linspace(0, variants.count - 1, SAMPLE).long()
    return rows, variants.make(rows, numbers)


def judged(exact: Tensor, rough: Tensor, rows: Tensor) -> tuple[bool, str]:
    """Whether the sample's scores (n,) agree well enough, and the precision that follows in words."""
    found = agreement(exact, rough, rows)
    if found < AGREEMENT:
        return False, f"float32 (bfloat16 agreed with it to {found:.4f} only)"
    return True, f"bfloat16 (agrees with float32 to {found:.4f} on {SAMPLE} inputs)"


def agreement(exact: Tensor, rough: Tensor, rows: Tensor) -> float:
    """Correlation of the scores (n,) in two precisions, within inputs `rows`; 0 where it is undefined.

    How far inputs lie apart would hide how badly their variants agree.
    """
    exact, rough = (_off_their_mean(scores.double(), rows) for scores in (exact, rough))
    if not rough.isfinite().all() or float(exact.std()) == 0 or float(rough.std()) == 0:
        return 0.0
    return float(torch.corrcoef(torch.stack((exact, rough)))[0, 1])


def _off_their_mean(scores: Tensor, rows: Tensor) -> Tensor:
    """Each score less the mean over the same input."""
    total = torch.zeros_like(scores).index_add_(0, rows, scores)
    return scores - (total / torch.bincount(rows, minlength=len(scores)))[rows]
