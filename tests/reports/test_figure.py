"""The static figure."""

import numpy as np
import pytest

from tests.reports import fakes
from underhood.errors import InvalidArgument
from underhood.methods.explanation import Subject
from underhood.reports import figure, render_png


def test_the_figure_has_the_picture_and_every_map():
    image = render_png(fakes.six_methods(Subject("a.png", "b", fakes.picture(64)), 64))
    across = 2 * figure.MARGIN + 4 * figure.CELL + 3 * figure.GAP
    assert image.width == across  # seven cells in two rows
    assert image.height > 2 * figure.CELL


def test_of_several_targets_every_method_has_a_row(monkeypatch):
    titles = []
    cell = figure.cell
    monkeypatch.setattr(figure, "cell", lambda title, *rest: titles.append(title) or cell(title, *rest))
    image = render_png(of_two_targets())
    assert titles == ["both.png", "Grad-CAM: dog", "Grad-CAM: cat", "Saliency: dog", "Saliency: cat"]
    assert image.width == 2 * figure.MARGIN + 3 * figure.CELL + 2 * figure.GAP
    below = np.asarray(image)[image.height // 2 + figure.MARGIN :]
    assert (below[:, : figure.MARGIN + figure.CELL] == 255).all()  # the picture stands in the first row alone
    assert not (below[:, figure.MARGIN + figure.CELL :] == 255).all()


def of_two_targets():
    """In the order in which they are explained: target by target."""
    for target in ("dog", "cat"):
        yield fakes.explanation(target=target)
        yield fakes.explanation(target=target, method="saliency", card=fakes.card("Saliency"))


def test_where_a_map_is_zero_the_grey_picture_shows():
    values = np.zeros((4, 4), dtype=np.float32)
    values[0, 0], values[3, 3] = 1, -1
    pixels = np.full((4, 4, 3), 200, dtype=np.uint8)
    painted = figure.overlay(values, 1.0, True, pixels).astype(int)
    assert painted[1, 1].tolist() == [110, 110, 110]
    assert painted[0, 0, 0] > painted[0, 0, 2]  # red for positive
    assert painted[3, 3, 2] > painted[3, 3, 0]  # blue for negative


def test_a_map_without_a_picture_shows_its_colours_alone():
    painted = figure.overlay(np.array([[0.0, 1.0]], dtype=np.float32), 1.0, False, None)
    assert painted[0].tolist() == [[0x44, 0x01, 0x54], [0xFD, 0xE7, 0x25]]


def test_a_map_without_signal_is_flat():
    flat = render_png([fakes.explanation(no_signal="too noisy")])
    loud = render_png([fakes.explanation()])
    below = slice(figure.MARGIN + 35, figure.MARGIN + 100)
    map_of = lambda image: np.asarray(image)[below, figure.MARGIN + figure.CELL + figure.GAP :]  # noqa: E731
    assert np.ptp(map_of(flat)[:, : figure.CELL].astype(int), axis=2).max() == 0
    assert np.ptp(map_of(loud)[:, : figure.CELL].astype(int), axis=2).max() > 20


def test_rows_of_values_become_bars():
    assert render_png([fakes.explanation(np.array([1.0, -2.0]), subject=Subject("row", "x"))])


def test_too_many_inputs_are_refused_with_advice():
    many = (fakes.explanation(subject=Subject(str(i), str(i))) for i in range(100))
    with pytest.raises(InvalidArgument, match=r"taller than 30,000 pixels; write fewer inputs, or the"):
        render_png(many)
    assert sum(1 for _ in many) > 20  # the rest was not asked for


def test_long_names_are_broken_to_fit():
    lines = figure.wrap(figure.Line("x" * 300))
    assert len(lines) > 1
    assert "".join(lines) == "x" * 300
