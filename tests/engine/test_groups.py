"""Layers in groups: every layer once, in order, one pass each, and workers that end together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.groups import makespan, share_out
from engine.planning import LayerSize, Seconds, Way, plan_passes

WAYS = [Way(True, 16, 4, 100), Way(False, 8, 2, 50)]


def plan_of(units: list[int], memory: int, decode: float = 1.0):
    """What plans groups of layers that each take a second of forward pass more than the one before."""
    sizes = {f"layer{k}": LayerSize(f"layer{k}", n) for k, n in enumerate(units)}
    forward = {name: k + 1.0 for k, name in enumerate(sizes)}
    seconds = Seconds(
        decode, forward, lambda way, n: n * way.bytes_per_unit / 9, take=lambda n_bytes: n_bytes / 50, touch=float
    )
    return list(sizes), lambda layers: plan_passes(
        [sizes[name] for name in layers], WAYS, seconds, inputs_bytes=10**9, memory=memory
    )


@given(units=st.lists(st.integers(1, 90), min_size=1, max_size=12), workers=st.integers(1, 5))
def test_every_layer_is_in_one_group_that_fits_into_one_pass(units, workers):
    layers, plan = plan_of(units, memory=500)
    groups = share_out(layers, plan, workers)
    assert [name for group in groups for name in group.passes[0]] == layers
    assert all(len(group.passes) == 1 and group.peak <= 500 for group in groups)


@given(units=st.lists(st.integers(1, 90), min_size=1, max_size=12), workers=st.integers(1, 5))
def test_more_workers_never_end_later_than_one_with_all(units, workers):
    layers, plan = plan_of(units, memory=10**6)
    (whole,) = share_out(layers, plan, 1)
    assert makespan([group.seconds for group in share_out(layers, plan, workers)], workers) <= whole.seconds


def test_two_workers_share_layers_so_that_both_end_together():
    layers, plan = plan_of([90, 90, 90, 90], memory=10**6, decode=0.0)
    early, late = (group.seconds for group in share_out(layers, plan, 2))
    assert abs(early - late) < plan(layers[:1]).seconds


@pytest.mark.parametrize(("seconds", "workers", "expected"), [([3, 3, 2, 2, 2], 2, 7.0), ([5], 3, 5.0), ([], 2, 0.0)])
def test_the_longest_group_goes_to_the_next_free_worker(seconds, workers, expected):
    assert makespan(np.array(seconds, float).tolist(), workers) == expected
