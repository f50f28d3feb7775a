"""Where units and feature maps lie: in their layer's strip, in order, and found again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dashboard.figures.layer_strips import PAD, Strips, View

COUNTS = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@given(counts=COUNTS)
def test_every_item_lies_in_the_strip_of_its_layer_and_is_found_there_again(counts):
    strips = Strips(tuple(f"layer{k}" for k in range(len(counts))), tuple(counts))
    x, layer = strips.all(), np.repeat(np.arange(len(counts)), counts)
    assert (np.diff(x) > 0).all()
    assert (x > layer + PAD).all()
    assert (x < layer + 1 - PAD).all()
    assert strips.holds(x).all()
    np.testing.assert_array_equal(strips.layer_at(x), layer)
    np.testing.assert_array_equal(strips.first[layer] + strips.item_at(x, layer), np.arange(len(x)))


@given(counts=COUNTS, low=st.floats(-1, 7), width=st.floats(0, 5))
def test_the_items_of_a_range_are_those_whose_x_lies_in_it(counts, low, width):
    strips = Strips(tuple(map(str, range(len(counts)))), tuple(counts))
    x, found = strips.all(), strips.between(low, low + width)
    inside = np.flatnonzero((x >= low) & (x <= low + width))
    near = np.flatnonzero((x >= low - 1e-9) & (x <= low + width + 1e-9))
    assert set(inside) <= set(range(found.start, found.stop)) <= set(near)


def test_ticks_name_layers_and_closer_the_feature_maps_of_one():
    strips = Strips(("conv1", "fire2", "fc"), (200, 120, 10))
    everything = strips.ticks(View((0, 3), (0, 1), 600, 100), [10, 12, 1])
    assert [text for _, text in everything] == ["conv1", "fire2", "fc"]
    np.testing.assert_allclose([at for at, _ in everything], [0.5, 1.5, 2.5])
    close = View((1.0, 1.5), (0, 1), 300, 100)
    assert [text for _, text in strips.ticks(close, [10, 12, 1])] == ["0", "2", "4"]
    assert strips.label(close, "units") == "Feature map of fire2"
    assert strips.label(View((0, 3), (0, 1)), "units") == "Layer, in the order of execution; within a layer units"
