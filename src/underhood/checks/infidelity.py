"""Infidelity (Yeh et al. 2019, "On the (in)fidelity and sensitivity of explanations", definition 2.1).

    INFD(Φ) = E_I [(Iᵀ Φ - (S(x) - S(x - I)))²]

over perturbations I, and with the scaling that is best for Φ (their section 3),

    min_β E_I [(β Iᵀ Φ - (S(x) - S(x - I)))²],  β = E[Iᵀ Φ · (S(x) - S(x - I))] / E[(Iᵀ Φ)²].

Maps come in two forms. A map of sensitivities, such as a gradient, is Φ itself. A map of attributions is
already multiplied, w ∘ (x - b), and stands for Iᵀ Φ where I is x - b on a set of places and 0 elsewhere,
Iᵀ Φ being what it holds there; of any other perturbation it says nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from underhood.checks.batch import Batch
from underhood.checks.card import CheckCard
from underhood.checks.check import Check
from underhood.checks.controls import COUNT, controls, moves
from underhood.checks.correlated import NO_PLACES, NOT_FINITE, check_choice
from underhood.checks.intervals import Against, against
from underhood.checks.probes import COUNT_OF_EACH, SIZES, numbers, pooled, probes, subsets
from underhood.checks.promises import Asked
from underhood.checks.reading import Reading, undefined
from underhood.errors import InvalidArgument, Unfit
from underhood.inputs import Baseline, Variants
from underhood.inputs.baseline import BaselineLike, as_baseline
from underhood.inputs.grouping import Grouping, places
from underhood.inputs.random import PROBES, normal
from underhood.inputs.variants import broadcast_as

Form = Literal["sensitivity", "attribution"]

UNMOVED = "the score does not change under any of these perturbations"
ONLY_MASKS = (
    "a map of attributions says what hiding a part takes, nothing of noise (use perturbation='groups')"
)
ONE_FOR_ALL = "a map of sensitivities needs a value for every element of the input, not one for all channels"
ONE_FILL = "how far a part is from its fill is not one number with this fill; use another, such as 'zeros'"
WHOLE = "the inputs are whole numbers, which cannot be changed a little"


@dataclass(frozen=True)
class Infidelity(Check):
    """How far what the map promises is from what the score does.

    perturbation: "groups" hides random groups, as sensitivity-n does; "noise" adds Gaussian noise.
    scaling:  "optimal" for the best β, "none" for the map as it is; the other is among the details.
    form:     "sensitivity" or "attribution"; where none is given, sensitivity for methods whose card's
              question is sensitivity or reconstruction.
    count:    perturbations; hidden groups: of each of the `sizes`, shares of the groups.
    sigma:    of the noise, as a share of the range of each input's values.
    fill, grouping: see `FaithfulnessCorrelation`.
    """

    perturbation: Literal["groups", "noise"] = "groups"
    scaling: Literal["optimal", "none"] = "optimal"
    form: Form | None = None
    count: int = COUNT_OF_EACH
    sizes: Sequence[float] = SIZES
    sigma: float = 0.1
    fill: BaselineLike = "zeros"
    grouping: Grouping | Tensor | None = None

    key = "infidelity"

    def __post_init__(self) -> None:
        check_choice("perturbation", self.perturbation, ("groups", "noise"))
        check_choice("scaling", self.scaling, ("optimal", "none"))
        check_choice("form", self.form, ("sensitivity", "attribution", None))
        as_baseline(self.fill)
        numbers(self.sizes, 1)
        subsets(1, 1, self.count, 0)
        if not self.sigma > 0:
            raise InvalidArgument(f"Noise needs a sigma above 0, got {self.sigma}.")

    @property
    def card(self) -> CheckCard:
        return CARD

    def read(self, batch: Batch) -> Sequence[Reading]:
        form = self.form or form_of(batch)
        try:
            values = _shaped(batch, form)
            asked = (
                self._by_noise(batch, form) if self.perturbation == "noise" else self._by_groups(batch, form)
            )
        except Unfit as reason:
            return [undefined(str(reason))] * len(batch)
        return self._readings(batch, asked, values, form)

    def _by_groups(self, batch: Batch, form: Form) -> Asked:
        baseline = as_baseline(self.fill)
        distance = _distance(batch, baseline) if form == "sensitivity" else None
        found = probes(batch, self.count, self.sizes, baseline, self.grouping)

        def promise(values: Tensor) -> Tensor:
            held = (
                values
                if distance is None
                else (values * distance).reshape(len(batch), -1, *found.groups.shape).sum(1)
            )
            return found.under(pooled(held, found.groups))

        return Asked(found.falls.T, found.squares.T, promise, bool(found.complete.all()), found.calls)

    def _by_noise(self, batch: Batch, form: Form) -> Asked:
        if form == "attribution":
            raise Unfit(ONLY_MASKS)
        inputs = batch.run.inputs
        if not inputs.is_floating_point():
            raise Unfit(WHOLE)
        noise = normal((self.count, *inputs.shape[1:]), batch.run.seed, PROBES, 0)
        sigma = self.sigma * (inputs.flatten(1).amax(1) - inputs.flatten(1).amin(1))  # (B,)
        key, before = ("infidelity", "noise", self.count, self.sigma), batch.run.engine.log.calls
        if key not in batch.memory:

            def make(rows: Tensor, which: Tensor) -> Tensor:
                return inputs[rows] - broadcast_as(sigma[rows], inputs) * noise[which]

            scores = batch.run.scores(Variants(inputs, self.count, make), precision="float32")
            batch.memory[key] = (batch.run.score - scores).double().T  # (B, N)
        falls = batch.memory[key]

        def promise(values: Tensor) -> Tensor:
            return (values.flatten(1) @ noise.flatten(1).T).double() * sigma[:, None]

        calls = (batch.run.engine.log.calls - before) / len(batch)
        return Asked(falls, falls.square(), promise, complete=False, calls=calls)

    def _readings(self, batch: Batch, asked: Asked, values: Tensor, form: Form) -> list[Reading]:
        shape, seed = places(batch.run.inputs), batch.run.seed
        fits = {"own": asked.fit(values)}
        others = controls(values.reshape(len(batch), -1, *shape)[:, 0], batch.run.inputs, seed)
        for name, control in others.items():
            fits[name] = asked.fit(_like(control, values))
        shifted = [asked.fit(move(values)) for move in moves(len(shape), shape, COUNT, seed)]
        scaled = self.scaling == "optimal"

        def reading(row: int) -> Reading:
            if not values[row].isfinite().all():
                return undefined(NOT_FINITE, calls=asked.calls)
            power = float(asked.squares[row].mean())
            if not power > (1e-6 * float(batch.run.score[row])) ** 2:
                return undefined(UNMOVED, calls=asked.calls)
            own = fits["own"]
            figures = {name: fit.figure(row, scaled=scaled) for name, fit in fits.items()}
            stands = against(
                figures["own"], [fit.figure(row, scaled=scaled) for fit in shifted], best=0.0, better="lower"
            )
            opposite = scaled and float(own.beta[row]) <= 0
            return Reading(
                figures.pop("own"),
                error=0.0 if asked.complete else own.error(row, scaled=scaled),
                controls=figures,
                p=stands.p,
                skill=stands.skill,
                passed=False if opposite else stands.passed,
                sentence=_sentence(float(own.scaled[row]) / power, stands, opposite=opposite),
                calls=asked.calls,
                details={
                    "form": form,
                    "scale": float(own.beta[row]),
                    "without_scaling": float(own.plain[row]),
                    "with_scaling": float(own.scaled[row]),
                    "left_over": float(own.scaled[row]) / power,
                    "shifted_mean": stands.mean,
                },
            )

        return [reading(row) for row in range(len(batch))]


def form_of(batch: Batch) -> Form:
    question = batch.explanations[0].card.question
    return "sensitivity" if question in ("sensitivity", "reconstruction") else "attribution"


def _shaped(batch: Batch, form: Form) -> Tensor:
    """Sensitivities like the inputs (B, …); attributions on their places (B, *places)."""
    inputs, values = batch.run.inputs, batch.values.float()
    shape = places(inputs)
    if form == "sensitivity":
        if values.numel() != inputs.numel():
            raise Unfit(ONE_FOR_ALL)
        return values.reshape(inputs.shape)
    if values.shape == inputs.shape:
        values = values.reshape(len(values), -1, *shape).sum(1)
    if tuple(values.shape[1:]) != shape:
        raise Unfit(NO_PLACES)
    return values


def _distance(batch: Batch, baseline: Baseline) -> Tensor:
    """x - b, (B, …)."""
    inputs = batch.run.inputs
    if not inputs.is_floating_point():
        raise Unfit(WHOLE)
    fills = baseline.values(inputs, batch.model.preprocess, batch.run.seed)
    if len(fills) > 1 or not baseline.is_local:
        raise Unfit(ONE_FILL)
    return inputs - fills[0]


def _like(control: Tensor, values: Tensor) -> Tensor:
    """A map on places (B, *places), for every channel of `values` where these have channels."""
    between = [1] * (values.ndim - control.ndim)
    return control.reshape(len(control), *between, *control.shape[1:]).expand_as(values)


def _sentence(left: float, stands: Against, *, opposite: bool) -> str:
    if opposite:
        return "The score does the opposite of what the map promises."
    p = "" if stands.p is None else f" (against its shifted copies p = {stands.p:.3f})"
    return f"{1 - left:z.0%} of what the perturbations do to the score is as the map promises{p}."


CARD = CheckCard(
    name="Infidelity",
    question="controls",
    asks="Does the score do what the map promises when the input is perturbed?",
    defined="The mean square of the difference between what the map promises of a perturbation and what it "
    "does to the score, after the map was multiplied by the number that fits best.",
    better="lower",
    unit="score²",
    range="0 and up",
    controls="random, edge, centre and constant maps; the map shifted on a torus and mirrored in 39 ways",
    misleads="Its size depends on the score's and on the perturbation's; compare it on the same input alone. "
    "Small noise asks about the gradient, large holes about inputs the model does not know.",
    cost="as many forward passes as perturbations, shared by all methods",
    source="Yeh et al. 2019, arXiv:1901.09392",
)
