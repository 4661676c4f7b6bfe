"""How a room reaches what a higher room, or another package, adds to it: by entry point.

`models` cannot import `demo`, nor `methods` the `reports` that print an explanation; both find them
here by name, and a third party can add a scheme or a writer of its own in the same way.
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from underhood.errors import UnknownName


def plugin(group: str, name: str, *, kind: str, known: tuple[str, ...] = ()) -> Callable[..., Any]:
    """The callable registered as `name` in entry-point group `underhood.<group>`."""
    found = entry_points(group=f"underhood.{group}")
    if name not in found.names:
        raise UnknownName(kind, name, (*known, *sorted(found.names)))
    loaded: Callable[..., Any] = found[name].load()
    return loaded
