"""Near-ties against brute force, effective ranks against closed forms, counts that sum."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

import engine
from engine.analyses.redundancy import compute, near_ties, spanned
from engine.schema import R_EDGES
from tests.engine.worked_example import activations, images, planted_recording, tiny_network


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    network = tiny_network()
    recording = planted_recording(network, noise=0.3)
    recording.data["response"][:7, 4] = np.nan
    recording.data["response"][:, 6] = 2.0
    return engine.match(network, recording, top=20, progress=False, store=tmp_path_factory.mktemp("store"))


def every_r(run) -> np.ndarray:
    """(site, unit), r of all units of the network, by numpy."""
    units = np.concatenate(list(activations(tiny_network(), images()).values()), axis=1)
    response = run.dataset("recording")["response"].values
    rows = []
    for y in response.T:
        shown = np.isfinite(y)
        x, z = units[shown] - units[shown].mean(0), y[shown] - y[shown].mean()
        with np.errstate(invalid="ignore", divide="ignore"):
            rows.append(z @ x / np.sqrt((x**2).sum(0) * (z @ z)))
    return np.array(rows)


@pytest.mark.parametrize("within", [0.02, 0.05, 0.3])
def test_near_ties_hold_the_true_count(run, within):
    found, r = compute(run, within=within), every_r(run)
    best = np.nanmax(np.where(np.isnan(r), -1, r), axis=1)
    true = (r[:6] > best[:6, None] - within).sum(axis=1)
    least, most = found["near_ties"].values[:6], found["near_ties_most"].values[:6]
    assert ((least <= true) & (true <= most)).all()
    is_exact = found["near_ties_status"].values[:6] == "exact"
    np.testing.assert_array_equal(least[is_exact], true[is_exact])
    assert (is_exact == (true < 20)).all() or (least == most)[is_exact].all()
    assert found.attrs["within"] == within


def test_beyond_the_ranked_units_they_are_at_least_so_many(run):
    status = compute(run, within=0.3)["near_ties_status"].values
    assert "at least" in status
    assert status[6] == "no match"


def test_rows_of_counts_sum_to_the_ranked_units(run):
    found = compute(run)
    np.testing.assert_array_equal(found["count"].sum("bin"), found["n_ranked"])
    assert found["n_ranked"].values.tolist() == [20] * 6 + [0]


def test_dimensions_are_those_of_the_ranked_units_on_the_stimuli_of_the_site(run):
    found, matches = compute(run), run.dataset("matches")
    kept = run.dataset("match_responses")["activation"].values[matches["match_unit"].values[4]][:, 7:]
    share = np.linalg.eigvalsh(np.corrcoef(kept)).clip(0) / 20
    assert float(found["effective_rank"][4]) == pytest.approx(np.exp(entropy(share)))
    assert float(found["participation_ratio"][4]) == pytest.approx(1 / (share**2).sum())
    assert np.isnan(found["effective_rank"][6])


def test_layers_and_maps_are_counted_once(run):
    found, matches = compute(run), run.dataset("matches")
    layer, channel = matches["layer"].values[0], matches["channel"].values[0]
    assert int(found["n_layers"][0]) == len(set(layer))
    assert int(found["n_maps"][0]) == len(set(zip(layer, channel, strict=True)))
    assert int(found["n_maps"][6]) == 0


def test_copies_span_one_dimension_and_orthogonal_units_as_many_as_they_are():
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    copies = np.stack([x, 2 * x + 1, 0.1 * x])
    assert spanned(copies) == pytest.approx((1, 1))
    basis = np.linalg.qr(np.column_stack([np.ones(50), rng.normal(size=(50, 4))]))[0][:, 1:].T
    assert spanned(5 + 3 * basis) == pytest.approx((4, 4))
    assert spanned(np.vstack([copies, np.ones(50)])) == pytest.approx((1, 1))
    assert np.isnan(spanned(np.ones((2, 9)))).all()


@given(st.integers(0, 2**16), st.integers(2, 12), st.floats(0, 3))
def test_the_participation_ratio_is_never_above_the_effective_rank(seed, n_units, shared):
    rng = np.random.default_rng(seed)
    rank, participation = spanned(rng.normal(size=(n_units, 30)) + shared * rng.normal(size=30))
    assert 1 - 1e-9 <= participation <= rank + 1e-9 <= n_units + 1e-6


@given(st.integers(0, 2**16), st.integers(1, 30), st.floats(0.01, 0.5))
def test_bounds_from_any_histogram_hold_the_count(seed, top, within):
    r = np.sort(np.random.default_rng(seed).uniform(-0.9, 0.9, (3, 40)))[:, ::-1]
    counts = np.stack([np.histogram(row, R_EDGES)[0] for row in r])
    least, most = near_ties(r[:, :top], counts, within)
    true = (r > r[:, :1] - within).sum(axis=1)
    assert ((least <= true) & (true <= most)).all()
    np.testing.assert_array_equal(least[true < top], true[true < top])
