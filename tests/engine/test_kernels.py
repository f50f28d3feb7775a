"""Compiled loops against what they stand for in numpy."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.folds import assign_folds
from engine.kernels import _forget_stale
from engine.kernels.arrays import empty_sums
from engine.kernels.blas import add_dot
from engine.kernels.products import (
    CHUNK,
    SKIPS_BELOW,
    add_product,
    empty_nonzeros,
    fill_from_nonzeros,
    fill_product,
    find_nonzeros,
)
from engine.kernels.ranks import highest_but, prune
from engine.kernels.sums import SILENT, add_batch, centre
from engine.kernels.tiles import TILE
from engine.kernels.vectors import COLUMNS_AT_ONCE
from engine.ranking import Candidates, best
from engine.schema import LEVEL, MARGIN, SPARE
from engine.targets import make_targets
from engine.tiling import Columns
from tests.engine.test_moments import recording


@given(
    top=st.integers(1, 20), n=st.integers(20, 300), levels=st.sampled_from([1, 3, 40, 10**6]), seed=st.integers(0, 999)
)
def test_pruning_keeps_what_the_ranking_keeps(top, n, levels, seed):
    rng = np.random.default_rng(seed)
    step = rng.choice([LEVEL / 4, MARGIN / 3, 0.01])
    r = 0.3 + step * rng.integers(0, levels, n) / min(levels, 50)
    unit = rng.permutation(10 * n)[:n]
    expected = best(Candidates(np.zeros(n, int), np.zeros(n, int), unit, r), top)
    kept_r, kept_unit = r.copy(), unit.astype(np.int64)
    n_kept, floor = np.full((1, 1), n), np.full((1, 1), -np.inf)
    prune(kept_r, kept_unit, n_kept, floor, 0, 0, top)
    m = int(n_kept[0, 0])
    assert m <= top + SPARE
    again = best(Candidates(np.zeros(m, int), np.zeros(m, int), kept_unit[:m], kept_r[:m]), top)
    assert set(again.unit) == set(expected.unit)
    assert floor[0, 0] == np.sort(r)[n - top] - MARGIN


@given(
    values=st.lists(st.sampled_from([-1e9, -0.5, 0.0, 0.25, 0.25 + 2**-54]) | st.floats(-1, 1), min_size=1),
    share=st.floats(0, 1, exclude_max=True),
)
def test_the_highest_but_some_is_told_among_equals_and_neighbours(values, share):
    n = int(share * len(values))
    assert highest_but(n, np.array(values)) == sorted(values, reverse=True)[n]


def test_a_product_in_chunks_is_that_of_float64_to_rounding():
    rng = np.random.default_rng(0)
    data = recording(rng.gamma(2, 5, size=(3 * CHUNK + 5, 200)))
    n = data.sizes["stimulus"]
    targets = make_targets(data, assign_folds(data, 1, 0), shuffles=0, seed=0)
    columns = Columns(targets).arrays
    x = rng.normal(size=(n, 70)).astype(np.float32)
    for begin in range(0, 200, columns.width):
        end = min(begin + columns.width, 200)
        filled, added = np.empty((end - begin, 70), np.float32), np.full((end - begin, 70), 3.0)
        fill_product(columns, begin, 0, x, filled)
        add_product(columns, begin, 0, x, added)
        exact = targets.z[:, begin:end].T.astype(np.float64) @ x
        np.testing.assert_allclose(filled, exact, atol=1e-6 * np.abs(exact).max())
        np.testing.assert_allclose(added, 3 + exact, atol=1e-6 * np.abs(exact).max())


@given(
    n_stimuli=st.integers(9, 2 * CHUNK + 9),
    n_columns=st.integers(COLUMNS_AT_ONCE // 2, 3 * COLUMNS_AT_ONCE),
    n_folds=st.integers(1, 3),
    n_units=st.sampled_from([16, 48, TILE]),
    share=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    seed=st.integers(0, 999),
)
def test_a_product_without_zeros_is_that_of_float64(n_stimuli, n_columns, n_folds, n_units, share, seed):
    rng = np.random.default_rng(seed)
    data = recording(rng.gamma(2, 5, size=(n_stimuli, n_columns)))
    targets = make_targets(data, assign_folds(data, n_folds, 0), shuffles=0, seed=0)
    columns = Columns(targets).arrays
    x = np.where(rng.random((n_stimuli, n_units)) < share, rng.normal(size=(n_stimuli, n_units)), 0).astype(np.float32)
    nonzeros, room = empty_nonzeros(columns.edges, n_units)
    room[:] = np.nan
    skips = find_nonzeros(x, columns, nonzeros)
    used = np.count_nonzero(x) * COLUMNS_AT_ONCE / (x.size * columns.width)
    assert skips == (used < SKIPS_BELOW)
    product = np.full((COLUMNS_AT_ONCE, n_units), np.nan, np.float32)
    for fold in range(n_folds):
        rows = slice(*columns.edges[fold : fold + 2])
        for begin in range(0, n_columns, columns.width):
            fill_from_nonzeros(columns, begin, rows.start, x[rows], nonzeros[fold], room, product)
            z = targets.z[rows, begin : begin + columns.width].astype(np.float64)
            np.testing.assert_allclose(product[: z.shape[1]], z.T @ x[rows], atol=1e-6 * max(1, np.abs(x).max()))
            assert not product[z.shape[1] :].any()


@pytest.mark.parametrize("n_units", [TILE, TILE - 1])
@pytest.mark.parametrize("n_columns", [COLUMNS_AT_ONCE // 2 - 1, COLUMNS_AT_ONCE])
def test_zeros_are_skipped_where_columns_and_units_fill_vectors(n_units, n_columns):
    data = recording(np.random.default_rng(0).gamma(2, 5, size=(30, n_columns)))
    columns = Columns(make_targets(data, assign_folds(data, 1, 0), shuffles=0, seed=0)).arrays
    nonzeros, _ = empty_nonzeros(columns.edges, n_units)
    silent = np.zeros((30, n_units), np.float32)
    skips = find_nonzeros(silent, columns, nonzeros)
    assert skips == (n_units == TILE and n_columns == COLUMNS_AT_ONCE)


def test_a_product_is_added_to_what_is_there_or_replaces_it():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(64, 7)).astype(np.float32), rng.normal(size=(64, 30)).astype(np.float32)
    out = np.ones((7, 30), np.float32)
    add_dot(a, b, True, out)
    np.testing.assert_allclose(out, 1 + a.T @ b, rtol=1e-5, atol=1e-5)
    out[:] = np.nan
    add_dot(a, b, False, out)
    np.testing.assert_allclose(out, a.T @ b, rtol=1e-5, atol=1e-5)
    add_dot(a, b, False, out[:4])
    np.testing.assert_allclose(out[:4], a[:, :4].T @ b, rtol=1e-5, atol=1e-5)


def test_a_unit_that_is_often_silent_keeps_its_zeros_and_others_lose_their_mean():
    rng = np.random.default_rng(0)
    block = rng.normal(size=(60, TILE)).astype(np.float32) + 5
    block[rng.permutation(60)[: int(60 * SILENT)], 0] = 0
    block[rng.permutation(60)[: int(60 * SILENT) - 1], 1] = 0
    x = np.empty_like(block)
    tile = empty_sums(1, TILE)
    centre(block, 0, np.array([0, 60]), x, tile)
    np.testing.assert_array_equal(x[:, 0], block[:, 0])
    np.testing.assert_allclose(x[:, 1:], block[:, 1:] - block[:, 1:].mean(0), atol=1e-5)
    np.testing.assert_allclose(tile.sum_xx[0], (x.astype(np.float64) ** 2).sum(0))
    batch = np.empty_like(x)
    assert not add_batch(block, 0, 0, np.array([0, 0]), batch, tile)
    np.testing.assert_allclose(batch, x, atol=1e-5)
    np.testing.assert_array_equal(batch[:, 0], block[:, 0])


def test_compiled_code_older_than_any_source_is_forgotten(tmp_path):
    (tmp_path / "__pycache__").mkdir()
    source, old, new = tmp_path / "a.py", tmp_path / "__pycache__" / "a.nbi", tmp_path / "__pycache__" / "b.nbi"
    for age, path in enumerate([old, source, new]):
        path.touch()
        os.utime(path, (1000 + age, 1000 + age))
    _forget_stale(tmp_path)
    assert (old.exists(), new.exists()) == (False, True)
