"""Audits made of numpy alone: a survey that no network was run for, and findings of all kinds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tests.reports import fakes
from underhood.engine import Settings
from underhood.inputs.dataset import Dataset
from underhood.models import Model
from underhood.models.preprocess import Preprocess
from underhood.playbooks.finding import Effect, Finding, Outcome, Severity
from underhood.playbooks.survey import Survey

SIZE = 48
LABELS = ("benign", "malignant")
PROVENANCE = {
    "model_digest": "3fa9c1b2d0e47785aa01f9be52cc7d10e4f8b6a29c3d51e7f0468b1c9d2e3a54",
    "data_digest": "b7" * 32,
    "method": "gradcam",
    "parameters": {"layer": "features.12"},
    "seed": 0,
    "versions": {"underhood": "0.1.0", "torch": "2.9.0"},
    "time": "2026-11-21T10:42:07+00:00",
}


@dataclass(frozen=True)
class Audit:
    survey: Survey
    outcomes: Sequence[Outcome] = ()
    problems: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=lambda: PROVENANCE)


def lesion(number: int, *, ruler: bool) -> NDArray[np.uint8]:
    """Skin with a dark spot and, along the right border, a scale with ticks; (SIZE, SIZE, 3)."""
    picture = np.full((SIZE, SIZE, 3), (214, 168, 150), dtype=np.float64)
    rng = np.random.default_rng(number)
    row, col = rng.uniform(0.4, 0.6, 2)
    spot = fakes.blob(SIZE, row, col, rng.uniform(0.1, 0.16))[..., None]
    picture = (1 - 0.8 * spot) * picture + 0.8 * spot * np.array([84, 48, 40])
    if ruler:
        picture[:, -8:] = (236, 234, 226)
        picture[::6, -8:] = picture[::3, -4:] = (30, 30, 30)
    return picture.astype(np.uint8)


def ruler_mask() -> NDArray[np.bool_]:
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[:, -8:] = True
    return mask


def model(labels: Sequence[str] | None = LABELS, channels: int = 3) -> Model:
    preprocess = Preprocess(size=None, crop=None, mean=(0.5,) * channels, std=(0.25,) * channels)
    return Model(nn.Flatten(), preprocess=preprocess, labels=labels, name="derm-v1")


def survey(count: int = 16, dataset: Dataset | None = None, of: Model | None = None) -> Survey:
    """Of a model that is right on all but every eighth picture."""
    of = of or model()
    classes = len(of.labels) if of.labels else 2
    if dataset is None:
        pictures = [lesion(number, ruler=number % 2 == 1) for number in range(count)]
        dataset = Dataset.of(pictures, [LABELS[n % 2] for n in range(count)], name="clinic")
    count = len(dataset)
    known = {name: index for index, name in enumerate(of.labels or ())}
    label = np.array([known.get(row.label or "", -1) for row in dataset], dtype=np.int64)
    predicted = np.where(np.arange(count) % 8 == 7, 0, np.maximum(label, 0))
    scores = np.zeros((count, classes), dtype=np.float32)
    scores[np.arange(count), predicted] = 2.0
    maps = np.zeros((count, 6, 6), dtype=np.float32)
    maps[:, :, -1] = 1.0
    return Survey(
        of,
        dataset,
        Settings(),
        number=np.arange(count),
        label=label,
        predicted=predicted,
        scores=scores,
        maps=maps,
        features=np.zeros((count, 3), dtype=np.float32),
    )


def effect(name: str = "removal", **changes: Any) -> Effect:
    given = Effect(name, 2.1, 1.8, 2.4, "log-odds", 240, control=0.1, control_low=0.02, control_high=0.19)
    return replace(given, **changes)


def finding(severity: Severity = "high", key: str = "malignant-1", **changes: Any) -> Finding:
    given = Finding(
        playbook="shortcuts",
        key=key,
        claim=(
            "In 38 % of the pictures called malignant the model relies on a straight scale along the right "
            "border. Removing it lowers the malignant score by 2.1 [1.8, 2.4] (size-matched controls: 0.1); "
            "pasting it on 200 benign pictures turns 61 % of them malignant."
        ),
        severity=severity,
        effects=(
            effect(),
            effect(
                "transplant", value=0.61, low=0.54, high=0.68, unit="share", inputs=200,
                control=0.02, control_low=0.0, control_high=0.05,
            ),
        ),
        rows=tuple(range(1, 16, 2)),
        ruled_out=(
            "The same was done to regions of the same size and shape elsewhere in the same pictures; the "
            "clusters were found again in 19 of 20 resamples."
        ),
        next_step="Crop or mask the scale in the training pictures, train again, and audit the new model.",
        prevalence=0.38,
        label="malignant",
        masks=np.stack([ruler_mask()] * 4),
        arrays={"region": ruler_mask() * np.float32(0.63)},
    )  # fmt: skip
    return replace(given, **changes)


def shortcuts(*findings: Finding) -> Outcome:
    if findings:
        said = f"{len(findings)} shortcut{'' if len(findings) == 1 else 's'} found."
    else:
        said = (
            "No shortcut found. One that moves the score by 0.4 in 5 % of a class's pictures would have been."
        )
    return Outcome("shortcuts", said, findings, calls=12_000)


def trust() -> Outcome:
    return Outcome(
        "trust",
        "Of 64 maps that were checked, 58 point at what the model uses better than chance does.",
        tables={"Verdicts": [{"verdict": "corroborated", "maps": 58}, {"verdict": "contested", "maps": 6}]},
    )


def cheating() -> Audit:
    """A model that reads the ruler, and does badly on dark skin."""
    gap = finding(
        "medium",
        "tone-dark",
        playbook="subgroups",
        claim="The model is right on 81.0 % of the pictures of dark skin and on 94.0 % of all others.",
        effects=(effect("accuracy gap", value=-0.13, low=-0.19, high=-0.07, unit="accuracy", inputs=310,
                        control=0.0, control_low=-0.03, control_high=0.03),),
        next_step="Collect more pictures of dark skin, and weigh them up in training.",
        prevalence=0.16, label=None, masks=None, arrays={},
    )  # fmt: skip
    groups = Outcome(
        "subgroups", "One group of 6 is served worse.", (gap,), problems=("sex: unknown for 3 pictures.",)
    )
    problems = (
        "'IMG_0034.jpg' is not a picture in a format that can be read.",
        "sex: unknown for 3 pictures.",
    )
    return Audit(survey(), (shortcuts(finding()), groups, trust()), problems)
