"""Real objects cut out of photos, before real textures that may or may not go with their class.

After the wolves and huskies of Ribeiro et al. 2016, "Why should I trust you?", section 6.4, where snow went
with wolves. The two classes are animals and vehicles, cut out along the masks of COCO; behind them stripes or
dots (Describable Textures), which are cropped, turned and tinted anew for each picture.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from underhood.inputs.dataset import Dataset

SIZE = 64
CLASSES = ("animal", "vehicle")
BACKGROUNDS = ("striped", "dotted")  # the first goes with animals, the second with vehicles
SMALLEST = 40  # pixels along each side of an object that is used
FULL = 0.4  # of its box, that an object fills
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Cutout:
    """An object's pixels within its box, RGB with its mask as alpha."""

    picture: Image.Image
    kind: int  # of CLASSES


@dataclass(frozen=True, eq=False)
class Material:
    """Objects of both classes, and textures of both kinds."""

    objects: tuple[Cutout, ...]
    textures: tuple[tuple[Image.Image, ...], ...]

    def half(self, number: int) -> "Material":
        """The same objects, with every third texture (1) or with the others (0)."""
        return Material(
            self.objects,
            tuple(tuple(t for i, t in enumerate(kind) if (i % 3 == 0) == number) for kind in self.textures),
        )


def material(data: Path) -> Material:
    """From the folders coco and concepts."""
    textures = tuple(
        tuple(Image.open(path).convert("RGB") for path in sorted((data / "concepts" / kind).glob("*.jpg")))
        for kind in BACKGROUNDS
    )
    return Material(tuple(_cut(data / "coco")), textures)


def _cut(folder: Path) -> list[Cutout]:
    known = json.loads((folder / "instances.json").read_text())
    kinds = {entry["id"]: entry["supercategory"] for entry in known["categories"]}
    files = {entry["id"]: entry["file_name"] for entry in known["images"]}
    found = []
    for entry in known["annotations"]:
        kind, (_, _, width, height) = kinds[entry["category_id"]], entry["bbox"]
        if kind not in CLASSES or entry["iscrowd"] or min(width, height) < SMALLEST:
            continue
        if entry["area"] < FULL * width * height:  # legs, or what shows behind something else
            continue
        with Image.open(folder / "images" / files[entry["image_id"]]) as photo:
            found.append(Cutout(_along(photo.convert("RGB"), entry), CLASSES.index(kind)))
    return found


def _along(photo: Image.Image, entry: dict) -> Image.Image:  # type: ignore[type-arg]
    mask = Image.new("L", photo.size)
    for outline in entry["segmentation"]:
        ImageDraw.Draw(mask).polygon(outline, fill=255)
    left, top, width, height = entry["bbox"]
    photo.putalpha(mask)
    return photo.crop((int(left), int(top), int(left + width) + 1, int(top + height) + 1))


@dataclass(frozen=True, eq=False)
class Scenes:
    """n pictures. images: (n, H, W, 3); masks: (n, H, W) of the object; kind, background: (n,)."""

    images: Pixels
    masks: NDArray[np.bool_]
    kind: NDArray[np.int64]
    background: NDArray[np.int64]

    def dataset(self, name: str) -> Dataset:
        """With masks of the objects; the background is in the metadata, which no playbook here reads."""
        return Dataset.of(
            self.images,
            [CLASSES[kind] for kind in self.kind],
            masks=list(self.masks),
            metadata=[{"background": BACKGROUNDS[of]} for of in self.background],
            name=name,
        )


def scenes(material: Material, count: int, chances: Sequence[float], seed: int) -> Scenes:
    """Scenes of both classes in turn; chances: of each class to stand before the other one's background."""
    random = np.random.default_rng(seed)
    by_kind = [[cutout for cutout in material.objects if cutout.kind == kind] for kind in range(2)]
    drawn, kinds, backgrounds = [], np.arange(count) % 2, np.zeros(count, dtype=np.int64)
    for number, kind in enumerate(kinds):
        backgrounds[number] = kind ^ int(random.random() < chances[kind])
        textures = material.textures[backgrounds[number]]
        behind = _behind(textures[random.integers(len(textures))], random)
        drawn.append(_before(behind, by_kind[kind][random.integers(len(by_kind[kind]))].picture, random))
    images, masks = (np.stack(parts) for parts in zip(*drawn, strict=True))
    return Scenes(images, masks, kinds, backgrounds)


def _behind(texture: Image.Image, random: np.random.Generator) -> Image.Image:
    """A crop of half to all of the texture's side, turned by a right angle, mirrored and tinted at random."""
    side = round(min(texture.size) * random.uniform(0.5, 1))
    left, top = (int(random.integers(0, whole - side + 1)) for whole in texture.size)
    crop = texture.resize((SIZE, SIZE), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    pixels = np.rot90(np.asarray(crop), random.integers(4))[:, :: random.choice([-1, 1])]
    tinted = pixels * random.uniform(0.7, 1.3, 3)
    return Image.fromarray(tinted.clip(0, 255).astype(np.uint8))


def _before(
    behind: Image.Image, cutout: Image.Image, random: np.random.Generator
) -> tuple[Pixels, NDArray[np.bool_]]:
    """The object put near the middle, 60 to 80 % as long as the picture, mirrored at random."""
    longer = SIZE * random.uniform(0.6, 0.8)
    width, height = (max(4, round(side * longer / max(cutout.size))) for side in cutout.size)
    small = cutout.resize((width, height), Image.Resampling.BILINEAR)
    if random.random() < 0.5:
        small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    left, top = (int((SIZE - side) / 2 + SIZE * random.uniform(-0.1, 0.1)) for side in (width, height))
    whole = Image.new("RGBA", (SIZE, SIZE))
    whole.paste(small, (left, top))
    mask = np.asarray(whole.getchannel("A"))
    behind.paste(whole, mask=whole)
    return np.asarray(behind), mask > 127
