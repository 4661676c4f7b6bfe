"""Figures as people read them."""


def percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def points(share: float) -> str:
    """With its sign."""
    return f"{100 * share:+.0f}"


def between(low: float, high: float, digits: int = 0) -> str:
    """An interval."""
    return f"[{percent(low, digits)}, {percent(high, digits)}]"


def in_points(share: float) -> str:
    """Of per cent, without a sign."""
    told = f"{100 * share:.0f}" if share >= 0.0095 else f"{100 * share:.1f}"
    return "1 point" if told == "1" else f"{told} points"
