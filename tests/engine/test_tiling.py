"""A layer in tiles, held or summed, against scipy and against the general path, on data that breaks naive sums."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.blocks import Arena, Block
from engine.errors import NetworkError
from engine.folds import assign_folds
from engine.kernels.arrays import Order
from engine.kernels.products import CHUNK, empty_nonzeros, find_nonzeros
from engine.kernels.tiles import TILE, summarise_held
from engine.kernels.vectors import COLUMNS_AT_ONCE
from engine.moments import PairMoments, TargetSums, require_in_range
from engine.schema import MARGIN
from engine.summaries import LayerSummary, Piece, summarise
from engine.targets import Targets, make_targets
from engine.tiling import Columns, TileSums, _nothing_found, summarise_block, tile_threads
from tests.engine.test_moments import N, by_scipy, families, recording

CPU = torch.device("cpu")
ALL = 10_000


def targets_of(responses: np.ndarray, n_folds: int, shuffles: int = 0) -> Targets:
    data = recording(responses)
    return make_targets(data, assign_folds(data, n_folds, 0), shuffles=shuffles, seed=0)


def channelwise(units: np.ndarray, shape: tuple[int, int, int], *, channels_last: bool) -> torch.Tensor:
    """(stimulus, channel, position) of units in C order, with channels or positions side by side in memory."""
    maps = torch.from_numpy(units.astype(np.float32)).view(len(units), shape[0], -1)
    return maps.transpose(1, 2).contiguous().transpose(1, 2) if channels_last else maps


def held(units, shape, targets, top=ALL, *, channels_last=False, threads=2) -> LayerSummary:
    block = Block(torch.empty(units.shape), shape)
    for first in range(0, len(units), 16):
        block.put(first, channelwise(units[first : first + 16], shape, channels_last=channels_last))
    np.testing.assert_array_equal(block.of_units(np.arange(units.shape[1])), units.astype(np.float32).T)
    np.testing.assert_array_equal(block.maps(slice(0, shape[0])), units.astype(np.float32))
    return summarise_block(block, 3, top, Columns(targets), threads)()


def summed(units, shape, targets, top=ALL, *, channels_last=False, batch=64, products=np.float32) -> LayerSummary:
    return sums_of(units, shape, targets, channels_last=channels_last, batch=batch, products=products).summarise(
        3, top, 2
    )


def sums_of(units, shape, targets, *, channels_last=False, batch=64, products=np.float32) -> TileSums:
    sums = TileSums(shape, Columns(targets), products)
    with tile_threads(2) as in_threads:
        for fold in range(targets.n_folds):
            rows = np.flatnonzero(targets.fold == fold)
            for chosen in np.split(rows, range(batch, len(rows), batch)):
                sums.add(
                    channelwise(units[chosen], shape, channels_last=channels_last), int(chosen[0]), fold, in_threads
                )
    return sums


def general(units, shape, targets, top=ALL) -> LayerSummary:
    moments = PairMoments(units.shape[1], TargetSums(targets, CPU))
    for fold in range(targets.n_folds):
        rows = np.flatnonzero(targets.fold == fold)
        moments.add(torch.from_numpy(units[rows].astype(np.float32)), int(rows[0]), fold)
    return summarise([Piece(moments, slice(0, units.shape[1]), 0)], 3, shape, top, targets)


def matrix(summary: LayerSummary, split: int, n_sites: int, n_units: int) -> np.ndarray:
    r = np.full((n_sites, n_units), np.nan)
    found = summary.candidates[split]
    r[found.column, found.unit] = found.r
    return r


@pytest.mark.parametrize("way", [held, summed])
@pytest.mark.parametrize("name", families())
def test_r_over_every_split_equals_scipy_on_every_family(way, name):
    units = families()[name].astype(np.float32)
    targets = targets_of(np.random.default_rng(1).gamma(2, 5, size=(N, 6)), 2)
    summary = way(units, (units.shape[1], 1, 1), targets)
    for split, folds in enumerate([[0, 1], [1], [0]]):
        expected = by_scipy(units, targets.response, np.isin(targets.fold, folds))
        r = matrix(summary, split, 6, units.shape[1])
        np.testing.assert_array_equal(np.isnan(r), np.isnan(expected))
        np.testing.assert_allclose(r, expected, atol=1e-6)


@pytest.mark.parametrize("way", [held, summed])
@given(
    channels=st.integers(1, 12),
    area=st.integers(1, 60),
    n_folds=st.integers(1, 4),
    n_sites=st.sampled_from([1, 3, 13, COLUMNS_AT_ONCE + 5]),
    top=st.integers(1, 120),
    channels_last=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_a_summary_is_that_of_the_general_path(way, channels, area, n_folds, n_sites, top, channels_last, seed):
    rng = np.random.default_rng(seed)
    units = np.maximum(rng.normal(size=(40, channels * area)), rng.choice([-9, 0, 1.5])) * 3 + rng.choice([0, 50])
    units[:, rng.random(channels * area) < 0.1] = 1.0
    targets = targets_of(rng.gamma(2, 5, size=(40, n_sites)), n_folds, shuffles=2)
    shape = (channels, area, 1)
    fast = way(units, shape, targets, top, channels_last=channels_last)
    slow = general(units, shape, targets, top)
    everything = general(units, shape, targets)
    assert fast.statuses == slow.statuses
    np.testing.assert_allclose(fast.map_r, slow.map_r, atol=1e-6)
    np.testing.assert_allclose(fast.null_r, slow.null_r, atol=1e-6)
    known = matrix(everything, 0, n_sites, channels * area)
    of_best = np.arange(channels) * area + fast.map_position
    is_ranked = np.isfinite(fast.map_r)
    named = np.take_along_axis(known, np.where(is_ranked, of_best, 0), 1)
    np.testing.assert_allclose(named[is_ranked], fast.map_r[is_ranked], atol=1e-6)
    assert np.abs(fast.counts.cumsum(1) - slow.counts.cumsum(1)).max() <= 2  # a unit within rounding of a bin's edge
    for split in range(len(slow.candidates)):
        quick, known = (matrix(found, split, n_sites, channels * area) for found in (fast, everything))
        last = np.sort(np.where(np.isnan(known), -2, known), axis=1)[:, -min(top, channels * area)]
        assert not np.isnan(quick[known > last[:, None] + MARGIN]).any()
        close = ~np.isnan(quick)
        np.testing.assert_allclose(quick[close], known[close], atol=1e-6)


@pytest.mark.parametrize("n_folds", [1, 3])
def test_r_is_that_of_scipy_where_zeros_are_not_multiplied(n_folds):
    rng = np.random.default_rng(3)
    units = np.maximum(rng.normal(size=(131, TILE + 16)) - 0.5, 0).astype(np.float32)
    targets = targets_of(rng.gamma(2, 5, size=(131, COLUMNS_AT_ONCE - 2)), n_folds, shuffles=2)
    columns = Columns(targets).arrays
    assert find_nonzeros(units[:, :TILE].copy(), columns, empty_nonzeros(columns.edges, TILE)[0])
    broken = units.copy()
    broken[5, 7], broken[9, TILE + 2] = np.nan, np.inf
    summary = held(broken, (len(units.T), 1, 1), targets)
    is_whole = np.isfinite(broken).all(axis=0)
    for split in range(len(summary.candidates)):
        chosen = targets.fold != split - 1
        expected = by_scipy(units, targets.column_response(), chosen)[:, is_whole]
        r = matrix(summary, split, targets.n_sites, len(units.T))
        assert np.isnan(r[:, ~is_whole]).all()
        np.testing.assert_allclose(r[:, is_whole], expected[: targets.n_sites], atol=1e-6)
        np.testing.assert_allclose(summary.null_r[split], expected[targets.n_sites :].max(axis=1), atol=1e-6)


@pytest.mark.parametrize("area", [TILE, TILE + 40])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("way", [held, summed])
def test_threads_and_tiles_give_the_best_position_and_the_first_of_equals(way, channels_last, area):
    rng = np.random.default_rng(0)
    channels = 5
    units = np.tile(rng.normal(size=(60, 1, area // 4)), (1, channels, 4)).reshape(60, -1)  # every unit twenty times
    targets = targets_of(rng.gamma(2, 5, size=(60, 2)), 1, shuffles=1)
    summary = way(units, (channels, area, 1), targets, 7, channels_last=channels_last)
    assert (summary.map_position < area // 4).all()
    assert (summary.map_position == summary.map_position[:, :1]).all()
    assert (summary.null_unit < area // 4).all()
    for site in range(2):
        best = summary.candidates[0].unit[summary.candidates[0].column == site][:7]
        position = summary.map_position[site, 0]
        assert best.tolist() == [position + k * area // 4 for k in range(7)]


@pytest.mark.parametrize("products", [np.float32, np.float64])
@pytest.mark.parametrize("channels_last", [False, True])
def test_pairs_on_a_left_out_fold_equal_scipy(products, channels_last):
    rng = np.random.default_rng(2)
    shape = (3, 401, 1)
    units = rng.normal(size=(N, 3 * 401)).astype(np.float32) + 30
    targets = targets_of(rng.gamma(2, 5, size=(N, 4)), 3, shuffles=2)
    sums = sums_of(units, shape, targets, channels_last=channels_last, products=products)
    unit, column = np.array([0, 5, 400, 401, 1202, 777]), np.array([0, 1, 2, 3, 0, 2])
    for fold in range(3):
        expected = by_scipy(units, targets.response, targets.fold == fold)[column, unit]
        np.testing.assert_allclose(sums.left_out_r(fold, column, unit), expected, atol=1e-6)


@pytest.mark.parametrize("way", [held, summed])
def test_statuses_and_the_first_stimulus_that_is_not_finite(way):
    rng = np.random.default_rng(0)
    units = rng.normal(size=(N, 6)).astype(np.float32)
    units[:, 0] = 3.7
    units[:, 1] = 0
    units[:, 2] = 1 + 1.2e-7 * rng.integers(0, 3, N)
    units[100, 3] = np.nan
    units[:, 4] *= 1e-30
    units[7, 5] = np.inf
    targets = targets_of(rng.gamma(2, 5, size=(N, 2)), 2)
    summary = way(units, (6, 1, 1), targets)
    assert summary.statuses == {"n_constant": 2, "n_low_variation": 1, "n_nonfinite": 2, "n_ok": 1}
    assert summary.first_nonfinite == 7
    assert set(summary.candidates[0].unit) == {4}


def test_blocks_of_one_pass_after_another_share_their_memory():
    arena = Arena(Arena.bytes_for(10, 6) + Arena.bytes_for(10, 4), CPU)
    first = arena.blocks(10, {"a": (6, 1, 1), "b": (2, 2, 1)})
    first["a"].values[:], first["b"].values[:] = 1, 2
    assert first["a"].values.eq(1).all()
    assert first["b"].values.shape == (10, 4)
    assert arena.blocks(10, {"c": (5, 1, 1)})["c"].values.data_ptr() == first["a"].values.data_ptr()


def test_r_beyond_one_is_refused():
    with pytest.raises(NetworkError, match=r"a correlation of 1\.0100000 came out, beyond 1 by more than rounding"):
        require_in_range(1.01)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_activations_of_chosen_units_are_those_that_were_put_in(channels_last, n_threads):
    shape, rng = (5, 4, 9), np.random.default_rng(0)
    block = Arena(Arena.bytes_for(7, 180), torch.device("cpu")).blocks(7, {"layer": shape})["layer"]
    activation = rng.normal(size=(7, 5, 36)).astype(np.float32)
    laid_out = np.ascontiguousarray(activation.transpose(0, 2, 1)) if channels_last else activation
    given = torch.from_numpy(laid_out).transpose(1, 2) if channels_last else torch.from_numpy(laid_out)
    block.put(0, given)
    units = rng.choice(180, size=101, replace=False)
    np.testing.assert_array_equal(block.of_units(units, n_threads), activation.reshape(7, -1)[:, units].T)


@pytest.mark.parametrize("n", [1, COLUMNS_AT_ONCE, COLUMNS_AT_ONCE + 1, 5 * COLUMNS_AT_ONCE + 3])
def test_blocks_of_columns_are_even_and_small_enough_for_a_fast_product(n):
    targets = targets_of(np.random.default_rng(0).gamma(2, 5, size=(20, n)), 1)
    columns = Columns(targets).arrays
    n_blocks = -(-n // columns.width)
    assert columns.width <= COLUMNS_AT_ONCE
    assert n_blocks * columns.width - n < n_blocks  # the last one has almost as many
    assert columns.z.shape == (n_blocks, 20, COLUMNS_AT_ONCE)
    flat = columns.z.transpose(1, 0, 2)[:, :, : columns.width].reshape(20, -1)
    np.testing.assert_array_equal(flat[:, :n], targets.z)
    assert np.count_nonzero(columns.z) == np.count_nonzero(targets.z)
    assert columns.z.ctypes.data % 64 == 0  # a vector lies in one line of a cache
    assert TILE * columns.width * CHUNK <= 1_000_000  # where OpenBLAS lays nothing out anew


@pytest.mark.parametrize("channels_last", [False, True])
def test_every_r_of_sums_equals_scipy(channels_last):
    rng = np.random.default_rng(4)
    units = rng.normal(size=(N, 3 * 401)).astype(np.float32) + 30
    units[:, 7] = 2.5
    responses = rng.gamma(2, 5, size=(N, 13))
    targets = targets_of(responses, 1, shuffles=2)
    r = sums_of(units, (3, 401, 1), targets, channels_last=channels_last).correlations(2)
    expected = by_scipy(units, targets.column_response(), np.ones(N, bool))
    np.testing.assert_array_equal(np.isnan(r), np.isnan(expected))
    np.testing.assert_allclose(r, expected, atol=1e-6)


def test_units_that_fill_no_whole_tiles_are_refused():
    targets = targets_of(np.random.default_rng(0).gamma(2, 5, size=(20, 2)), 1)
    block = np.zeros((20, TILE + 1), np.float32)
    columns, order = Columns(targets).arrays, Order(1, TILE + 1, False)
    found = _nothing_found(1, 5, Columns(targets), np.full((1, 2), -np.inf))
    with pytest.raises(ValueError, match="the units fill no whole tiles"):
        summarise_held(block, 0, TILE + 1, order, columns, 5, found)
