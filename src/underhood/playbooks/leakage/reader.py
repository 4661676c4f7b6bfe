"""What a simple classifier makes of a few cells of each picture: whether the data tell the class there."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from underhood.inputs.random import LEAKAGE, generator

FOLDS = 5

Labels = NDArray[np.int64]


def read_by_simple_classifier(cells: NDArray[np.float32], label: Labels, *, seed: int = 0) -> Labels | None:
    """Classes (n,) as logistic regression tells them of `cells` (n, f) that it was not fitted on.

    Rows of classes with fewer than `FOLDS` rows are given -1; None where fewer than two classes are left.
    """
    from sklearn.model_selection import StratifiedKFold

    usable = np.bincount(label)[label] >= FOLDS
    if len(np.unique(label[usable])) < 2:
        return None
    split = int(generator(seed, LEAKAGE, 5).integers(2**31))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=split)
    told = np.full(len(label), -1, dtype=np.int64)
    rows = np.flatnonzero(usable)
    for fitted, asked in folds.split(cells[rows], label[rows]):
        told[rows[asked]] = _fitted(cells[rows[fitted]], label[rows[fitted]]).predict(cells[rows[asked]])
    return told


def _fitted(cells: NDArray[np.float32], label: Labels) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=200, tol=1e-3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what is not quite fitted is still a lower bound
        return classifier.fit(cells, label)
