"""Mathematical identities that hold without data: random control, invariances, planting, attenuation, rotation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.analyses.random_control import best_r
from engine.analyses.reliability import spearman_brown
from engine.analyses.rotation import random_rotation, rotate
from engine.analyses.runner_ups import count_by_r, shared_bins
from engine.exact import correlate_exactly
from tests.engine.worked_example import planted_recording, tiny_network


@pytest.mark.parametrize(
    ("n_stimuli", "n_units", "published"),
    [
        (2560, 1e4, 0.0752),
        (2560, 1e5, 0.0858),
        (2560, 1e6, 0.0952),
        (2560, 1e7, 0.1039),
        (1200, 1e6, 0.1388),
        (600, 1e6, 0.1956),
    ],
)
def test_best_of_many_random_units_has_the_published_medians(n_stimuli, n_units, published):
    assert best_r(n_stimuli, n_units) == pytest.approx(published, abs=5e-5)


def test_best_of_many_random_units_agrees_with_simulation():
    rng = np.random.default_rng(0)
    y = rng.normal(size=256)
    draws = [correlate_exactly(rng.normal(size=(20_000, 256)), y).max() for _ in range(30)]
    assert np.median(draws) == pytest.approx(best_r(256, 20_000), abs=0.006)
    assert best_r(256, 20_000, quantile=0.95) > best_r(256, 20_000) > best_r(256, 20_000, quantile=0.05)


@given(
    gain=st.floats(1e-3, 1e3), offset=st.floats(-1e3, 1e3), seed=st.integers(0, 2**16), flip=st.sampled_from([1, -1])
)
def test_r_ignores_gain_offset_and_a_joint_order_and_flips_with_the_sign(gain, offset, seed, flip):
    rng = np.random.default_rng(seed)
    x, y, order = rng.normal(size=(4, 80)), rng.normal(size=80), rng.permutation(80)
    r = correlate_exactly(x, y)
    np.testing.assert_allclose(correlate_exactly(flip * gain * x + offset, y), flip * r, atol=1e-9)
    np.testing.assert_allclose(correlate_exactly(x[:, order], y[order]), r, atol=1e-12)


def test_a_planted_copy_has_r_of_one_and_noise_lowers_it_as_planted():
    rng = np.random.default_rng(0)
    y = rng.normal(size=100_000)
    for q in (0.04, 0.25, 0.81):
        x = np.sqrt(q) * y + np.sqrt(1 - q) * rng.normal(size=y.size)
        assert correlate_exactly(np.stack([x, y]), y) == pytest.approx([np.sqrt(q), 1], abs=0.01)


def test_noise_attenuates_r_by_the_root_of_the_reliability():
    rng = np.random.default_rng(0)
    x = rng.normal(size=100_000)
    clean = 0.7 * x + np.sqrt(1 - 0.49) * rng.normal(size=x.size)
    for reliability in (0.3, 0.8):
        noisy = np.sqrt(reliability) * clean + np.sqrt(1 - reliability) * rng.normal(size=x.size)
        r_noisy, r_clean = correlate_exactly(x[None], noisy)[0], correlate_exactly(x[None], clean)[0]
        assert r_noisy == pytest.approx(r_clean * np.sqrt(reliability), abs=0.01)


@given(r=st.floats(0, 1), k=st.integers(1, 30))
def test_spearman_brown_undoes_itself(r, k):
    assert spearman_brown(spearman_brown(np.array(r), k), 1 / k) == pytest.approx(r, abs=1e-9)


@given(seed=st.integers(0, 2**16), n_sites=st.integers(1, 8), missing=st.booleans())
def test_rows_of_the_runner_up_histogram_sum_to_the_ranks(seed, n_sites, missing):
    r = -np.sort(-np.random.default_rng(seed).uniform(-0.4, 0.9, size=(n_sites, 100)), axis=1)
    if missing:
        r[0, 60:] = np.nan
    counts = count_by_r(r, shared_bins(r))
    assert counts.sum(axis=1).tolist() == [60 if missing else 100, *[100] * (n_sites - 1)]


def test_a_value_at_the_very_edge_of_the_bins_is_counted():
    r = np.array([[0.35 + 2e-11, 0.2, 0.1 - 2e-11]])
    assert count_by_r(r, shared_bins(r)).sum() == 3


def test_sites_and_a_hundred_times_sites_are_counted_over_feature_maps_and_over_positions():
    run = engine.match(tiny_network(), planted_recording(tiny_network(), noise=0.5), progress=False)
    matches, layers = run.dataset("matches"), run.dataset("layers")
    for ranks, total in ((slice(0, 1), 7), (slice(0, 100), 700)):
        chosen = matches.isel(rank=ranks)
        counted = 0
        for name in layers["layer"].values:
            size = [int(layers[dim].sel(layer=name)) for dim in ("channels", "height", "width")]
            here = (chosen["layer"] == name).values
            index = tuple(chosen[key].values[here] for key in ("channel", "y", "x"))
            counts = np.zeros(size)
            np.add.at(counts, index, 1)
            np.testing.assert_array_equal(np.ravel_multi_index(index, size), chosen["unit"].values[here])
            counted += counts.sum()
        assert counted == total


def test_site_correlations_are_symmetric_positive_semidefinite_with_unit_diagonal():
    response = planted_recording(tiny_network(), noise=0.5).data["response"].values
    matrix = np.stack([correlate_exactly(response.T, response[:, site]) for site in range(7)])
    np.testing.assert_allclose(np.diag(matrix), 1)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    assert np.linalg.eigvalsh(matrix).min() > -1e-12


@pytest.mark.parametrize("n", [1, 2, 5, 64])
def test_rotations_are_orthogonal_with_determinant_one(n):
    q = random_rotation(n, np.random.default_rng(0))
    np.testing.assert_allclose(q @ q.T, np.eye(n), atol=1e-12)
    assert np.linalg.det(q) == pytest.approx(1)


def test_rotations_are_drawn_from_the_haar_measure():
    rng = np.random.default_rng(0)
    q = np.stack([random_rotation(4, rng) for _ in range(4000)])
    np.testing.assert_allclose((q**2).mean(0), 1 / 4, atol=0.02)
    np.testing.assert_allclose(q.mean(0), 0, atol=0.04)


def test_a_rotation_changes_single_units_and_nothing_else():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6, 3, 3)).astype(np.float32) + 2
    y = rng.normal(size=40)
    rotated = rotate(x, random_rotation(6, rng))
    flat, turned = x.reshape(40, -1).astype(np.float64), rotated.reshape(40, -1)
    gram, turned_gram = flat @ flat.T, turned @ turned.T
    np.testing.assert_allclose(turned_gram, gram, rtol=1e-9)
    variance = [a.reshape(40, 6, 9).var(axis=0).sum(axis=0) for a in (flat, turned)]
    np.testing.assert_allclose(variance[0], variance[1], rtol=1e-9)
    np.testing.assert_allclose(_ridge(flat, y), _ridge(turned, y), atol=1e-9)
    assert np.abs(correlate_exactly(flat.T, y) - correlate_exactly(turned.T, y)).max() > 0.05


def test_the_identity_rotates_nothing():
    x = np.random.default_rng(0).normal(size=(10, 4, 2, 2))
    np.testing.assert_array_equal(rotate(x, np.eye(4)), x)


def _ridge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Predictions of ridge regression with penalty 1 on centred data, by the Gram matrix."""
    x = x - x.mean(0)
    gram = x @ x.T
    return gram @ np.linalg.solve(gram + np.eye(len(y)), y - y.mean())
