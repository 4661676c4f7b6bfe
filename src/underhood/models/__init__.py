"""What is being explained: a model, its layers, and the scalar that is asked about."""

from underhood.models.joined import Joined
from underhood.models.load import load
from underhood.models.model import Model
from underhood.models.prediction import Prediction
from underhood.models.preprocess import Preprocess, parse_preprocess
from underhood.models.target import Class, Contrast, Custom, PerInput, Several, Target, Unit, as_target

__all__ = [
    "Class",
    "Contrast",
    "Custom",
    "Joined",
    "Model",
    "PerInput",
    "Prediction",
    "Preprocess",
    "Several",
    "Target",
    "Unit",
    "as_target",
    "load",
    "parse_preprocess",
]
