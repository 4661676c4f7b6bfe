"""What a model's scheme stands for: from a name, pretrained or not, to a `Model`."""

from collections.abc import Callable

from underhood.models.model import Model
from underhood.models.schemes.file import from_file
from underhood.models.schemes.hf import from_hf
from underhood.models.schemes.timm import from_timm
from underhood.models.schemes.torchvision import from_torchvision

SCHEMES: dict[str, Callable[[str, bool], Model]] = {
    "torchvision": from_torchvision,
    "timm": from_timm,
    "hf": from_hf,
    "file": from_file,
}
