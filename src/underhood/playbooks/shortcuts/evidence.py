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


def effect(name: str, trial: Trial, of: str, unit: str, seed: int) -> Effect:
    changed: Floats = getattr(trial.change, of)
    values = by_donor(changed, trial.donor)
    found = Effect(name, float(values.mean()), *interval(values, seed), unit, len(changed))
    control = hardest(trial, of)
    if control is None:
        return found
    beside = by_donor(control[1], trial.donor)
    low, high = interval(beside, seed)
    return replace(found, control=float(beside.mean()), control_low=low, control_high=high)


def by_donor(values: Floats, donor: Indices | None) -> Floats:
    """What could be done, one mean for each donor: what it does to several pictures is not known so often."""
    there = np.isfinite(values)
    if donor is None:
        return values[there]
    return np.array([values[there & (donor == one)].mean() for one in np.unique(donor[there])])


def interval(values: Floats, seed: int) -> tuple[float, float]:
    """95 % of the mean."""
    found = bootstrap(values.tolist(), seed=seed)
    return (-np.inf, np.inf) if found is None else (found.low, found.high)


def hardest(trial: Trial, of: str) -> tuple[str, Floats] | None:
    """The control that leaves least of the effect, by name, among those that could be done often enough."""
    found = {
        name: values
        for name, change in trial.controls.items()
        if name != "second fill" and len(by_donor(values := getattr(change, of), trial.donor)) >= FEW
    }
    return max(found.items(), key=lambda item: np.nanmean(item[1])) if found else None


def net(trial: Trial, of: str, seed: int) -> Net:
    """The lead over the hardest control, picture by picture."""
    own, control = getattr(trial.change, of), hardest(trial, of)
    leads = by_donor(own if control is None else own - control[1], trial.donor)
    if len(leads) < FEW:
        return Net(0.0, -np.inf)
    return Net(float(leads.mean()), interval(leads, seed)[0])


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
