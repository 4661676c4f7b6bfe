"""Each rule of LRP against its equation, written with the layer's explicit Jacobian in float64."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underhood as uh
from tests.methods.nets import explained
from underhood.engine import Engine, Op, PlainRules
from underhood.engine.intercept import Interceptor
from underhood.errors import InvalidArgument
from underhood.methods.lrp import AlphaBeta, Epsilon, Flat, Gamma, Pass, Rule, WSquare, ZBox, Zero, ZPlus
from underhood.methods.lrp.affine import Affine, affine

LAYERS: dict[str, tuple[Callable[[bool], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda b: nn.Linear(5, 4, bias=b), (5,)),
    "linear over tokens": (lambda b: nn.Linear(5, 4, bias=b), (3, 5)),
    "conv1d": (lambda b: nn.Conv1d(2, 3, 3, stride=2, padding=1, bias=b), (2, 7)),
    "conv2d": (lambda b: nn.Conv2d(2, 3, 3, padding=1, bias=b), (2, 4, 5)),
    "conv2d, grouped": (lambda b: nn.Conv2d(4, 6, 2, stride=2, groups=2, bias=b), (4, 4, 4)),
    "conv2d, dilated, same": (lambda b: nn.Conv2d(2, 2, 3, dilation=2, padding="same", bias=b), (2, 5, 5)),
    "conv3d": (lambda b: nn.Conv3d(2, 2, 2, bias=b), (2, 3, 3, 3)),
    "conv_transpose1d": (lambda b: nn.ConvTranspose1d(2, 3, 3, stride=2, bias=b), (2, 4)),
    "conv_transpose2d": (
        lambda b: nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1, groups=2, bias=b),
        (4, 3, 3),
    ),
}
RULES = [
    Zero(),
    Epsilon(0.1),
    Epsilon(0.1, bias="ignored"),
    Gamma(0.25),
    Gamma(3.0, bias="ignored"),
    AlphaBeta(2, 1),
    AlphaBeta(3, 2, bias="ignored"),
    ZPlus(),
    WSquare(bias="ignored"),
    WSquare(),
    Flat(),
    ZBox(-4.0, 3.0),
]


class FirstLayer(PlainRules):
    def __init__(self) -> None:
        self.layer: Affine | None = None

    def apply(self, op: Op) -> object:
        self.layer = self.layer or affine(op)
        return op()


def as_layer(module: nn.Module, x: Tensor) -> Affine:
    rules, leaf = FirstLayer(), x.clone().requires_grad_()
    with Interceptor(rules).on(module.requires_grad_(False), leaf):
        module(leaf)
    assert rules.layer is not None
    return rules.layer


def jacobian(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """One input's ∂z/∂x (outputs, inputs), and what is left at x = 0, the bias of each output."""
    zero = torch.zeros_like(x)
    weights = torch.autograd.functional.jacobian(lambda v: module(v[None])[0].flatten(), zero)
    return weights.flatten(1), module(zero[None])[0].flatten()


def stable(z: Tensor, epsilon: float) -> Tensor:
    return torch.where(z < 0, z - epsilon, z + epsilon)


def replica(rule: Rule, module: nn.Module, x: Tensor, R: Tensor) -> Tensor:
    """R of one input, from the equations alone."""
    W, b = jacobian(module, x)
    x, R, e = x.flatten(), R.flatten(), rule.epsilon
    b = torch.zeros_like(b) if rule.bias == "ignored" else b
    c = W * x  # (outputs, inputs)
    if isinstance(rule, Epsilon):
        return (c / stable(c.sum(1) + b, e)[:, None] * R[:, None]).sum(0)
    if isinstance(rule, Gamma):
        up, down = c + rule.gamma * c.clamp(min=0), c + rule.gamma * c.clamp(max=0)
        z = c.sum(1) + b
        for_up = up / stable(up.sum(1) + b + rule.gamma * b.clamp(min=0), e)[:, None]
        for_down = down / stable(down.sum(1) + b + rule.gamma * b.clamp(max=0), e)[:, None]
        return (torch.where(z[:, None] > 0, for_up, for_down) * R[:, None]).sum(0)
    if isinstance(rule, AlphaBeta):
        plus, minus = c.clamp(min=0), c.clamp(max=0)
        for_plus = plus / stable(plus.sum(1) + b.clamp(min=0), e)[:, None]
        total = minus.sum(1) + b.clamp(max=0)
        for_minus = minus / torch.where(total < 0, total - e, e)[:, None]
        return ((rule.alpha * for_plus - rule.beta * for_minus) * R[:, None]).sum(0)
    if isinstance(rule, ZBox):
        low, high = torch.full_like(x, rule.low), torch.full_like(x, rule.high)
        c = c - low * W.clamp(min=0) - high * W.clamp(max=0)
        return (c / stable(c.sum(1), e)[:, None] * R[:, None]).sum(0)
    c = W**2 if isinstance(rule, WSquare) else (W != 0).to(W)
    bias = b**2 if isinstance(rule, WSquare) else 0
    return (c / stable(c.sum(1) + bias, e)[:, None] * R[:, None]).sum(0)


@pytest.mark.parametrize(
    ("negative", "bias"), [(True, True), (False, True), (True, False)],
    ids=["any inputs", "inputs from 0 on", "without bias"],
)  # fmt: skip
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_every_rule_is_its_equation(rule: Rule, name: str, negative: bool, bias: bool) -> None:
    torch.manual_seed(0)
    build, shape = LAYERS[name]
    module, x = build(bias).double(), torch.randn(2, *shape, dtype=torch.float64)
    x = x if negative else x.abs()
    z = module(x).detach()
    R = torch.randn_like(z)
    layer = as_layer(module, x)
    if rule.bias == "ignored":
        layer, output = layer.without_bias(), layer.run(x, layer.weight, None)
    else:
        output = z
    found = rule(layer, x, lambda: output, R)
    expected = torch.stack([replica(rule, module, *pair) for pair in zip(x, R, strict=True)]).reshape(x.shape)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["linear", "conv2d, grouped", "conv_transpose2d"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_and_what_scales_it_afterwards_are_one_layer(name: str, bias: bool) -> None:
    torch.manual_seed(0)
    build, shape = LAYERS[name]
    module, x = build(bias).double(), torch.randn(2, *shape, dtype=torch.float64)
    z = module(x)
    scale, shift = torch.randn(2, z.shape[1], dtype=torch.float64)
    both = as_layer(module, x).then(scale, shift)
    broadcast = (1, -1, *[1] * (z.ndim - 2))
    torch.testing.assert_close(
        both.run(x, both.weight, both.bias), z * scale.reshape(broadcast) + shift.reshape(broadcast)
    )


def test_w_square_and_flat_do_not_look_at_the_input() -> None:
    torch.manual_seed(0)
    net = nn.Linear(4, 1, bias=False)
    for rule, weights in ((Flat(), torch.ones(4)), (WSquare(), net.weight.detach()[0] ** 2)):
        x = torch.tensor([[0.0, 1.0, -2.0, 5.0]])
        with torch.no_grad():
            expected = weights / weights.sum() * net(x)[0]
        found = explained(uh.LRP([("*", rule)]), net, x, 0)[0]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_pass_hands_relevance_on_where_shapes_allow() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    x = torch.randn(1, 3)
    found = explained(uh.LRP([("*", Pass())]), net, x, 1)
    expected = F.one_hot(torch.tensor([1]), 3) * net(x).detach()
    torch.testing.assert_close(found, expected)
    with pytest.raises(Exception, match="keeps its input's shape"):
        uh.LRP([("*", Pass())])(nn.Linear(3, 2), x, 1)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Epsilon(-1.0),
        lambda: Gamma(-0.5),
        lambda: AlphaBeta(2, 2),
        lambda: AlphaBeta(0.5, -0.5),
        lambda: ZBox(low=0.0),
        lambda: Epsilon(bias="kept"),  # type: ignore[arg-type]
    ],
)
def test_rules_refuse_values_that_make_no_sense(bad: Callable[[], Rule]) -> None:
    with pytest.raises(InvalidArgument):
        bad()


def test_the_engine_has_nothing_left_over() -> None:
    """A rule's doubling of a pass leaves no mode behind."""
    net, x = nn.Linear(3, 2), torch.randn(2, 3)
    engine = Engine(uh.Model(net))
    uh.LRP()(net, x, 0)
    assert torch.equal(engine.outputs(x), net(x).detach())
