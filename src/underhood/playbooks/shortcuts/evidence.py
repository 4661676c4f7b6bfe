"""What trials come to: effects beside their controls, with intervals, and what would have been found."""

from dataclasses import dataclass, replace

import numpy as np

from underhood.checks.intervals import bootstrap
from underhood.playbooks.finding import Effect
from underhood.playbooks.shortcuts.trials import Change, Floats, Trial
from underhood.playbooks.statistics import normal_quantile
from underhood.playbooks.survey import Indices

FEW = 4  # pictures: of fewer nothing is said


@dataclass(frozen=True)
class Net:
    """What an operation does beyond its hardest control; low is the interval's lower end."""

    value: float
    low: float
    spread: float
    inputs: int


def effect(name: str, trial: Trial, of: str, unit: str, seed: int) -> Effect:
    values: Floats = getattr(trial.change, of)
    low, high = interval(values, trial.donor, seed)
    found = Effect(name, float(np.mean(values)), low, high, unit, len(values))
    control = hardest(trial, of)
    if control is None:
        return found
    c_low, c_high = interval(control[1], trial.donor, seed)
    return replace(found, control=float(np.nanmean(control[1])), control_low=c_low, control_high=c_high)


def interval(values: Floats, donor: Indices | None, seed: int) -> tuple[float, float]:
    """95 % of the mean, over donors: what one of them does to several pictures is not known so many times."""
    there = np.isfinite(values)
    if donor is not None:
        values = np.array([values[there & (donor == one)].mean() for one in np.unique(donor[there])])
    else:
        values = values[there]
    found = bootstrap(values.tolist(), seed=seed)
    return (-np.inf, np.inf) if found is None else (found.low, found.high)


def hardest(trial: Trial, of: str) -> tuple[str, Floats] | None:
    """The control that leaves least of the effect, by name, among those that could be done often enough."""
    found = {
        name: values
        for name, change in trial.controls.items()
        if name != "second fill" and np.isfinite(values := getattr(change, of)).sum() >= FEW
    }
    return max(found.items(), key=lambda item: np.nanmean(item[1])) if found else None


def net(trial: Trial, of: str, seed: int) -> Net:
    """The lead over the hardest control, picture by picture."""
    own, control = getattr(trial.change, of), hardest(trial, of)
    differences = own if control is None else own - control[1]
    low = interval(differences, trial.donor, seed)[0]
    differences = differences[np.isfinite(differences)]
    if len(differences) < FEW:
        return Net(0.0, -np.inf, np.inf, len(differences))
    return Net(float(differences.mean()), low, float(differences.std(ddof=1)), len(differences))


def p_value(change: Change, control: Floats | None) -> float:
    """Of no more pictures turned than under the control: the exact sign test where the two differ."""
    from scipy.stats import binomtest

    against = np.zeros_like(change.turned) if control is None else np.nan_to_num(control)
    more, less = int((change.turned > against).sum()), int((change.turned < against).sum())
    return float(binomtest(more, more + less, alternative="greater").pvalue) if more + less else 1.0


def detectable_share(inputs: int, control: float, worth: float, power: float = 0.8) -> float | None:
    """The smallest share of pictures turned, beyond the control's, whose interval is above `worth` with that
    power, for so many pictures (normal approximation); None where there are too few for any."""
    if inputs < FEW:
        return None
    z = normal_quantile(0.975) + normal_quantile(power)
    for net_share in np.linspace(worth, 1 - control, 1001):
        own = min(1.0, control + net_share)
        spread = np.sqrt((own * (1 - own) + control * (1 - control)) / inputs)
        if net_share - worth >= z * spread:
            return float(net_share)
    return None


def detectable_shift(spread: float, inputs: int, power: float = 0.8) -> float | None:
    """The smallest mean change of log-odds that is told from none, given the controls' spread."""
    if inputs < FEW:
        return None
    return float((normal_quantile(0.975) + normal_quantile(power)) * spread / np.sqrt(inputs))
