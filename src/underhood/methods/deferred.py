"""Fields of a dataclass that are worked out once somebody reads them."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class Deferred(Generic[T]):
    """A field that may be given as a function, which is called when the field is first read.

    default: what the field holds where nothing is given; without one it has to be given.
    """

    def __init__(self, *default: T):
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> T: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> T:
        if instance is None:  # as dataclasses ask for the default
            if not self.default:
                raise AttributeError(self.name)
            return self.default[0]
        held = vars(instance)
        if callable(held[self.name]):
            held[self.name] = held[self.name]()
        value: T = held[self.name]
        return value

    def __set__(self, instance: object, value: T | Callable[[], T]) -> None:
        held: dict[str, Any] = vars(instance)
        held[self.name] = value
