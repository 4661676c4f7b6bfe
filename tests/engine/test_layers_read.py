"""Reading and cutting at named layers: what is captured is what the layer gave (PEERS 4 and 5)."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underhood as uh
from tests.engine.nets import NETS, pictures


class Tower(nn.Module):
    """conv → in-place ReLU (used twice) → functional in-place operation → head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu, self.head, self.spare = nn.ReLU(inplace=True), nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv1(x))
        x = self.relu(self.conv2(x))
        return self.head(x.mul_(2).mean((2, 3)))

    def parts(self, x: Tensor) -> dict[str, Tensor]:
        """What each layer gives, written without in-place operations."""
        conv1 = self.conv1(x)
        relu1 = F.relu(conv1)
        conv2 = self.conv2(relu1)
        relu2 = F.relu(conv2)
        return {
            "conv1": conv1,
            "relu#1": relu1,
            "conv2": conv2,
            "relu#2": relu2,
            "head": self.head((relu2 * 2).mean((2, 3))),
        }


@pytest.fixture
def tower() -> Tower:
    return Tower()


def close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected.detach(), atol=1e-6)


def test_captured_activations_are_what_the_layers_gave(tower: Tower) -> None:
    x = pictures(3)
    expected = tower.parts(x)
    found = uh.Engine(uh.Model(tower)).capture(x, list(expected))
    assert expected["conv1"].min() < 0 < expected["relu#2"].max()
    for name, activation in found.items():
        assert close(activation, expected[name]), name


def test_gradients_and_activations_of_several_layers_in_one_pass(tower: Tower) -> None:
    x = pictures(3)
    expected = tower.parts(x)
    names = ["relu#2", "conv1", "conv2", "relu#1"]
    gradients = torch.autograd.grad(expected["head"][:, 1].sum(), [expected[name] for name in names])
    found = uh.Engine(uh.Model(tower)).gradients(x, uh.Class(1), at=names)
    assert found is not None
    for name, activation, gradient, by_hand in zip(
        names, found.activations, found.gradients, gradients, strict=True
    ):
        assert close(activation, expected[name]), name
        assert close(gradient, by_hand), name
    assert close(found.outputs, expected["head"])
    assert close(found.score, expected["head"][:, 1])


def test_the_score_of_a_unit_and_its_gradient(tower: Tower) -> None:
    x = pictures(2).requires_grad_()
    for name in ("conv1", "relu#1", "relu#2"):
        activation = tower.parts(x)[name]
        for unit, score in (
            (uh.Unit(name, 2), activation[:, 2].sum((1, 2))),
            (uh.Unit(name, 1, (3, 4)), activation[:, 1, 3, 4]),
        ):
            expected = torch.autograd.grad(score.sum(), x, retain_graph=True)[0]
            engine = uh.Engine(uh.Model(tower))
            assert close(engine.scores(x.detach(), unit), score)
            assert close(engine.gradients(x.detach(), unit).gradients[0], expected)


def test_a_reused_layer_named_without_its_run_is_refused(tower: Tower) -> None:
    for ask in (
        lambda engine, x: engine.capture(x, ["relu"]),
        lambda engine, x: engine.gradients(x, uh.Class(0), at=["relu"]),
        lambda engine, x: engine.scores(x, uh.Unit("relu", 0)),
    ):
        with pytest.raises(uh.UnderhoodError, match=r"runs 2 times.*'relu#1' to 'relu#2'"):
            ask(uh.Engine(uh.Model(tower)), pictures(1))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("relu#3", "runs only 2 times, not 3"),
        ("relu#0", "which run of the layer, from 1 on"),
        ("relu#x", "which run of the layer, from 1 on"),
        ("convv1", "did you mean 'conv1'"),
        ("spare", "Layer 'spare' did not run"),
    ],
)
def test_a_layer_that_cannot_be_read_is_a_sentence(tower: Tower, name: str, sentence: str) -> None:
    with pytest.raises(uh.UnderhoodError, match=sentence):
        uh.Engine(uh.Model(tower)).capture(pictures(1), [name])
    with pytest.raises(uh.UnderhoodError, match=sentence):
        uh.GradCAM(name)(tower, pictures(1), 0)


def test_a_layer_that_the_score_does_not_depend_on_is_named() -> None:
    class Branched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.aside = nn.Conv2d(3, 2, 3), nn.Conv2d(3, 2, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.used(x).mean((2, 3)), self.aside(x)

    with pytest.raises(uh.UnderhoodError, match="does not depend on layer 'aside'"):
        uh.GradCAM("aside")(Branched(), pictures(1), 0)
    with pytest.raises(uh.UnderhoodError, match="does not depend on layer 'used'"):
        uh.GradCAM("used")(Branched(), pictures(1), uh.Unit("aside", 0))
    with pytest.raises(uh.UnderhoodError, match="does not depend on the input"):
        uh.Saliency()(Branched(), pictures(1), uh.Custom(lambda s: 0 * s[:, 0].detach() + leaf(s)))


def leaf(scores: Tensor) -> Tensor:
    return torch.ones(len(scores), requires_grad=torch.is_grad_enabled())


def test_a_unit_of_a_layer_below_the_one_looked_at_is_refused(tower: Tower) -> None:
    with pytest.raises(uh.UnderhoodError, match="does not depend on layer 'conv2'"):
        uh.GradCAM("conv2")(tower, pictures(1), uh.Unit("conv1", 0))


@pytest.mark.parametrize(
    "unit", [uh.Unit("conv1", 4), uh.Unit("conv1", 0, (16, 0)), uh.Unit("head", 0, (0,))], ids=str
)
def test_a_unit_that_does_not_exist_is_refused_with_the_shape(tower: Tower, unit: uh.Unit) -> None:
    with pytest.raises(uh.UnderhoodError, match=r"has units of shape \("):
        uh.Saliency()(tower, pictures(1), unit)


def test_layers_that_return_tuples_are_read_and_cut() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, str]:
            return x * 2, "aside"

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair()

        def forward(self, x: Tensor) -> Tensor:
            tensor, word = self.pair(x)
            assert word == "aside"
            return (tensor**2).sum((2, 3))

    x = pictures(2)
    found = uh.Engine(uh.Model(Net())).gradients(x, uh.Class(1), at=["pair"])
    assert close(found.activations[0], 2 * x)
    assert close(found.gradients[0][:, 1], 4 * x[:, 1])
    assert not found.gradients[0][:, [0, 2]].any()


def test_capture_of_a_transformers_layers() -> None:
    net, x = NETS["vit"](), pictures(2)
    seen: list[Tensor] = []
    handle = net.eval().blocks[0].register_forward_hook(lambda _m, _a, output: seen.append(output.detach()))
    net(x)
    handle.remove()
    found = uh.Engine(uh.Model(net)).capture(x, ["blocks.0"])["blocks.0"]
    assert found.shape == (2, 17, 24)
    assert close(found, seen[0])


def test_the_trace_names_layers_in_the_order_they_ran(tower: Tower) -> None:
    records = uh.trace(uh.Engine(uh.Model(tower)), pictures(1)[0])
    assert [(r.name, r.calls) for r in records] == [("conv1", 1), ("conv2", 1), ("relu", 2), ("head", 1)]
    assert records[0].shape == (1, 4, 16, 16)
