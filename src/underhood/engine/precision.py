"""When passes without gradient may run in bfloat16."""

import torch
from torch import Tensor

SAMPLE = 16  # inputs run in both precisions before bfloat16 is trusted
WORTHWHILE = 8 * SAMPLE  # below that many inputs the sample costs more than it saves
AGREEMENT = 0.998  # least correlation of the sampled scores


def has_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies in bfloat16; where it only imitates it, it is far slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return False


def agreement(exact: Tensor, rough: Tensor) -> float:
    """Correlation of the scores (n,) in two precisions; 0 where it is undefined."""
    if not rough.isfinite().all() or float(exact.std()) == 0 or float(rough.std()) == 0:
        return 0.0
    return float(torch.corrcoef(torch.stack((exact.double(), rough.double())))[0, 1])
