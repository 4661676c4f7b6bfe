"""What a model is shown, and what it is shown instead."""

from underhood.inputs.absence import Absence
from underhood.inputs.baseline import (
    Baseline,
    Blur,
    Constant,
    Inpaint,
    Mean,
    Noise,
    NoisyLinear,
    Samples,
    Zeros,
    as_baseline,
)
from underhood.inputs.dataset import Dataset
from underhood.inputs.gather import Gathered, gather
from underhood.inputs.given_dataset import as_dataset
from underhood.inputs.grouping import Grouping, Labels, Windows, elements, patches, superpixels
from underhood.inputs.images import find_pictures, read_picture
from underhood.inputs.variants import Crop, Variants

__all__ = [
    "Absence",
    "Baseline",
    "Blur",
    "Constant",
    "Crop",
    "Dataset",
    "Gathered",
    "Grouping",
    "Inpaint",
    "Labels",
    "Mean",
    "Noise",
    "NoisyLinear",
    "Samples",
    "Variants",
    "Windows",
    "Zeros",
    "as_baseline",
    "as_dataset",
    "elements",
    "find_pictures",
    "gather",
    "patches",
    "read_picture",
    "superpixels",
]
