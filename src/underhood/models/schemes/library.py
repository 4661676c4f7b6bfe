"""Libraries that offer models: importing one, and having it build a model."""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from underhood.errors import BadModel, MissingExtra


def library(module: str, extra: str) -> ModuleType:
    """The library, or an error that names the extra that brings it."""
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as error:  # a broken torchvision raises RuntimeError
        package = module.partition(".")[0]
        absent = isinstance(error, ModuleNotFoundError) and error.name == package
        raise MissingExtra(package, extra, None if absent else _root(error)) from error


WEIGHTS = "Where the weights cannot be downloaded, give a file with --weights."


def built(build: Callable[[], Any], source: str, instead: str = WEIGHTS) -> Any:
    """What the library builds, which may need a download; where that fails, an error that says what to do."""
    try:
        return build()
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise BadModel(f"{source} could not be loaded: {sentence(error)} {instead}") from error


def _root(error: BaseException) -> str:
    """What went wrong first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return sentence(error).rstrip(".")


def sentence(error: BaseException) -> str:
    """The first line of an error's text, as the end of a sentence."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".!")
    return f"{type(error).__name__}: {text}."
