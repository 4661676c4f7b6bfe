"""Preprocessing: the same pixels as the libraries that trained the models."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from underhood.errors import BadInput, InvalidArgument, UnderhoodError, UnknownName
from underhood.models import Model, Preprocess, parse_preprocess
from underhood.models.schemes import SCHEMES


@pytest.fixture(scope="module", params=[(451, 300), (300, 451), (224, 224), (90, 40)], ids=str)
def photo(request: pytest.FixtureRequest) -> Image.Image:
    """Smooth colours with fine detail on them, as in a photo, where resampling has something to lose."""
    width, height = request.param
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 7), np.cos(y / 11), np.sin((x + y) / 3)], -1) * 60 + 128
    pixels = waves + rng.normal(0, 25, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def without_weights(source: str) -> Model:
    scheme, _, name = source.partition(":")
    with torch.device("meta"):
        return SCHEMES[scheme](name, False)


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) < 1e-5  # a grey level is above 1e-2


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_b0", "convnext_tiny", "inception_v3"])
def test_torchvisions_recipe_pixel_for_pixel(photo: Image.Image, name: str) -> None:
    models = pytest.importorskip("torchvision.models")
    recipe = models.get_model_weights(name).IMAGENET1K_V1.transforms()
    ours = without_weights(f"torchvision:{name}").preprocess
    assert ours is not None
    assert_same(ours(photo), recipe(photo))


def test_torchvisions_recipe_for_unknown_weights_is_the_one_for_the_smallest_pictures() -> None:
    models = pytest.importorskip("torchvision.models")
    assert models.get_model_weights("vit_h_14").DEFAULT.transforms().crop_size == [518]
    assert without_weights("torchvision:vit_h_14").input_shape == (3, 224, 224)


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",  # bicubic, 95 %: 224 / 0.95 is no whole number
        "vit_tiny_patch16_224",  # mean = std = 0.5, 90 %
        "test_vit",
        "test_efficientnet",
        "eva02_tiny_patch14_336",
        "maxvit_rmlp_pico_rw_256",
    ],
)
def test_timms_recipe_pixel_for_pixel(photo: Image.Image, name: str) -> None:
    timm = pytest.importorskip("timm")
    model = without_weights(f"timm:{name}")
    recipe = timm.data.create_transform(**timm.data.resolve_model_data_config(model.module))
    assert model.preprocess is not None
    assert_same(model.preprocess(photo), recipe(photo))


def test_squashing_ignores_the_proportions(photo: Image.Image) -> None:
    functional = pytest.importorskip("torchvision.transforms.functional")
    theirs = functional.to_tensor(functional.center_crop(functional.resize(photo, [64, 96]), [48, 80]))
    plain = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    assert_same(Preprocess(size=(64, 96), crop=(48, 80), **plain)(photo), theirs)
    squashed = Preprocess(size="squash", crop=(48, 80), **plain)(photo)
    assert_same(squashed, Preprocess(size=(48, 80), crop=None, **plain)(photo))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "P", "1", "LA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_gives_the_networks_channels(mode: str, channels: int) -> None:
    preprocess = Preprocess(size=32, crop=24, mean=(0.5,) * channels, std=(0.5,) * channels)
    x = preprocess(Image.new("RGB", (40, 50), (200, 100, 50)).convert(mode))
    assert x.shape == (channels, 24, 24)
    assert x.dtype == torch.float32
    assert -1 <= float(x.min()) <= float(x.max()) <= 1


def test_normalising_is_undone_by_denormalising() -> None:
    preprocess = Preprocess()
    pixels = torch.rand(2, 3, 5, 4)
    assert torch.allclose(preprocess.denormalise(preprocess.normalise(pixels)), pixels, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (3000, 20)])
def test_tiny_and_narrow_pictures_are_resized(size: tuple[int, int]) -> None:
    assert Preprocess()(Image.new("RGB", size, "red")).shape == (3, 224, 224)


def test_a_picture_too_long_to_resize_is_refused() -> None:
    with pytest.raises(BadInput, match="1 × 20000 pixels is too long"):
        Preprocess()(Image.new("L", (1, 20_000)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("imagenet", Preprocess()),
        ("half", Preprocess(mean=(0.5,) * 3, std=(0.5,) * 3)),
        ("unit,size=none", Preprocess(size=None, mean=(0.0,) * 3, std=(1.0,) * 3)),
        ("imagenet,size=232,crop=none", Preprocess(size=232, crop=None)),
        ("imagenet, size=squash, crop=96", Preprocess(size="squash", crop=96)),
        ("imagenet,interpolation=bicubic", Preprocess(interpolation="bicubic")),
    ],
)
def test_presets_with_changes(text: str, expected: Preprocess) -> None:
    assert parse_preprocess(text) == expected


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("imagnet", UnknownName, "did you mean 'imagenet'"),
        ("imagenet,sise=3", UnknownName, "did you mean 'size'"),
        ("imagenet,size=big", InvalidArgument, "size='big' is not a number of pixels"),
        ("imagenet,size=0", InvalidArgument, "size='0'"),
        ("imagenet,crop=-3", InvalidArgument, "crop='-3'"),
        ("imagenet,crop=squash", InvalidArgument, "crop='squash'"),
        ("imagenet,size=squash,crop=none", InvalidArgument, "needs a crop"),
        ("imagenet,interpolation=cubic", UnknownName, "did you mean 'bicubic'"),
        ("imagenet,", UnknownName, "preprocessing key"),
    ],
)
def test_what_cannot_be_parsed_is_refused(text: str, error: type[UnderhoodError], words: str) -> None:
    with pytest.raises(error, match=words):
        parse_preprocess(text)


def test_statistics_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="one or three means"):
        Preprocess(mean=(0.5, 0.5), std=(0.5, 0.5))
    with pytest.raises(InvalidArgument, match="stds above 0"):
        Preprocess(std=(0.0, 1.0, 1.0))
