"""file:PATH.py:FUNCTION: the user's own code."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from torch import nn

from underhood.errors import BadModel, InvalidArgument, UnknownName
from underhood.models.model import Model
from underhood.models.schemes.library import sentence


def from_file(name: str, pretrained: bool) -> Model:  # noqa: ARG001 - the function decides
    """What FUNCTION in PATH.py returns: a module, or a `Model` with preprocessing and labels."""
    path_text, colon, function_name = name.rpartition(":")
    path = Path(path_text).expanduser()
    if not colon or not path.is_file():
        raise InvalidArgument(
            f"file:{name} must be file:PATH.py:FUNCTION, where PATH.py exists; "
            f"there is no file '{path_text or name}'."
        )
    module = _import_path(path)
    functions = [n for n, value in vars(module).items() if callable(value) and n[0] != "_"]
    if function_name not in functions:
        raise UnknownName(f"function in {path.name}", function_name, functions)
    try:
        built = getattr(module, function_name)()
    except (Exception, SystemExit) as error:
        raise BadModel(f"{path.name}:{function_name}() failed: {sentence(error)}") from error
    if isinstance(built, Model):
        return built
    if not isinstance(built, nn.Module):
        raise BadModel(
            f"{path.name}:{function_name}() returned {type(built).__name__}; "
            "it must return a torch.nn.Module or an underhood.Model."
        )
    return Model(built, name=f"file:{path.name}:{function_name}")


def _import_path(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InvalidArgument(f"'{path}' is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))  # so that it can import its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise BadModel(f"Importing {path.name} failed: {sentence(error)}") from error
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module
