"""`load`: a model from a word such as "torchvision:resnet50", "file:my_model.py:build", "demo:honest"."""

import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from underhood.errors import BadModel, InvalidArgument, MissingExtra, UnknownName
from underhood.models.labels import read_labels
from underhood.models.model import Model
from underhood.models.preprocess import PRESETS, Preprocess, parse_preprocess
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
    )


def _built(source: str | nn.Module | Model, *, pretrained: bool) -> Model:
    if isinstance(source, Model):
        return source
    if isinstance(source, nn.Module):
        return Model(source)
    scheme, colon, name = source.partition(":")
    if not colon or not name:
        raise InvalidArgument(
            f"'{source}' names no model; write a scheme and a name, such as "
            "torchvision:resnet50, timm:vit_tiny_patch16_224, file:my_model.py:build or demo:honest."
        )
    if scheme in SCHEMES:
        return SCHEMES[scheme](name, pretrained)
    model: Model = plugin("models", scheme, kind="model scheme", known=tuple(SCHEMES))(name)
    return model


def _from_torchvision(name: str, pretrained: bool) -> Model:
    models = _import("torchvision.models", "torchvision")
    known = models.list_models(module=models)
    if name not in known:
        raise UnknownName("torchvision classifier", name, known)
    weights = models.get_model_weights(name)
    module = _offline_hint(
        lambda: models.get_model(name, weights="DEFAULT" if pretrained else None, **_no_init(name)),
        f"torchvision:{name}",
    )
    # A file of weights says nothing of its recipe: the architecture's first one for the smallest pictures.
    first = min(weights, key=lambda member: member.transforms().crop_size[0])
    recipe = (weights.DEFAULT if pretrained else first).transforms()
    preprocess = Preprocess(
        size=recipe.resize_size[0],
        crop=recipe.crop_size[0],
        mean=tuple(recipe.mean),
        std=tuple(recipe.std),
        interpolation=recipe.interpolation.value,
    )
    return Model(module, preprocess=preprocess, labels=first.meta["categories"], name=f"torchvision:{name}")


def _no_init(name: str) -> dict[str, bool]:
    """GoogLeNet and Inception spend half a minute on random weights that are overwritten anyway."""
    return {"init_weights": False} if name in ("googlenet", "inception_v3") else {}


def _from_timm(name: str, pretrained: bool) -> Model:
    timm = _import("timm", "timm")
    if name.partition(".")[0] not in timm.list_models():
        raise UnknownName("timm model", name, timm.list_models())
    module = _offline_hint(lambda: timm.create_model(name, pretrained=pretrained), f"timm:{name}")
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
    return Model(module, preprocess=preprocess, labels=_timm_labels(timm, module), name=f"timm:{name}")


def _timm_labels(timm: ModuleType, module: nn.Module) -> list[str] | None:
    if getattr(module, "num_classes", None) != 1000:
        return None
    info = timm.data.ImageNetInfo()
    return [info.index_to_description(i) for i in range(1000)]


def _from_hf(name: str, pretrained: bool) -> Model:
    """An image classifier of transformers with its processor; without weights only its configuration."""
    transformers = _import("transformers", "hf")
    auto = transformers.AutoModelForImageClassification

    def build() -> nn.Module:
        if pretrained:
            return auto.from_pretrained(name)
        return auto.from_config(transformers.AutoConfig.from_pretrained(name))

    module = _offline_hint(build, f"hf:{name}")
    processor = _offline_hint(lambda: transformers.AutoImageProcessor.from_pretrained(name), f"hf:{name}")
    id2label = module.config.id2label
    return Model(
        module,
        preprocess=_from_processor(processor),
        labels=[str(id2label[i]) for i in sorted(id2label)],
        name=f"hf:{name}",
    )


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


def _from_file(name: str, pretrained: bool) -> Model:  # noqa: ARG001 - the function decides
    """What FUNCTION in PATH.py returns: a module, or a `Model` with preprocessing and labels."""
    path_text, colon, function_name = name.rpartition(":")
    path = Path(path_text).expanduser()
    if not colon or not path.is_file():
        raise InvalidArgument(
            f"file:{name} must be file:PATH.py:FUNCTION, where PATH.py exists; "
            f"there is no file '{path_text or name}'."
        )
    module = _import_path(path)
    functions = [n for n, value in vars(module).items() if callable(value) and n[0] != "_"]
    if function_name not in functions:
        raise UnknownName(f"function in {path.name}", function_name, functions)
    try:
        built = getattr(module, function_name)()
    except (Exception, SystemExit) as error:
        raise BadModel(f"{path.name}:{function_name}() failed: {_sentence(error)}") from error
    if isinstance(built, Model):
        return built
    if not isinstance(built, nn.Module):
        raise BadModel(
            f"{path.name}:{function_name}() returned {type(built).__name__}; "
            "it must return a torch.nn.Module or an underhood.Model."
        )
    return Model(built, name=f"file:{path.name}:{function_name}")


def _import_path(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InvalidArgument(f"'{path}' is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))  # so that it can import its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise BadModel(f"Importing {path.name} failed: {_sentence(error)}") from error
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module


def _import(module: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as error:  # a broken torchvision raises RuntimeError
        raise MissingExtra(module.partition(".")[0], extra) from error


def _offline_hint(build: Callable[[], Any], source: str) -> Any:
    try:
        return build()
    except (OSError, RuntimeError, ValueError) as error:
        raise BadModel(
            f"{source} could not be loaded: {_sentence(error)} Where the weights cannot be "
            "downloaded, give a file with --weights."
        ) from error


def _sentence(error: BaseException) -> str:
    """The first line of an error's text, as the end of a sentence."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".!")
    return f"{type(error).__name__}: {text}."


SCHEMES: dict[str, Callable[[str, bool], Model]] = {
    "torchvision": _from_torchvision,
    "timm": _from_timm,
    "hf": _from_hf,
    "file": _from_file,
}
