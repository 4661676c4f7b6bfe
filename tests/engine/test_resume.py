"""A pass resumed from a layer gives what a whole pass with the layer's output replaced gives."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import underhood as uh
from tests.engine.nets import Snapshot, cnn, pictures, vit
from tests.support import torchvision_ops  # noqa: F401 - before torchvision
from underhood.engine import Engine, Settings
from underhood.inputs import Variants


class Nasty(nn.Module):
    """A reused ReLU, tuples, in-place and functional operations, a branch around all; (m, 3, 16, 16)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.third = (nn.Conv2d(c, 4, 3, padding=1) for c in (3, 4, 4))
        self.relu, self.pair, self.head = nn.ReLU(inplace=True), Pair(), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        a = self.relu(self.first(x))
        b, c = self.pair(F.relu(self.second(a)))
        d = self.relu(self.third(b)) + a
        return self.head(torch.cat((d, c, a), 1).mean((2, 3)))


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.sigmoid(), x.tanh()


class WritesBetween(Nasty):
    """Functional in-place operations on what modules returned: replaying them would apply them twice."""

    def forward(self, x: Tensor) -> Tensor:
        a = self.first(x)
        a += 1
        b = self.second(a)
        return self.head(torch.cat((b, a.mul_(2), self.third(b)), 1).mean((2, 3)))


class TokensFirst(nn.Module):
    """Works on (places, m, channels), so that its modules' outputs do not have the input first."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.first, self.last, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        places = self.patches(x).flatten(2).permute(2, 0, 1)
        mixed = self.last(self.first(places).relu().transpose(0, 1))
        return self.head(mixed.mean(1) + places.mean(0))


def resnet() -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=5).eval()


CASES: dict[str, tuple[Callable[[], nn.Module], str, bool]] = {
    "resnet18, last": (resnet, "layer4", True),
    "resnet18, in a block": (resnet, "layer2.0.conv2", True),
    "resnet18, a run": (resnet, "layer3.1.relu#1", True),
    "vit": (vit, "blocks.0.norm1", True),
    "awkward": (cnn, "norm1", True),
    "reused, first": (Nasty, "relu#1", True),
    "reused, second": (Nasty, "relu#2", True),
    "a tuple": (Nasty, "pair", True),
    "writes between": (WritesBetween, "second", False),
    "tokens first": (TokensFirst, "last", True),
}


def by_hooks(net: nn.Module, layer: str, x: Tensor, activations: Tensor) -> Tensor:
    """The scores (m, C) where a hook hands out other activations, in whole passes."""
    base, _, call = layer.partition("#")
    runs: list[int] = []

    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        runs.append(1)
        if len(runs) != int(call or 1):
            return output
        return activations.clone() if isinstance(output, Tensor) else (activations.clone(), *output[1:])

    handle = net.get_submodule(base).register_forward_hook(hook)
    with torch.no_grad():
        scores = net(x.expand(len(activations), -1, -1, -1).clone())
    handle.remove()
    return scores


@pytest.mark.parametrize("case", CASES)
def test_resumed_passes_equal_whole_ones(case: str) -> None:
    build, layer, quick = CASES[case]
    net, x = build().eval(), pictures(2, 32 if build is resnet else 16)
    before = Snapshot.of(net)
    engine = Engine(uh.Model(net))
    (a,) = engine.capture(x, [layer]).values()

    def make(rows: Tensor, numbers: Tensor) -> Tensor:
        return a[rows] * (numbers.reshape(-1, *[1] * (a.ndim - 1)) - 1.0)

    target = uh.Contrast(0, 2)
    found = engine.scores_from(layer, x, Variants(a, 5, make), target).reshape(5, 2)
    for row in range(2):
        other = make(torch.full((5,), row), torch.arange(5))
        expected = target.score(by_hooks(net, layer, x[row : row + 1], other))
        assert expected.std() > 0
        assert torch.allclose(found[:, row], expected, rtol=1e-3, atol=1e-5)
    assert (not engine.log.notes) is quick
    assert quick or "could not be left out" in engine.log.notes[0]
    before.assert_unchanged(net)


def test_nothing_below_the_layer_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = resnet(), pictures(1, 32)
    ran: list[int] = []
    convolve = nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: ran.append(len(x)) or convolve(self, x))
    engine = Engine(uh.Model(net))
    (a,) = engine.capture(x, ["layer4"]).values()
    ran.clear()
    engine.footprint(x)
    ran.clear()
    engine.scores_from("layer4", x, Variants(a, 40, lambda rows, _: a[rows]))
    assert ran == [1] * 20  # the recorded pass
    assert engine.log.forward == 2  # with the captured one


def test_the_recorded_pass_is_made_for_each_input_and_progress_counts_all() -> None:
    net, x, told = cnn().eval(), pictures(3), []
    engine = Engine(uh.Model(net), Settings(progress=lambda *of: told.append(of)))
    (a,) = engine.capture(x, ["conv3"]).values()
    told.clear()
    engine.scores_from("conv3", x, Variants(a, 4, lambda rows, _: a[rows]))
    assert told[-1] == (12, 12)
    assert {total for _, total in told} == {12}


def test_a_unit_below_the_layer_does_not_change() -> None:
    net, x = resnet(), pictures(1, 32)
    engine = Engine(uh.Model(net))
    (a,) = engine.capture(x, ["layer4"]).values()
    for unit in (uh.Unit("layer1.0.conv1", 3), uh.Unit("layer3", 3)):
        scores = engine.scores_from("layer4", x, Variants(a, 3, lambda rows, _: 0 * a[rows]), unit)
        assert torch.allclose(scores, engine.scores(x, unit).expand(3), rtol=1e-4)


def test_a_layer_that_runs_twice_has_to_be_named_with_its_run() -> None:
    engine, x = Engine(uh.Model(Nasty())), pictures(1)
    with pytest.raises(uh.UnderhoodError, match=r"'relu#1' to 'relu#2'"):
        engine.scores_from("relu", x, Variants(x, 1, lambda rows, _: x[rows]))


class Flattened(nn.Module):
    """Dense layers after a flattened map, as in VGG; (m, 3, 16, 16)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 80, 4, stride=4)
        self.classifier = nn.Sequential(nn.Linear(80 * 16, 24), nn.ReLU(inplace=True), nn.Linear(24, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.conv(x).relu().flatten(1))


def test_a_dense_layer_multiplies_only_what_a_channel_changes() -> None:
    net, x = Flattened(), pictures(2)
    engine = Engine(uh.Model(net))
    (a,) = engine.capture(x, ["conv"]).values()
    engine.footprint(x)

    def make(rows: Tensor, numbers: Tensor) -> Tensor:
        changed = a[rows]
        changed[torch.arange(len(rows)), numbers] = 0
        return changed

    with FlopCounterMode(display=False) as counter:
        found = engine.scores_from("conv", x, Variants(a, 80, make), uh.Contrast(0, 2)).reshape(80, 2)
    for row in range(2):
        other = make(torch.full((80,), row), torch.arange(80))
        expected = uh.Contrast(0, 2).score(by_hooks(net, "conv", x[row : row + 1], other))
        assert torch.allclose(found[:, row], expected, atol=1e-5)
    assert counter.get_total_flops() < 0.4 * 2 * 80 * 2 * 80 * 16 * 24  # of all products with the first layer
