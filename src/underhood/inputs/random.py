"""Randomness from one seed: the same numbers on every device, whatever the micro-batch."""

import numpy as np
import torch
from torch import Tensor

# streams: one for each purpose
BASELINE, NOISE, COALITIONS, PERMUTATIONS, MASKS, PATH, BOOTSTRAP, CONTROLS, PROBES, WEIGHTS = range(10)
CLUSTERS = 20
SAMPLES = 40  # of an audit, to be looked at again
ERRORS, CONFUSIONS = 30, 31  # of the playbooks of these names
LEAKAGE, SUBGROUPS, TRUST = 50, 51, 52


def generator(seed: int, *stream: int) -> np.random.Generator:
    """A generator for one purpose; different streams of a seed are independent."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, *stream))))


def normal(shape: tuple[int, ...], seed: int, *stream: int) -> Tensor:
    """Standard normal float32 numbers."""
    return torch.from_numpy(generator(seed, *stream).standard_normal(shape, dtype=np.float32))


def uniform(shape: tuple[int, ...], seed: int, *stream: int) -> Tensor:
    """float32 numbers, uniform in 0…1."""
    return torch.from_numpy(generator(seed, *stream).random(shape, dtype=np.float32))
