"""A mask goes through the same resizing and cropping as its picture."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from underhood.errors import BadInput
from underhood.inputs.dataset import Row
from underhood.inputs.gather import gather, mask_as_seen
from underhood.models import Model, Preprocess


@pytest.mark.parametrize("preprocess", [Preprocess(32, 24), Preprocess("squash", 24), Preprocess(None, None)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", ["array", "file", "picture"])
def test_masks_lie_where_the_network_sees_the_thing(tmp_path, preprocess, channels, form) -> None:
    preprocess = Preprocess(preprocess.size, preprocess.crop, (0.0,) * channels, (1.0,) * channels)
    model = Model(nn.Conv2d(channels, 1, 1), preprocess=preprocess)
    mask = np.zeros((64, 128), bool)
    mask[8:30, 70:100] = True  # right of the centre, cut by the crop
    picture = np.repeat(mask[..., None], 3, 2).astype(np.uint8) * 255
    Image.fromarray(picture).save(tmp_path / "a.png")
    source = {"array": picture, "file": str(tmp_path / "a.png"), "picture": Image.fromarray(picture)}[form]
    seen = gather(model, source).tensor[0]
    found = mask_as_seen(model, source, mask, tuple(seen.shape[-2:]))
    assert found.any()
    assert torch.equal(found, seen[0] > 0.5)


def test_masks_of_network_inputs_are_only_resized() -> None:
    model = Model(nn.Conv2d(3, 1, 1), preprocess="imagenet")
    mask = np.zeros((8, 8), bool)
    mask[:4] = True
    found = mask_as_seen(model, torch.zeros(3, 4, 4), mask, (4, 4))
    assert found.tolist() == [[True] * 4] * 2 + [[False] * 4] * 2


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize(
    ("size", "fits"),
    [((30, 20), True), ((15, 10), True), ((10, 7), True), ((7, 5), True), ((300, 200), True),
     ((20, 30), False), ((20, 20), False), ((30, 16), False), ((300, 190), False)]
)  # fmt: skip
def test_a_mask_may_be_of_another_size_than_its_picture_but_not_of_another_shape(
    tmp_path, size, fits, upright
) -> None:
    """Also where the picture lies on its side, and EXIF says so."""
    exif = Image.Exif()
    exif[0x0112] = 1 if upright else 6
    Image.new("RGB", (30, 20) if upright else (20, 30)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("L", size, 255).save(tmp_path / "mask.png")
    row = Row(0, "a.jpg", str(tmp_path / "a.jpg"), mask=str(tmp_path / "mask.png"))
    if fits:
        mask = row.read_mask()
        assert mask is not None
        assert mask.shape == size[::-1]
        return
    with pytest.raises(
        BadInput, match=f"mask of 'a.jpg' is {size[0]} × {size[1]} pixels and the picture 30 × 20"
    ):
        row.read_mask()
