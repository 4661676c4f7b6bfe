"""Are the cards true? Every claim that can be computed, computed anew on the demo's models.

signed:     whether some value is negative.
conserves:  the sum of the values, or of the groups', against the quantity named.
depends:    the rank correlation of a map with that of the same model whose upper half of layers is made
            random (Adebayo et al. 2018, "Sanity checks for saliency maps"). Below `SAME` the map depends on
            what was learned there. Signed maps keep their sign: without it they show the input's pattern.
            With all layers random even guided backprop changes, on networks so small.
cost:       passes for one input, at most those named; the prediction, which methods share, comes on top.
"""

import copy
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from underhood.demo import models as demo
from underhood.engine import Engine
from underhood.errors import BadModel, UnderhoodError
from underhood.inputs import gather
from underhood.inputs.baseline import as_whole
from underhood.methods.explanation import Explanation
from underhood.methods.method import Method
from underhood.models import Model

DEMOS = ("honest", "vit")  # the second for methods that the first has nothing for
TARGET = 1
SEEDS = range(4)
SAME = 0.55  # rank correlation from which on a map counts as the same
GAP = 0.02  # share of the named quantity that the sum may miss
WITHOUT_BIASES = ", for ReLU networks without biases|, where every rule conserves and nothing has a bias"


@dataclass(frozen=True)
class Verified:
    """One claim of one method's card. holds is None where it could not be tried, and `found` says why."""

    method: str
    claim: str
    says: str
    found: str
    holds: bool | None


def verify(methods: Iterable[Method]) -> Iterator[Verified]:
    """The claims of each method's card, computed anew."""
    for method in methods:
        try:
            name, found = _explained(method)
        except UnderhoodError as error:
            yield Verified(method.key, "runs", "on a demo model", str(error), None)
            continue
        yield _signed(method, found)
        if method.card.conserves:
            yield _conserves(method, name)
        yield _depends(method, name, found)
        yield _cost(method, found)


def _explained(method: Method) -> tuple[str, list[Explanation]]:
    """The demo model that the method suits, and its maps of the demo's pictures."""
    for name in DEMOS:
        model = demo.load(name)
        try:
            method(model, _pictures()[0], TARGET)  # what is found once for a model is not counted
            return name, _maps(method, model)
        except BadModel as error:
            unfit = error
    raise unfit


def _maps(method: Method, model: Model) -> list[Explanation]:
    found = method(model, _pictures(), TARGET)
    return [found] if isinstance(found, Explanation) else list(found)


@cache
def _pictures() -> list[Any]:
    return [demo.example(name).image for name in demo.EXAMPLES]


def _signed(method: Method, found: list[Explanation]) -> Verified:
    lowest = min(float(e.heatmap().min()) for e in found)
    says = "negative values" if method.card.signed else "no negative values"
    return Verified(method.key, "signed", says, f"lowest {lowest:.3g}", (lowest < 0) == method.card.signed)


def _conserves(method: Method, name: str) -> Verified:
    says = str(method.card.conserves)
    parts = re.fullmatch(rf"S\(x\)( - S\(x'\))?(, over groups|{WITHOUT_BIASES})?", says)
    if not parts:
        return Verified(method.key, "sums to", says, "this quantity is not computed here", None)
    model = demo.load(name)
    model = _without_biases(model) if "bias" in says else model
    found = _maps(method, model)
    sums = np.array([_sum(e) for e in found])
    named = np.array([e.score for e in found]) - (_absent(method, model) if parts[1] else 0)
    told = f"{', '.join(f'{s:.4g}' for s in sums)} for {', '.join(f'{n:.4g}' for n in named)}"
    return Verified(method.key, "sums to", says, told, bool((abs(sums - named) <= GAP * abs(named)).all()))


def _sum(explanation: Explanation) -> float:
    """Of all elements, or of the groups, whose value is repeated over their elements."""
    groups = explanation.arrays.get("groups")  # the number of each element's group
    if groups is None:
        return float(explanation.values.sum())
    _, first = np.unique(groups, return_index=True)
    return float(explanation.values.reshape(-1, groups.size)[0, first].sum())


def _absent(method: Method, model: Model) -> NDArray[np.float32]:
    """S(x') of each picture, the mean over its baselines."""
    inputs = gather(model, _pictures()).tensor
    baseline = as_whole(getattr(method, "baseline", "zeros"))
    values = baseline.values(inputs, model.preprocess, 0)  # (n, B, …)
    scores = Engine(model).outputs(values.flatten(0, 1))[:, TARGET]
    return scores.reshape(len(values), -1).mean(0).numpy()


def _without_biases(model: Model) -> Model:
    module = copy.deepcopy(model.module)
    for name, tensor in module.state_dict().items():
        if name.endswith(("bias", "running_mean")):
            tensor.zero_()
    return Model(module, preprocess=model.preprocess, labels=model.labels)


def _depends(method: Method, name: str, found: list[Explanation]) -> Verified:
    likeness = [
        correlation(a.heatmap(), b.heatmap())
        for seed in SEEDS
        for a, b in zip(found, _maps(method, half_random(name, seed)), strict=True)
    ]
    says = "changes" if method.card.randomisation else "stays much the same"
    known = [value for value in likeness if value is not None]
    if not known:
        return Verified(method.key, "upper layers random", says, "the maps are flat", None)
    mean = float(np.mean(known))
    holds = (mean < SAME) == method.card.randomisation
    return Verified(method.key, "upper layers random", says, f"rank correlation {mean:.2f}", holds)


def half_random(name: str, seed: int) -> Model:
    """A demo model with its upper half of layers as they were before training."""
    trained = demo.load(name)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        untrained = demo.build(name)
    module = copy.deepcopy(trained.module)
    layers = [path for path, layer in module.named_modules() if _has_weights(layer)]
    for path in layers[len(layers) // 2 :]:
        module.get_submodule(path).load_state_dict(untrained.get_submodule(path).state_dict())
    return Model(module.eval(), preprocess=trained.preprocess, labels=trained.labels)


def _has_weights(layer: nn.Module) -> bool:
    return not any(layer.children()) and any(True for _ in layer.parameters())


def correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float | None:
    """Spearman's, of all elements; None where one is flat."""
    if not np.ptp(a) or not np.ptp(b):
        return None
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """From 0 on; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: NDArray[np.float64] = last - (counts + 1) / 2
    return mean[inverse.ravel()]


def _cost(method: Method, found: list[Explanation]) -> Verified:
    facts, count = found[0].provenance, len(found)
    forward = (facts["forward_passes"] + facts.get("partial_passes", 0)) / count
    backward = facts["backward_passes"] / count
    told = f"{forward:.4g} forward, {backward:.4g} backward"
    claimed = passes(method.card.cost)
    if claimed is None:
        return Verified(method.key, "cost", method.card.cost, f"{told}; the claim is not a number", None)
    holds = forward <= 1.1 * claimed[0] + 1 and backward <= 1.1 * claimed[1]
    return Verified(method.key, "cost", method.card.cost, told, holds)


def passes(cost: str) -> tuple[float, float] | None:
    """Forward and backward passes in a card's words, or None where these name no number."""
    text = cost.replace(",", "").replace("the backward", "1 backward")
    if about := re.fullmatch(r"[^()]*forward[^()]*\(about (\d+)\)", text):
        return float(about[1]), 0.0
    text = re.sub(r"(\d+) × \(forward \+ backward\)", r"\1 forward + \1 backward", text)
    total = {"forward": 0.0, "backward": 0.0}
    for term in text.split(" + "):
        match = re.fullmatch(r"(\d+) (forward|backward)( above the layer)?", term)
        if not match:
            return None
        total[match[2]] += float(match[1])
    return total["forward"], total["backward"]
