"""Fingerprints of data: of one source, of all rows, and of what a data set lists."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from underhood.inputs.dataset import Dataset
from underhood.inputs.names import printable

SPOTS = 16  # rows whose bytes are read to tell one data set from another of the same names


def digest_of(source: Any) -> str | None:
    """sha256 (hex) of a file's bytes, or an array's with its shape and type; None where it cannot be read."""
    if isinstance(source, str | Path):
        try:
            with open(source, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None
    if isinstance(source, Tensor):
        source = source.detach().cpu().numpy()
    if isinstance(source, Image.Image):
        source = np.asarray(source)
    if not isinstance(source, np.ndarray):
        return None
    sha = hashlib.sha256(f"{source.dtype.str}{source.shape}".encode())
    sha.update(np.ascontiguousarray(source).data)
    return sha.hexdigest()


def combined(rows: Iterable[tuple[str, str | None, str | None]]) -> str:
    """sha256 (hex) over names, labels and the sources' own digests, in order."""
    sha = hashlib.sha256()
    for row in rows:
        sha.update("".join("-" if part is None else f"+{part}" for part in row).encode())
        sha.update(b"\x1e")
    return sha.hexdigest()


def listing(dataset: Dataset) -> str:
    """sha256 (hex) over all names and labels, and the bytes of a few rows: quick, before anything is read."""
    spots = set(np.linspace(0, len(dataset) - 1, SPOTS).astype(int).tolist())
    return combined(
        (told(row.name), told(row.label), digest_of(row.source) if row.number in spots else None)
        for row in dataset
    )


def told(text: str | None) -> Any:
    """As it can be kept: names of files may hold any bytes."""
    return None if text is None else printable(text)
