"""Every failure as one sentence and an exit code."""

import os
import sys
from collections.abc import Callable

import click

from underhood.errors import UnderhoodError


def guarded(command: Callable[[], object]) -> int:
    """Run a command; 0 if all went well, 1 for a stated failure, 2 for wrong usage, 130 after Ctrl-C."""
    try:
        result = command()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        error.show()
        return 2
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except UnderhoodError as error:
        return _say(str(error))
    except (KeyboardInterrupt, click.Abort):
        _say("Stopped. Nothing half-written was left behind.")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _say(f"{error.strerror or error}: {error.filename or 'a file'}.")
    except Exception as error:
        if os.environ.get("UNDERHOOD_DEBUG"):
            raise
        return _say(
            f"Something unforeseen went wrong ({type(error).__name__}: {error}). "
            "Please report it; UNDERHOOD_DEBUG=1 shows where it happened."
        )


def _say(sentence: str) -> int:
    click.echo(f"Error: {sentence}" if not sentence.startswith("Stopped") else sentence, err=True)
    return 1
