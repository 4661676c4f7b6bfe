"""Gini and entropy of maps whose answers are known."""

import pytest
import torch

from underhood.checks.complexity import gini


def test_gini_of_known_maps() -> None:
    one_hot = torch.zeros(16)
    one_hot[3] = -2.0
    assert gini(one_hot) == pytest.approx(0.9375)
    assert gini(torch.arange(1, 17)) == pytest.approx(0.3125)
    assert gini(torch.full((4, 4), 3.0)) == pytest.approx(0.0)
    assert gini(torch.zeros(4)) is None
