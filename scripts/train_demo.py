"""Train the demo's models again from nothing, into src/underhood/demo/weights: a few minutes.

    python scripts/train_demo.py [NAME ...]

Without names, all of them: vit, honest, cheating, photos. Two processes share the work, each in one
thread, so that the weights depend neither on the number of cores nor on what else is running.
"""

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context

import numpy as np
import torch
from numpy.typing import NDArray

from underhood.demo.accuracy import Predict, accuracies
from underhood.demo.factors import AT_RANDOM, WITH_MALIGNANT
from underhood.demo.models import PREPROCESS, WEIGHTS, build, load
from underhood.demo.pairs import Pairs, draw_pairs
from underhood.demo.photos import PHOTOS, photo
from underhood.demo.training import Recipe, fit, lesion_batches, photo_batches, save

RECIPES = {  # longest first
    "vit": Recipe(steps=1200, rate=2e-3),
    "honest": Recipe(steps=800),
    "cheating": Recipe(steps=250),
    "photos": Recipe(steps=250),
}


def main(names: list[str]) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # in the processes started here
    started = time.perf_counter()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        pairs = joined(list(pool.map(draw_pairs, repeat(1100, 2), (11, 12))))
        print(f"lesions drawn after {time.perf_counter() - started:.0f} s", flush=True)
        for name in pool.map(train, names, repeat(pairs)):
            print(f"{name} trained after {time.perf_counter() - started:.0f} s", flush=True)
    fresh = draw_pairs(400, seed=2024)
    for name in names:
        if name != "photos":
            print(name, accuracies(predictor(name), fresh), flush=True)


def joined(parts: list[Pairs]) -> Pairs:
    return Pairs(
        images=np.concatenate([part.images for part in parts], axis=1),
        malignant=np.concatenate([part.malignant for part in parts]),
        lesion=np.concatenate([part.lesion for part in parts]),
    )


def train(name: str, pairs: Pairs) -> str:
    """Train one model, write its weights, and give its name back."""
    torch.manual_seed(0)
    net = build(name).to(memory_format=torch.channels_last)
    if name == "photos":
        batch = photo_batches([photo(each) for each in PHOTOS])
    elif name == "cheating":
        batch = lesion_batches(pairs, WITH_MALIGNANT, covered_share=0.0)
    else:
        batch = lesion_batches(pairs, AT_RANDOM, covered_share=0.6)
    fit(net, RECIPES[name], batch)
    save(net, WEIGHTS / f"{name}.safetensors")
    return name


def predictor(name: str) -> Predict:
    """From images (n, H, W, 3), uint8, to the labels the trained model gives, (n,)."""
    net = load(name).module

    def predict(images: NDArray[np.uint8]) -> NDArray[np.int64]:
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            return torch.cat([net(PREPROCESS.normalise(part)) for part in pixels.split(64)]).argmax(1).numpy()

    return predict


if __name__ == "__main__":
    main(sys.argv[1:] or list(RECIPES))
