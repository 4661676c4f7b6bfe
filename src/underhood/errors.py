"""Errors in the user's language: what was wrong, with which value, what would be accepted."""

import difflib
from collections.abc import Iterable

MUCH_LESS_ALIKE = 0.15  # than the nearest name: what is is not offered


class UnderhoodError(Exception):
    """Base of every error Underhood raises on purpose; its text is one sentence for the user."""


class InvalidArgument(UnderhoodError, ValueError):
    """An argument has a value that cannot be used."""


class Unfit(InvalidArgument):
    """A method has nothing to say of such inputs; others may."""


class UnknownName(UnderhoodError, LookupError):
    """A layer, label, method, … of that name does not exist; the nearest names are offered."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        self.known = tuple(known)
        super().__init__(f"There is no {kind} named '{name}'; {_offer(name, self.known)}")


class BadInput(UnderhoodError, ValueError):
    """An image or another input cannot be read, or does not suit the model."""


class BadWeights(UnderhoodError, ValueError):
    """A weight file cannot be read safely, or does not fit the architecture."""


class BadModel(UnderhoodError):
    """The model fails, or gives something that is not a score."""


class NotDifferentiable(BadModel):
    """A gradient was asked for where the model does not provide one."""


class OutOfMemory(UnderhoodError, MemoryError):
    """Not even a single input fits into memory."""


class Cancelled(UnderhoodError):
    """The caller asked to stop."""


class MissingExtra(UnderhoodError, ImportError):
    """An optional dependency is not installed, or does not load."""

    def __init__(self, package: str, extra: str, broken: str | None = None):
        if broken is None:
            super().__init__(
                f"This needs the package '{package}', which is not installed; "
                f"install it with: pip install 'underhood[{extra}]'."
            )
        else:
            super().__init__(
                f"The package '{package}' is installed, but does not load here ({broken}): install it, and "
                "what it needs, in versions and builds that go with this PyTorch."
            )


def _offer(name: str, known: tuple[str, ...]) -> str:
    """The nearest known names, by spelling and by containing what was typed."""
    if not known:
        return "none is known here."
    lower = {candidate.lower(): candidate for candidate in reversed(known)}
    near = difflib.get_close_matches(name.lower(), lower, n=5, cutoff=0.5)
    likeness = [difflib.SequenceMatcher(None, key, name.lower()).ratio() for key in near]
    near = [key for key, ratio in zip(near, likeness, strict=True) if ratio >= likeness[0] - MUCH_LESS_ALIKE]
    near += [key for key in lower if name.lower() in key and key not in near]
    if near:
        return "did you mean " + " or ".join(f"'{lower[key]}'" for key in near[:5]) + "?"
    shown = ", ".join(f"'{candidate}'" for candidate in known[:8])
    return f"known are {shown}" + (f" and {len(known) - 8} more." if len(known) > 8 else ".")
