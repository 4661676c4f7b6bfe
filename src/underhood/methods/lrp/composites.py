"""Composites: which rule goes to which layer with weights.

A composite is a sequence of (pattern, rule); the first pattern that fits decides, and ε where none does.
A pattern is a layer's name with * and ?, such as "features.*", or a kind:

    ":first"        layers that no other layer with weights comes before
    ":pixels"       convolutions among them
    ":convolution"  convolutions
    ":dense"        all others
"""

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from underhood.errors import InvalidArgument, UnknownName
from underhood.methods.lrp.rules import AlphaBeta, Epsilon, Flat, Gamma, Rule, ZBox, ZPlus

Composite = Sequence[tuple[str, Rule]]

KINDS = (":first", ":pixels", ":convolution", ":dense")
COMPOSITES: dict[str, Composite] = {
    "epsilon": [("*", Epsilon())],
    "epsilon-plus": [(":convolution", ZPlus()), (":dense", Epsilon())],
    "epsilon-plus-flat": [(":first", Flat()), (":convolution", ZPlus()), (":dense", Epsilon())],
    "epsilon-alpha2-beta1": [(":convolution", AlphaBeta()), (":dense", Epsilon())],
    "epsilon-alpha2-beta1-flat": [(":first", Flat()), (":convolution", AlphaBeta()), (":dense", Epsilon())],
    "epsilon-gamma-box": [(":pixels", ZBox()), (":convolution", Gamma()), (":dense", Epsilon())],
    "gamma": [(":convolution", Gamma(0.25)), (":dense", Gamma(0.05))],
}


def as_composite(composite: str | Composite) -> Composite:
    """A composite by name, or one that was given, checked."""
    if isinstance(composite, str):
        if composite not in COMPOSITES:
            raise UnknownName("LRP composite", composite, COMPOSITES)
        return COMPOSITES[composite]
    for pair in composite:
        if len(pair) != 2 or not isinstance(pair[0], str) or not isinstance(pair[1], Rule):
            raise InvalidArgument(
                "A composite is a list of (layer pattern, rule), such as (':convolution', ZPlus()); "
                f"got {pair!r}."
            )
        if pair[0].startswith(":") and pair[0] not in KINDS:
            raise UnknownName("kind of layer", pair[0], KINDS)
    return tuple(composite)


def rule_for(composite: Composite, layer: str, kinds: Collection[str]) -> Rule:
    for pattern, rule in composite:
        if pattern in kinds or fnmatchcase(layer, pattern):
            return rule
    return Epsilon()
