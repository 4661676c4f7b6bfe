"""Layer-wise relevance propagation: rules of layers, of all other operations, composites, the method."""

from underhood.methods.lrp.composites import COMPOSITES, Composite
from underhood.methods.lrp.method import LRP
from underhood.methods.lrp.rules import (
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    Pass,
    Rule,
    WSquare,
    ZBox,
    Zero,
    ZPlus,
)

__all__ = [
    "COMPOSITES",
    "LRP",
    "AlphaBeta",
    "Composite",
    "Epsilon",
    "Flat",
    "Gamma",
    "Pass",
    "Rule",
    "WSquare",
    "ZBox",
    "ZPlus",
    "Zero",
]
