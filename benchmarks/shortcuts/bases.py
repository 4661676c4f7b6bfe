"""Pictures to plant marks in: drawn lesions, photographed lesions, digits, and small photos."""

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from underhood.demo.dermoscopy import draw_set

Pictures = NDArray[np.uint8]  # (n, H, W, 3)
Classes = NDArray[np.int64]  # (n,)
PIGMENTED = ("nv", "mel", "bkl")
VEHICLES = (0, 1, 8, 9)  # aeroplane, car, ship, lorry, among the classes of CIFAR-10
DIGITS = (3, 5, 8)


@dataclass(frozen=True, eq=False)
class Part:
    pictures: Pictures
    classes: Classes

    def __len__(self) -> int:
        return len(self.classes)


@dataclass(frozen=True, eq=False)
class Base:
    """marked: the class that marks are planted in; stride: of the networks' first convolution.

    known: the training pictures before they were mirrored.
    """

    name: str
    labels: tuple[str, ...]
    marked: int
    stride: int
    known: Part
    held_out: Part
    ways: int = 1

    @cached_property
    def train(self) -> Part:
        return mirrored(self.known, self.ways)

    @cached_property
    def audited(self) -> Part:
        """All there are, each once."""
        parts = self.known, self.held_out
        return Part(
            np.concatenate([part.pictures for part in parts]),
            np.concatenate([part.classes for part in parts]),
        )

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.known.pictures.shape[1:3]
        return height, width


def data_folder() -> Path:
    return Path(os.environ.get("UNDERHOOD_DATA", "../shared/data"))


def dermoscopy(kept: Path) -> Base:
    """2,000 drawn lesions of 72 x 72, without ruler, patch or ink; drawn once."""
    path = kept / "dermoscopy.npz"
    if not path.exists():
        drawn = draw_set(2000, seed=505, size=72)
        kept.mkdir(parents=True, exist_ok=True)
        np.savez(path, pictures=drawn.images, classes=drawn.malignant.astype(np.int64))
    with np.load(path) as found:
        whole = Part(found["pictures"], found["classes"])
    return Base("dermoscopy", ("benign", "malignant"), 1, 2, first(whole, 500), rest(whole, 500), ways=4)


def ham(_kept: Path) -> Base:
    """630 photographed lesions of HAM10000, 150 x 200: naevi, melanomas and keratoses against the rest."""
    folder = data_folder() / "ham10000"
    with (folder / "metadata.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["folder"] == "lowres"]
    pictures = [read(folder / "lowres" / "images" / f"{row['image_id']}.jpg") for row in rows]
    classes = np.array([int(row["dx"] in PIGMENTED) for row in rows])
    whole = shuffled(Part(np.stack(pictures), classes))
    return Base("ham10000", ("other", "pigmented"), 1, 4, first(whole, 330), rest(whole, 330), ways=4)


def mnist(_kept: Path) -> Base:
    """Threes, fives and eights on grey of 40 x 40, somewhere near the middle."""
    parts = []
    with np.load(data_folder() / "small" / "mnist_12k_2k.npz") as found:
        for split, most in (("train", 1500), ("test", 500)):
            digits, classes = found[f"x_{split}"], found[f"y_{split}"]
            chosen = np.flatnonzero(np.isin(classes, DIGITS))[:most]
            parts.append(Part(on_grey(digits[chosen]), np.searchsorted(DIGITS, classes[chosen])))
    return Base("mnist", tuple(map(str, DIGITS)), 2, 1, *parts)


def on_grey(digits: NDArray[np.uint8]) -> Pictures:
    """(n, 28, 28) to (n, 40, 40, 3)."""
    random = np.random.default_rng(0)
    sheet = np.zeros((len(digits), 40, 40))
    for digit, place, (top, left) in zip(
        digits, sheet, random.integers(3, 10, (len(digits), 2)), strict=True
    ):
        place[top : top + 28, left : left + 28] = digit
    grey = random.uniform(60, 85, (len(digits), 1, 1)) + 3 * random.standard_normal(sheet.shape)
    shown = np.maximum(grey, sheet * 0.92).clip(0, 255).astype(np.uint8)
    return np.repeat(shown[..., None], 3, axis=3)


def cifar(_kept: Path) -> Base:
    """1,000 photos of CIFAR-10, enlarged to 48 x 48, vehicles against animals."""
    with np.load(data_folder() / "small" / "cifar10_train_first1000_lossless.npz") as found:
        small, classes = found["x"], np.isin(found["y"], VEHICLES).astype(np.int64)
    pictures = [np.asarray(Image.fromarray(one).resize((48, 48), Image.Resampling.BICUBIC)) for one in small]
    whole = Part(np.stack(pictures), classes)
    return Base("cifar10", ("animal", "vehicle"), 1, 1, first(whole, 600), rest(whole, 600), ways=2)


BASES: dict[str, Callable[[Path], Base]] = {
    "dermoscopy": dermoscopy,
    "ham10000": ham,
    "mnist": mnist,
    "cifar10": cifar,
}


NEEDED = {"ham10000": "ham10000", "mnist": "small", "cifar10": "small"}  # folders of the data


def missing() -> dict[str, str]:
    """By base, a sentence for those whose data are not there."""
    return {
        name: f"No {data_folder() / folder}: models on {name} are left out; UNDERHOOD_DATA says where it is."
        for name, folder in NEEDED.items()
        if not (data_folder() / folder).exists()
    }


def read(path: Path) -> Pictures:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def first(part: Part, count: int) -> Part:
    return Part(part.pictures[:count], part.classes[:count])


def rest(part: Part, count: int) -> Part:
    return Part(part.pictures[count:], part.classes[count:])


def shuffled(part: Part) -> Part:
    order = np.random.default_rng(0).permutation(len(part))
    return Part(part.pictures[order], part.classes[order])


def mirrored(part: Part, ways: int) -> Part:
    """As it is; with two ways left for right as well, with four upside down, too; nothing is planted yet."""
    pictures = part.pictures
    for axis in (2, 1)[: ways // 2]:
        pictures = np.concatenate([pictures, np.flip(pictures, axis)])
    return Part(pictures, np.tile(part.classes, ways))
