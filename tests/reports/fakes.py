"""Explanations made of numpy alone, shaped like the ones that methods give."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from underhood.checks import Reading, Verdict
from underhood.checks.reading import undefined
from underhood.checks.verdict import QUESTIONS, Reason, Word
from underhood.methods.card import Card, Question
from underhood.methods.explanation import Explanation, Subject
from underhood.models.prediction import Prediction

LABELS = ("bull mastiff", "tiger cat", "tabby", "boxer", "sofa", "window screen", "wardrobe")
PROVENANCE = {
    "underhood": "0.1.0",
    "torch": "2.9.0",
    "model": "torchvision:resnet50",
    "model_digest": "3fa9c1b2d0e47785aa01f9be52cc7d10e4f8b6a29c3d51e7f0468b1c9d2e3a54",
    "seed": 0,
    "precision": "float32",
    "device": "cpu",
    "time": "2026-11-21T10:42:07Z",
}


def card(name: str = "Grad-CAM", question: Question = "focus", **changes: Any) -> Card:
    given = Card(
        name=name,
        question=question,
        answers="Regions whose activations in one layer raise the score.",
        misleads="Coarse: one cell of the layer covers many pixels.",
        signed=False,
        conserves=None,
        resolution="layer",
        unit="evidence per layer position, no fixed unit",
        needs="a layer with positions, and its gradient",
        cost="1 forward, 1 backward",
        source="Selvaraju et al. 2017, arXiv:1610.02391",
    )
    return replace(given, **changes)


def prediction(*scores: float) -> Prediction:
    given = scores or (9.41, 8.62, 6.9, 5.1, 4.4, 2.0, 1.2)
    return Prediction(np.array(given, dtype=np.float32), LABELS[: len(given)])


def picture(size: int = 224, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth blobs of colour: enough of a photo for tests."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 235, (6, 6, 3)).astype(np.float64)
    rows = np.linspace(0, 5, size)
    across = np.stack([[np.interp(rows, range(6), line[:, k]) for k in range(3)] for line in coarse])
    out = np.stack([[np.interp(rows, range(6), across[:, k, x]) for x in range(size)] for k in range(3)])
    return np.ascontiguousarray(out.transpose(2, 1, 0).astype(np.uint8))


def blob(size: int, row: float, col: float, width: float) -> NDArray[np.float32]:
    """A Gaussian hill; row, col and width as parts of the size."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    hill = np.exp(-((y - row) ** 2 + (x - col) ** 2) / (2 * width**2))
    return hill.astype(np.float32)


def upsampled(cells: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Bilinear with half-pixel centres, as in torch with align_corners=False."""
    at = np.clip((np.arange(size) + 0.5) * len(cells) / size - 0.5, 0, len(cells) - 1)
    known = np.arange(len(cells))
    rows = np.stack([np.interp(at, known, column) for column in cells.T], axis=1)
    return np.stack([np.interp(at, known, row) for row in rows]).astype(np.float32)


def explanation(values: NDArray[Any] | None = None, **changes: Any) -> Explanation:
    """One explanation; `changes` replace its fields."""
    size = 32 if values is None else values.shape[-1]
    given = Explanation(
        values=(blob(size, 0.4, 0.5, 0.2) if values is None else np.asarray(values, dtype=np.float32)),
        method="gradcam",
        card=card(),
        parameters={"layer": "layer4", "relu": True, "baseline": None},
        target="bull mastiff (class 243)",
        score=9.41,
        prediction=prediction(),
        subject=Subject("both.png", "b7" * 32, picture(size)),
        diagnostics={},
        provenance=PROVENANCE,
    )
    return replace(given, **changes)


def six_methods(subject: Subject, size: int = 224, seed: int = 0) -> Iterator[Explanation]:
    """A plausible answer from every kind of method for one picture."""
    rng = np.random.default_rng(seed)
    where = blob(size, 0.3, 0.52, 0.14) + 0.5 * blob(size, 0.55, 0.5, 0.12)
    against = blob(size, 0.78, 0.6, 0.15)
    noise = rng.normal(size=(3, size, size))

    def of(key: str, what: Card, values: NDArray[Any], **changes: Any) -> Explanation:
        return explanation(values, method=key, card=what, subject=subject, **changes)

    yield of(
        "saliency",
        card(
            "Saliency",
            "sensitivity",
            resolution="element",
            answers="How strongly each pixel would move the score, to first order.",
            misleads="Noisy where the network saturates; says nothing on what is absent.",
            source="Simonyan et al. 2013, arXiv:1312.6034",
        ),
        np.abs(noise) * (0.15 + where + 0.6 * against) * 0.02,
        reduction="max",
        parameters={"kind": "abs"},
    )
    yield of(
        "smoothgrad",
        card(
            "SmoothGrad",
            "sensitivity",
            signed=True,
            resolution="element",
            answers="The mean gradient over noisy copies of the input.",
            misleads="The noise level decides what is seen; two levels, two maps.",
            source="Smilkov et al. 2017, arXiv:1706.03825",
        ),
        noise * 0.004,
        parameters={"n": 50, "sigma": 0.15, "seed": 0},
        diagnostics={"standard_error": 0.0041, "largest_value_in_errors": 2.1},
        no_signal="the largest value is 2.1 standard errors away from zero, and 3 are needed",
    )
    yield of(
        "integrated_gradients",
        card(
            "Integrated Gradients",
            "attribution",
            signed=True,
            resolution="element",
            conserves="score(input) − score(baseline)",
            answers="Each pixel's share of the score gained over the baseline.",
            misleads="A pixel that equals the baseline gets zero, important or not.",
            source="Sundararajan et al. 2017, arXiv:1703.01365",
        ),
        (where - 0.7 * against) * (0.4 + 0.6 * np.abs(noise)) * np.sign(noise + 0.8) * 1e-3,
        parameters={"baseline": "blur (sigma 10)", "n": 50, "rule": "gauss-legendre"},
        diagnostics={"completeness_gap": 0.0031, "gap_relative": 0.00042, "steps_used": 50},
    )
    cells = np.zeros((14, 14), dtype=np.float32)
    cells[2:9, 4:10] = rng.uniform(0.2, 1.0, (7, 6))
    cells[9:13, 5:11] = -rng.uniform(0.1, 0.7, (4, 6))
    yield of(
        "occlusion",
        card(
            "Occlusion",
            "attribution",
            signed=True,
            resolution="region",
            answers="How much the score falls when a patch is replaced by the baseline.",
            misleads="A patch cut out is a picture the model never saw.",
            source="Zeiler & Fergus 2014, arXiv:1311.2901",
        ),
        upsampled(cells, size) * 2.4,
        parameters={"patch": 32, "stride": 16, "baseline": "grey 0.5"},
        grid=(14, 14),
    )
    cells = np.zeros((7, 7), dtype=np.float32)
    cells[1:5, 2:5] = rng.uniform(0.3, 1.0, (4, 3))
    cells[0, 3] = 0.4
    yield of(
        "gradcam",
        card(),
        upsampled(cells, size) * 1.7,
        parameters={"layer": "layer4", "relu": True},
        grid=(7, 7),
    )
    yield of(
        "deconvnet",
        card(
            "Deconvnet",
            "reconstruction",
            signed=True,
            resolution="element",
            answers="The pattern that drives a unit, projected back to the input.",
            misleads="Looks alike for every class: it fails the randomisation test.",
            source="Zeiler & Fergus 2014, arXiv:1311.2901",
        ),
        (noise * where) * 3,
        parameters={"unit": "score"},
    )


WORDS: dict[Word, bool | None] = {"corroborated": True, "contested": None, "not to be trusted": False}


def verdict(word: Word, score: float = 0.4) -> dict[str, Any]:
    answer = WORDS[word]
    readings = {
        "confirmed_share": Reading(
            0.41, error=0.05, controls={"random": 0.2, "edges": None}, p=0.025, skill=0.3, passed=answer,
            sentence="Hiding these places costs <much>.", calls=48,
        ),
        "randomisation": undefined("it takes 300 passes"),
    }  # fmt: skip
    reasons = tuple(
        Reason(question, answer if question == "controls" else None, "Hiding these places costs <much>.")
        for question in QUESTIONS
    )
    return Verdict("gradcam", "both.png", "bull mastiff", word, score, reasons, readings, "quick").as_dict()
