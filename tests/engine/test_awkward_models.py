"""Models as people write them: wrapped, frozen, reparametrised, in other types, with odd outputs."""

import warnings
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.utils.parametrizations as new
from torch import Tensor, nn

import underhood as uh
from tests.engine.nets import METHODS, NETS, ON_THE_CNN, Snapshot, explained, pictures

Output = namedtuple("Output", ["logits", "features"])


def plain_gradient(net: nn.Module, x: Tensor, target: int = 0) -> Tensor:
    """The gradient by plain torch, of a model in evaluation mode."""
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(net.eval()(leaf.clone())[:, target].sum(), leaf)[0]


def gradient(net: nn.Module | uh.Model, x: Any, target: int = 0) -> Tensor:
    return explained(uh.Saliency("signed"), net, x, target)


@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
def test_the_gradient_is_that_of_the_model_in_evaluation_mode(build: Callable[[], nn.Module]) -> None:
    net, x = build(), pictures(3)
    found = gradient(net, x, 2)
    assert torch.allclose(found, plain_gradient(net, x, 2), atol=1e-6)


@pytest.mark.parametrize("method", ON_THE_CNN.values(), ids=ON_THE_CNN)
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu")])
def test_the_callers_context_does_not_change_the_result(
    method: uh.Method, context: Callable[[], Any]
) -> None:
    net, x = NETS["cnn"](), pictures(2)
    expected = explained(method, net, x)
    with context():
        assert torch.equal(explained(method, net, x), expected)
        assert torch.equal(explained(method, net, pictures(2)), expected)  # an input made in there


def test_the_engine_itself_runs_in_float32_under_autocast() -> None:
    engine, x = uh.Engine(uh.Model(NETS["vit"]())), pictures(2)
    scores, gradients = engine.scores(x, uh.Class(0)), engine.gradients(x, uh.Class(0))
    with torch.autocast("cpu"):
        assert torch.equal(engine.scores(x, uh.Class(0)), scores)
        assert torch.equal(engine.gradients(x, uh.Class(0)).gradients[0], gradients.gradients[0])


def test_blur_under_autocast_is_float32() -> None:
    net, x, method = NETS["cnn"](), pictures(1), uh.IntegratedGradients(steps=2, baseline="blur")
    expected = explained(method, net, x)
    with torch.autocast("cpu"):
        assert torch.equal(explained(method, net, x), expected)


def test_weights_made_in_inference_mode_can_be_explained() -> None:
    with torch.inference_mode():
        net = NETS["cnn"]()
    assert torch.equal(gradient(net, pictures(1)), gradient(NETS["cnn"](), pictures(1)))


def test_frozen_parameters_change_nothing() -> None:
    net, x = NETS["cnn"](), pictures(1)
    expected = explained(uh.GradCAM(), net, x)
    net.requires_grad_(False)
    assert torch.equal(explained(uh.GradCAM(), net, x), expected)
    assert torch.allclose(gradient(net, x), plain_gradient(net, x), atol=1e-6)


def test_data_parallel_and_compiled_models_are_looked_through() -> None:
    net, x = NETS["cnn"](), pictures(2)
    expected = explained(uh.GradCAM("conv3", relu=False), net, x)
    in_place = NETS["cnn"]()
    in_place.compile(backend="eager")
    wrapped = [
        nn.DataParallel(net),
        torch.compile(net, backend="eager"),
        torch.compile(nn.DataParallel(net), backend="eager"),
        in_place,
    ]
    for module in wrapped:
        assert torch.equal(explained(uh.GradCAM("conv3", relu=False), module, x), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_models_of_another_type_are_run_in_float32(dtype: torch.dtype) -> None:
    net, x = NETS["cnn"](), pictures(1)
    rounded = NETS["cnn"]().to(dtype)
    before = Snapshot.of(rounded)
    expected = gradient(net.to(dtype).float(), x)
    assert torch.equal(gradient(rounded, x), expected)
    before.assert_unchanged(rounded)


def old_weight_norm(layer: nn.Module) -> nn.Module:
    return nn.utils.weight_norm(layer)


def old_spectral_norm(layer: nn.Module) -> nn.Module:
    return nn.utils.spectral_norm(layer)


@pytest.mark.parametrize(
    "wrap",
    [old_weight_norm, old_spectral_norm, new.weight_norm, new.spectral_norm, new.orthogonal],
    ids=lambda f: f"{f.__module__.split('.')[-1]}.{f.__name__}",
)
@pytest.mark.parametrize("trained", [False, True])
def test_reparametrised_weights(wrap: Callable[[nn.Module], nn.Module], trained: bool) -> None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        net = nn.Sequential(wrap(nn.Linear(6, 6)), nn.Tanh(), nn.Linear(6, 2)).train()
    x = torch.randn(2, 6)
    if trained:  # leaves a computed weight with a graph behind
        net(x).sum().backward()
    before = Snapshot.of(net)
    found = gradient(net, x)
    before.assert_unchanged(net)
    assert torch.allclose(found, plain_gradient(net, x), atol=1e-6)


class Returning(nn.Module):
    def __init__(self, shape: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.linear, self.shape = nn.Linear(4, 3), shape

    def forward(self, x: Tensor) -> Any:
        return self.shape(self.linear(x))


OUTPUTS: dict[str, Callable[[Tensor], Any]] = {
    "tuple": lambda s: (s, s * 7),
    "list": lambda s: [s],
    "dict of logits": lambda s: {"loss": None, "hidden": s * 7, "logits": s},
    "dict of one": lambda s: {"scores_of_mine": s},
    "named tuple": lambda s: Output(s, s * 7),
    "more dimensions": lambda s: s[:, :, None, None],
}


@pytest.mark.parametrize("shape", OUTPUTS.values(), ids=OUTPUTS)
def test_scores_are_found_in_outputs_of_other_kinds(shape: Callable[[Tensor], Any]) -> None:
    torch.manual_seed(0)
    net, x = Returning(shape), torch.randn(2, 4)
    assert torch.allclose(gradient(net, x, 1), net.linear.weight[1].detach().expand(2, -1))


REFUSED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "text": (lambda _: "hello", "returned an object of type str"),
    "dict without": (lambda s: {"a": s, "b": s}, "keys .*'a', 'b'"),
    "one number": (lambda s: s.sum(), "single number for the whole batch"),
    "whole numbers": (lambda s: s.argmax(1), "int64, not floating-point"),
    "a map": (lambda s: s[:, :, None].expand(-1, -1, 5), r"shape \(\d, 3, 5\)"),
    "other rows": (lambda s: s.repeat(2, 1), "rows of scores for"),
    "nothing": (lambda _: None, "NoneType"),
}


@pytest.mark.parametrize(("shape", "sentence"), REFUSED.values(), ids=REFUSED)
def test_outputs_that_are_no_scores_are_refused_in_a_sentence(
    shape: Callable[[Tensor], Any], sentence: str
) -> None:
    with pytest.raises(uh.UnderhoodError, match=sentence):
        uh.Saliency()(Returning(shape), torch.randn(2, 4), 0)


def test_a_model_with_one_output_is_explained_for_class_0() -> None:
    torch.manual_seed(0)
    for net in (nn.Linear(4, 1), nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))):
        weight = next(net.parameters()).detach()
        assert torch.allclose(gradient(net, torch.randn(3, 4)), weight.expand(3, -1))
        explanation = uh.Saliency()(net, torch.randn(4), None)
        assert explanation.prediction.index == 0
        assert 0 < explanation.prediction.probabilities[0] < 1
        with pytest.raises(uh.UnderhoodError, match="no class 1; the model has class 0 alone"):
            uh.Saliency()(net, torch.randn(4), 1)


NOT_DIFFERENTIABLE: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "argmax": (lambda s: s.argmax(1, keepdim=True).float().expand(-1, 3), "cannot be differentiated"),
    "detached": (lambda s: s.detach(), "cannot be differentiated"),
    "no_grad": (torch.no_grad()(lambda s: s * 2), "cannot be differentiated"),
    "inference_mode": (torch.inference_mode()(lambda s: s * 2), "cannot be differentiated"),
    "constant": (lambda s: torch.zeros(len(s), 3), "cannot be differentiated"),
}


@pytest.mark.parametrize(("shape", "sentence"), NOT_DIFFERENTIABLE.values(), ids=NOT_DIFFERENTIABLE)
def test_a_model_that_cannot_be_differentiated_is_refused_but_can_be_occluded(
    shape: Callable[[Tensor], Tensor], sentence: str
) -> None:
    net, x = Returning(shape), torch.randn(2, 4)
    for name in ("saliency", "integrated_gradients"):
        with pytest.raises(uh.UnderhoodError, match=sentence):
            METHODS[name](net, x, 0)
    assert uh.Occlusion()(net, x, 0)[0].values.shape == (4,)


def test_rounding_gives_a_zero_gradient_and_no_signal() -> None:
    explanation = uh.Saliency()(Returning(torch.round), torch.randn(4), 0)
    assert not explanation.values.any()
    assert explanation.no_signal == "the map is zero everywhere"


def test_nan_in_the_weights_is_named() -> None:
    net = NETS["cnn"]()
    with torch.no_grad():
        net.conv2.bias[1] = float("nan")
    for ask in (lambda m: uh.Saliency()(m, pictures(1)), lambda m: uh.explain(m, pictures(1))):
        with pytest.raises(uh.UnderhoodError, match=r"NaN or infinite values, first in 'conv2\.bias'"):
            ask(net)


def test_scores_that_overflow_are_refused() -> None:
    with pytest.raises(uh.UnderhoodError, match="scores are NaN or infinite for a finite input"):
        uh.Saliency()(Returning(lambda s: s / 0), torch.ones(4), 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_input_that_is_not_finite_is_refused(value: float) -> None:
    x = pictures(1)
    x[0, 0, 0, 0] = value
    with pytest.raises(uh.UnderhoodError, match="input holds NaN or infinite"):
        uh.Saliency()(NETS["cnn"](), x, 0)
    with pytest.raises(uh.UnderhoodError, match="input holds NaN or infinite"):
        uh.Engine(uh.Model(NETS["cnn"]())).outputs(x)


@pytest.mark.parametrize("shape", [(1, 4, 16, 16), (2, 1, 16, 16), (2, 5), (2, 3, 1, 1)])
@pytest.mark.parametrize("method", ["saliency", "occlusion", "gradcam"])
def test_an_input_of_the_wrong_shape_is_a_sentence_that_names_it(shape: tuple[int, ...], method: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(784, 2))
    for ask in (METHODS[method], uh.explain):
        with pytest.raises(uh.UnderhoodError, match=r"failed on inputs of shape \(\d, " + str(shape[1])):
            ask(net, torch.zeros(shape), 0)


def test_a_model_that_cannot_be_copied_is_refused_with_the_way_out() -> None:
    import threading

    net = nn.Linear(2, 2)
    net.lock = threading.Lock()
    with pytest.raises(uh.UnderhoodError, match=r"cannot be copied.*__deepcopy__"):
        uh.Saliency()(net, torch.zeros(2), 0)


def test_something_that_is_no_module_is_refused() -> None:
    with pytest.raises(uh.UnderhoodError, match="not an object of type function"):
        uh.Model(lambda x: x)  # type: ignore[arg-type]


def test_a_model_that_squeezes_its_only_output_can_be_explained_one_input_at_a_time() -> None:
    net = Returning(lambda s: s[:, :1].squeeze())
    assert torch.allclose(gradient(net, torch.randn(2, 4)), net.linear.weight[:1].detach().expand(2, -1))
    assert torch.allclose(gradient(net, torch.randn(1, 4)), net.linear.weight[:1].detach())


def test_a_recurrent_network() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.lstm(x)[0][:, -1])

    torch.manual_seed(0)
    net, x = Reader(), torch.randn(2, 4, 3)
    assert torch.allclose(gradient(net, list(x)), plain_gradient(net, x), atol=1e-6)
