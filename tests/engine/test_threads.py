"""Two explanations at once do not see each other (PEERS 6)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import underhood as uh
from tests.engine.nets import METHODS, NETS, Snapshot, explained, pictures

JOBS: list[tuple[uh.Method, Any]] = [
    (METHODS["saliency"], 0),
    (uh.GradCAM(relu=False), 1),
    (METHODS["integrated_gradients"], [2, 3]),
    (METHODS["occlusion"], uh.Contrast(4, 0)),
    (METHODS["smoothgrad"], None),
]


@pytest.mark.parametrize("shared", [True, False], ids=["one Model", "a Model each"])
@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
def test_threads_with_different_methods_and_targets_get_what_they_get_alone(
    build: Callable[[], nn.Module], shared: bool
) -> None:
    net, x = build(), pictures(2)
    alone = [explained(method, net, x, target) for method, target in JOBS]
    before, model = Snapshot.of(net), uh.Model(net)
    together = Barrier(len(JOBS))

    def work(job: tuple[uh.Method, Any]) -> list[Tensor]:
        torch.set_num_threads(1)
        together.wait()
        return [explained(job[0], model if shared else net, x, job[1]) for _ in range(4)]

    with ThreadPoolExecutor(len(JOBS)) as pool:
        found = list(pool.map(work, JOBS))
    for (method, _), expected, results in zip(JOBS, alone, found, strict=True):
        for result in results:
            assert torch.equal(result, expected), method.key
    before.assert_unchanged(net)


def test_a_failing_thread_does_not_disturb_another() -> None:
    net, x = NETS["cnn"](), pictures(2)
    model = uh.Model(net)
    expected = explained(uh.Saliency(), model, x)
    together = Barrier(2)

    def fail() -> int:
        failures = 0
        together.wait()
        for _ in range(10):
            try:
                uh.GradCAM("head")(model, x, 0)
            except uh.UnderhoodError:
                failures += 1
        return failures

    def succeed() -> list[Tensor]:
        together.wait()
        return [explained(uh.Saliency(), model, x) for _ in range(10)]

    with ThreadPoolExecutor(2) as pool:
        failing, succeeding = pool.submit(fail), pool.submit(succeed)
    assert failing.result() == 10
    assert all(torch.equal(result, expected) for result in succeeding.result())


def test_gradient_modes_of_the_calling_thread_are_left_as_they_were() -> None:
    net, x = NETS["cnn"](), pictures(1)
    for mode in (torch.no_grad, torch.enable_grad, torch.inference_mode):
        with mode():
            before = (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
            uh.GradCAM()(net, x, 0)
            with pytest.raises(uh.UnderhoodError):
                uh.GradCAM("head")(net, x, 0)
            assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
