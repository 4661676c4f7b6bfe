"""The inputs that excite a unit most: found in a stream, cropped to the receptive field, reconstructed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import pictures, resnet18
from underhood.cli.app import underhood
from underhood.methods.deconvnet_sheet import deconvnet_sheet, receptive_fields
from underhood.reports import render_units


class Branches(nn.Module):
    """Stride, overlapping pooling, a branch and a sum; negative and zero weights hide nothing."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.wide, self.narrow = nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(8, 4, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.norm(self.first(x))))
        self.last = torch.cat((torch.relu(self.wide(x)), torch.relu(self.narrow(x))), 1)
        return self.head((x + self.last).mean((2, 3)))


def strongest(net: nn.Module, x: Tensor, layer: str, unit: int) -> tuple[Tensor, Tensor]:
    kept: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(lambda _m, _a, y: kept.append(y.detach()))
    with torch.no_grad():
        net(x)
    handle.remove()
    return kept[0][:, unit].flatten(1).max(1)


def test_the_strongest_inputs_of_a_stream_are_found_in_order() -> None:
    x = pictures(40, 33)
    net = Branches().eval()
    sheet = deconvnet_sheet(uh.Model(net), iter(x), "wide", [2, 0], top=9)
    assert list(sheet.units) == [2, 0]
    assert sheet.inputs == 40
    for unit, tops in sheet.units.items():
        values, places = strongest(net, x, "wide", unit)
        order = values.argsort(descending=True)[:9]
        assert [top.input for top in tops] == order.tolist()
        assert np.allclose([top.activation for top in tops], values[order], atol=1e-4)
        width = 8
        assert [top.position for top in tops] == [divmod(p, width) for p in places[order].tolist()]


def test_a_reconstruction_is_the_deconvnets_of_that_unit_inside_its_receptive_field() -> None:
    x, net = pictures(5, 33), Branches().eval()
    sheet = deconvnet_sheet(uh.Model(net), x, "wide", [1], top=3)
    for top in sheet.units[1]:
        whole = uh.Deconvnet()(net, x[top.input], uh.Unit("wide", 1, top.position))
        upper, left, lower, right = top.box
        inside = whole.values[:, upper:lower, left:right]
        assert np.allclose(top.reconstruction, inside, rtol=1e-3, atol=1e-6)
        assert np.isclose(abs(whole.values).sum(), abs(inside).sum(), rtol=1e-4)  # nothing lies outside
        assert top.picture.shape[:2] == inside.shape[1:] or top.picture.shape == inside.shape


@pytest.mark.parametrize(("layer", "width"), [("first", 3), ("pool", 7), ("wide", 15), ("narrow", 7)])
def test_receptive_fields_are_exact(layer: str, width: int) -> None:
    """Width by arithmetic; and what lies outside a box cannot change its unit."""
    net, x = Branches().eval(), pictures(1, 33)
    engine = uh.Engine(uh.Model(net))
    grid = engine.capture(x, [layer])[layer].shape[2:]
    rows, columns = receptive_fields(engine, x, layer, (grid[0], grid[1]))
    middle = rows[grid[0] // 2]
    assert middle.stop - middle.start == width
    i, j = grid[0] // 2, 1
    changed = torch.randn_like(x)
    changed[..., rows[i], columns[j]] = x[..., rows[i], columns[j]]
    before, after = (engine.capture(each, [layer])[layer][0, :, i, j] for each in (x, changed))
    assert torch.allclose(before, after, atol=1e-5)


def test_a_residual_network_too() -> None:
    sheet = deconvnet_sheet(uh.Model(resnet18()), pictures(3, 64), "layer1.1.conv1", [4], top=2)
    upper, left, lower, right = sheet.units[4][0].box
    assert max(lower - upper, right - left) <= 35  # 11 after the stem, then three 3×3 at stride 4
    assert len(sheet.units[4]) == 2


def test_the_sheet_as_a_picture_and_on_the_command_line(tmp_path: Path) -> None:
    sheet = deconvnet_sheet(uh.Model(Branches().eval()), pictures(12, 33), "wide", [0, 1, 2, 3])
    page = render_units(sheet)
    assert page.width > 500
    assert np.asarray(page).std() > 10
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 256, (90, 90, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    out = tmp_path / "sheet.png"
    model = uh.load("demo:honest")
    layer = next(name for name, m in model.module.named_modules() if isinstance(m, nn.Conv2d))
    command = ["units", str(tmp_path), "--model", "demo:honest", "--layer", layer, "--out", str(out)]
    ran = CliRunner().invoke(underhood, command, catch_exceptions=False)
    assert "Wrote" in ran.output
    assert Image.open(out).width > 500


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"layer": "head"}, "not channels of a map"),
        ({"layer": "wide", "units": [4]}, "units 0 to 3, not 4"),
        ({"layer": "wide", "top": 0}, "at least 1"),
        ({"layer": "wid"}, "did you mean 'wide'"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(uh.UnderhoodError, match=sentence):
        deconvnet_sheet(uh.Model(Branches().eval()), pictures(2, 33), **arguments)


def test_no_input_is_an_error() -> None:
    with pytest.raises(uh.UnderhoodError, match="no inputs"):
        deconvnet_sheet(uh.Model(Branches().eval()), [], "wide")
