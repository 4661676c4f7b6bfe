"""Expected calibration error against closed forms."""

import numpy as np
import pytest

from underhood.playbooks.subgroups.calibration import calibration


def drawn(confidence: np.ndarray, rate: np.ndarray, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(len(confidence)) < rate).astype(float)


def test_the_raw_error_is_the_sum_over_bins_by_hand() -> None:
    """40 cases said 0.6, 20 of them right; 40 said 0.9, 30 right: (40 · 0.1 + 40 · 0.15) / 80."""
    confidence = np.repeat([0.6, 0.9], 40)
    right = np.concatenate([np.repeat([1.0, 0.0], [20, 20]), np.repeat([1.0, 0.0], [30, 10])])
    found = calibration(confidence, right, bins=2)
    assert found.raw == pytest.approx(0.125)
    assert found.low <= 0.125 <= found.high


def test_one_confidence_has_one_bin() -> None:
    found = calibration(np.full(100, 0.8), np.repeat([1.0, 0.0], [60, 40]), bins=10)
    assert found.raw == pytest.approx(0.2)
    assert found.by_chance == pytest.approx(np.sqrt(2 / np.pi * 0.16 / 100), rel=0.12)


def test_a_calibrated_model_seems_off_by_chance_alone_and_by_no_more() -> None:
    raw, corrected, expected = [], [], []
    for seed in range(40):
        confidence = np.random.default_rng(1000 + seed).uniform(0.5, 1, 200)
        found = calibration(confidence, drawn(confidence, confidence, seed), draws=50)
        raw.append(found.raw)
        corrected.append(found.error)
        expected.append(found.by_chance)
    assert np.mean(raw) == pytest.approx(np.mean(expected), rel=0.1)
    assert np.mean(corrected) < 0.7 * np.mean(raw)


def test_intervals_hold_the_true_error() -> None:
    """Right 15 points less often than said, everywhere: the error is 0.15."""
    held = 0
    for seed in range(60):
        confidence = np.random.default_rng(1000 + seed).uniform(0.6, 1, 300)
        found = calibration(confidence, drawn(confidence, confidence - 0.15, seed), seed=seed)
        held += found.low <= 0.15 <= found.high
    assert held >= 54
