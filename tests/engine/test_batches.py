"""Many inputs: micro-batches, memory, streams, progress, stopping. None of them changes the numbers."""

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from tests.engine.nets import METHODS, NETS, ON_THE_CNN, explained, pictures, suited
from underhood.engine import budget
from underhood.engine.budget import parse_memory


@pytest.mark.parametrize(("build", "method"), suited())
def test_the_memory_budget_does_not_change_the_result(build: Any, method: uh.Method) -> None:
    net, x = build(), pictures(5)
    large = explained(method, net, x, [0, 1, 2, 3, 4], memory="4GB")
    rounding = 1e-6 + 1e-5 * float(large.abs().max())  # of scores near 1, where the map is their difference
    for memory in (1, "300 KB"):
        small = explained(method, net, x, [0, 1, 2, 3, 4], memory=memory)
        assert torch.allclose(small, large, rtol=1e-4, atol=rounding)


def test_the_budget_decides_how_many_go_through_at_once() -> None:
    sizes: list[int] = []

    class Watched(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            sizes.append(len(x))
            return x.flatten(1)[:, :2]

    model, x = uh.Model(Watched()), pictures(32)
    uh.Engine(model, uh.Settings(memory=1)).scores(x)
    assert sizes[1:] == [1] * 32  # after one pass that measures
    sizes.clear()
    uh.Engine(model, uh.Settings(memory="4GB")).scores(x)
    assert sizes == [32]


@pytest.mark.parametrize(("side", "at_once"), [(256, 8), (256 // 2, 8), (64, 32), (8, 64)])
def test_what_a_layer_takes_and_gives_stays_in_the_cache(side: int, at_once: int) -> None:
    """Two layers of 24 channels: 2 · 24 · 4 · side² bytes an input, and 24 MiB of cache."""
    net = nn.Sequential(nn.Conv2d(3, 24, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = uh.Engine(uh.Model(net.eval())).footprint(torch.zeros(1, 3, side, side))
    assert found.cached == at_once


class Hungry(nn.Module):
    """Runs out of memory above `limit` inputs at a time, as torch says it on a CPU."""

    limit: ClassVar[int] = 5
    largest: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > Hungry.limit:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        Hungry.largest = max(Hungry.largest, len(x))
        return self.conv(x).relu().mean((2, 3))


@pytest.fixture
def hungry(monkeypatch: pytest.MonkeyPatch) -> Hungry:
    monkeypatch.setattr(Hungry, "largest", 0)
    return Hungry()


@pytest.mark.parametrize("method", ON_THE_CNN.values(), ids=ON_THE_CNN)
def test_when_memory_runs_out_smaller_batches_give_the_same_result(
    hungry: Hungry, monkeypatch: pytest.MonkeyPatch, method: uh.Method
) -> None:
    x = pictures(7)
    found = method(hungry, x, 0)
    assert 1 < Hungry.largest <= 5
    assert any("memory ran out with" in note for note in found[0].provenance["notes"])
    monkeypatch.setattr(Hungry, "limit", 1000)
    plenty = method(hungry, x, 0)
    assert not plenty[0].provenance["notes"]
    for a, b in zip(found, plenty, strict=True):
        assert torch.allclose(torch.from_numpy(a.values), torch.from_numpy(b.values), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("method", ["saliency", "smoothgrad", "gradcam", "occlusion"])
def test_when_not_even_one_input_fits_the_sentence_says_so(
    hungry: Hungry, monkeypatch: pytest.MonkeyPatch, count: int, method: str
) -> None:
    monkeypatch.setattr(Hungry, "limit", 0)
    with pytest.raises(uh.UnderhoodError, match="Not even one input at a time fits into memory") as caught:
        METHODS[method](hungry, pictures(count), 0)
    assert isinstance(caught.value, MemoryError)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 12 bytes"),
    ],
)
def test_every_kind_of_out_of_memory_is_recognised(error: Exception) -> None:
    assert budget.is_out_of_memory(error)
    assert not budget.is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (None, None),
        (1000, 1000),
        (2e9, 2_000_000_000),
        ("512MB", 512_000_000),
        ("512 mb", 512_000_000),
        ("2GiB", 2 * 2**30),
        ("1.5g", 1_500_000_000),
        ("64k", 64_000),
        ("100", 100),
        ("1 TiB", 2**40),
    ],
)
def test_memory_budgets_are_read(text: Any, count: int | None) -> None:
    assert parse_memory(text) == count


@pytest.mark.parametrize("text", ["", "much", "-5MB", "0", "0.0GB", 0, -1, "5 XB", float("nan"), "1,5GB"])
def test_what_is_no_memory_budget_is_refused(text: Any) -> None:
    with pytest.raises(uh.UnderhoodError):
        uh.Settings(memory=text)


@pytest.mark.parametrize(
    "settings", [{"precision": "float16"}, {"seed": -1}, {"device": "abacus"}, {"device": "cuda:99"}]
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(uh.UnderhoodError):
        uh.Saliency()(NETS["cnn"](), pictures(1), 0, **settings)


def test_a_thousand_inputs_stream_in_constant_memory() -> None:
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    most = 0

    def watch(_done: int, _of: int) -> None:
        nonlocal most
        most = max(most, len(alive))

    def stream() -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(0)
        for _ in range(1000):
            x = torch.randn(3, 16, 16, generator=generator)
            alive.add(x)
            yield x

    torch.manual_seed(0)
    model = uh.Model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(784, 3)))
    gc.disable()  # nothing may wait for the collector
    try:
        scores = uh.Engine(model, uh.Settings(progress=watch)).scores(stream(), uh.Class(1))
    finally:
        gc.enable()
    assert 0 < most <= 64
    assert scores.shape == (1000,)
    expected = uh.Engine(model).scores(torch.stack(list(stream())), uh.Class(1))
    assert torch.allclose(scores, expected, atol=1e-6)


def test_targets_of_their_own_keep_their_place_in_a_stream() -> None:
    net, x = NETS["cnn"](), pictures(70)
    classes = torch.arange(70) % 5
    found = uh.Engine(uh.Model(net)).scores(iter(x), uh.PerInput(classes))
    expected = net.eval()(x).detach()[torch.arange(70), classes]
    assert torch.allclose(found, expected, atol=1e-6)


def test_no_inputs_at_all_is_a_sentence() -> None:
    engine = uh.Engine(uh.Model(NETS["cnn"]()))
    for nothing in (iter([]), torch.zeros(0, 3, 16, 16)):
        with pytest.raises(uh.UnderhoodError, match="no inputs"):
            engine.scores(nothing)
    for nothing in (iter([]), torch.zeros(0, 3, 16, 16)):
        with pytest.raises(uh.UnderhoodError, match="no inputs"):
            engine.gradients(nothing)


def test_only_a_micro_batch_of_variants_exists_at_a_time() -> None:
    made: list[int] = []

    def make(rows: Tensor, numbers: Tensor) -> Tensor:
        made.append(len(rows))
        return x[rows] + numbers[:, None, None, None]

    x = pictures(2)
    scores = uh.Engine(uh.Model(NETS["cnn"]())).scores(uh.Variants(x, 100, make), uh.Class(0))
    assert scores.shape == (200,)
    assert max(made) <= 64


def progress_of(method: uh.Method, inputs: Any, **settings: Any) -> list[tuple[int, int]]:
    calls: list[tuple[int, int]] = []
    method(NETS["cnn"](), inputs, 0, progress=lambda done, of: calls.append((done, of)), **settings)
    return calls


def test_progress_grows_and_arrives() -> None:
    for name in ("saliency", "gradcam", "occlusion", "smoothgrad", "integrated_gradients"):
        calls = progress_of(METHODS[name], pictures(3), memory="200KB")
        rounds = [list(group) for group in _runs(calls)]
        for group in rounds:
            done = [d for d, _ in group]
            assert done == sorted(set(done)), name
            assert group[-1][0] == group[-1][1], name
        assert len(rounds) <= 3, name  # predictions, baselines, and the method's own passes


def test_progress_of_nested_passes_counts_the_outer_ones_only() -> None:
    calls = progress_of(uh.SmoothGrad(n=20, of=uh.IntegratedGradients(steps=8)), pictures(2), memory="100KB")
    totals = [of for _, of in calls]
    assert set(totals) == {2, 40}
    assert calls[-1] == (40, 40)


def test_progress_over_a_stream_grows() -> None:
    calls: list[tuple[int, int]] = []
    settings = uh.Settings(progress=lambda done, of: calls.append((done, of)))
    uh.Engine(uh.Model(NETS["cnn"]()), settings).scores(iter(pictures(70)))
    done = [d for d, _ in calls]
    assert done == sorted(set(done))
    assert calls[-1] == (70, 70)


def _runs(calls: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Split where one engine call ends and the next begins."""
    group: list[tuple[int, int]] = []
    for call in calls:
        if group and group[-1][0] == group[-1][1]:
            yield group
            group = []
        group.append(call)
    yield group


@pytest.mark.parametrize("method", ON_THE_CNN.values(), ids=ON_THE_CNN)
def test_a_set_cancel_event_stops_before_the_next_micro_batch(method: uh.Method) -> None:
    cancel = threading.Event()
    done: list[int] = []

    def progress(count: int, _of: int) -> None:
        done.append(count)
        if len(done) == 2:
            cancel.set()

    with pytest.raises(uh.UnderhoodError, match="Stopped, as asked"):
        method(NETS["cnn"](), pictures(12), 0, memory=1, progress=progress, cancel=cancel)
    assert len(done) == 2
    cancel.clear()
    assert len(method(NETS["cnn"](), pictures(12), 0, cancel=cancel)) == 12


def test_an_error_in_the_progress_callback_comes_through() -> None:
    def fail(_done: int, _of: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        uh.Saliency()(NETS["cnn"](), pictures(2), 0, progress=fail)


RANDOM: dict[str, uh.Method] = {
    "smoothgrad": uh.SmoothGrad(n=6),
    "noise baseline": uh.IntegratedGradients(steps=3, baseline="noise"),
    "noise fill": uh.Occlusion(size=8, stride=8, baseline="noise"),
}


@pytest.mark.parametrize("method", RANDOM.values(), ids=RANDOM)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(method: uh.Method) -> None:
    net, x = NETS["cnn"](), pictures(2)
    torch.manual_seed(1)
    first = explained(method, net, x, seed=3)
    torch.manual_seed(2)  # torch's own generator plays no part
    assert torch.equal(explained(method, net, x, seed=3), first)
    assert not torch.allclose(explained(method, net, x, seed=4), first, rtol=1e-2)


@pytest.mark.parametrize(("build", "method"), suited())
def test_the_same_call_gives_the_same_bits(build: Any, method: uh.Method) -> None:
    model, x = uh.Model(build()), pictures(3)
    first = explained(method, model, x, None)
    for _ in range(3):
        assert torch.equal(explained(method, model, x, None), first)
