"""Weight files: read without running code in them, fitted to the architecture or refused with a report."""

import copy
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from underhood.errors import BadWeights
from underhood.models import load
from underhood.models.weights import load_weights


def build() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


@pytest.fixture
def trained() -> nn.Module:
    torch.manual_seed(1)
    net = build()
    net[1].running_mean += 3
    return net


def same(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "nest",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model_state_dict": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model": state},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {"net": state, "acc": 0.9},
        lambda state: {"weights": state},
        lambda state: prefixed(state, "module."),
        lambda state: prefixed(state, "_orig_mod."),
        lambda state: prefixed(state, "_orig_mod.module."),
        lambda state: prefixed(state, "module._orig_mod."),
        lambda state: {"state_dict": prefixed(state, "model.")},
    ],
)
def test_state_dicts_are_found_where_people_put_them(trained: nn.Module, tmp_path: Path, nest: Any) -> None:
    torch.save(nest(trained.state_dict()), tmp_path / "weights.pt")
    net = build()
    load_weights(net, tmp_path / "weights.pt")
    assert same(net, trained)


def test_safetensors_are_read(trained: nn.Module, tmp_path: Path) -> None:
    save_file(trained.state_dict(), tmp_path / "weights.safetensors")
    assert same(load(build(), weights=tmp_path / "weights.safetensors").module, trained)


def test_half_precision_weights_become_the_architectures_own(trained: nn.Module, tmp_path: Path) -> None:
    half = {n: t.half() if t.is_floating_point() else t for n, t in trained.state_dict().items()}
    torch.save(half, tmp_path / "weights.pt")
    net = build()
    load_weights(net, tmp_path / "weights.pt")
    assert net[0].weight.dtype == torch.float32
    assert torch.allclose(net[0].weight, trained[0].weight, atol=1e-3)


def test_a_prefix_that_the_architecture_has_itself_stays(tmp_path: Path) -> None:
    net = nn.Module()
    net.module = nn.Linear(2, 2)
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    load_weights(copy.deepcopy(net), tmp_path / "weights.pt")


def test_what_does_not_fit_is_reported_by_name_and_nothing_changes(
    trained: nn.Module, tmp_path: Path
) -> None:
    state = trained.state_dict()
    del state["0.bias"]
    state["extra.weight"] = torch.zeros(1)
    state["3.weight"] = torch.zeros(5, 16)
    torch.save(state, tmp_path / "weights.pt")
    net = build()
    before = copy.deepcopy(net)
    with pytest.raises(BadWeights) as refused:
        load_weights(net, tmp_path / "weights.pt")
    assert str(refused.value) == (
        "weights.pt does not fit this architecture: 1 missing (0.bias); 1 unexpected (extra.weight); "
        "1 of another shape (3.weight is (5, 16), should be (2, 16)). Give the weights of this model, or the "
        "model of these weights."
    )
    assert same(net, before)


def test_another_architecture_is_reported_in_short(tmp_path: Path) -> None:
    torch.save(nn.Sequential(*[nn.Linear(1, 1) for _ in range(20)]).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(BadWeights, match=r"34 unexpected \(2\.weight, 2\.bias, 4\.weight, …\)") as refused:
        load_weights(build(), tmp_path / "weights.pt")
    assert len(str(refused.value)) < 400


class Payload:
    """What a malicious weight file holds: an object that runs a command when it is unpickled."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_pickle_with_code_is_refused_by_name_and_does_not_run(tmp_path: Path, new_format: bool) -> None:
    trace = tmp_path / "it ran"
    path = tmp_path / "weights.pt"
    content = {"state_dict": build().state_dict(), "note": Payload(Path(f"'{trace}'"))}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(BadWeights, match=r"'(posix|nt|os)\.system'.*--trust"):
        load_weights(build(), path)
    assert not trace.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("nested", [False, True], ids=["alone", "beside a state dict"])
def test_a_bare_pickle_with_code_is_refused_by_name_and_does_not_run(
    tmp_path: Path, protocol: int, nested: bool
) -> None:
    trace = tmp_path / "it ran"
    path = tmp_path / "weights.pth"
    payload = Payload(Path(f"'{trace}'"))
    held = (
        OrderedDict(posix="system", by="me", also="me", state_dict=OrderedDict(), note=payload)
        if nested
        else payload
    )
    path.write_bytes(pickle.dumps(held, protocol=protocol))
    with pytest.raises(BadWeights, match=r"weights\.pth holds the Python object '(posix|nt)\.system'"):
        load_weights(build(), path)
    assert not trace.exists()


def test_a_whole_pickled_model_is_refused_by_name_and_read_on_trust(
    trained: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    torch.save(trained, path)
    with pytest.raises(BadWeights, match=r"'torch\.nn\.modules\.container\.Sequential'"):
        load_weights(build(), path)
    net = build()
    load_weights(net, path, trust=True)
    assert same(net, trained)


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("keep", [0, 7, 900])
def test_a_truncated_file_is_refused(trained: nn.Module, tmp_path: Path, name: str, keep: int) -> None:
    path = tmp_path / name
    if path.suffix == ".pt":
        torch.save(trained.state_dict(), path)
    else:
        save_file(trained.state_dict(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadWeights, match="is not a readable"):
        load_weights(build(), path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "an empty dictionary"),
        ({"epoch": 3, "lr": 0.1}, "holds no tensors; its keys are epoch, lr"),
        ([1, 2], "an object of type list"),
        (torch.zeros(3), "an object of type Tensor"),
    ],
)
def test_a_file_without_weights_is_refused(tmp_path: Path, content: Any, words: str) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(BadWeights, match=words):
        load_weights(build(), tmp_path / "weights.pt")


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    for name in ("weights.pt", "weights.safetensors"):
        (tmp_path / name).write_text("these are not weights, whatever the file is called\n" * 9)
        with pytest.raises(BadWeights, match="is not a readable"):
            load_weights(build(), tmp_path / name)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match="There is no weight file"):
        load_weights(build(), tmp_path / "weights.pt")
