"""Rules see every operation, however it is written, and change nothing but the way back."""

import threading
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.support.untrained import untrained
from underhood.engine import Engine, Op, PlainRules, Run
from underhood.engine.decompose import multi_head_attention_forward, scaled_dot_product_attention
from underhood.errors import NotDifferentiable
from underhood.models import Model, Unit, as_target


class Watch(PlainRules):
    """The operations that pass by."""

    def __init__(self) -> None:
        self.seen: list[Op] = []

    def apply(self, op: Op) -> object:
        self.seen.append(op)
        return op()

    @property
    def names(self) -> Counter[str]:
        return Counter(op.name for op in self.seen)


class Doubling(PlainRules):
    """What comes back through a rectifier, doubled: an effect that cannot be missed."""

    def apply(self, op: Op) -> object:
        result = op()
        return Twice.apply(result) if op.name == "relu" else result


class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]  # noqa: ARG004
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]  # noqa: ARG004
        return 2 * gradient


class EveryRelu(nn.Module):
    """Five rectifiers, no two written alike; one module is used twice."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(6, 6) for _ in range(6))
        self.relu = nn.ReLU(inplace=inplace)

    def forward(self, x: Tensor) -> Tensor:
        a, b, c, d, e, f = self.linears
        x = self.relu(a(x))
        x = self.relu(b(x))
        x = F.relu(c(x), inplace=self.relu.inplace)
        x = d(x)
        x.relu_()  # what it returns is thrown away
        x = x + x.relu()
        out = f(x)
        out += torch.relu(e(x))
        return out


def test_every_way_to_write_a_rectifier_is_one_operation() -> None:
    torch.manual_seed(0)
    watch = Watch()
    Run(Engine(Model(EveryRelu(True))), torch.randn(2, 6), as_target(0)).gradients(rules=watch)
    assert watch.names["relu"] == 6
    assert watch.names["linear"] == 6
    assert watch.names["add"] == 2


@pytest.mark.parametrize("inplace", [True, False])
def test_plain_rules_give_the_plain_gradient_even_where_the_model_writes_in_place(inplace: bool) -> None:
    torch.manual_seed(0)
    module, x = EveryRelu(inplace), torch.randn(3, 6)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(module(leaf)[:, 1].sum(), leaf)
    found = Run(Engine(Model(module)), x, as_target(1)).gradients(rules=PlainRules())
    torch.testing.assert_close(found.gradients[0], expected)


def test_a_rule_reaches_reused_functional_and_in_place_rectifiers_alike() -> None:
    """Six in a chain, of which the last is beside a linear layer: hand-made twin with explicit doubling."""
    torch.manual_seed(0)
    module, x = EveryRelu(True), torch.randn(2, 6)
    leaf = x.clone().requires_grad_()
    a, b, c, d, e, f = module.linears
    y = leaf
    for linear in (a, b, c, d):
        y = Twice.apply(linear(y).relu())
    y = y + Twice.apply(y.relu())
    out = Twice.apply(e(y).relu()) + f(y)
    (expected,) = torch.autograd.grad(out[:, 0].sum(), leaf)
    found = Run(Engine(Model(module)), x, as_target(0)).gradients(rules=Doubling())
    torch.testing.assert_close(found.gradients[0], expected)


@pytest.mark.parametrize(
    "source",
    ["torchvision:resnet18", "torchvision:densenet121", "torchvision:swin_t", "timm:vit_tiny_patch16_224"],
)
def test_architectures_run_under_rules_as_they_are(source: str) -> None:
    model, x = untrained(source), torch.randn(1, 3, 224, 224)
    plain = Run(Engine(model), x, as_target(3)).gradients()
    watched = Run(Engine(model), x, as_target(3)).gradients(rules=PlainRules())
    scale = plain.gradients[0].abs().max()
    torch.testing.assert_close(watched.outputs, plain.outputs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(watched.gradients[0] / scale, plain.gradients[0] / scale, rtol=0, atol=1e-4)


def test_operations_say_where_they_run_and_who_made_their_inputs() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 2)))
    watch = Watch()
    Run(Engine(Model(module)), torch.randn(1, 3), as_target(0)).gradients(rules=watch)
    ops = [op for op in watch.seen if op.name in ("linear", "relu")]
    assert [op.layer for op in ops] == ["0", "1", "2.0"]
    by_index = {op.index: op.name for op in watch.seen}
    assert by_index[ops[1].sources[0]] == "linear"
    assert by_index[ops[2].sources[0]] == "relu"


def test_weights_are_no_inputs() -> None:
    watch = Watch()
    Run(Engine(Model(nn.Linear(3, 2))), torch.randn(1, 3), as_target(0)).gradients(rules=watch)
    [linear] = [op for op in watch.seen if op.name == "linear"]
    assert [tuple(t.shape) for t in linear.inputs] == [(1, 3)]
    torch.testing.assert_close(
        linear(2 * linear.inputs[0]) - linear(), F.linear(linear.inputs[0], linear.arguments()[0][1])
    )


def test_what_comes_back_is_added_up_for_each_layer() -> None:
    """For a gradient: the sum over the layer's elements of ∂S/∂A, of each input."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    found = Run(Engine(Model(module)), torch.randn(5, 3), as_target(1)).gradients(rules=PlainRules())
    expected = module[1].weight[1].sum().detach()
    torch.testing.assert_close(found.totals["0"], expected.expand(5))


def test_rules_work_between_two_layers_and_from_a_unit() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    x = torch.randn(2, 3)
    run = Run(Engine(Model(module)), x, Unit("2", 3))
    found = run.gradients(at=["0"], rules=Doubling())
    hidden = module[0](x).detach()
    expected = 2 * (hidden > 0) * module[2].weight[3].detach()
    torch.testing.assert_close(found.gradients[0], expected)


class Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]  # noqa: ARG004
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]  # noqa: ARG004
        return gradient


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(Hidden.apply(x))


def test_an_operation_that_cannot_be_seen_is_refused_and_placed() -> None:
    with pytest.raises(NotDifferentiable, match=r"linear.*'inner'.*cannot be seen"):
        Run(Engine(Model(Custom())), torch.randn(1, 3), as_target(0)).gradients(rules=PlainRules())


def test_compiled_layers_are_refused_by_name() -> None:
    module = nn.Sequential(nn.Linear(3, 3), torch.jit.trace(nn.ReLU(), torch.randn(1, 3)))
    with pytest.raises(NotDifferentiable, match="Layer '1' is compiled"):
        Run(Engine(Model(module)), torch.randn(1, 3), as_target(0)).gradients(rules=PlainRules())


def test_rules_of_two_threads_do_not_meet() -> None:
    torch.manual_seed(0)
    model, x = Model(EveryRelu(True)), torch.randn(2, 6)
    alone = {
        r: Run(Engine(model), x, as_target(0)).gradients(rules=r()).gradients[0]
        for r in (PlainRules, Doubling)
    }
    found: dict[type, list[Tensor]] = {PlainRules: [], Doubling: []}

    def work(rules: type) -> None:
        for _ in range(20):
            found[rules].append(Run(Engine(model), x, as_target(0)).gradients(rules=rules()).gradients[0])

    threads = [threading.Thread(target=work, args=(rules,)) for rules in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rules, results in found.items():
        assert len(results) == 20
        assert all(torch.equal(result, alone[rules]) for result in results)


@pytest.mark.parametrize("mask", ["none", "bool", "float", "causal", "grouped"])
def test_attention_written_out_equals_the_fused_one(mask: str) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 5, 8)
    extra = {
        "none": {},
        "bool": {"attn_mask": torch.rand(5, 5) > 0.3},
        "float": {"attn_mask": torch.randn(2, 1, 5, 5)},
        "causal": {"is_causal": True, "scale": 0.3},
        "grouped": {"enable_gqa": True},
    }[mask]
    if mask == "bool":
        extra["attn_mask"] |= torch.eye(5, dtype=torch.bool)
    if mask == "grouped":
        k, v = k[:, :2], v[:, :2]
    torch.testing.assert_close(
        scaled_dot_product_attention(q, k, v, **extra), F.scaled_dot_product_attention(q, k, v, **extra)
    )


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("mask", ["none", "bool", "padding", "causal"])
def test_multi_head_attention_written_out_equals_torch(separate: bool, mask: str) -> None:
    torch.manual_seed(0)
    width = {"kdim": 6, "vdim": 10} if separate else {}
    attention = nn.MultiheadAttention(8, 2, **width).eval()
    query = torch.randn(5, 3, 8)
    key, value = (torch.randn(5, 3, 6), torch.randn(5, 3, 10)) if separate else (query, query)
    extra: dict[str, object] = {}
    if mask == "bool":
        extra["attn_mask"] = torch.rand(5, 5) > 0.6
        extra["attn_mask"].fill_diagonal_(False)  # type: ignore[union-attr, attr-defined]
    if mask == "padding":
        extra["key_padding_mask"] = torch.tensor([[False] * 4 + [True]] * 3)
    if mask == "causal":
        extra["attn_mask"] = torch.ones(5, 5, dtype=torch.bool).triu(1)
    expected = attention(query, key, value, average_attn_weights=False, **extra)
    found = multi_head_attention_forward(
        query, key, value, 8, 2,
        None if separate else attention.in_proj_weight, attention.in_proj_bias,
        None, None, False, 0.0, attention.out_proj.weight, attention.out_proj.bias,
        use_separate_proj_weight=separate, average_attn_weights=False,
        q_proj_weight=attention.q_proj_weight, k_proj_weight=attention.k_proj_weight,
        v_proj_weight=attention.v_proj_weight, **extra,
    )  # fmt: skip
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_attention_is_seen_as_softmax_and_products_in_a_fused_block() -> None:
    torch.manual_seed(0)
    model = Model(
        nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(), nn.Linear(40, 2))
    )
    watch, x = Watch(), torch.randn(2, 5, 8)
    found = Run(Engine(model), x, as_target(0)).gradients(rules=watch)
    assert watch.names["softmax"] == 1
    assert watch.names["matmul"] == 2
    plain = Run(Engine(model), x, as_target(0)).gradients()
    torch.testing.assert_close(found.gradients[0], plain.gradients[0], rtol=1e-4, atol=1e-6)
