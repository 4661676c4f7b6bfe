"""From whatever the user gives to the network's input."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.toys import CN, ML
from underhood.errors import BadInput, InvalidArgument
from underhood.inputs import gather
from underhood.inputs.gather import displayed
from underhood.models import Model, Preprocess

GREY = Model(CN(), preprocess=Preprocess(size=4, crop=4, mean=(0.5,), std=(0.5,)))
COLOUR = Model(CN(), preprocess=Preprocess(size=None, crop=4))
ARRAY = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Image.fromarray(ARRAY).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def test_a_path_a_picture_and_an_array_are_the_same_input(path: Path) -> None:
    expected = COLOUR.preprocess(Image.fromarray(ARRAY))[None]  # type: ignore[misc]
    with Image.open(path) as opened:
        for given in (path, str(path), opened, Image.fromarray(ARRAY), ARRAY):
            found = gather(COLOUR, given)
            assert torch.equal(found.tensor, expected)
            assert found.single
            assert found.tensor.dtype == torch.float32
        assert gather(COLOUR, opened).names == (str(path),)
    assert gather(COLOUR, path).names == (str(path),)
    assert gather(COLOUR, ARRAY).names == ("input 0",)


def test_a_picture_with_sixteen_bits_is_the_same_from_a_path_and_opened(tmp_path: Path) -> None:
    deep = Image.fromarray(np.arange(16, dtype=np.uint16).reshape(4, 4) * 4000)
    deep.save(tmp_path / "deep.png")
    assert torch.equal(gather(GREY, deep).tensor, gather(GREY, tmp_path / "deep.png").tensor)
    assert float(gather(GREY, deep).tensor.std()) > 0.5


@pytest.mark.parametrize("make", [list, tuple, iter, lambda items: (item for item in items)])
def test_several_inputs_of_any_kind_are_a_batch(path: Path, make: Any) -> None:
    tensor = torch.rand(3, 4, 4)
    found = gather(COLOUR, make([path, Image.fromarray(ARRAY), ARRAY, tensor, tensor.numpy()]))
    assert found.tensor.shape == (5, 3, 4, 4)
    assert not found.single
    assert found.names == (str(path), *(f"input {i}" for i in range(1, 5)))
    assert torch.equal(found.tensor[0], found.tensor[2])
    assert torch.equal(found.tensor[3], found.tensor[4])


@pytest.mark.parametrize(
    ("shape", "expected", "single"),
    [
        ((3,), (1, 3), True),
        ((5, 3), (5, 3), False),
        ((1, 4, 4), (1, 1, 4, 4), True),
        ((2, 1, 4, 4), (2, 1, 4, 4), False),
    ],
)
@pytest.mark.parametrize("kind", [torch.tensor, np.asarray])
def test_tensors_and_arrays_are_taken_as_they_are(
    shape: tuple[int, ...], expected: tuple[int, ...], single: bool, kind: Any
) -> None:
    found = gather(Model(ML()), kind(np.ones(shape)))
    assert (found.tensor.shape, found.single) == (expected, single)
    assert found.tensor.dtype == torch.float32


def test_what_was_gathered_is_passed_through() -> None:
    found = gather(GREY, CN.x0())
    assert gather(GREY, found) is found


def test_inputs_are_freed_of_graphs_and_inference_mode() -> None:
    x = torch.rand(2, 3, requires_grad=True)
    assert not gather(Model(ML()), x * 2).tensor.requires_grad
    with torch.inference_mode():
        made = torch.rand(2, 3)
        assert not gather(Model(ML()), made).tensor.is_inference()


@pytest.mark.parametrize(
    ("inputs", "error", "words"),
    [
        ([], InvalidArgument, "no inputs"),
        (torch.zeros(0, 3), BadInput, r"empty: shape \(0, 3\)"),
        (torch.tensor([1.0, float("nan"), 0.0]), BadInput, "NaN or infinite"),
        (np.array([[np.inf, 0, 0]]), BadInput, "NaN or infinite"),
        ([torch.zeros(3), torch.zeros(4)], BadInput, r"differ in shape \(\(3,\), \(4,\)\)"),
        ([5], InvalidArgument, "not int"),
        (["none.jpg"], BadInput, "There is no file 'none.jpg'"),
        (Image.new("RGB", (4, 4)), InvalidArgument, "ML has no preprocessing"),
        (np.zeros((2, 2, 2, 3), np.uint8), BadInput, "is no picture"),
    ],
)
def test_what_is_no_input_is_refused(inputs: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        gather(Model(ML()), inputs)


def test_the_picture_is_shown_as_the_network_sees_it() -> None:
    found = gather(COLOUR, ARRAY)
    shown = displayed(COLOUR, found.tensor[0])
    assert shown is not None
    assert (shown == ARRAY).all()
    assert shown.dtype == np.uint8


def test_tensors_of_models_without_preprocessing_are_shown_by_their_range() -> None:
    shown = displayed(Model(CN()), CN.x0()[0])
    assert shown is not None
    assert shown.shape == (4, 4, 3)
    assert (shown.min(), shown.max()) == (0, 255)
    assert displayed(Model(ML()), torch.zeros(3)) is None
    assert displayed(Model(ML()), torch.zeros(8, 4, 4)) is None
