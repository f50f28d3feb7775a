"""Passes that go on where others stopped: they fit, each layer comes once, and no other way is quicker."""

from itertools import combinations, pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.planning import LayerSize, Plan, Seconds, Way
from engine.stops import plan_stops

WAY = Way(True, 16, 4, 100)
WALK_S = 0.25


def seconds_of(sizes: list[LayerSize]) -> Seconds:
    forward = {size.name: k + 1.0 for k, size in enumerate(sizes)}
    return Seconds(0.5, forward, lambda way, n: 0.0, lambda n_bytes: 0.0, lambda n_bytes: n_bytes / 1000)


def layers_of(units: list[int]) -> list[LayerSize]:
    return [LayerSize(f"layer{k}", n) for k, n in enumerate(units)]


def cost(sizes: list[LayerSize], passes, cuts, room: int) -> float:
    """Seconds of some passes and cuts, step by step; infinite if they do not fit, or read what nobody kept."""
    units, index = {s.name: s.units for s in sizes}, {s.name: k for k, s in enumerate(sizes)}
    spent, kept = 0.0, None
    for group, cut, later in zip(passes, cuts, [*cuts[1:], None], strict=True):
        if cut is not None and (cut != kept or index[cut] > index[group[0]]):
            return float("inf")
        new = None if later == cut else later
        if new is not None and cut is not None and index[new] < index[cut]:
            return float("inf")
        outside = [new] if new is not None and new not in group else []
        if sum(units[name] for name in (*group, *outside, *filter(None, [cut]))) > room:
            return float("inf")
        end = max(index[name] for name in (*group, *filter(None, [new]))) + 1
        spent += end - (index[cut] + 1 if cut else 0)
        spent += WALK_S + 2 * 4 * units[cut] / 1000 if cut else 0.5
        spent += sum(2 * 4 * units[name] / 1000 for name in outside)
        kept = later
    return spent


def every_way(names: list[str], cuts: list[str]):
    for n in range(len(names)):
        for edges in combinations(range(1, len(names)), n):
            passes = [names[a:b] for a, b in pairwise((0, *edges, len(names)))]
            for chosen in product([None, *cuts], repeat=n):
                yield passes, [None, *chosen]


def plan(sizes: list[LayerSize], todo: list[str], cuts: list[str], room: int) -> Plan | None:
    memory = WAY.fixed_bytes + 4 * room
    return plan_stops(sizes, todo, cuts, WAY, seconds_of(sizes), walk_s=WALK_S, memory=memory)


@given(data=st.data(), units=st.lists(st.integers(1, 30), min_size=1, max_size=5))
def test_no_other_way_through_the_layers_is_quicker(data, units):
    sizes = layers_of(units)
    names = [size.name for size in sizes]
    cuts = data.draw(st.lists(st.sampled_from(names), unique=True))
    todo = sorted(data.draw(st.sets(st.sampled_from(names), min_size=1)))
    room = data.draw(st.integers(1, sum(units)))
    found = plan(sizes, todo, cuts, room)
    if found is None:
        assert max(size.units for size in sizes if size.name in todo) > room
        return
    assert [name for group in found.passes for name in group] == todo
    assert set(found.cuts) <= {None, *cuts}
    assert found.peak <= found.memory
    assert found.seconds == pytest.approx(cost(sizes, found.passes, found.cuts, room))
    assert found.seconds <= min(cost(sizes, *way, room) for way in every_way(todo, cuts)) + 1e-9


def test_where_fresh_memory_is_dear_more_passes_hold_less():
    sizes = layers_of([10] * 8)
    names, dear = [size.name for size in sizes], seconds_of(sizes)
    made = plan_stops(
        sizes,
        names,
        names,
        WAY,
        Seconds(dear.decode, dear.forward, dear.summarise, lambda n: n / 10, dear.touch),
        walk_s=WALK_S,
        memory=10**6,
    )
    assert made is not None
    assert len(made.passes) > 1
    assert made.peak < WAY.fixed_bytes + 4 * 80


def test_a_plan_says_how_many_passes_go_on_where_another_stopped():
    sizes = layers_of([10, 10, 10, 10])
    found = plan(sizes, [size.name for size in sizes], ["layer0", "layer1", "layer2"], 20)
    assert found is not None
    n_resumed = sum(cut is not None for cut in found.cuts)
    assert n_resumed > 0
    assert f"{len(found.passes)} passes over the stimuli, {n_resumed} of them from where another stopped" in (
        found.describe()
    )
