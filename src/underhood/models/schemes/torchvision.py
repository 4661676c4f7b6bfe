"""torchvision:NAME, with the preprocessing and labels that its weights come with."""

from underhood.errors import UnknownName
from underhood.models.model import Model
from underhood.models.preprocess import Preprocess
from underhood.models.schemes.library import built, library


def from_torchvision(name: str, pretrained: bool) -> Model:
    models = library("torchvision.models", "torchvision")
    known = models.list_models(module=models)
    if name not in known:
        raise UnknownName("torchvision classifier", name, known)
    weights = models.get_model_weights(name)
    module = built(
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
