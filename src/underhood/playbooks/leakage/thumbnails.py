"""Small pictures of all inputs, on disk, and how alike two of them are."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from underhood.inputs.baseline import gaussian_blur
from underhood.playbooks.survey import AT_ONCE, Survey

SIDE = 48  # pixels
MOVED = 3  # pixels of it, that two pictures may be shifted against each other
FINE, COARSE = 0.7 / 48, 2 / 48  # blurs between which details lie, as shares of the side
PATTERNS = 10  # waves across a thumbnail, up to which its spectrum is kept
SCALE = 24.0  # of a byte, in standard deviations of a thumbnail


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """pixels: (n, s, s) int8 in a file, see `thumbnail`.

    spectra: (n, k) float32 in a file: how much of each coarse pattern there is, wherever it lies.
    digests: (n, 2), the first 128 bits of each input's sha256.
    """

    pixels: NDArray[np.int8]
    spectra: NDArray[np.float32]
    digests: NDArray[np.uint64]


@contextmanager
def thumbnails(survey: Survey) -> Iterator[Thumbnails]:
    """Of every row, read once; no more than a few pictures are held, and the files go when all is done."""
    side: int | None = None
    with TemporaryDirectory(prefix="underhood-") as folder:
        digests = _file(folder, "digests", np.uint64, (len(survey), 2))
        for start in range(0, len(survey), AT_ONCE):
            rows = range(start, min(start + AT_ONCE, len(survey)))
            inputs = survey.inputs(rows)
            if side is None:
                side = min(SIDE, *inputs.shape[-2:])
                pixels = _file(folder, "pixels", np.int8, (len(survey), side, side))
                spectra = _file(folder, "spectra", np.float32, (len(survey), spectrum(pixels[:1]).shape[1]))
            small = thumbnail(inputs, side)
            pixels[rows.start : rows.stop], spectra[rows.start : rows.stop] = small, spectrum(small)
            digests[rows.start : rows.stop] = [_digest(x) for x in inputs]
        yield Thumbnails(pixels, spectra, digests)


def thumbnail(inputs: Tensor, side: int) -> NDArray[np.int8]:
    """(k, s, s): what is neither finer nor coarser than the details by which one picture is known from
    another, which brightness and compression hardly change.

    Edges count less, since a shift brings in there what the other picture does not have. Patterns that
    are strong in a picture are weakened, so that two of one blob each are not alike for that.
    """
    grey = F.interpolate(inputs.mean(1, keepdim=True), (side, side), mode="area")
    details = (gaussian_blur(grey, side * FINE) - gaussian_blur(grey, side * COARSE))[:, 0]
    spread = details.std((1, 2), keepdim=True)
    # A picture of one colour has no details but rounding.
    flat = spread[:, 0, 0] < 1e-4 * grey.abs().amax((1, 2, 3)).clamp(min=1e-6)
    ramp = ((torch.arange(side) + 0.5) / (side / 8)).clamp(max=1)
    window = torch.outer(ramp * ramp.flip(0), ramp * ramp.flip(0))
    mean = (details * window).sum((1, 2), keepdim=True) / window.sum()
    patterns = torch.fft.rfft2((details - mean) * window / spread.clamp(min=1e-12))
    even = torch.fft.irfft2(patterns / (patterns.abs() + 1e-2).sqrt(), s=(side, side))
    even = even / even.std((1, 2), keepdim=True).clamp(min=1e-12)
    even[flat] = 0
    return (even * SCALE).round().clamp(-127, 127).to(torch.int8).numpy()


def spectrum(pixels: NDArray[np.int8]) -> NDArray[np.float32]:
    """(k, f): magnitudes of the Fourier transform, the same for a shifted and for a mirrored thumbnail."""
    found = torch.fft.rfft2(_normed(pixels)).abs()
    reach = min(PATTERNS, found.shape[2] - 1)
    up, down = found[:, : reach + 1, : reach + 1], found[:, -reach:, : reach + 1].flip(1)
    mirrored = torch.cat([up[:, :1], (up[:, 1:] + down) / 2], 1)
    return mirrored.flatten(1).numpy()


def likeness(one: NDArray[np.int8], other: NDArray[np.int8]) -> NDArray[np.float64]:
    """(m,): the highest correlation of thumbnails (m, s, s), shifted a little, the second also mirrored."""
    first, second = torch.fft.rfft2(_normed(one)), _normed(other)
    found = [_highest(first, turned) for turned in (second, second.flip(-1))]
    return torch.stack(found).amax(0).double().numpy()


def _normed(pixels: NDArray[np.int8]) -> Tensor:
    values = torch.from_numpy(np.asarray(pixels, dtype=np.float32))
    return values / values.flatten(1).norm(dim=1).clamp(min=1e-6)[:, None, None]


def _highest(first: Tensor, other: Tensor) -> Tensor:
    side = other.shape[-1]
    all_shifts = torch.fft.irfft2(first * torch.fft.rfft2(other).conj(), s=(side, side))
    reach = min(MOVED, side // 8)
    near = torch.arange(-reach, reach + 1) % side
    return all_shifts[:, near][:, :, near].amax((1, 2))


def _digest(x: Tensor) -> NDArray[np.uint64]:
    held = x.contiguous().numpy().tobytes()
    return np.frombuffer(hashlib.sha256(held).digest()[:16], dtype=np.uint64)


def _file(folder: str, name: str, kind: type[np.generic], shape: tuple[int, ...]) -> Any:
    return np.lib.format.open_memmap(str(Path(folder) / f"{name}.npy"), mode="w+", dtype=kind, shape=shape)
