"""How the network is run: the only room that runs it."""

from underhood.engine.attached import Back, attached
from underhood.engine.attention import Attention, Attentions
from underhood.engine.engine import Engine
from underhood.engine.inside import Inside, gradient_and_activation, inside
from underhood.engine.intercept import PlainRules, Rules
from underhood.engine.ops import Op
from underhood.engine.passes import Gradients
from underhood.engine.predict import predict
from underhood.engine.reduce import Moments, PathSum, WeightedSum
from underhood.engine.run import Run, Shared
from underhood.engine.settings import Settings
from underhood.engine.tokens import patch_tokens
from underhood.engine.trace import grad_cam_layer, trace

__all__ = [
    "Attention",
    "Attentions",
    "Back",
    "Engine",
    "Gradients",
    "Inside",
    "Moments",
    "Op",
    "PathSum",
    "PlainRules",
    "Rules",
    "Run",
    "Settings",
    "Shared",
    "WeightedSum",
    "attached",
    "grad_cam_layer",
    "gradient_and_activation",
    "inside",
    "patch_tokens",
    "predict",
    "trace",
]
