"""Pictures that are looked at in several ways are read once, as long as there is room for them."""

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from underhood.playbooks.survey import Indices

ROOM = 256 * 1024**2  # bytes


class Remembered:
    """Reads rows, (k, …) of k; of those that it knows, the ones asked for longest ago are forgotten first."""

    def __init__(self, read: Callable[[Indices], Tensor], room: int = ROOM) -> None:
        self._read, self._room = read, room
        self._known: OrderedDict[int, Tensor] = OrderedDict()

    def __call__(self, rows: Indices) -> Tensor:
        known = {row: self._known[row] for row in rows.tolist() if row in self._known}
        new = np.setdiff1d(rows, list(known))
        if len(new):
            known |= {row: one.clone() for row, one in zip(new.tolist(), self._read(new), strict=True)}
        found = torch.stack([known[row] for row in rows.tolist()])
        for row in rows.tolist():
            self._known[row] = known[row]
            self._known.move_to_end(row)
        while len(self._known) > self._room // found[0].nbytes:
            self._known.popitem(last=False)
        return found
