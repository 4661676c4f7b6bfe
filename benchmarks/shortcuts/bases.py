"""Pictures to plant marks in: drawn lesions, photographed lesions, digits, and small photos."""

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass
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
    """marked: the class that marks are planted in; stride: of the networks' first convolution."""

    name: str
    labels: tuple[str, ...]
    marked: int
    stride: int
    train: Part
    held_out: Part

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.train.pictures.shape[1:3]
        return height, width


def data_folder() -> Path:
    return Path(os.environ.get("UNDERHOOD_DATA", "../shared/data"))


def dermoscopy(kept: Path) -> Base:
    """900 drawn lesions of 72 x 72, without ruler, patch or ink; drawn once."""
    path = kept / "dermoscopy.npz"
    if not path.exists():
        drawn = draw_set(900, seed=505, size=72)
        kept.mkdir(parents=True, exist_ok=True)
        np.savez(path, pictures=drawn.images, classes=drawn.malignant.astype(np.int64))
    with np.load(path) as found:
        whole = Part(found["pictures"], found["classes"])
    return Base("dermoscopy", ("benign", "malignant"), 1, 2, mirrored(first(whole, 500), 4), rest(whole, 500))


def ham(_kept: Path) -> Base:
    """630 photographed lesions of HAM10000, 72 x 96: naevi, melanomas and keratoses against the rest."""
    folder = data_folder() / "ham10000"
    with (folder / "metadata.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["folder"] == "lowres"]
    pictures = [
        read(folder / "lowres" / "images" / f"{row['image_id']}.jpg", width=96, height=72) for row in rows
    ]
    classes = np.array([int(row["dx"] in PIGMENTED) for row in rows])
    whole = shuffled(Part(np.stack(pictures), classes))
    return Base("ham10000", ("other", "pigmented"), 1, 2, mirrored(first(whole, 330), 4), rest(whole, 330))


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
    return Base("cifar10", ("animal", "vehicle"), 1, 1, mirrored(first(whole, 600), 2), rest(whole, 600))


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


def read(path: Path, *, width: int, height: int) -> Pictures:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB").resize((width, height), Image.Resampling.BOX))


def first(part: Part, count: int) -> Part:
    return Part(part.pictures[:count], part.classes[:count])


def rest(part: Part, count: int) -> Part:
    return Part(part.pictures[count:], part.classes[count:])


def shuffled(part: Part) -> Part:
    order = np.random.default_rng(0).permutation(len(part))
    return Part(part.pictures[order], part.classes[order])


def mirrored(part: Part, ways: int) -> Part:
    """As it is, left for right, and with four ways upside down as well: before anything is planted."""
    both = np.concatenate([part.pictures, part.pictures[:, :, ::-1]])
    pictures = both if ways == 2 else np.concatenate([both, both[:, ::-1]])
    return Part(np.ascontiguousarray(pictures), np.tile(part.classes, ways))
