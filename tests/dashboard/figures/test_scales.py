import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.figures.scales import degree_ticks, layer_ticks, r_limits, r_ticks, turned_layer_ticks

r_values = st.lists(st.floats(-1, 1) | st.just(float("nan")), max_size=30)


@given(values=r_values)
def test_axes_of_r_hold_zero_and_every_value(values):
    low, high = r_limits(values)
    known = [value for value in values if np.isfinite(value)]
    assert low <= 0 < high
    assert all(low <= value <= high for value in known)


@given(values=r_values)
def test_axes_of_r_have_two_to_six_ticks_and_one_is_zero(values):
    ticks = r_ticks(*r_limits(values))
    assert 2 <= len(ticks) <= 6
    assert "0" in [text for _, text in ticks]


def test_a_negative_held_out_value_widens_the_axis():
    assert r_limits([0.4], [-0.02])[0] < -0.02


def test_layer_names_are_thinned_when_they_do_not_fit():
    few = [f"fire{i}" for i in range(2, 10)]
    assert layer_ticks(few, 480) == ([(float(i), name) for i, name in enumerate(few)], True)
    many = [f"_blocks.{i}._bn2" for i in range(60)]
    ticks, is_all = layer_ticks(many, 480)
    assert not is_all
    assert 2 <= len(ticks) <= 6
    assert layer_ticks([], 480) == ([], True)


@pytest.mark.parametrize(("half", "texts"), [(4, ["−4°", "−2°", "0°", "2°", "4°"]), (7, ["−5°", "0°", "5°"])])
def test_degrees_are_ticked_at_zero_and_evenly(half, texts):
    assert [text for _, text in degree_ticks(-half, half)] == texts


def test_names_of_layers_are_turned_before_any_is_left_out():
    names = [f"block{i}.squeeze" for i in range(20)]
    assert turned_layer_ticks(names[:4], 600)[1] == 0
    ticks, turn, below = turned_layer_ticks(names, 600)
    assert ([name for _, name in ticks], turn) == (names, 45)
    assert turned_layer_ticks(names * 2, 600)[1] == 90
    assert len(turned_layer_ticks(names * 2, 600)[0]) == 40
    assert below > turned_layer_ticks(names[:4], 600)[2]
    assert len(turned_layer_ticks(names * 4, 600)[0]) == 40  # every other one
