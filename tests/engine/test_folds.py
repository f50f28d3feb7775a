"""Equal, stratified parts that do not depend on the order of the stimuli."""

import numpy as np
import pytest

from engine.errors import SettingsError
from engine.folds import assign_folds
from tests.engine.test_moments import recording


def test_parts_are_equal_and_every_object_is_spread_over_them():
    data = recording(np.ones((120, 2))).assign_coords(object=("stimulus", np.repeat([f"o{i}" for i in range(12)], 10)))
    fold = assign_folds(data, 2, 0)
    assert np.bincount(fold).tolist() == [60, 60]
    assert (fold.groupby(data["object"]).sum() == 5).all()


def test_order_of_stimuli_changes_nothing_and_the_seed_does():
    data = recording(np.ones((30, 2)))
    turned = data.isel(stimulus=slice(None, None, -1))
    first = assign_folds(data, 3, 0)
    np.testing.assert_array_equal(first, assign_folds(turned, 3, 0).sel(stimulus=data["stimulus"]))
    assert not np.array_equal(first, assign_folds(data, 3, 1))


def test_too_many_parts_are_refused_with_the_largest_number_that_works():
    with pytest.raises(
        SettingsError, match=r"folds=11 with 30 stimuli: every part needs at least 3. .* between 1 and 10"
    ):
        assign_folds(recording(np.ones((30, 2))), 11, 0)
