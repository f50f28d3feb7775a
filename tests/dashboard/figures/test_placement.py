import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dashboard.figures.placement import apart, name_ticks


@given(y=st.lists(st.floats(0, 1), max_size=12), least=st.floats(0.01, 0.05))
def test_names_keep_their_distance_and_their_order(y, least):
    placed = apart(np.array(y), least)
    assert (np.diff(np.sort(placed)) > 0.8 * least).all()
    order = np.argsort(y, kind="stable")
    assert (np.diff(placed[order]) > 0).all()


def test_names_that_are_far_apart_stay():
    np.testing.assert_array_equal(apart(np.array([0.9, 0.1, 0.5]), 0.1), [0.9, 0.1, 0.5])


def test_as_many_names_as_fit_are_written():
    names = [f"site{i:02d}" for i in range(50)]
    wide, narrow = name_ticks(names, 5000), name_ticks(names, 300)
    assert [text for _, text in wide] == names
    assert 2 <= len(narrow) < 10
    assert narrow[1] == (narrow[1][0], names[int(narrow[1][0])])
    assert name_ticks([], 300) == []
