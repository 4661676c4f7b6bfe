"""Names of files, ready to be shown: they may hold any bytes."""

import unicodedata
from collections.abc import Sequence

SHOWN = 3  # of many


def printable(name: str) -> str:
    """The name with what cannot be shown or stored as UTF-8 written out, such as caf\\xe9.jpg.

    >>> printable("caf\\udce9.jpg")
    'caf\\\\xe9.jpg'
    """
    if name.isprintable():
        return name
    return "".join(letter if letter.isprintable() else _written_out(letter) for letter in name)


def listed(names: Sequence[str]) -> str:
    """The first of them and a count.

    >>> listed(["a.png", "b.png", "c.png", "d.png"])
    "'a.png', 'b.png', 'c.png' and 1 more"
    """
    shown = ", ".join(f"'{printable(name)}'" for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def counted(what: str, names: Sequence[str]) -> tuple[str, ...]:
    """A sentence on some names; none where there are none.

    >>> counted("Pictures without a mask", ["a.png", "b.png"])
    ("Pictures without a mask: 2 ('a.png', 'b.png').",)
    """
    return (f"{what}: {len(names):,} ({listed(names)}).",) if names else ()


def same_spelling(name: str) -> str:
    """One spelling of a name: some systems write é as one letter, others as e and an accent."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _written_out(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # a byte that was no UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")
