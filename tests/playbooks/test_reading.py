"""How far rows are read before they are asked for."""

import time

import pytest
import torch

import underhood as uh
from underhood.playbooks import surveying


@pytest.mark.parametrize("ahead", [0, 2])
def test_so_many_batches_are_read_before_they_are_asked_for(
    ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    monkeypatch.setattr(surveying, "read_row", lambda _model, _row, number: read.append(number) or number)
    model = uh.Model(torch.nn.Identity())
    coming = surveying.read_ahead(model, range(20), [[2 * n, 2 * n + 1] for n in range(10)], ahead)
    for batch in range(10):
        assert next(coming) == [2 * batch, 2 * batch + 1]
        expected, until = 2 * min(10, batch + 1 + ahead), time.monotonic() + 10
        while len(read) < expected and time.monotonic() < until:
            time.sleep(0.001)
        assert sorted(read) == list(range(expected))
    assert next(coming, None) is None
