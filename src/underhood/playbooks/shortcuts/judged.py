"""Which of the tested candidates are findings."""

from collections.abc import Sequence
from dataclasses import replace

from underhood.playbooks.shortcuts.evidence import net
from underhood.playbooks.shortcuts.novelty import LARGEST
from underhood.playbooks.shortcuts.stamps import LARGEST_STAMP
from underhood.playbooks.shortcuts.tested import MOSTLY, Tested
from underhood.playbooks.statistics import holm

ALPHA = 0.05
# Of what is worth telling, that a novel thing does for sure: nothing natural is at hand for it.
SURELY = 1 / 3
ROOM = 0.1  # of the picture: larger things must turn as many more pictures, as more in them is natural
FAMILIAR = 0.25  # of pictures, that a thing must turn whose like is in pictures of other classes, too
# Of a thing, outside the subject, where it turns so many pictures: no part of a subject does.
PARTLY, STRONGLY = 0.25, 0.22
NOT_ALL = 0.95  # of a class's pictures have a novel thing: what all have on their subject is the class
# Of pictures, that a property must turn, as honest models know light and dark pictures apart, too.
OVER_ALL = {"background": 0.6, "colour": 0.2, "contrast": 0.2, "texture": 0.0}
WITHIN = 0.4  # of its shift around the subject, that it must have on it: else it is not all over the picture
EVERYWHERE = 0.15  # of a property's effect, that it must have where it is put on the subject alone
USUALLY = 0.25  # of a class's pictures, that must rely on their background


def findings(tested: Sequence[Tested], worth: float) -> list[Tested]:
    """One for each cause, the weightiest first."""
    return without_doubles([one for one in tested if is_finding(one, worth)])


def corrected(found: Sequence[Tested]) -> list[Tested]:
    values = holm([one.raw_p for one in found])
    return [replace(one, p=float(p)) for one, p in zip(found, values, strict=True)]


def is_finding(one: Tested, worth: float) -> bool:
    found = not one.candidate.guess and one.p < ALPHA and one.prevalence > 0
    return found and works(one, worth) and is_suspicious(one)


def works(one: Tested, worth: float) -> bool:
    """It turns the pictures that it is given to, and its own lose by its removal."""
    gone = net(one.removal, "moved", one.seed)
    lost = gone.value if one.candidate.novel and one.masks is not None else gone.low
    return one.put.value >= worth and one.put.low >= _least(one, worth) and lost > 0


def _least(one: Tested, worth: float) -> float:
    """Of pictures, that it must turn for sure."""
    if one.candidate.kind != "place":
        return max(worth, OVER_ALL[one.candidate.kind])
    if one.candidate.novel:
        return SURELY * worth
    return max(worth, FAMILIAR * max(1, one.area / ROOM))


def is_suspicious(one: Tested) -> bool:
    """Novel, or mostly outside the subject, or all over the picture; or a background that decides more."""
    if one.masks is None:
        return _is_all_over(one)
    if one.candidate.novel:
        there = one.chosen.novel.flatten(1).any(1).numpy()[one.chosen.by_chance].mean()
        return one.area <= LARGEST_STAMP and not (one.is_novel_subject and there > NOT_ALL)
    if one.candidate.kind == "place":
        strong = one.outside >= PARTLY and one.put.low >= STRONGLY
        return (one.outside >= MOSTLY or strong) and one.area <= LARGEST
    return _decides_more(one) and one.prevalence >= USUALLY


def _decides_more(background: Tested) -> bool:
    """Than the subject does."""
    assert background.middle is not None
    return background.put.low > net(background.middle, "turned", background.seed).value


def _is_all_over(one: Tested) -> bool:
    """It is on the subject as around it, and does something there."""
    assert one.middle is not None
    whole, part = (net(trial, "moved", one.seed) for trial in (one.transplant, one.middle))
    return one.within >= WITHIN and part.low > 0 and part.value >= EVERYWHERE * whole.value


def without_doubles(found: Sequence[Tested]) -> list[Tested]:
    """One for each cause, the weightiest first: what the same pictures rely on is one thing.

    A property of the whole picture takes the place of a thing that does little more, where at least half of
    the thing's pictures rely on it, too, and of all that is novel on the subject. A background is meant only
    where nothing else is found.
    """
    kept: list[Tested] = []
    smaller = [one for one in found if one.candidate.kind != "background"]
    for one in sorted(smaller or found, key=lambda t: -t.weight):
        rival = next((k for k in kept if _same(k, one)), None)
        if rival is None:
            kept.append(one)
        elif _is_property_of(rival, one):
            kept[kept.index(rival)] = one
    whole = {one.candidate.target for one in kept if one.masks is None}
    return [one for one in kept if not (one.is_novel_subject and one.candidate.target in whole)]


def _is_property_of(thing: Tested, one: Tested) -> bool:
    if thing.masks is None or one.masks is not None:
        return False
    things, ones = thing.candidate.relying, one.candidate.relying
    has_it = bool((things & ones).sum() >= 0.5 * things.sum())
    return thing.is_novel_subject or (has_it and one.share_turned >= 0.8 * thing.share_turned)


def _same(first: Tested, second: Tested) -> bool:
    if first.candidate.target != second.candidate.target:
        return False
    mine, other = first.candidate.relying, second.candidate.relying
    either = (mine | other).sum()
    return bool(either) and bool((mine & other).sum() >= 0.5 * min(mine.sum(), other.sum()))
