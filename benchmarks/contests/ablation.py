"""Class activation maps whose weights are found by trying each channel: Score-CAM and Ablation-CAM."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from torch import Tensor

import underhood as uh
from benchmarks.contest import Match, Scene, Timed
from benchmarks.contests.cams import grid_of
from benchmarks.floor import floor, forward
from benchmarks.measure import Run
from benchmarks.networks import CAM_LAYERS
from benchmarks.rows import OURS


def _peer(scene: Scene, x: Tensor, kind: str) -> Callable[[], np.ndarray]:
    import pytorch_grad_cam
    from pytorch_grad_cam.ablation_layer import AblationLayer, AblationLayerVit
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    layer, grid = scene.module.get_submodule(CAM_LAYERS[scene.network]), grid_of(scene.network)
    extra = (
        {"ablation_layer": AblationLayerVit() if grid else AblationLayer()} if kind == "AblationCAM" else {}
    )
    cam = getattr(pytorch_grad_cam, kind)(scene.module, [layer], reshape_transform=grid, **extra)
    there, targets = scene.there(x), [ClassifierOutputTarget(0)]
    return lambda: cam(there, targets)[0]


def scorecam(scene: Scene) -> Match:
    """Beside a forward pass for each channel that makes a mask."""
    x, layer = scene.pictures(), CAM_LAYERS[scene.network]
    a = uh.Engine(scene.model).capture(x, [layer])[layer]
    places = a[:, 1:].mT if a.ndim == 3 else a.flatten(2)  # (1, K, h·w)
    channels = int((places.amax(2) > places.amin(2)).sum())
    runs: dict[str, Run] = {
        **scene.ours(uh.ScoreCAM(layer), x),
        "pytorch-grad-cam": _peer(scene, x, "ScoreCAM"),
    }
    notes = {"channels": f"{channels} of {places.shape[1]}"}
    return Match(runs, partial(floor, scene.module, x, channels, forward), channels, notes=lambda: notes)


def ablationcam(scene: Scene) -> Match:
    x, ours, theirs = scene.pictures(), uh.AblationCAM(CAM_LAYERS[scene.network]), _Last()
    peer = _peer(scene, x, "AblationCAM")

    def difference() -> dict[str, str]:
        """Between the maps, scaled to 0…1 as the peer's are, which turn over where the score is negative."""
        if theirs.map is None:
            return {}
        (found,) = uh.explain(scene.model, x, 0, methods=replace(ours, relu=False))
        own = (found.values * np.sign(found.score)).clip(min=0)
        return {"difference of the maps": f"{abs(_scaled(own) - _scaled(theirs.map)).max():.0e}"}

    runs: dict[str, Run] = {
        OURS: lambda: ours(scene.model, x, 0),
        "pytorch-grad-cam": lambda: theirs.keep(peer()),
    }
    return Match(runs, partial(floor, scene.module, x, 1, forward), notes=difference)


class _Last:
    """The map of the run before."""

    map: np.ndarray | None = None

    def keep(self, found: np.ndarray) -> None:
        self.map = found


def _scaled(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / max(np.ptp(values), 1e-12)


CONTESTS = (
    Timed(
        "scorecam",
        "Score-CAM",
        "at most 1.05 × its masked forward passes in float32, at least 3 × faster than pytorch-grad-cam in "
        "`auto` precision.",
        1.05,
        scorecam,
    ),
    Timed(
        "ablationcam",
        "Ablation-CAM, beside one forward pass",
        "at least 100 × faster than pytorch-grad-cam, the same map.",
        4.0,
        ablationcam,
    ),
)
