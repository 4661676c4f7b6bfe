"""Figures as people read them."""


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def points(share: float) -> str:
    """With its sign."""
    return f"{100 * share:+.0f}"
