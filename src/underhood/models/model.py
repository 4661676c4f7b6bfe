"""`Model`: what is being explained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import nn

from underhood.errors import BadModel, InvalidArgument
from underhood.models.digest import digest
from underhood.models.layers import find_layer, named_layers
from underhood.models.prediction import Prediction
from underhood.models.preprocess import Preprocess, parse_preprocess
from underhood.models.seen import Seen
from underhood.plugins import plugin


@dataclass(frozen=True, eq=False)
class Model:
    """A torch module with its preprocessing, labels and named layers.

    The module is never changed: not its weights, gradients, flags or hooks. The engine runs a stand-in
    that shares its weights.

    module:      any `torch.nn.Module` whose output holds scores (B, C); compiled and parallel wrappers
                 are looked through.
    preprocess:  from a picture to the module's input: a `Preprocess`, or a preset (`parse_preprocess`);
                 None for models of tensors.
    labels:      one per class, or None.
    layer:       the layer Grad-CAM looks at; None to have it chosen by architecture.
    loaded:      how `load` was asked for it, as plain data; empty for a module that was given.
    """

    module: nn.Module
    preprocess: Preprocess | None = None
    labels: Sequence[str] | None = None
    name: str = ""
    layer: str | None = None
    notes: tuple[str, ...] = ()
    loaded: Mapping[str, str] = field(default_factory=dict)
    scratch: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.module, nn.Module):
            raise BadModel(
                f"A model must be a torch.nn.Module, not an object of type {type(self.module).__name__}."
            )
        object.__setattr__(self, "module", _unwrapped(self.module))
        object.__setattr__(self, "name", self.name or type(self.module).__name__)
        if isinstance(self.preprocess, str):  # a preset by name
            object.__setattr__(self, "preprocess", parse_preprocess(self.preprocess))
        if self.preprocess is not None and not isinstance(self.preprocess, Preprocess):
            raise InvalidArgument(
                "preprocess must be a Preprocess or a preset such as 'imagenet'; for a function of your own, "
                "apply it yourself and give tensors."
            )
        if self.labels is not None:
            if isinstance(self.labels, str):
                raise InvalidArgument("labels must be a list with one label per class, not a text.")
            object.__setattr__(self, "labels", tuple(str(label) for label in self.labels))
        if self.layer is not None:
            find_layer(self.module, self.layer)

    @property
    def layers(self) -> Mapping[str, nn.Module]:
        """Dotted name → module, in order of definition."""
        return named_layers(self.module)

    @property
    def digest(self) -> str:
        """sha256 over architecture and weights, as they are now."""
        return digest(self.module)

    def seen(self) -> Seen:
        """The module as it is now; the same object as before unless it has changed."""
        known: Seen | None = self.scratch.get("seen")
        if known is None or not known.unchanged():
            known = self.scratch["seen"] = Seen.of(self.module)
        return known

    def digest_of(self, seen: Seen) -> str:
        """The digest of what was `seen`; computed anew only once that has changed."""
        known: tuple[Seen, str] | None = self.scratch.get("digest")
        if known is None or known[0] is not seen:
            known = self.scratch["digest"] = (seen, digest(self.module))
        return known[1]

    @cached_property
    def input_shape(self) -> tuple[int, int, int] | None:
        """(C, H, W) of one input, where the preprocessing fixes it."""
        if self.preprocess is None or self.preprocess.cropped is None:
            return None
        return (self.preprocess.channels, *self.preprocess.cropped)

    def predict(self, inputs: Any) -> Prediction | list[Prediction]:
        """The prediction for one input (path, picture, array), or a list for several or a tensor batch."""
        predict = plugin("verbs", "predict", kind="verb")
        predictions: Prediction | list[Prediction] = predict(self, inputs)
        return predictions


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module inside torch.compile, DataParallel and DistributedDataParallel."""
    while True:
        if isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        elif isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        else:
            return module
