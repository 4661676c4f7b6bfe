"""hf:NAME-OR-FOLDER: image classifiers of transformers."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from underhood.models.model import Model
from underhood.models.preprocess import Preprocess
from underhood.models.schemes.library import built, library

FOLDER = (
    "Where nothing can be downloaded, give a folder with the model's config.json, preprocessor_config.json "
    "and weights: hf:FOLDER."
)


def from_hf(name: str, pretrained: bool) -> Model:
    """An image classifier of transformers with its processor; without weights only its configuration."""
    transformers = library("transformers", "hf")
    auto = transformers.AutoModelForImageClassification

    def build() -> nn.Module:
        if pretrained:
            return auto.from_pretrained(name)
        return auto.from_config(transformers.AutoConfig.from_pretrained(name))

    with _bars_for_eyes_alone(transformers.utils.logging):
        module = built(build, f"hf:{name}", FOLDER)
    processor = built(lambda: transformers.AutoImageProcessor.from_pretrained(name), f"hf:{name}", FOLDER)
    id2label = module.config.id2label
    return Model(
        module,
        preprocess=_from_processor(processor),
        labels=[str(id2label[i]) for i in sorted(id2label)],
        name=f"hf:{name}",
    )


@contextmanager
def _bars_for_eyes_alone(logging: Any) -> Iterator[None]:
    """transformers' own progress bars only on a terminal; afterwards as the user had them."""
    silenced = logging.is_progress_bar_enabled() and not sys.stderr.isatty()
    if silenced:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if silenced:
            logging.enable_progress_bar()


def _from_processor(processor: Any) -> Preprocess | None:
    """A transformers image processor's settings as a `Preprocess`; None where they make none."""
    size, crop = dict(processor.size), getattr(processor, "crop_size", None)
    exact, edge = (size.get("height"), size.get("width")), size.get("shortest_edge")
    resized: Any = edge if edge else exact
    if not edge and None in exact:
        return None
    if getattr(processor, "do_center_crop", False) and crop:
        cropped = (crop["height"], crop["width"])
    else:
        cropped = (edge, edge) if edge else exact
        if edge and (share := getattr(processor, "crop_pct", None)):  # ConvNeXt's own rule
            resized = cropped if edge >= 384 else int(edge / share)
    normal = getattr(processor, "do_normalize", True)
    resample = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
    return Preprocess(
        size=resized,
        crop=cropped,
        mean=tuple(processor.image_mean) if normal else (0.0, 0.0, 0.0),
        std=tuple(processor.image_std) if normal else (1.0, 1.0, 1.0),
        interpolation=resample.get(int(processor.resample or 2), "bilinear"),  # type: ignore[arg-type]
    )
