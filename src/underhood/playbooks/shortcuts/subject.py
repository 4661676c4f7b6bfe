"""Where the subject of a picture is: what a right decision may look at."""

import torch
from torch import Tensor

from underhood.playbooks.survey import Indices, Survey

MIDDLE = 0.8  # of the picture's sides: an ellipse over half of the picture's area


def middle(height: int, width: int) -> Tensor:
    """(H, W) bool: the ellipse in the middle, half of the picture."""
    y = (torch.arange(height) + 0.5) / height * 2 - 1
    x = (torch.arange(width) + 0.5) / width * 2 - 1
    return y[:, None] ** 2 + x[None] ** 2 <= MIDDLE**2


def subjects(survey: Survey, rows: Indices, size: tuple[int, int]) -> Tensor:
    """(k, H, W) bool: the given masks, or else the middle of the picture."""
    given = survey.masks(rows)
    return middle(*size).expand(len(rows), -1, -1) if given is None else given
