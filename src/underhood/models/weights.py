"""Weight files: read without running any code in them, and fitted to an architecture."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from underhood.errors import BadWeights

NESTED_UNDER = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
PREFIXES = ("module.", "_orig_mod.", "model.")


def load_weights(module: nn.Module, path: str | Path, *, trust: bool = False) -> None:
    """Load a .safetensors, .pt or .pth file into a module: every name must match, or nothing changes.

    trust: allow unpickling arbitrary objects, which can run code from the file.
    """
    state = read_state(Path(path), trust=trust)
    own = module.state_dict()
    state = _without_prefix(state, own)
    problems = _mismatches(state, own)
    if problems:
        raise BadWeights(f"{Path(path).name} does not fit this architecture: {'; '.join(problems)}.")
    module.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in state.items()})


def read_state(path: Path, *, trust: bool = False) -> dict[str, Tensor]:
    """Name → tensor from a weight file; state dicts nested under the usual keys are found."""
    if not path.is_file():
        raise BadWeights(f"There is no weight file '{path}'.")
    loaded = _read_safetensors(path) if path.suffix == ".safetensors" else _unpickle(path, trust)
    for key in NESTED_UNDER:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping | nn.Module):
            loaded = loaded[key]
    if isinstance(loaded, nn.Module):
        loaded = loaded.state_dict()
    if not isinstance(loaded, Mapping) or not loaded:
        raise BadWeights(f"{path.name} holds no weights: found {_describe(loaded)}.")
    tensors = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
    if not tensors:
        raise BadWeights(
            f"{path.name} holds no tensors; its keys are {', '.join(map(str, list(loaded)[:8]))}."
        )
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise BadWeights(f"{path.name} is not a readable safetensors file: {error}.") from error


def _unpickle(path: Path, trust: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        if _is_refusal(error):
            raise BadWeights(
                f"{path.name} holds {_named_global(str(error))}, and unpickling that could run code "
                "of its author. Ask for a file of plain tensors or safetensors; if you trust where it "
                "comes from, pass --trust (trust=True)."
            ) from error
        raise BadWeights(f"{path.name} is not a readable PyTorch weight file.") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise BadWeights(f"{path.name} is not a readable PyTorch weight file.") from error


def _is_refusal(error: Exception) -> bool:
    return "weights_only" in str(error).lower() and "GLOBAL" in str(error)


def _named_global(message: str) -> str:
    for word in message.replace("GLOBAL", " GLOBAL ").split("GLOBAL")[1:]:
        name = word.split()[0].strip("`'\",:")
        if "." in name:
            return f"the Python object '{name}'"
    return "Python objects other than tensors"


def _without_prefix(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop prefixes such as "module." that every name carries and the architecture does not."""
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state) and not any(
            name.startswith(prefix) for name in own
        ):
            state = {name[len(prefix) :]: tensor for name, tensor in state.items()}
    return state


def _mismatches(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    reshaped = [
        f"{name} is {tuple(state[name].shape)}, should be {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    counted = (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
    return [f"{len(names)} {word} ({_first(names)})" for word, names in counted if names]


def _first(names: list[str], shown: int = 3) -> str:
    return ", ".join(names[:shown]) + (", …" if len(names) > shown else "")


def _describe(loaded: object) -> str:
    if isinstance(loaded, Mapping):
        return "an empty dictionary"
    return f"an object of type {type(loaded).__name__}"
