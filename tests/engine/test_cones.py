"""Variants that differ inside a box, computed there alone: the scores of full passes, for less work."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import underhood as uh
from tests.engine.nets import pictures, vit
from tests.support import torchvision_ops  # noqa: F401 - before torchvision
from underhood.engine import Engine, Settings, partial
from underhood.engine.cones import CannotFollow, Cone, Original, whole
from underhood.errors import Cancelled
from underhood.inputs import Labels, Variants, Windows
from underhood.models import Unit

SIDE = 25


def both(
    net: Callable[[Tensor], Any], x: Tensor, boxes: list[tuple[int, int]], size: int
) -> tuple[Any, Any, Original]:
    """What the net makes of pictures with boxes put in, as cones and as they are; x (1, C, H, W)."""
    generator = torch.Generator().manual_seed(7)
    crops = torch.randn(len(boxes), x.shape[1], size, size, generator=generator)
    masked = x.repeat(len(boxes), 1, 1, 1)
    for picture, (top, left), crop in zip(masked, boxes, crops, strict=True):
        picture[:, top : top + size, left : left + size] = crop
    with torch.inference_mode():
        original = Original(x)
        top, left = torch.tensor(boxes).unbind(1)
        found = net(original.cone(top, left, crops))
        expected = net(masked.contiguous(memory_format=torch.channels_last))
    return found, expected, original


def assert_same(net: Callable[[Tensor], Any], x: Tensor, boxes: list[tuple[int, int]], size: int) -> Original:
    found, expected, original = both(net, x, boxes, size)
    assert isinstance(found, Cone)
    with torch.inference_mode():
        found = whole(found)
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()) + 1e-7)
    return original


CORNERS = [(0, 0), (0, SIDE - 5), (SIDE - 5, 0), (SIDE - 5, SIDE - 5), (9, 11), (10, 0), (3, 19)]
X = pictures(1, SIDE)


def seeded(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    for norm in [m for m in module.modules() if isinstance(m, nn.BatchNorm2d) and m.track_running_stats]:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return module.eval()


# One operation after a convolution whose boxes it has to follow, or not.
FOLLOWED: dict[str, nn.Module | Callable[[Tensor], Tensor]] = {
    "strided": nn.Conv2d(4, 5, 3, stride=2, padding=1),
    "a kernel smaller than its stride": nn.Conv2d(4, 5, 1, stride=3),
    "dilated": nn.Conv2d(4, 5, 3, padding=2, dilation=2),
    "lopsided": nn.Conv2d(4, 5, (1, 4), stride=(2, 1), padding=(0, 3)),
    "grouped": nn.Conv2d(4, 8, 3, groups=4, bias=False),
    "same padding": nn.Conv2d(4, 5, 3, padding="same"),
    "valid padding": nn.Conv2d(4, 5, 3, padding="valid"),
    "max pool": nn.MaxPool2d(3, 2, padding=1),
    "max pool, beyond the edge": nn.MaxPool2d(2, 2, ceil_mode=True),
    "max pool, dilated": nn.MaxPool2d(2, 1, dilation=2),
    "mean pool": nn.AvgPool2d(3, 2, padding=1),
    "mean pool of other size": nn.AvgPool2d(2, ceil_mode=False),
    "batch norm": nn.BatchNorm2d(4),
    "dropout": nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.5)),
    "in place": lambda x: F.relu(x, inplace=True).add_(1).mul_(0.5),
    "many functions": lambda x: F.silu(x) + x.sigmoid() * F.gelu(x) - F.hardswish(x).clamp(-1, 1) / 3,
    "per channel": lambda x: F.prelu(x, torch.arange(4.0)) * torch.arange(4.0)[:, None, None],
    "concatenation": lambda x: torch.cat((x, F.max_pool2d(x, 3, 1, 1), x.relu()), 1),
    "the same with other numbers": lambda x: (x * 2).relu() + F.leaky_relu(x, 0.1) - F.leaky_relu(x * 3, 0.5),
    "the same with other tensors": lambda x: x * torch.full((4, 1, 1), 2.0) + x * torch.full((4, 1, 1), 3.0),
    "skip": lambda x: x + F.conv2d(x, torch.ones(4, 4, 3, 3), padding=1),
}
WHOLE: dict[str, nn.Module | Callable[[Tensor], Tensor]] = {
    "string padding of an even kernel": nn.Conv2d(4, 5, 2, padding="same"),
    "transposed": nn.ConvTranspose2d(4, 5, 3, stride=2),
    "mean pool without its padding": nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
    "mean pool beyond the edge": nn.AvgPool2d(2, 2, ceil_mode=True),
    "reflection": nn.Conv2d(4, 5, 3, padding=1, padding_mode="reflect"),
    "batch statistics": nn.BatchNorm2d(4, track_running_stats=False),
    "layer norm": nn.GroupNorm(2, 4),
    "squeeze and excite": lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
    "a view written to": lambda x: (x[:, :2].relu_(), x * 2)[1],
    "a place written to": lambda x: (x[..., 3, 4].fill_(5.0), x.relu_())[1],
    "a map that varies": lambda x: x * torch.arange(1.0 * SIDE) + torch.arange(1.0 * SIDE)[:, None],
    "concatenation with a constant": lambda x: torch.cat((x, torch.ones(len(x), 1, SIDE, SIDE)), 1),
    "concatenation downwards": lambda x: torch.cat((x, x.relu()), 2),
    "attention": lambda x: F.scaled_dot_product_attention(*[x.flatten(2).mT] * 3),
    "control flow": lambda x: x.relu() if x.mean() > 1e3 else -x,
    "maximum and its place": lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
    "other shapes": lambda x: x.permute(0, 2, 3, 1).unsqueeze(1).softmax(-1),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_an_operation_inside_boxes_is_the_operation_on_pictures(name: str) -> None:
    net = operation(FOLLOWED[name])
    assert both(net, X, CORNERS, 5)[0].patch is not None, "not computed inside the boxes"
    assert_same(net, X, CORNERS, 5)
    assert_same(lambda x: F.relu(net(x)).flatten(1).sum(1), X, CORNERS[:1], 3)


@pytest.mark.parametrize("name", WHOLE)
def test_any_other_operation_gets_whole_pictures(name: str) -> None:
    net = operation(WHOLE[name])
    assert both(net, X, CORNERS, 5)[0].patch is None
    for boxes in (CORNERS, CORNERS[:1]):  # of one variant alone, nothing may be taken for a constant
        if name != "batch statistics" or len(boxes) > 1:
            assert_same(net, X, boxes, 5)


def operation(then: Any) -> Callable[[Tensor], Tensor]:
    first = seeded(nn.Conv2d(3, 4, 3, padding=1))
    then = seeded(then) if isinstance(then, nn.Module) else then
    return lambda x: then(first(x))


def test_what_cannot_be_followed_is_said() -> None:
    def keeps(x: Tensor) -> Tensor:
        kept = torch.zeros_like(X)
        kept.add_(x.mean())
        return kept

    with pytest.raises(CannotFollow, match="writes into a tensor that is kept"):
        both(keeps, X, CORNERS, 5)
    with pytest.raises(CannotFollow, match="changes a tensor's shape"):
        both(lambda x: x.relu().unsqueeze_(0), X, CORNERS, 5)


def test_a_constant_that_changes_is_noticed() -> None:
    constant, first = torch.empty(4, 1, 1), operation(nn.ReLU())

    def net(x: Tensor) -> Tensor:
        x = first(x)
        return x * constant.fill_(1) + x * constant.fill_(3)

    assert_same(net, X, CORNERS, 5)


def test_the_originals_activations_are_computed_once_and_few_are_kept() -> None:
    net = seeded(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2)
        )
    )
    runs: list[int] = []
    original = Original(X)
    with torch.inference_mode():
        for boxes in ([(0, 0), (9, 9)], [(20, 3)], [(11, 2)]):
            top, left = torch.tensor(boxes).unbind(1)
            net(original.cone(top, left, torch.zeros(len(boxes), 3, 4, 4)))
            runs.append(original.memory)
    assert runs[0] == runs[1] == runs[2]
    asked = [(3, SIDE), (4, SIDE - 2), (4, SIDE - 4)]  # the input, and both ReLUs that a window slides over
    assert runs[0] == sum(4 * channels * (side * side + 1) for channels, side in asked)


class Branching(nn.Module):
    """A random network of the operations that vision networks are made of, drawn from a list of numbers."""

    def __init__(self, genes: list[int], seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.genes, channels = genes, 3
        layers: list[nn.Module] = []
        for gene in genes:
            kind, k, s, p, d = (
                gene % 7,
                1 + gene // 7 % 3,
                1 + gene // 21 % 2,
                gene // 42 % 2,
                1 + gene // 84 % 2,
            )
            wide = 2 * (1 + gene // 168 % 3)
            p = min(p, k // 2)
            if kind == 0:
                layer, channels = nn.Conv2d(channels, wide, k, s, p, d), wide
            elif kind == 1:
                layer = nn.Sequential(
                    nn.Conv2d(channels, channels, k, s, p, groups=channels), nn.ReLU(inplace=True)
                )
            elif kind == 2:
                layer = nn.MaxPool2d(k, s, p, d, ceil_mode=bool(gene // 168 % 2))
            elif kind == 3:
                layer = nn.AvgPool2d(k, s, p, bool(gene // 84 % 2), bool(gene // 168 % 2))
            elif kind == 4:
                layer = nn.BatchNorm2d(channels)
                layer.running_mean.normal_()
            elif kind == 5:  # a skip
                layer = nn.Conv2d(channels, channels, 3, padding=1)
            else:  # a branch beside, concatenated
                layer, channels = nn.Conv2d(channels, 2, 1), channels + 2
            layers.append(layer)
        self.layers = nn.ModuleList(layers)
        self.head = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        for gene, layer in zip(self.genes, self.layers, strict=True):
            if min(x.shape[2:]) < 6:
                break
            if gene % 7 == 5:
                x = F.relu(layer(x)) + x if gene % 2 else x.add_(layer(x)).relu_()
            elif gene % 7 == 6:
                x = torch.cat((x, layer(x).sigmoid()), 1)
            else:
                x = layer(x)
        gate = F.adaptive_avg_pool2d(x, 1).sigmoid() if sum(self.genes) % 3 == 0 else 1.5
        x = (x * gate).mean((2, 3))
        return F.linear(x, self.head.weight[:, : x.shape[1]], self.head.bias)


@given(
    genes=st.lists(st.integers(0, 503), min_size=1, max_size=7),
    size=st.integers(1, 12),
    places=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5),
    height=st.integers(14, 30),
    width=st.integers(14, 30),
)
@settings(max_examples=60, deadline=None)
def test_any_network_gives_what_it_gives_for_whole_pictures(
    genes: list[int], size: int, places: list[tuple[float, float]], height: int, width: int
) -> None:
    net = Branching(genes, sum(genes)).eval()
    x = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(size))
    boxes = [(round(y * (height - size)), round(x * (width - size))) for y, x in places]
    assert_same(net, x, boxes, size)


def small() -> nn.Module:
    """Four convolutions over 48², a skip, and a strange output."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, 2, padding=1)
            self.three, self.norm = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
            self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(6, 4)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            x = self.relu(self.two(self.relu(self.one(x))))
            x = self.relu(self.norm(self.three(x)) + x)
            return {"logits": self.head(x.mean((2, 3)))}

    return seeded(Net())


def windows(x: Tensor, size: int = 8, stride: int = 8, boxes: bool = True) -> Variants:
    """Windows set to zero, with their boxes or without."""
    groups = Windows(tuple(x.shape[2:]), size, stride)

    def make(rows: Tensor, numbers: Tensor) -> Tensor:
        return x[rows] * ~groups.masks(numbers)[:, None]

    return Variants(x, groups.count, make, boxes=groups.boxes if boxes else None)


TARGETS = [
    1,
    [0, 3],
    uh.Contrast(2, 0),
    lambda scores: scores.square().sum(1),
    Unit("three", 2),
    Unit("two", 1, (3, 5)),
]


@pytest.mark.parametrize("target", TARGETS)
def test_the_engine_gives_the_scores_of_full_passes(target: Any) -> None:
    x, model = pictures(2, 48), uh.Model(small())
    target = uh.as_target(target)
    engine, plain = Engine(model), Engine(model)
    found = engine.scores(windows(x), target)
    expected = plain.scores(windows(x, boxes=False), target)
    assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))
    assert (engine.log.work, plain.log.work) == ("receptive cones", "full passes")
    assert (engine.log.partial, engine.log.forward) == (1 + 2 * 36, 1 + 1 + 1)  # two originals, a check
    assert (plain.log.partial, plain.log.forward) == (0, 2 * 36)


def test_groups_of_any_size_have_boxes() -> None:
    labels = torch.zeros(48, 48, dtype=torch.long)
    for number in range(1, 40):
        labels[number : number + 1 + number % 3, number : number + 4] = number
    labels[40:, :2] = 99
    groups = Labels(labels)
    for (top, left, height, width), mask in zip(
        groups.boxes, groups.masks(torch.arange(groups.count)), strict=True
    ):
        assert mask[top : top + height, left : left + width].sum() == mask.sum()
        edges = mask[top], mask[top + height - 1], mask[:, left], mask[:, left + width - 1]
        assert all(edge.any() for edge in edges)


@pytest.mark.parametrize("baseline", ["zeros", "blur", "noise", "inpaint", 0.3])
def test_occlusion_is_the_same_with_any_baseline(baseline: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, method = pictures(2, 48), uh.Occlusion(size=9, stride=6, baseline=baseline)
    found = method(uh.Model(small()), x, [1, 2])
    assert [e.diagnostics["work"] for e in found] == ["receptive cones"] * 2
    monkeypatch.setattr(partial, "FEWEST", 10**9)
    plain = method(uh.Model(small()), x, [1, 2])
    assert [e.diagnostics["work"] for e in plain] == ["full passes"] * 2
    for ours, theirs in zip(found, plain, strict=True):
        assert abs(ours.values - theirs.values).max() < 1e-5 * max(1, abs(theirs.values).max())
        assert ours.provenance["partial_passes"] == 2 * method_count(theirs) + 1
        assert theirs.provenance["partial_passes"] == 0


def method_count(explanation: uh.Explanation) -> int:
    fills = 4 if explanation.parameters["baseline"] == "noise" else 1
    return fills * (1 + explanation.diagnostics["groups"])


def test_a_transformer_takes_full_passes_and_is_asked_only_once() -> None:
    model = uh.Model(vit())
    passes = []
    for _ in range(2):
        found = uh.Occlusion(size=4, stride=2)(model, pictures(1), 0)
        assert found.diagnostics["work"] == "full passes"
        passes.append((found.provenance["forward_passes"], found.provenance["partial_passes"]))
    assert passes[1][1] == 0 < passes[0][1]
    assert passes[1][0] == passes[0][0] - 1


class Rebel(nn.Module):
    """Goes by whether it was given a plain tensor."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.net = what, small()

    def forward(self, x: Tensor) -> Tensor:
        out = self.net(x)["logits"]
        if isinstance(x, Cone):
            if self.what == "fails":
                raise ValueError("cones are not welcome")
            out = out + 1
        return out


@pytest.mark.parametrize(
    ("what", "note"), [("fails", "cones are not welcome"), ("lies", "other scores on a sample")]
)
def test_a_network_that_cones_do_not_suit_takes_full_passes(what: str, note: str) -> None:
    x, model = pictures(1, 48), uh.Model(Rebel(what))
    engine = Engine(model)
    found = engine.scores(windows(x), uh.as_target(1))
    assert engine.log.work == "full passes"
    assert any(note in line for line in engine.log.notes)
    assert torch.equal(found, Engine(model).scores(windows(x, boxes=False), uh.as_target(1)))


def test_little_memory_means_small_batches_and_less_full_passes() -> None:
    x, model = pictures(1, 48), uh.Model(small())
    expected = Engine(model).scores(windows(x), uh.as_target(1))
    engine = Engine(model, Settings(memory="400KiB"))
    assert torch.allclose(engine.scores(windows(x), uh.as_target(1)), expected, atol=1e-6)
    assert engine.log.work == "receptive cones"
    engine = Engine(model, Settings(memory="30KiB"))
    assert torch.allclose(engine.scores(windows(x), uh.as_target(1)), expected, atol=1e-6)
    assert engine.log.work == "full passes"
    assert "too much memory" in engine.log.notes[0]


def test_progress_and_cancelling() -> None:
    seen: list[tuple[int, int]] = []
    x, stop = pictures(2, 48), threading.Event()
    model = uh.Model(small())
    Engine(model, Settings(progress=lambda *done: seen.append(done))).scores(windows(x), uh.as_target(1))
    assert seen[-1] == (72, 72)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    stop.set()
    with pytest.raises(Cancelled):
        Engine(model, Settings(cancel=stop)).scores(windows(x), uh.as_target(1))


def test_the_same_call_gives_the_same_bits() -> None:
    x, model = pictures(2, 48), uh.Model(small())
    first, again = (Engine(model).scores(windows(x), uh.as_target(1)) for _ in range(2))
    assert torch.equal(first, again)


REAL = [
    "resnet18",
    "vgg11_bn",
    "mobilenet_v2",
    "densenet121",
    "squeezenet1_1",
    "efficientnet_b0",
    "googlenet",
]


@pytest.mark.parametrize("name", REAL)
def test_a_real_network_gives_what_it_gives_for_whole_pictures(name: str) -> None:
    import torchvision

    torch.manual_seed(0)
    how = {"init_weights": False} if name == "googlenet" else {}
    net = torchvision.models.get_model(name, weights=None, num_classes=5, **how).eval()
    for norm in [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]:
        norm.running_mean.normal_(0, 0.1)
    original = assert_same(net, pictures(1, 96), [(0, 0), (40, 33), (88, 50)], 8)
    assert original.work.gain > 1
