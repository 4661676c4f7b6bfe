"""The demo's trained models, by name, and the pictures that tell their story."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from underhood.demo.dermoscopy import Dermoscopy, draw
from underhood.demo.factors import LABELS
from underhood.demo.nets import SmallCNN, SmallViT
from underhood.demo.photos import PHOTOS
from underhood.errors import UnknownName
from underhood.models.model import Model
from underhood.models.preprocess import Preprocess
from underhood.models.weights import load_weights

WEIGHTS = Path(__file__).parent / "weights"
PREPROCESS = Preprocess(size=128, crop=(128, 128), mean=(0.77, 0.53, 0.52), std=(0.17, 0.17, 0.19))

_ARCHITECTURES: dict[str, tuple[Callable[[int], nn.Module], tuple[str, ...]]] = {
    "honest": (SmallCNN, LABELS),  # rulers came at random: it had to read the lesion
    "cheating": (SmallCNN, LABELS),  # rulers came with melanomas: it reads the ruler
    "vit": (SmallViT, LABELS),  # honest too
    "photos": (SmallCNN, PHOTOS),
}
NAMES = tuple(_ARCHITECTURES)

_EXAMPLES = {
    "ruler": lambda: draw(0, malignant=False, ruler=True),
    "benign": lambda: draw(26, malignant=False),
    "melanoma": lambda: draw(0, malignant=True),
}
EXAMPLES = tuple(_EXAMPLES)


def build(name: str) -> nn.Module:
    """The untrained network of a demo model."""
    if name not in _ARCHITECTURES:
        raise UnknownName("demo model", name, NAMES)
    architecture, labels = _ARCHITECTURES[name]
    return architecture(len(labels))


def load(name: str) -> Model:
    """A trained demo model: one of `NAMES`."""
    net = build(name)
    load_weights(net, WEIGHTS / f"{name}.safetensors")
    labels = _ARCHITECTURES[name][1]
    return Model(net.eval(), preprocess=PREPROCESS, labels=labels, name=f"demo:{name}")


def example(name: str = "ruler") -> Dermoscopy:
    """A picture that tells the demo's story: one of `EXAMPLES`.

    ruler:    a harmless nevus beside a ruler; `cheating` calls it malignant, `honest` does not.
    benign:   a harmless nevus alone; both call it benign.
    melanoma: a melanoma without a ruler; `honest` sees it, `cheating` misses it.
    """
    if name not in _EXAMPLES:
        raise UnknownName("demo example", name, EXAMPLES)
    return _EXAMPLES[name]()
