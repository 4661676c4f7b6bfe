"""timm:NAME, with the preprocessing of its configuration."""

import math
from types import ModuleType

from torch import nn

from underhood.errors import UnknownName
from underhood.models.model import Model
from underhood.models.preprocess import Preprocess
from underhood.models.schemes.library import built, library


def from_timm(name: str, pretrained: bool) -> Model:
    timm = library("timm", "timm")
    if name.partition(".")[0] not in timm.list_models():
        raise UnknownName("timm model", name, timm.list_models())
    module = built(lambda: timm.create_model(name, pretrained=pretrained), f"timm:{name}")
    data = timm.data.resolve_model_data_config(module)
    _, *crop = data["input_size"]
    height, width = (math.floor(side / data["crop_pct"]) for side in crop)
    preprocess = Preprocess(
        size=(height, width) if data["crop_mode"] == "squash" else min(height, width),
        crop=(crop[0], crop[1]),
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        interpolation=data["interpolation"],
    )
    return Model(module, preprocess=preprocess, labels=_labels(timm, module), name=f"timm:{name}")


def _labels(timm: ModuleType, module: nn.Module) -> list[str] | None:
    if getattr(module, "num_classes", None) != 1000:
        return None
    info = timm.data.ImageNetInfo()
    return [info.index_to_description(i) for i in range(1000)]
