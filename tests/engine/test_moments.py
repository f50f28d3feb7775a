"""Streamed correlations against scipy in float64, on data that breaks naive sums."""

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import pearsonr

from engine.folds import assign_folds
from engine.moments import PairMoments, TargetSums, product_dtype
from engine.targets import Targets, make_targets

N, UNITS, SITES = 500, 40, 6


def recording(responses: np.ndarray) -> xr.Dataset:
    n, sites = responses.shape
    return xr.Dataset(
        {"response": (("stimulus", "site"), responses)},
        {
            "stimulus": [f"i{k:05d}" for k in range(n)],
            "site": [f"s{k}" for k in range(sites)],
            "region": ("site", np.array(["V4"] * sites)),
        },
    )


def families() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(N, UNITS))
    one_active = np.zeros((N, UNITS))
    one_active[rng.integers(0, N, UNITS), np.arange(UNITS)] = 1
    late = noise + 1e3
    late[:64] = 0
    shifted = noise.copy()
    shifted[:64] += 1e4
    return {
        "relu": np.maximum(noise, 0),
        "sparse": np.maximum(noise, 0) * (rng.random(noise.shape) < 0.01),
        "one active stimulus": one_active,
        "offset 100 sd": noise + 100,
        "offset 1e3 sd": noise + 1e3,
        "offset 1e4 sd": noise + 1e4,
        "1 + 1e-6 sd": 1 + 1e-6 * noise,
        "first batch zero": late,
        "first batch shifted": shifted,
        "sd 1e-20": noise * 1e-20,
        "sd 1e-30": noise * 1e-30,
        "sd 1e25": noise * 1e25,
    }


def stream(units: np.ndarray, targets: Targets, batch: int) -> PairMoments:
    """Add float32 ``units`` (stimulus in the targets' order, unit) in batches that stay within their fold."""
    products = product_dtype(targets, batch)
    moments = PairMoments(units.shape[1], TargetSums(targets, torch.device("cpu")), products)
    for fold in range(targets.n_folds):
        rows = np.flatnonzero(targets.fold == fold)
        for first in range(0, len(rows), batch):
            chosen = rows[first : first + batch]
            moments.add(torch.from_numpy(units[chosen]), int(chosen[0]), fold)
    return moments


def by_scipy(units: np.ndarray, responses: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    r = np.full((responses.shape[1], units.shape[1]), np.nan)
    for site in range(responses.shape[1]):
        seen = chosen & np.isfinite(responses[:, site])
        varies = np.ptp(units[seen], axis=0) > 0
        x = units[seen][:, varies].astype(np.float64)
        r[site, varies] = pearsonr(x / np.abs(x).max(axis=0), responses[seen, site][:, None], axis=0).statistic
    return r


@pytest.mark.parametrize("missing", [0.0, 0.15])
@pytest.mark.parametrize("n_parts", [1, 3])
@pytest.mark.parametrize("name", families())
def test_streamed_r_equals_scipy_on_every_family(name, n_parts, missing):
    """In three batch sizes, over all stimuli from one sum or merged from three, and over each part by itself."""
    rng = np.random.default_rng(1)
    responses = rng.gamma(2, 5, size=(N, SITES))
    responses[rng.random(responses.shape) < missing] = np.nan
    data = recording(responses)
    targets = make_targets(data, assign_folds(data, n_parts, 0), shuffles=0, seed=0)
    units = families()[name].astype(np.float32)
    for batch in (7, 64, N):
        moments = stream(units, targets, batch)
        for folds in ([*range(n_parts)], [0], [n_parts - 1])[: 1 if n_parts == 1 else 3]:
            r = moments.correlation(folds, slice(0, UNITS)).numpy()
            expected = by_scipy(units, targets.response, np.isin(targets.fold, folds))
            np.testing.assert_array_equal(np.isnan(r), np.isnan(expected))
            np.testing.assert_allclose(r, expected, atol=1e-6)


def test_sums_of_squares_in_float32_are_wrong_on_these_families():
    """The control: what the families are there to break."""
    response = np.random.default_rng(1).gamma(2, 5, size=(N, 1)).astype(np.float32)
    errors = {}
    for name, units in families().items():
        x = units.astype(np.float32)
        with np.errstate(all="ignore"):
            covariance = (response.T @ x)[0] - response.sum() * x.sum(0) / np.float32(N)
            spread = [(a * a).sum(0) - a.sum(0) ** 2 / np.float32(N) for a in (x, response)]
            r = covariance / np.sqrt(spread[0] * spread[1])
        errors[name] = np.nan_to_num(np.abs(r - by_scipy(x, response, np.ones(N, bool))), nan=np.inf).max()
    wrong = {name for name, error in errors.items() if error > 1e-5}
    assert wrong >= {"offset 100 sd", "offset 1e3 sd", "offset 1e4 sd", "1 + 1e-6 sd", "sd 1e-30", "sd 1e25"}


def test_sites_that_saw_other_blocks_of_stimuli_are_exact_too():
    rng = np.random.default_rng(3)
    responses = rng.gamma(2, 5, size=(N, SITES))
    responses[: N // 2, ::2] = np.nan
    data = recording(responses)
    targets = make_targets(data, assign_folds(data, 1, 0), shuffles=0, seed=0)
    units = rng.normal(size=(N, UNITS)) + np.where(np.arange(N) < N // 2, 1e3, 0)[:, None]
    r = stream(units.astype(np.float32), targets, 64).correlation([0], slice(0, UNITS)).numpy()
    np.testing.assert_allclose(r, by_scipy(units.astype(np.float32), targets.response, np.ones(N, bool)), atol=1e-6)


def test_pairs_equal_the_whole_matrix():
    rng = np.random.default_rng(2)
    data = recording(np.where(rng.random((N, SITES)) < 0.1, np.nan, rng.gamma(2, 5, size=(N, SITES))))
    targets = make_targets(data, assign_folds(data, 3, 0), shuffles=4, seed=0)
    moments = stream(rng.normal(size=(N, UNITS)).astype(np.float32) + 50, targets, 33)
    column, unit = (
        torch.arange(targets.n_columns).repeat_interleave(UNITS),
        torch.arange(UNITS).repeat(targets.n_columns),
    )
    for folds in ([0, 1, 2], [2, 0], [1]):
        pairs = moments.correlation_at(folds, column, unit).view(-1, UNITS)
        torch.testing.assert_close(pairs, moments.correlation(folds, slice(0, UNITS)), atol=1e-12, rtol=0)


def test_statuses_are_exact():
    rng = np.random.default_rng(0)
    units = rng.normal(size=(N, 6)).astype(np.float32)
    units[:, 0] = 3.7
    units[:, 1] = 0
    units[:, 2] = 1 + 1.2e-7 * rng.integers(0, 3, N)
    units[100, 3] = np.nan
    units[:, 4] *= 1e-30
    units[7, 5] = np.inf
    data = recording(rng.gamma(2, 5, size=(N, SITES)))
    targets = make_targets(data, assign_folds(data, 1, 0), shuffles=0, seed=0)
    moments = stream(units, targets, 50)
    assert moments.is_constant().tolist() == [True, True, False, False, False, False]
    assert moments.varies_by_rounding().tolist() == [False, False, True, False, False, False]
    assert moments.is_nonfinite().tolist() == [False, False, False, True, False, True]
    assert targets.stimuli[moments.first_nonfinite] == "i00007"
    r = moments.correlation([0], slice(0, 6))
    assert torch.isnan(r).all(dim=0).tolist() == [True, True, True, True, False, True]


def test_without_statuses_rounding_gives_a_finite_r():
    """The control: SciPy itself correlates a unit that varies by its rounding alone, and says nothing."""
    rng = np.random.default_rng(0)
    unit = (1 + 1.2e-7 * rng.integers(0, 3, N)).astype(np.float32)
    assert np.isfinite(pearsonr(rng.gamma(2, 5, N), unit.astype(np.float64)).statistic)


def test_a_constant_site_and_too_few_common_stimuli_give_nan():
    rng = np.random.default_rng(0)
    responses = rng.gamma(2, 5, size=(N, 3))
    responses[:, 0] = 4.0
    responses[2:, 1] = np.nan
    data = recording(responses)
    targets = make_targets(data, assign_folds(data, 1, 0), shuffles=0, seed=0)
    r = stream(rng.normal(size=(N, 4)).astype(np.float32), targets, 64).correlation([0], slice(0, 4))
    assert torch.isnan(r).all(dim=1).tolist() == [True, True, False]
