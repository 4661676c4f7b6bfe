"""Several methods asked for together, beside the sum of each asked for alone."""

import underhood as uh
from benchmarks.contest import Base, Match, Scene, Timed
from benchmarks.networks import CAM_LAYERS
from benchmarks.rows import OURS


def together(scene: Scene) -> Match:
    """Notes: each method's share of the sum, and the passes that are left to share."""
    x = scene.pictures()
    methods: tuple[uh.Method, ...] = (
        uh.GradCAM(CAM_LAYERS[scene.network]),
        uh.IntegratedGradients(),
        uh.SmoothGrad(),
        uh.Occlusion(),
    )

    def alone() -> list[uh.Explanation]:
        return [one for method in methods for one in uh.explain(scene.model, x, methods=method)]

    def at_once() -> list[uh.Explanation]:
        return list(uh.explain(scene.model, x, methods=methods))

    def notes() -> dict[str, str]:
        apart, joined = alone(), at_once()
        spent = [one.provenance["cpu_seconds"] for one in apart]
        shares = (f"{m.card.name} {s / sum(spent):.0%}" for m, s in zip(methods, spent, strict=True))
        return {
            "share of the sum": ", ".join(shares),
            "passes forward, in part, backward": f"{_passes(apart)} alone, {_passes(joined)} together",
        }

    base = Base(alone, 1, "each method alone, one after the other")
    return Match({OURS: at_once}, lambda: base, notes=notes)


def _passes(found: list[uh.Explanation]) -> str:
    sums = (
        sum(one.provenance[f"{way}_passes"] for one in found) for way in ("forward", "partial", "backward")
    )
    return " + ".join(map(str, sums))


CONTESTS = (
    Timed(
        "together",
        "Grad-CAM, integrated gradients, SmoothGrad and occlusion together",
        "at most 0.95 × the sum of each alone.",
        0.95,
        together,
    ),
)
