"""The top of a list, whatever the pieces it comes in."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels.ordering import by_column
from engine.ranking import NEAR_BEST, Candidates, TopUnits, below_best, best, in_order, near_best
from engine.schema import LEVEL, MARGIN, SPARE, TIED_WITHIN


def ranked(r: np.ndarray, top: int, cuts: list[int]) -> list[list[int]]:
    """Units in order for each column of ``r`` (column, unit), read in pieces."""
    tops = TopUnits(0, top)
    for first, last in zip([0, *cuts], [*cuts, r.shape[1]], strict=True):
        if last > first:
            tops.add(torch.from_numpy(r[:, first:last]), first)
    found = in_order(tops.candidates)
    return [found.unit[(found.column == c) & (found.rank() < top)].tolist() for c in range(len(r))]


@given(
    seed=st.integers(0, 2**16),
    digits=st.sampled_from([1, 2, 3, 9]),
    top=st.integers(1, 30),
    cuts=st.lists(st.integers(0, 300), max_size=6).map(sorted),
)
def test_any_pieces_give_the_stable_sort_even_with_heavy_ties(seed, digits, top, cuts):
    r = np.random.default_rng(seed).uniform(-1, 1, size=(3, 300)).round(digits)
    r[:, ::7] = -np.inf
    expected = [[u for u in np.argsort(-row, kind="stable") if np.isfinite(row[u])][:top] for row in r]
    assert ranked(r, top, cuts) == expected


def test_topk_of_pieces_depends_on_the_pieces():
    """The control: heavy ties, and what torch makes of them when it is given one piece after the other."""
    r = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, size=2000).round(1))

    def chosen(size: int) -> frozenset[int]:
        kept = torch.zeros(0, dtype=torch.int64)
        for piece in torch.arange(len(r)).split(size):
            kept = torch.cat([kept, piece])
            kept = kept[r[kept].topk(min(10, len(kept))).indices]
        return frozenset(kept.tolist())

    assert len({chosen(size) for size in (7, 32, 300, 2000)}) > 1


@given(seed=st.integers(0, 2**16), digits=st.sampled_from([0, 1, 9]), n=st.integers(0, 200))
def test_pairs_of_columns_and_units_come_in_the_order_of_a_sort_by_four_keys(seed, digits, n):
    rng = np.random.default_rng(seed)
    column, layer, unit = rng.integers(0, [[5], [3], [40]], (3, n))
    r = rng.uniform(-1, 1, n).round(digits)
    r[rng.random(n) < 0.1] = np.nan
    falling = -np.nan_to_num(r, nan=-np.inf)
    assert by_column(column, layer, unit, r).tolist() == np.lexsort((unit, layer, falling, column)).tolist()


@given(seed=st.integers(0, 2**16), n=st.integers(0, 60), steps=st.sampled_from([2, 5, 40]))
def test_whatever_rounding_makes_the_best_of_a_column_is_scored_and_stays_the_best(seed, n, steps):
    """r in steps of half the rounding that is allowed; its exact value is up to that much away."""
    rng = np.random.default_rng(seed)
    column, unit = rng.integers(0, 4, n), rng.permutation(n)
    r = 0.3 + rng.integers(0, steps, n) * TIED_WITHIN / 4
    found = Candidates(column, np.zeros(n, int), unit, r)
    near = near_best(found)
    for c in np.unique(column):
        own = np.flatnonzero(column == c)
        reached = own[r[own] >= r[own].max() - 2 * TIED_WITHIN]
        assert sorted(near[column[near] == c]) == sorted(reached[np.argsort(unit[reached])][:NEAR_BEST])
    found.r[near] += rng.uniform(-1, 1, len(near)) * TIED_WITHIN / 2
    held_below = below_best(found, near, near)
    for c in np.unique(column):
        own = np.flatnonzero(column == c)
        assert held_below[own].max() == found.r[near[column[near] == c]].max()
    assert np.abs(held_below - found.r).max(initial=0) <= (2 + 0.5) * TIED_WITHIN


def test_units_that_rounding_may_swap_stay_candidates():
    r = np.array([[0.9, 0.5, 0.5 - MARGIN / 2, 0.5 - MARGIN * 2, 0.1]])
    tops = TopUnits(0, 2)
    tops.add(torch.from_numpy(r), 0)
    assert tops.candidates.unit.tolist() == [0, 1, 2]


def test_of_countless_equal_units_the_first_stay():
    column, unit = np.zeros(5000, np.int64), np.random.default_rng(0).permutation(5000)
    noise = np.random.default_rng(1).uniform(0, LEVEL, 5000)
    kept = best(Candidates(column, column, unit, 0.4 + noise), 10)
    assert sorted(kept.unit.tolist()) == list(range(10 + SPARE))


def test_nan_is_never_ranked():
    r = np.array([np.nan, 0.1, np.nan])
    kept = best(Candidates(np.zeros(3, int), np.zeros(3, int), np.arange(3), r), 2)
    assert kept.unit.tolist() == [1]
    assert set(torch.from_numpy(r).topk(2).indices.tolist()) == {0, 2}, "torch no longer ranks NaN first: no control"


@given(
    lengths=st.lists(st.integers(0, 200), min_size=1, max_size=4),
    top=st.integers(1, 40),
    step=st.sampled_from([LEVEL / 4, MARGIN / 3, 0.01]),
    seed=st.integers(0, 2**16),
)
def test_the_best_of_several_columns_are_those_that_a_loop_keeps(lengths, top, step, seed):
    rng = np.random.default_rng(seed)
    column = np.repeat(np.arange(len(lengths)), lengths)
    unit = np.concatenate([rng.permutation(1000)[:n] for n in lengths])
    r = 0.3 + step * rng.integers(0, rng.choice([2, 40]), len(column))
    r[rng.random(len(column)) < 0.05] = np.nan
    order = rng.permutation(len(column))
    kept = best(Candidates(column[order], np.zeros(len(column), int), unit[order], r[order]), top)
    expected = [pair for c in range(len(lengths)) for pair in kept_by_a_loop(c, r[column == c], unit[column == c], top)]
    assert list(zip(kept.column, kept.r, kept.unit, strict=True)) == expected


def kept_by_a_loop(column: int, r: np.ndarray, unit: np.ndarray, top: int) -> list[tuple[int, float, int]]:
    """(column, r, unit) in order: all that are clearly better than the last rank, its equals, those just below it."""
    pairs = sorted((-value, u) for value, u in zip(r, unit, strict=True) if not np.isnan(value))
    if not pairs:
        return []
    last = -pairs[min(top, len(pairs)) - 1][0]
    near = [(-value, u) for value, u in pairs if -value >= last - MARGIN]
    by_level = sorted(near, key=lambda pair: (-last if abs(pair[0] - last) <= LEVEL else -pair[0], pair[1]))
    chosen = set(by_level[: top + SPARE])
    return [(column, value, u) for value, u in near if (value, u) in chosen]
