"""The commands; each one's work is imported when it runs, so that `--help` is quick."""

import shlex
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from underhood import __version__

MODEL = click.option(
    "--model",
    required=True,
    metavar="SCHEME:NAME",
    help="torchvision:NAME, timm:NAME, hf:NAME-OR-FOLDER, file:PATH.py:FUNCTION or demo:NAME.",
)
WEIGHTS = click.option(
    "--weights", metavar="FILE", help="A .safetensors, .pt or .pth file (never unpickles code)."
)
TRUST = click.option(
    "--trust", is_flag=True, help="Let a weight file run code while it is unpickled; only if you know it."
)
PREPROCESS = click.option(
    "--preprocess",
    metavar="PRESET[,KEY=VALUE…]",
    help="imagenet, half or unit, with changes: half,size=224,crop=224.",
)
PLAYBOOKS = "shortcuts, errors, confusions, leakage, subgroups or trust"  # those of `underhood.playbooks`
LEVEL = "quick, standard or full"  # `underhood.checks.LEVELS`, which takes a while to import
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def of_model(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that takes a model."""
    for option in (PREPROCESS, TRUST, WEIGHTS, MODEL):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def underhood() -> None:
    """Looks inside trained deep models, and says how far each answer can be trusted."""


class Checking(click.Command):
    """`--check` may stand before an input, which is then no level."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for at, (word, following) in enumerate(pairwise(args)):
            if word == "--check" and Path(following).exists():
                args[at] = "--check=standard"
        return super().parse_args(ctx, args)


@underhood.command(cls=Checking)
@click.argument("inputs", nargs=-1, required=True)
@of_model
@click.option("--labels", metavar="FILE", help="A label per line, or JSON.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="LABEL",
    help="Class to explain, by label or number; several are shown side by side [default: predicted].",
)
@click.option("--against", metavar="LABEL", help="Why the target rather than this class.")
@click.option("--probability", is_flag=True, help="Explain the probability, not the pre-softmax score.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME",
    help="May be given several times; see `underhood methods`; `all` takes every one that suits the "
    "model [default: gradcam, integrated_gradients, occlusion].",
)
@click.option("--baseline", metavar="NAME", help="What absent means: zeros, mean, black, grey, white, blur, "
    "noise, inpaint or noisy_linear.")  # fmt: skip
@click.option(
    "--layer",
    metavar="NAME",
    help="Layer for the CAMs, and for methods that can attribute to one; see `underhood layers`.",
)
@click.option("--out", default="report.html", show_default=True, metavar="FILE",
    help="Written whole or not at all: .html, .json, .npz or .png.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto",
    show_default=True)  # fmt: skip
@click.option("--memory", metavar="SIZE", help="Budget for one micro-batch, such as 512MB.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--check", is_flag=False, flag_value="standard", metavar="[LEVEL]",
    help=f"Ask how far each map can be believed: {LEVEL} [without a level: standard].")  # fmt: skip
@JSON
def explain(**options: Any) -> int:
    """Explain what a model says of INPUTS: pictures, folders or globs.

    \b
    underhood explain photo.jpg --model torchvision:mobilenet_v2 --weights mobilenetv2.safetensors \\
        --target tabby --method gradcam --method integrated_gradients --baseline blur
    """
    from underhood.cli.explain import Request, run

    return run(Request(**options), command=shlex.join(["underhood", *sys.argv[1:]]))


@underhood.command()
@click.argument("inputs", nargs=-1, required=True)
@of_model
@click.option("--labels", metavar="FILE", help="A label per line, or JSON.")
@click.option("--target", metavar="LABEL", help="Class to explain [default: predicted].")
@click.option("--method", "methods", multiple=True, metavar="NAME",
    help="May be given several times; see `underhood methods`.")  # fmt: skip
@click.option("--check", "checks", multiple=True, metavar="NAME",
    help="May be given several times; quick, standard or full are many [default: standard].")  # fmt: skip
@click.option("--baseline", metavar="NAME", help="What absent means, as for `underhood explain`.")
@click.option("--out", metavar="FOLDER", help="Goes on here where it was stopped, and keeps every figure.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--memory", metavar="SIZE", help="Budget for one micro-batch, such as 512MB.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@JSON
def benchmark(**options: Any) -> int:
    """How far methods can be trusted over a data set: checks of all INPUTS, with controls.

    \b
    underhood benchmark photos/ --model torchvision:resnet18 --method gradcam --method occlusion \\
        --check deletion --check randomisation --out figures
    """
    from underhood.cli.benchmark import run

    return run(**options)


class Auditing(click.Group):
    """Options of its own, and `verify`."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"'{args[0]}' is no option; name the pictures with --data, the folder of an audit with "
                     "--resume or verify.")  # fmt: skip
        return super().resolve_command(ctx, args)


@underhood.group(cls=Auditing, invoke_without_command=True)
@click.option("--model", metavar="SCHEME:NAME", help="As for `underhood explain`.")
@WEIGHTS
@TRUST
@PREPROCESS
@click.option("--classes", metavar="FILE", help="The model's class names: one per line, or JSON.")
@click.option("--data", metavar="FOLDER",
    help="Pictures: a folder for each class, or any folder where --labels says what they show.")  # fmt: skip
@click.option("--labels", metavar="FILE", help="Table (csv) with columns file and label, perhaps split.")
@click.option("--metadata", metavar="FILE", help="Table (csv) with a column file and whatever is known.")
@click.option("--masks", metavar="FOLDER", help="Masks of the subject, named as the pictures are.")
@click.option("--out", metavar="FOLDER", help="The audit goes here: a report, findings, all explanations.")
@click.option("--playbook", "playbooks", multiple=True, metavar="NAME",
    help=f"{PLAYBOOKS}; may be given several times [default: all that the data suit].")  # fmt: skip
@click.option("--resume", metavar="FOLDER", help="Go on with the audit in this folder, where it was stopped.")
@click.option("--engine", default="local", show_default=True, metavar="NAME",
    help="local: processes on this machine; ray: a cluster.")  # fmt: skip
@click.option("--address", metavar="ADDRESS", help="Of the Ray cluster, such as auto.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes [default: one for each device].")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto",
    show_default=True)  # fmt: skip
@click.option("--memory", metavar="SIZE", help="Budget for one micro-batch, such as 512MB.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@JSON
@click.pass_context
def audit(ctx: click.Context, /, **options: Any) -> int:
    """Is the model right for the right reasons, across a data set?

    \b
    underhood audit --model file:derm.py:build --weights w.pt --data images/ --labels labels.csv --out audit/
    underhood audit --resume audit/
    underhood audit verify audit/

    Exit code 0 where the audit was done, whatever it found: findings are what it is for.
    """
    given = [
        parameter.opts[0]
        for parameter in ctx.command.params
        if ctx.get_parameter_source(str(parameter.name)) is not ParameterSource.DEFAULT
    ]
    if ctx.invoked_subcommand is not None:
        if given:
            ctx.fail(f"{given[0]} is not for `underhood audit {ctx.invoked_subcommand}`.")
        return 0
    from underhood.cli.audit import Request, run

    return run(Request(**options), given)


@audit.command()
@click.argument("folder")
@click.option("--sample", type=click.IntRange(min=1), default=64, show_default=True,
    help="Pictures that are looked at again.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--memory", metavar="SIZE", help="Budget for one micro-batch, such as 512MB.")
@JSON
def verify(**options: Any) -> int:
    """Does the audit in FOLDER reproduce? A sample of it is computed again; exit code 1 where it does not."""
    from underhood.cli.audit import verify

    return verify(**options)


@underhood.command()
@click.argument("before")
@click.argument("after")
@click.option("--out", metavar="FILE", help="Written whole or not at all: .html or .json.")
@JSON
def compare(**options: Any) -> int:
    """Two versions of a model, audited on the same data: what has gone, what is new, what stayed?

    \b
    underhood compare audit-v1/ audit-v2/
    """
    from underhood.cli.compare import run

    return run(**options)


@underhood.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--model", metavar="SCHEME:NAME", help="[default: as recorded]")
@click.option("--weights", metavar="FILE", help="[default: as recorded]")
@TRUST
@click.option("--preprocess", metavar="PRESET[,KEY=VALUE…]", help="[default: as recorded]")
@click.option("--input", "inputs", multiple=True, metavar="FILE",
    help="What was explained: pictures, folders or globs [default: as recorded].")  # fmt: skip
@click.option("--level", default="standard", show_default=True, metavar="LEVEL", help=f"{LEVEL}.")
@click.option("--out", default="report.html", show_default=True, metavar="FILE",
    help="Written whole or not at all: .html, .json, .npz or .png.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--memory", metavar="SIZE", help="Budget for one micro-batch, such as 512MB.")
@JSON
def check(**options: Any) -> int:
    """How far can the explanations in FILES be believed? FILES are what `explain --out` wrote, .json or .npz.

    The maps stay as they are. Model and inputs must be those that were explained, by their digests.

    \b
    underhood explain lesion.png --model demo:cheating --out explanation.json
    underhood check explanation.json --level quick
    """
    from underhood.cli.checking import Request, run

    return run(Request(**options), command=shlex.join(["underhood", *sys.argv[1:]]))


@underhood.command()
@click.option("--verify", is_flag=True, help="Compute the claims anew on the demo's models; takes minutes.")
@JSON
def methods(verify: bool, as_json: bool) -> int:
    """List the methods: what each answers, needs, costs and gets wrong."""
    from underhood.cli.tables import print_methods, verify_methods

    if verify:
        return verify_methods(as_json)
    print_methods(as_json)
    return 0


@underhood.command()
@of_model
@JSON
def layers(model: str, weights: str | None, trust: bool, preprocess: str | None, as_json: bool) -> None:
    """List a model's named layers and shapes, and the one Grad-CAM looks at by default."""
    from underhood.cli.tables import print_layers
    from underhood.models import load

    print_layers(load(model, weights=weights, trust=trust, preprocess=preprocess), as_json)


@underhood.command()
@click.argument("inputs", nargs=-1, required=True)
@of_model
@click.option("--layer", required=True, metavar="NAME", help="A convolutional layer; see `underhood layers`.")
@click.option("--unit", "units", multiple=True, type=int, metavar="NUMBER",
    help="May be given several times [default: the first nine].")  # fmt: skip
@click.option("--out", default="units.png", show_default=True, metavar="FILE")
def units(**options: Any) -> int:
    """What excites a layer's units most among INPUTS, with reconstructions by a deconvnet."""
    from underhood.cli.units import run

    return run(**options)


@underhood.command()
@click.option("--out", default="out", show_default=True, metavar="FOLDER", help="Where the report goes.")
def demo(out: str) -> int:
    """The story in one command: skin-lesion models, one of which reads the ruler."""
    from underhood.cli.demo import run

    return run(out)
