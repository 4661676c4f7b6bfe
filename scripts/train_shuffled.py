"""Trains the demo's lesion network on shuffled labels, for `DataRandomisation`: about a minute.

python scripts/train_shuffled.py [OUT]      # out/shuffled.safetensors unless told otherwise

shuffled = underhood.load("demo:honest", weights="out/shuffled.safetensors")
underhood.checks.DataRandomisation(shuffled)(explanation)
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from underhood.demo.factors import AT_RANDOM
from underhood.demo.models import build
from underhood.demo.pairs import Pairs, draw_pairs
from underhood.demo.training import Recipe, fit, lesion_batches, save

LESIONS, STEPS = 300, 250


def main(out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    net = trained(shuffled(draw_pairs(LESIONS, seed=11), seed=0), STEPS)
    save(net, out)
    print(f"Wrote {out}")


def shuffled(pairs: Pairs, seed: int) -> Pairs:
    """The same pictures, with the labels of others among them."""
    return replace(pairs, malignant=np.random.default_rng(seed).permutation(pairs.malignant))


def trained(pairs: Pairs, steps: int) -> torch.nn.Module:
    torch.manual_seed(0)
    net = build("honest").to(memory_format=torch.channels_last)
    fit(net, Recipe(steps=steps), lesion_batches(pairs, AT_RANDOM, covered_share=0.0))
    return net


if __name__ == "__main__":
    main(Path(*sys.argv[1:]) if sys.argv[1:] else Path("out/shuffled.safetensors"))
