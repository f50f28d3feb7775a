"""Rotated units against brute force: mix every activation in float64, then numpy.corrcoef."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import bases
from engine.analyses.rotation import random_rotation, rotate
from engine.bases import Bases, BestUnits, SiteColumns

N_SITES = 4


def by_brute_force(x, response, fold, weights):
    """r of the best unit over all stimuli, (site,), and mean left-out r of the unit selected without a fold."""
    units = np.einsum("ncp,cd->dpn", x.astype(np.float64), weights).reshape(-1, len(x))
    r, left_out = [], []
    for y in response.T:
        seen = np.isfinite(y)
        r.append(correlate(units[:, seen], y[seen]).max())
        out = []
        for k in range(fold.max() + 1) if fold.any() else ():
            selected = correlate(units[:, seen & (fold != k)], y[seen & (fold != k)]).argmax()
            out.append(correlate(units[[selected]][:, seen & (fold == k)], y[seen & (fold == k)])[0])
        left_out.append(np.mean(out or [np.nan]))
    return np.array(r), np.array(left_out)


def correlate(units, y):
    """r of each row with y, two passes in float64; -inf where the row does not vary."""
    varies = np.ptp(units, axis=1) > 1e-11 * np.abs(units).max()
    found = np.full(len(units), -np.inf)
    if varies.any():
        found[varies] = np.corrcoef(units[varies], y)[-1, :-1]
    return found


def best_units(x, response, fold, rotations, scale=None, *, at_once=None):
    """``x`` (stimulus, channel, position) in all bases; ``at_once`` positions at a time."""
    n_channels, area = x.shape[1:]
    scale = np.ones(n_channels) if scale is None else scale
    columns = SiteColumns.of(response, fold, torch.device("cpu"))
    best = BestUnits(Bases(torch.from_numpy(np.stack(rotations)), torch.from_numpy(scale)), columns, area)
    held = torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1), dtype=np.float32))
    step = at_once or area
    for first in range(0, area, step):
        best.add(held[first : first + step], first)
    return best


def draw(kind, n=60, n_channels=8, area=5, seed=0):
    """Activations (stimulus, channel, position) float32 of a hard kind, and responses."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, n_channels, area))
    if kind == "relu":
        x = np.maximum(x, 0)
    if kind == "sparse":
        x = np.where(rng.random(x.shape) < 0.03, np.abs(x) * 100, 0)
    if kind == "one stimulus":
        x[1:] = 0
    if kind == "constant channels":
        x[:, ::2] = 1e4 * rng.normal(size=area)
    if kind == "offset":
        x = x + 1e3 * rng.normal(size=(n_channels, area))
    if kind == "unequal":
        x *= 10.0 ** rng.uniform(-4, 4, (n_channels, 1))
    if kind == "tiny":
        x *= 1e-30
    if kind == "huge":
        x *= 1e25
    if kind == "one rank":
        x = x[:, :1] * rng.normal(size=(n_channels, area))
    return x.astype(np.float32), rng.gamma(2, 5, (n, N_SITES)) + x[:, 0, :1] / np.abs(x).max()


KINDS = (
    "normal",
    "relu",
    "sparse",
    "one stimulus",
    "constant channels",
    "offset",
    "unequal",
    "tiny",
    "huge",
    "one rank",
)


@pytest.mark.parametrize("n_channels", [3, 8, 90])
@pytest.mark.parametrize("kind", KINDS)
def test_best_r_of_rotated_units_equals_rotating_the_activations(kind, n_channels):
    rng = np.random.default_rng(1)
    x, response = draw(kind, n_channels=n_channels)
    fold = rng.permutation(np.arange(len(x)) % 2)
    rotations = [random_rotation(n_channels, rng) for _ in range(3)]
    scale = rng.uniform(0.1, 2, n_channels)
    best = best_units(x, response, fold, rotations, scale)
    mixed = [np.eye(n_channels), *(q.T for q in rotations), *(scale[:, None] * q.T for q in rotations)]
    for index, weights in enumerate(mixed):
        r, _ = by_brute_force(x, response, np.zeros(len(x), int), weights)
        np.testing.assert_allclose(best.r[index, 0], r, rtol=0, atol=1e-6, err_msg=str(index))


@pytest.mark.parametrize("n_folds", [2, 3])
@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("n_channels", [6, 40])
def test_held_out_r_is_that_of_the_unit_selected_on_the_other_folds(n_channels, missing, n_folds):
    rng = np.random.default_rng(2)
    x, response = draw("relu", n_channels=n_channels)
    response[rng.random(response.shape) < missing] = np.nan
    fold = rng.permutation(np.arange(len(x)) % n_folds)
    q = random_rotation(n_channels, rng)
    best = best_units(x, response, fold, [q], at_once=2)
    for index, weights in enumerate([np.eye(n_channels), q.T]):
        r, left_out = by_brute_force(x, response, fold, weights)
        np.testing.assert_allclose(best.r[index, 0], r, rtol=0, atol=1e-9)
        np.testing.assert_allclose(best.left_out[index].mean(axis=0), left_out, rtol=0, atol=1e-9)


@given(missing=st.floats(0, 0.8), n_channels=st.integers(1, 30), at_once=st.integers(1, 5), seed=st.integers(0, 2**16))
def test_missing_responses_count_for_their_own_site_only(missing, n_channels, at_once, seed):
    rng = np.random.default_rng(seed)
    x, response = draw("normal", n=25, n_channels=n_channels, seed=seed)
    response[rng.random(response.shape) < missing] = np.nan
    response[:5] = rng.gamma(2, 5, (5, N_SITES))
    q = random_rotation(n_channels, rng)
    best = best_units(x, response, np.zeros(25, int), [q], at_once=at_once)
    for index, weights in enumerate([np.eye(n_channels), q.T]):
        np.testing.assert_allclose(
            best.r[index, 0], by_brute_force(x, response, np.zeros(25, int), weights)[0], rtol=0, atol=1e-9
        )


def test_the_unit_is_named_by_its_place_in_the_rotated_layer():
    x, response = draw("normal")
    q = random_rotation(8, np.random.default_rng(3))
    best = best_units(x, response, np.zeros(60, int), [q], at_once=2)
    units = rotate(x, q).reshape(60, -1).T
    for site, unit in enumerate(best.unit[1, 0]):
        assert np.corrcoef(units[unit], response[:, site])[0, 1] == pytest.approx(best.r[1, 0, site], abs=1e-9)


def test_positions_in_any_number_of_pieces_give_the_same(monkeypatch):
    x, response = draw("relu", area=9)
    fold = np.arange(60) % 2
    q = random_rotation(8, np.random.default_rng(4))
    whole = best_units(x, response, fold, [q])
    monkeypatch.setattr(bases, "WORKSPACE", 1)
    pieces = best_units(x, response, fold, [q], at_once=4)
    for name in ("r", "unit", "left_out"):
        np.testing.assert_allclose(getattr(pieces, name), getattr(whole, name), rtol=0, atol=1e-12)


def test_the_natural_basis_has_no_constant_unit_and_no_unit_that_varies_by_rounding():
    x, response = draw("normal", area=1)
    x[:, :6] = 7
    x[0, 3:6] += np.float32(5e-7)
    best = best_units(x, response, np.zeros(60, int), [np.eye(8)])
    assert (best.unit[:2, 0] >= 6).all()
    np.testing.assert_array_equal(best.r[0], best.r[1])
    nothing = best_units(x[:, :6], response, np.zeros(60, int), [random_rotation(6, np.random.default_rng(5))])
    assert (nothing.r == -np.inf).all()
    assert (nothing.unit == -1).all()


def test_a_constant_channel_of_any_size_disturbs_no_rotated_unit():
    x, response = draw("normal", area=2)
    x[:, 2:] = 1e6
    q = random_rotation(8, np.random.default_rng(6))
    best = best_units(x, response, np.zeros(60, int), [q])
    x[:, 2:] = 0
    np.testing.assert_allclose(best.r, best_units(x, response, np.zeros(60, int), [q]).r, atol=1e-12)


def test_a_nan_spoils_its_position_in_rotated_bases_and_its_unit_in_the_natural_one():
    x, response = draw("normal")
    q = random_rotation(8, np.random.default_rng(7))
    x[3, 2, 1] = np.nan
    x[4, 5, 1] = np.inf
    best = best_units(x, response, np.arange(60) % 2, [q])
    without = best_units(np.delete(x, 1, axis=2), response, np.arange(60) % 2, [q])
    np.testing.assert_allclose(best.r[1:], without.r[1:], atol=1e-12)
    assert best.n_nonfinite == 1
    x[:, [2, 5], 1] = 0
    natural = best_units(x, response, np.arange(60) % 2, [q])
    np.testing.assert_allclose(best.r[0], natural.r[0], atol=1e-12)
    np.testing.assert_allclose(best.left_out[0], natural.left_out[0], atol=1e-12)


def test_a_constant_site_has_no_best_unit():
    x, response = draw("normal")
    response[:, 1] = 3
    response[:30, 2] = 4
    fold = (np.arange(60) < 30).astype(int)
    best = best_units(x, response, fold, [random_rotation(8, np.random.default_rng(8))])
    for split, has_best in enumerate(
        [[True, False, True, True], [True, False, False, True], [True, False, True, True]]
    ):
        assert (np.isfinite(best.r[:, split]) == has_best).all()
    assert np.isnan(best.left_out[:, :, 1:3]).all()
    assert np.isfinite(best.left_out[:, :, [0, 3]]).all()
