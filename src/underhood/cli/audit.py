"""`underhood audit` and `underhood audit verify`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from underhood.cli.progress import stages
from underhood.errors import InvalidArgument
from underhood.models import Model, load

if TYPE_CHECKING:
    from underhood.playbooks.audit import Audit

KEPT = ("--out", "--playbook", "--seed", "--precision")
PROBLEMS = 10  # that are printed; the report has more


@dataclass(frozen=True)
class Request:
    """The command's arguments, see `underhood audit --help`."""

    model: str | None
    weights: str | None
    trust: bool
    preprocess: str | None
    classes: str | None
    data: str | None
    labels: str | None
    metadata: str | None
    masks: str | None
    out: str | None
    playbooks: Sequence[str]
    resume: str | None
    engine: str
    address: str | None
    workers: int | None
    device: str
    precision: Any
    memory: str | None
    seed: int
    as_json: bool

    @property
    def folder(self) -> Path:
        return Path(self.resume or self.out or "").expanduser()

    @property
    def options(self) -> dict[str, Any]:
        """Of the engine."""
        given = {"address": self.address, "workers": self.workers}
        return {name: value for name, value in given.items() if value is not None}

    def load(self) -> Model | None:
        if self.model is None:
            return None
        return load(
            self.model,
            weights=self.weights,
            labels=self.classes,
            preprocess=self.preprocess,
            trust=self.trust,
        )

    def dataset(self) -> Any:
        from underhood.inputs import as_dataset

        if self.data is None:
            return None
        return as_dataset(self.data, labels=self.labels, metadata=self.metadata, masks=self.masks)


def run(asked: Request, given: Sequence[str]) -> int:
    """Audit, or go on with an audit; 1 where a playbook that was named cannot be run, else 0."""
    _refuse_what_does_not_go_together(asked, given)
    from underhood.playbooks.audit import holds_audit

    try:
        found = _audited(asked)
        report = found.save_report()
    except KeyboardInterrupt:
        if not holds_audit(asked.folder):
            raise
        click.echo(
            f"Stopped. What was done is kept; go on with: underhood audit --resume {asked.folder}", err=True
        )
        return 130
    if asked.as_json:
        told = {"folder": str(found.folder), "report": str(report), **found.as_dict()}
        click.echo(json.dumps(told, indent=2, allow_nan=False))
    else:
        print_audit(found)
        click.echo(f"\nThe report, to be opened in a browser: {report}")
    return 1 if set(found.failed) & set(asked.playbooks) else 0


def _audited(asked: Request) -> "Audit":
    from underhood.playbooks.audit import audit, resume
    from underhood.playbooks.registry import as_playbooks

    with stages() as (report, begin):
        how: dict[str, Any] = {
            "engine": asked.engine, "options": asked.options, "device": asked.device, "memory": asked.memory,
            "progress": report, "begin": begin,
        }  # fmt: skip
        chosen, dataset = as_playbooks(list(asked.playbooks) or None), asked.dataset()  # what is quick first
        model = asked.load()
        if asked.resume is not None:
            return resume(asked.resume, model=model, dataset=dataset, **how)
        assert model is not None
        return audit(
            model, dataset, chosen, out=asked.folder, seed=asked.seed, precision=asked.precision, **how
        )


def _refuse_what_does_not_go_together(asked: Request, given: Sequence[str]) -> None:
    if asked.resume is not None:
        kept = [option for option in KEPT if option in given]
        if kept:
            raise InvalidArgument(f"{kept[0]} is not for --resume, which goes on with what the audit has.")
        return
    missing = [name for name in ("model", "data", "out") if getattr(asked, name) is None]
    if missing:
        raise click.UsageError(
            f"Missing option '--{missing[0]}'; an audit needs --model, --data and --out, or --resume alone."
        )


def print_audit(found: "Audit") -> None:
    """The headline, each finding's claim, or what would have been found."""
    from underhood.reports.audit.answer import answer, ranked, scope

    findings = ranked(found.outcomes)
    for problem in found.problems[:PROBLEMS]:
        click.echo(f"Note: {problem}", err=True)
    if (more := len(found.problems) - PROBLEMS) > 0:
        click.echo(f"Note: and {more:,} more, which are in the report.", err=True)
    click.echo(f"{found.survey.model.name}: {scope(found.survey)}.")
    several = len(found.outcomes) > 1
    if findings or several:
        click.echo(answer(found, findings).headline)
    for finding in findings:
        click.echo(f"\n{finding.playbook}, {finding.severity}: {finding.claim}")
        click.echo(f"  {finding.next_step}")
    said = {finding.playbook for finding in findings}
    for outcome in found.outcomes:
        if outcome.playbook not in said:
            click.echo(f"\n{outcome.playbook}: {outcome.summary}" if several else outcome.summary)


def verify(folder: str, sample: int, device: str, memory: str | None, as_json: bool) -> int:
    """Compute a sample of an audit again; 1 where it does not reproduce."""
    from underhood.playbooks.verify import verify as verified

    with stages() as (report, begin):
        begin("pictures", sample)
        found = verified(folder, sample, device=device, memory=memory, progress=report)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2, allow_nan=False))
        return 0 if found.reproduces else 1
    for claim in found.claims:
        click.echo(f"{'holds' if claim.holds else 'FAILS':<7}{claim.name}: {claim.says}")
    click.echo(found.says)
    return 0 if found.reproduces else 1
