"""Every method on small networks of every kind: in little what scripts/make_coverage.py does."""

import itertools
from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn

import underhood as uh
from tests.engine.nets import Gnarly, pictures
from tests.support import nasty
from tests.support.cheap import cheap
from tests.support.covered import Cell, cell
from underhood.methods.explain import METHODS

KEYS = [method.key for method in METHODS]
CAMS = {key for key in KEYS if "cam" in key}
ATTENTION = {key for key in KEYS if "attention" in key}
EMBEDDINGS = "bert.embeddings"


def vit() -> nn.Module:
    sizes = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 2}
    return timm.create_model("vit_tiny_patch16_224", num_classes=5, **sizes)


def bert() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        num_labels=3, initializer_range=0.4,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config)


def two_inputs() -> nn.Module:
    return uh.Joined(nasty.TwoInputs(), [(3, 4, 4), (4,)])


# What each network is refused for, and why no other method may be.
NETS: dict[str, tuple[Callable[[], nn.Module], Tensor, set[str]]] = {
    "cnn": (Gnarly, pictures(1)[0], ATTENTION),
    "reused": (nasty.ReusedReLU, pictures(1)[0], ATTENTION),
    "functional": (nasty.Functional, pictures(1)[0], ATTENTION | CAMS),  # there is no layer to look at
    "in place": (nasty.InPlace, pictures(1)[0], ATTENTION),
    "tuples": (nasty.Tuples, pictures(1)[0], ATTENTION),
    "two inputs": (two_inputs, torch.randn(52), ATTENTION | CAMS | {"blur_ig"}),
    "vit": (vit, pictures(1)[0], set()),
    "bert": (  # token ids have no gradient, and cannot be blurred or half shown
        bert,
        torch.tensor([2, 17, 33, 41, 9, 50, 3]),
        CAMS | {"smoothgrad", "blur_ig", "fullgrad", "guided_backprop", "deconvnet", "rise"},
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_every_method_works_or_is_refused_in_a_sentence(name: str) -> None:
    build, x, refused = NETS[name]
    torch.manual_seed(0)
    model = uh.Model(build().eval())
    methods = cheap(x, at=None if x.is_floating_point() else EMBEDDINGS)
    found = {key: cell(method, model, x) for key, method in methods.items()}
    assert {key: one.why for key, one in found.items() if one.mark == "fails"} == {}
    assert {key for key, one in found.items() if one.mark == "refused"} == refused


class Breaks(nn.Module):
    def forward(self, _x: Tensor) -> Tensor:
        raise RuntimeError("boom")


class Sum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight[:, None].expand(-1, 2)


class Counts(uh.Saliency):
    times = itertools.count()

    def attribute(self, run: uh.Run) -> uh.Attribution:
        return uh.Attribution(super().attribute(run).values + next(self.times))


class Draws(uh.Saliency):
    def attribute(self, run: uh.Run) -> uh.Attribution:
        torch.rand(())
        return super().attribute(run)


class Shapeless(uh.Saliency):
    def attribute(self, run: uh.Run) -> uh.Attribution:
        return uh.Attribution(super().attribute(run).values[:, :2])


class Infinite(uh.Saliency):
    def attribute(self, run: uh.Run) -> uh.Attribution:
        return uh.Attribution(super().attribute(run).values / 0)


class Writes(uh.Saliency):
    def attribute(self, run: uh.Run) -> uh.Attribution:
        with torch.no_grad():
            run.engine.model.module.weight.mul_(1)
        return super().attribute(run)


@pytest.mark.parametrize(
    ("method", "net", "why"),
    [
        (uh.Saliency(), Breaks(), "boom"),
        (Counts(), Sum(), "the second map differs"),
        (Draws(), Sum(), "the random state"),
        (Shapeless(), Sum(), "has shape (2,)"),
        (Infinite(), Sum(), "not finite"),
        (Writes(), Sum(), "the model"),
    ],
    ids=["breaks", "counts", "draws", "shapeless", "infinite", "writes"],
)
def test_what_is_wrong_is_seen(method: uh.Method, net: nn.Module, why: str) -> None:
    found = cell(method, net, torch.randn(4))
    assert found.mark == "fails"
    assert why in found.why


def test_what_is_right_is_seen() -> None:
    assert cell(uh.Saliency(), Sum(), torch.randn(4)) == Cell("works")
