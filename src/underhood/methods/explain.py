"""`explain`: one or more methods on one or more inputs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from underhood.engine import Engine, Run, Settings, Shared
from underhood.errors import (
    BadInput,
    BadModel,
    InvalidArgument,
    OutOfMemory,
    UnderhoodError,
    Unfit,
    UnknownName,
)
from underhood.inputs import gather
from underhood.inputs.gather import digest, displayed
from underhood.methods.ablationcam import AblationCAM
from underhood.methods.attention import RawAttention
from underhood.methods.attention_relevance import AttentionRelevance
from underhood.methods.blur_ig import BlurIG
from underhood.methods.deeplift import DeepLIFT, DeepSHAP
from underhood.methods.eigencam import EigenCAM, EigenGradCAM
from underhood.methods.expected_gradients import ExpectedGradients
from underhood.methods.explanation import Explanation, Explanations, Origin, Subject
from underhood.methods.fullgrad import FullGrad
from underhood.methods.gradcam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM
from underhood.methods.guided import Deconvnet, GuidedBackprop
from underhood.methods.guided_gradcam import GuidedGradCAM
from underhood.methods.guided_ig import GuidedIG
from underhood.methods.integrated_gradients import IntegratedGradients
from underhood.methods.kernel_shap import KernelSHAP
from underhood.methods.lime import LIME
from underhood.methods.lrp import LRP
from underhood.methods.method import Attribution, Method
from underhood.methods.occlusion import Occlusion
from underhood.methods.partition_shap import PartitionSHAP
from underhood.methods.provenance import Stopwatch, provenance
from underhood.methods.rise import RISE
from underhood.methods.rollout import AttentionRollout
from underhood.methods.saliency import InputXGradient, Saliency
from underhood.methods.scorecam import ScoreCAM
from underhood.methods.shapley import ExactShapley, ShapleySampling
from underhood.methods.smoothgrad import SmoothGrad
from underhood.models import Model, Prediction, as_target, load
from underhood.models.prediction import named
from underhood.models.settled import as_plain
from underhood.models.target import Several, TargetLike

METHODS: tuple[type[Method], ...] = (
    Saliency,
    SmoothGrad,
    InputXGradient,
    IntegratedGradients,
    ExpectedGradients,
    BlurIG,
    GuidedIG,
    GradCAM,
    GradCAMPlusPlus,
    XGradCAM,
    HiResCAM,
    LayerCAM,
    EigenCAM,
    EigenGradCAM,
    AblationCAM,
    ScoreCAM,
    FullGrad,
    Occlusion,
    DeepLIFT,
    DeepSHAP,
    GuidedBackprop,
    Deconvnet,
    GuidedGradCAM,
    LRP,
    KernelSHAP,
    ShapleySampling,
    ExactShapley,
    RawAttention,
    AttentionRollout,
    AttentionRelevance,
    PartitionSHAP,
    LIME,
    RISE,
)
DEFAULT = ("gradcam", "integrated_gradients", "occlusion")  # of three different kinds
ALL = "all"  # every method that suits the model

MethodLike = str | Method | type[Method]


def explain(
    model: Model | nn.Module | str,
    inputs: Any,
    target: TargetLike = None,
    *,
    methods: Sequence[MethodLike] | MethodLike | None = None,
    baseline: Any = None,
    **settings: Any,
) -> Explanations:
    """Explanations of inputs by several methods; by default Grad-CAM, integrated gradients and occlusion.

    model:    a `Model`, a torch module, or what `load` takes, such as "demo:honest".
    inputs:   one or several, see `underhood.inputs.gather`.
    target:   see `underhood.models.as_target`; None explains the predicted class.
    methods:  keys such as "gradcam", classes, or instances with parameters; "all" for every method that
              suits the model, the slow ones included.
    baseline: for the methods that have one.
    settings: keywords of `underhood.engine.Settings`: device, precision, memory, seed, progress.
    """
    chosen = as_methods(methods, baseline=baseline)
    model = load(model) if isinstance(model, str) else model
    return explain_with(chosen, model, inputs, target, Settings(**settings), skip_unfit=is_open(methods))


def explain_each(
    model: Model,
    inputs: Iterable[Any],
    target: TargetLike = None,
    *,
    methods: Sequence[Method] | None = None,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    skip_unfit: bool = False,
    failed: Callable[[str, UnderhoodError], None] | None = None,
) -> Iterator[Explanations]:
    """Explain inputs one after the other, keeping none: memory does not grow with their number.

    An input that cannot be read is told to `failed` (name, error) and the next one goes on, as is one that
    the model fails on where it did not on another; without `failed` the error is raised.
    """
    chosen, succeeded = as_methods(methods), False
    for number, item in enumerate(inputs):
        try:
            found = explain_with(chosen, model, item, target, settings, skip_unfit=skip_unfit)
        except (BadInput, BadModel, OutOfMemory) as error:
            if failed is None or not (succeeded or isinstance(error, BadInput)):
                raise
            failed(str(item) if isinstance(item, str | Path) else f"input {number}", error)
        else:
            succeeded = True
            yield found


def is_open(methods: Sequence[MethodLike] | MethodLike | None) -> bool:
    """Whether the choice is left to the model, so that methods which do not suit it are left out."""
    if methods is None or isinstance(methods, str | Method | type):
        return methods is None or _is_all(methods)
    return any(_is_all(item) for item in methods)


def _is_all(item: MethodLike) -> bool:
    return isinstance(item, str) and item.lower() == ALL


def as_methods(methods: Sequence[MethodLike] | MethodLike | None, *, baseline: Any = None) -> list[Method]:
    """Methods from keys, classes or instances, "all" of them; `baseline` goes to those that have one."""
    if methods is None:
        methods = DEFAULT
    given = [methods] if isinstance(methods, str | Method | type) else list(methods)
    listed = [each for item in given for each in (METHODS if _is_all(item) else (item,))]
    if not listed:
        raise InvalidArgument("Name at least one method.")
    built = [_as_method(item) for item in listed]
    keys = [method.key for method in built]
    for key in keys:
        if keys.count(key) > 1:
            raise InvalidArgument(f"The method '{key}' is asked for twice.")
    if baseline is None:
        return built
    return [replace(m, baseline=baseline) if hasattr(m, "baseline") else m for m in built]  # type: ignore[type-var]


def _as_method(item: MethodLike) -> Method:
    if isinstance(item, Method):
        return item
    if isinstance(item, type):
        return item()
    known = {method.key: method for method in METHODS}
    key = item.lower().replace("-", "_").replace(" ", "_")
    if key not in known:
        raise UnknownName("method", item, (*known, ALL))
    return known[key]()


def explain_with(
    methods: Sequence[Method],
    model: Model | nn.Module,
    inputs: Any,
    target: TargetLike,
    settings: Settings,
    *,
    skip_unfit: bool = False,
) -> Explanations:
    """Run methods that share the predictions, and gradients where several need the same.

    skip_unfit: leave out, with a note, methods that the model has nothing for.
    """
    model = model if isinstance(model, Model) else Model(model)
    gathered = gather(model, inputs)
    x, asked = gathered.tensor, as_target(target, tuple(model.labels) if model.labels else None)
    subjects = [_subject(model, name, row) for name, row in zip(gathered.names, x, strict=True)]
    times = len(asked) if isinstance(asked, Several) else 1
    if isinstance(asked, Several):  # each input once for each target
        x, asked = x.repeat_interleave(times, 0), asked.each(len(x))
        subjects = [subject for subject in subjects for _ in range(times)]
    shared, seen = Shared(), None
    found: dict[str, list[Explanation]] = {}
    unfit: BadModel | Unfit | None = None
    left_out: list[str] = []
    records: list[dict[str, Any]] = []
    for method in methods:
        watch, engine = Stopwatch(), Engine(model, settings, asked=times)
        engine.seen = seen  # a method that runs nothing itself stands on what ran before
        run = Run(engine, x, asked, shared)
        try:
            with torch.autocast("cpu", enabled=False):  # the caller's may be on
                attribution = method.attribute(run)
        except (BadModel, Unfit) as error:
            if not skip_unfit:
                raise
            unfit = error
            left_out.append(f"{method.card.name} was left out: {error}")
            continue
        seen = engine.seen
        records.append(provenance(model, engine, watch, len(x)))
        found[method.key] = list(_explanations(method, attribution, run, subjects, records[-1]))
    for record in records:  # those before the one that was left out know of it too
        record["notes"] += left_out
    if unfit and not found:  # what even the last, the least demanding method could not do
        raise unfit
    by_input = zip(*found.values(), strict=True)
    return Explanations([explanation for group in by_input for explanation in group])


def _explanations(
    method: Method,
    attribution: Attribution,
    run: Run,
    subjects: Sequence[tuple[Subject, Tensor]],
    facts: Mapping[str, Any],
) -> Iterator[Explanation]:
    """One explanation per input from a batch's attribution."""
    model, target = run.engine.model, run.target
    labels = _fitting(tuple(model.labels) if model.labels else None, run.outputs)
    settings = replace(run.engine.settings, progress=None, cancel=None)
    for i, (subject, x) in enumerate(subjects):
        row = torch.tensor([i])
        asked = target.rows(row)
        yield Explanation(
            values=attribution.values[i].numpy().copy(),
            method=method.key,
            card=method.card,
            parameters=method.parameters(),
            target=target.name(labels, i),
            asked=as_plain(asked),
            score=float(run.score[i]),
            prediction=Prediction(run.outputs[i].numpy().copy(), labels),
            subject=subject,
            reduction=attribution.reduction,
            diagnostics=attribution.diagnostics[i] if attribution.diagnostics else {},
            grid=attribution.grid,
            no_signal=attribution.no_signal[i] if attribution.no_signal else None,
            arrays={name: a[i].numpy().copy() for name, a in attribution.arrays.items()},
            provenance=facts,
            origin=Origin(model, x, asked, method, settings),
        )


def _fitting(labels: tuple[str, ...] | None, outputs: Tensor) -> tuple[str, ...] | None:
    if labels and len(labels) != outputs.shape[1]:
        raise InvalidArgument(
            f"There are {len(labels)} labels, but the model has {outputs.shape[1]} outputs."
        )
    return named(labels, outputs.shape[1])


def _subject(model: Model, name: str, x: Tensor) -> tuple[Subject, Tensor]:
    """With the input (1, …) itself, safe from what the user does to it later."""
    kept = x.clone()
    return Subject(name, partial(digest, kept), partial(displayed, model, kept)), kept[None]
