"""The command line: parsing and printing, no logic."""

import sys

from underhood.cli.app import underhood
from underhood.cli.errors import guarded


def main() -> None:
    """Entry point of the command `underhood`."""
    sys.exit(guarded(lambda: underhood.main(standalone_mode=False)))
