"""The command line: parsing and printing, no logic."""

import signal
import sys

from underhood.cli.app import underhood
from underhood.cli.errors import guarded


def main() -> None:
    """Entry point of the command `underhood`."""
    for name in ("SIGTERM", "SIGHUP"):  # end as Ctrl-C does: nothing half-written
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) != signal.SIG_IGN:  # as `nohup` has it
            signal.signal(number, signal.default_int_handler)
    sys.exit(guarded(lambda: underhood.main(standalone_mode=False)))
