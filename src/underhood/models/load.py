"""`load`: a model from a word such as "torchvision:resnet50", "file:my_model.py:build", "demo:honest"."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from underhood.errors import InvalidArgument
from underhood.models.labels import read_labels
from underhood.models.model import Model
from underhood.models.preprocess import PRESETS, Preprocess, parse_preprocess
from underhood.models.schemes import SCHEMES
from underhood.models.weights import load_weights
from underhood.plugins import plugin

Labels = str | Path | Sequence[str] | None


def load(
    source: str | nn.Module | Model,
    *,
    weights: str | Path | None = None,
    labels: Labels = None,
    preprocess: str | Preprocess | None = None,
    layer: str | None = None,
    trust: bool = False,
) -> Model:
    """A `Model` from a scheme and a name, or from a module.

    source:      "torchvision:NAME", "timm:NAME", "hf:NAME-OR-FOLDER" (image classifiers of
                 transformers), "file:PATH.py:FUNCTION", "demo:NAME", or a module.
    weights:     a .safetensors, .pt or .pth file. Without it, `torchvision:`, `timm:` and `hf:` take
                 their library's pretrained weights (a download, where they are not on the disk yet).
    labels:      a file (see `read_labels`) or a list.
    preprocess:  a preset with changes (see `parse_preprocess`) or a `Preprocess`.
    layer:       what Grad-CAM looks at, where the default is not wanted.
    trust:       let a weight file run code while it is unpickled.

    Raises UnknownName for an unknown scheme or name, MissingExtra for a library that is not installed,
    BadWeights for weights that do not fit.
    """
    built = _built(source, pretrained=weights is None)
    if weights is not None:
        load_weights(built.module, weights, trust=trust)
    chosen = parse_preprocess(preprocess) if isinstance(preprocess, str) else preprocess
    notes = built.notes
    if chosen is None and built.preprocess is None:
        chosen = PRESETS["imagenet"]
        notes += ("No preprocessing was given; ImageNet's is assumed (resize 256, crop 224).",)
    if isinstance(labels, str | Path):
        labels = read_labels(labels)
    return Model(
        built.module,
        preprocess=chosen or built.preprocess,
        labels=labels if labels is not None else built.labels,
        name=built.name,
        layer=layer or built.layer,
        notes=notes,
        loaded=_asked(source=source, weights=weights, layer=layer) if isinstance(source, str) else {},
    )


def _asked(**given: str | Path | None) -> dict[str, str]:
    return {name: str(value) for name, value in given.items() if value is not None}


def _built(source: str | nn.Module | Model, *, pretrained: bool) -> Model:
    if isinstance(source, Model):
        return source
    if isinstance(source, nn.Module):
        return Model(source)
    scheme, colon, name = source.partition(":")
    if not colon or not name:
        raise InvalidArgument(
            f"'{source}' names no model; write a scheme and a name, such as torchvision:resnet50, "
            "timm:vit_tiny_patch16_224, file:my_model.py:build, demo:honest, demo:cheating or demo:vit."
        )
    if scheme in SCHEMES:
        return SCHEMES[scheme](name, pretrained)
    model: Model = plugin("models", scheme, kind="model scheme", known=tuple(SCHEMES))(name)
    return model
