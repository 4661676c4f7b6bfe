"""Values survive their way into the page within half a step of 1/127 of the scale."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from underhood.reports import colours, encode

NUMBERS = st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False)
VALUES = arrays.arrays(np.float32, (6, 5), elements=NUMBERS)


@given(VALUES)
def test_a_value_inside_the_scale_comes_back_within_half_a_step(values):
    scale = encode.scale(values)
    back = encode.unpack(encode.pack(encode.quantise(values, scale.limit)), values.shape)
    inside = np.abs(values) <= scale.limit
    error = np.abs(back.astype(np.float64) * scale.limit / encode.STEPS - values)[inside]
    assert (error <= 0.5001 * scale.limit / encode.STEPS).all()


@given(VALUES)
def test_sign_is_never_turned(values):
    quantised = encode.quantise(values, encode.scale(values).limit)
    assert (quantised.astype(int) * np.sign(values) >= 0).all()


def test_the_scale_ends_at_the_995th_permille_of_magnitudes():
    values = np.linspace(-1, 1, 20_001, dtype=np.float32)
    scale = encode.scale(values)
    assert scale.limit == pytest.approx(0.995, abs=1e-3)
    assert scale.clipped == pytest.approx(0.005, abs=1e-3)


def test_a_map_of_one_spot_keeps_its_spot():
    values = np.zeros((100, 100), dtype=np.float32)
    values[3, 4] = -2.0
    scale = encode.scale(values)
    assert (scale.limit, scale.clipped) == (2.0, 0.0)
    assert encode.quantise(values, scale.limit)[3, 4] == -127


def test_a_map_of_zeros_stays_one():
    values = np.zeros((4, 4), dtype=np.float32)
    scale = encode.scale(values)
    assert scale.limit == 0
    assert not encode.quantise(values, 0.0).any()


def test_equal_maps_give_equal_text():
    steps = np.arange(-60, 60, dtype=np.int8)
    assert encode.pack(steps) == encode.pack(steps.copy())


@pytest.mark.parametrize("name", colours.SIGNED)
def test_diverging_colours_are_neutral_at_zero(name):
    red, green, blue = colours.colour(name, np.array(0.5))
    assert red == green == blue


@pytest.mark.parametrize("name", colours.MAGNITUDE)
def test_colours_of_magnitudes_grow_lighter_all_the_way(name):
    shades = colours.colour(name, np.linspace(0, 1, 256))
    light = shades @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(light) > 0).all()
