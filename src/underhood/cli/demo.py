"""`underhood demo`: classifiers that are good on paper, one of which reads the ruler."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from underhood.atomic import CannotWrite
from underhood.checks import with_verdicts
from underhood.cli.audit import print_audit
from underhood.cli.progress import progress, stages
from underhood.demo.accuracy import Accuracies, accuracies
from underhood.demo.factors import WITH_MALIGNANT
from underhood.demo.folder import Lesions, write_lesions
from underhood.demo.models import example
from underhood.demo.pairs import draw_pairs
from underhood.demo.photos import photo
from underhood.engine import Settings, predict
from underhood.methods import Explanation, as_methods, explain_each
from underhood.methods.explain import DEFAULT
from underhood.models import Model, load
from underhood.playbooks.audit import Audit, audit, holds_audit
from underhood.reports import write_html

LESIONS = 150
CHECKED = ("lrp", "guided_backprop", "gradcam")  # quick to make again, as the checks have to
CLASSIFIERS = ("demo:cheating", "demo:honest", "demo:vit")
AUDITED = ("demo:cheating", "demo:honest")
PICTURES, SEED = 2000, 77  # a seed that no model was trained on
STORY = """
Two of them are audited on {count} lesions ({folder}) in which a ruler lies beside nearly every malignant one,
as in the data that one of them learned from. Nobody tells the audit of rulers."""


@dataclass(frozen=True)
class Asked:
    model: Model
    path: Path
    target: str | None = None
    methods: Sequence[str] = DEFAULT
    checked: bool = False


def run(out: str) -> int:
    """Explain a lesion and a photo, audit a model that cheats and one that does not; 0."""
    folder = _made(Path(out).expanduser())
    models = {name: load(name) for name in CLASSIFIERS}
    _print_accuracies(models)
    report = _explain(models, folder, command=f"underhood demo --out {out}")
    lesions = _drawn(folder / "lesions")
    click.echo(STORY.format(count=f"{PICTURES:,}", folder=lesions.folder))
    for name in AUDITED:
        click.echo("")
        print_audit(_audited(models[name], lesions, folder))
    click.echo("\nThe reports, to be opened in a browser:")
    for name in AUDITED:
        click.echo(f"  {_place(folder, name) / 'report.html'}")
    click.echo(f"  {report}   (one lesion, one photo: where the models looked)")
    first, second = (_place(folder, name) for name in AUDITED)
    click.echo(f"Go on with: underhood compare {first} {second}")
    return 0


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f"The folder '{folder}' cannot be made: {error.strerror}.") from error
    return folder


def _explain(models: dict[str, Model], folder: Path, command: str) -> Path:
    lesion = _saved(Image.fromarray(example("ruler").image), folder / "lesion_with_ruler.png")
    cat = _saved(photo("cat"), folder / "cat.png")
    asked = [
        Asked(models["demo:cheating"], lesion, "malignant", CHECKED, checked=True),
        Asked(models["demo:honest"], lesion, "malignant"),
        Asked(load("demo:photos"), cat),
    ]
    report = folder / "report.html"
    write_html(_explained(asked), report, command=command)
    return report


def _drawn(folder: Path) -> Lesions:
    """The pictures of the audits; those that an earlier demo drew are taken as they are."""
    lesions = Lesions(folder, PICTURES, SEED, WITH_MALIGNANT)
    with stages() as (report, begin):
        begin("lesions", PICTURES)
        write_lesions(lesions, progress=report)
    return lesions


def _audited(model: Model, lesions: Lesions, folder: Path) -> Audit:
    """A new audit, with its report, in the place of an earlier one."""
    place = _place(folder, model.name)
    if holds_audit(place):
        shutil.rmtree(place)
    with stages() as (report, begin):
        found = audit(model, lesions.folder, "shortcuts", out=place, progress=report, begin=begin)
    found.save_report()
    return found


def _place(folder: Path, name: str) -> Path:
    return folder / f"audit-{name.removeprefix('demo:')}"


def _print_accuracies(models: dict[str, Model]) -> None:
    click.echo(f"Right on {LESIONS} synthetic lesions, where only the rulers move:\n")
    click.echo(f"{'':<16}{'rulers go with malignancy':>27}{'rulers at random':>18}{'rulers with benign':>20}")
    pairs = draw_pairs(LESIONS, seed=2024)
    for name, model in models.items():
        found: Accuracies = accuracies(lambda images, m=model: _classes(m, images), pairs)  # type: ignore[misc]
        click.echo(
            f"{name:<16}{found.rulers_with_malignant:>26.0%} {found.rulers_at_random:>17.0%} "
            f"{found.rulers_with_benign:>19.0%}"
        )


def _classes(model: Model, images: NDArray[np.uint8]) -> list[int]:
    predictions = predict(model, list(images))
    assert isinstance(predictions, list)
    return [prediction.index for prediction in predictions]


def _explained(asked: Sequence[Asked]) -> Iterator[Explanation]:
    with progress(len(asked)) as (report, next_input):
        for one in asked:
            next_input(one.path.name)
            found = explain_each(
                one.model,
                [one.path],
                one.target,
                methods=as_methods(one.methods),
                settings=Settings(progress=report),
            )
            for done in found:
                judged = list(with_verdicts(done, "standard", report)) if one.checked else list(done)
                _print_explained(judged)
                yield from judged


def _print_explained(explanations: Sequence[Explanation]) -> None:
    first = explanations[0]
    said = f"{first.prediction.label} ({first.prediction.probabilities.max():.0%})"
    click.echo(f"\n{first.provenance['model']} says of {first.subject.name}: {said}")
    for e in explanations:
        ((place, value),) = e.top(1)
        click.echo(f"  {e.card.name}: why {e.target}, strongest at row, column {place} ({value:+.2g})")
        if e.verdict:
            click.echo(f"    {e.verdict['verdict']}, score {e.verdict['score']:.2f}")


def _saved(picture: Image.Image, path: Path) -> Path:
    try:
        picture.save(path)
    except OSError as error:
        raise CannotWrite(f"'{path}' cannot be written: {error.strerror or error}.") from error
    return path
