"""Weight files: read without running any code in them, and fitted to an architecture."""

import pickle
import pickletools
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from underhood.errors import BadWeights

NESTED_UNDER = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
HARMLESS = re.compile(r"collections\.OrderedDict|torch\._utils\._rebuild_\w+|torch\.\w+Storage")
PREFIXES = ("module.", "_orig_mod.", "model.")


def load_weights(module: nn.Module, path: str | Path, *, trust: bool = False) -> None:
    """Load a .safetensors, .pt or .pth file into a module: every name must match, or nothing changes.

    trust: allow unpickling arbitrary objects, which can run code from the file.
    """
    state = read_state(Path(path), trust=trust)
    own = module.state_dict()
    state = _in_current_names(module, _without_prefix(state, own))
    problems = _mismatches(state, own)
    if problems:
        raise BadWeights(
            f"{Path(path).name} does not fit this architecture: {'; '.join(problems)}. Give the weights "
            "of this model, or the model of these weights."
        )
    module.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in state.items()})


def read_state(path: Path, *, trust: bool = False) -> dict[str, Tensor]:
    """Name → tensor from a weight file; state dicts nested under the usual keys are found."""
    if path.is_dir():
        raise BadWeights(f"'{path}' is a folder; give a .safetensors, .pt or .pth file in it.")
    if not path.is_file():
        raise BadWeights(f"There is no weight file '{path}'.")
    loaded = _read_safetensors(path) if path.suffix == ".safetensors" else _unpickle(path, trust)
    while (inner := _nested(loaded)) is not None:
        loaded = inner
    if isinstance(loaded, nn.Module):
        loaded = loaded.state_dict()
    if not isinstance(loaded, Mapping) or not loaded:
        raise BadWeights(
            f"{path.name} holds no weights: found {_describe(loaded)}; give a file with a state dict."
        )
    tensors = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
    if not tensors:
        raise BadWeights(
            f"{path.name} holds no tensors; its keys are {', '.join(map(str, list(loaded)[:8]))}."
        )
    return tensors


def _nested(loaded: Any) -> Any:
    """What a checkpoint holds under one of the usual keys, or None."""
    if not isinstance(loaded, Mapping):
        return None
    found = (loaded.get(key) for key in NESTED_UNDER)
    return next((value for value in found if isinstance(value, Mapping | nn.Module)), None)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise BadWeights(
            f"{path.name} is not a readable safetensors file ({error}); copy or download it again."
        ) from error


def _unpickle(path: Path, trust: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, on files of other makers
            return torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        if _is_refusal(error):
            raise BadWeights(
                f"{path.name} holds {_named_global(str(error))}, and unpickling that could run code "
                "of its author. Ask for a file of plain tensors or safetensors; if you trust where it "
                "comes from, pass --trust (trust=True)."
            ) from error
        raise _unreadable(path) from error
    except Exception as error:  # torch's unpickler trips over other files in any way it can
        raise _unreadable(path) from error


def _unreadable(path: Path) -> BadWeights:
    if name := _global_in_pickle(path):
        return BadWeights(
            f"{path.name} holds the Python object '{name}', and unpickling that could run code of its "
            "author; ask for a file of plain tensors or safetensors."
        )
    return BadWeights(f"{path.name} is not a readable PyTorch weight file; copy or download it again.")


def _is_refusal(error: Exception) -> bool:
    return "weights_only" in str(error).lower() and "GLOBAL" in str(error)


def _named_global(message: str) -> str:
    for word in message.replace("GLOBAL", " GLOBAL ").split("GLOBAL")[1:]:
        name = word.split()[0].strip("`'\",:")
        if "." in name:
            return f"the Python object '{name}'"
    return "Python objects other than tensors"


def _global_in_pickle(path: Path) -> str | None:
    """The first Python object in a plain pickle that state dicts do not need, found without unpickling."""
    try:
        return next((name for name in _globals(path) if not HARMLESS.fullmatch(name)), None)
    except Exception:  # no pickle at all
        return None


def _globals(path: Path) -> Iterator[str]:
    """What a plain pickle names; a name's two words may have been used before, and be remembered."""
    words: list[str] = []
    memo: dict[Any, Any] = {}
    last: Any = None
    for operation, argument, _ in pickletools.genops(path.read_bytes()[:1_000_000]):
        if operation.name == "GLOBAL":
            yield str(argument).replace(" ", ".")
        elif operation.name == "STACK_GLOBAL":
            yield ".".join(words[-2:])
        elif operation.name == "MEMOIZE":
            memo[len(memo)] = last
        elif operation.name.endswith("PUT"):
            memo[argument] = last
        else:
            last = memo.get(argument) if operation.name.endswith("GET") else argument
            if isinstance(last, str):
                words.append(last)


def _without_prefix(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop prefixes such as "module." that every name carries and the architecture does not."""
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state) and not any(
            name.startswith(prefix) for name in own
        ):
            shorter = {name[len(prefix) :]: tensor for name, tensor in state.items()}
            return _without_prefix(shorter, own)
    return state


def _in_current_names(module: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers renames weights from version to version, and knows how they were called before."""
    if not hasattr(module, "from_pretrained") or state.keys() == module.state_dict().keys():
        return state
    architecture: Any = type(module)
    renamed, found = architecture.from_pretrained(
        None,
        config=module.config,
        state_dict=dict(state),
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    known = {
        name: tensor for name, tensor in renamed.state_dict().items() if name not in found["missing_keys"]
    }
    return known | {name: state[name] for name in found["unexpected_keys"]}


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
