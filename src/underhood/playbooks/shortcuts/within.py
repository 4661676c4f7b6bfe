"""Is a property of the whole picture all over it, or only around the subject, as that of a frame is?"""

from torch import Tensor

from underhood.playbooks.shortcuts.exchanges import Colour, Contrast, Pictures


def within(exchange: Colour | Contrast, carriers: Pictures, others: Pictures) -> float:
    """The shift of the carriers' mean from that of other classes' pictures, on the subject, along that around
    it: 1 where it is as large."""
    shift = _shift(exchange, carriers, others)
    on_subject = _shift(exchange, *map(_inside_out, (carriers, others)))
    return float(on_subject @ shift / (shift @ shift).clamp(min=1e-12))


def _shift(exchange: Colour | Contrast, mine: Pictures, theirs: Pictures) -> Tensor:
    return exchange.measure(mine).double().mean(0) - exchange.measure(theirs).double().mean(0)


def _inside_out(pictures: Pictures) -> Pictures:
    return Pictures.plain(pictures.inputs, ~pictures.subject)
