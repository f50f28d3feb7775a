"""Nested samples that choose, an evaluation set that scores, and where the curve levels off."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine.analyses import selection_curve
from engine.analyses.random_control import best_r
from engine.analyses.selection_curve import (
    AT_ONCE,
    EXTRAPOLATED,
    NO_FIT,
    NOT_SATURATED,
    OK,
    default_sizes,
    nested_parts,
    plateau,
    require_sizes,
    stratified_order,
)
from engine.errors import SettingsError
from engine.store import add_group
from tests.engine.test_ground_truth import WHOLE, AllModels, centred
from tests.engine.worked_example import activations, images, planted_recording, tiny_network


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    network = tiny_network()
    recording = planted_recording(network, noise=0.5)
    recording.data["response"][:, 1] = 1.0
    run = engine.match(network, recording, progress=False, store=tmp_path_factory.mktemp("store"))
    source = SimpleNamespace(network=network, recording=recording, device="cpu", memory="2GiB", progress=None)
    return run, source, selection_curve.compute(run, source, sizes=[8, 15, 30], draws=4, seed=3)


def test_every_sample_chooses_and_is_scored_as_numpy_does(computed):
    run, source, found = computed
    recording = run.dataset("recording")
    units = np.concatenate(list(activations(source.network, images()).values()), axis=1)
    rng = np.random.default_rng(3)
    for draw in range(4):
        order = stratified_order(recording, rng)
        x = units[recording["stimulus"].to_index().get_indexer(order)]
        y = recording["response"].sel(stimulus=order).values
        for k, size in enumerate([8, 15, 30]):
            for site in (0, 5):
                r = _r(x[:size], y[:size, site])
                best = int(np.nanargmax(r))
                assert found["selected"][k, draw, site] == pytest.approx(r[best], abs=2e-6)
                for name, chosen in (("held_out", slice(30, None)), ("rest", slice(size, None))):
                    out = _r(x[chosen][:, [best]], y[chosen, site])[0]
                    assert found[name][k, draw, site] == pytest.approx(out, abs=2e-6, nan_ok=True)
                over_all = _r(x, y[:, site])
                assert found["is_same"][k, draw, site] == (over_all[best] >= np.nanmax(over_all) - 2e-6)


def _r(x, y):
    x, y = x - x.mean(0), y - y.mean()
    norm = np.sqrt((x**2).sum(0) * (y**2).sum())
    return np.divide(y @ x, norm, out=np.full(len(norm), np.nan), where=norm > 1e-9)


def test_curves_are_medians_over_the_matched_sites_of_a_region(computed):
    run, _, found = computed
    v4 = [0, 2, 3]
    assert found["region"].values.tolist() == ["IT", "V4"]
    assert found["n_sites"].values.tolist() == [3, 3]
    assert found["n_left_out"].values.tolist() == [0, 1]
    medians = np.median(found["selected"].values[:, :, v4], axis=2)
    np.testing.assert_allclose(found["selected_median"].sel(region="V4"), medians.mean(axis=1))
    np.testing.assert_allclose(found["selected_sd"].sel(region="V4"), medians.std(axis=1, ddof=1))
    gaps = np.median((found["selected"] - found["held_out"]).values[:, :, v4], axis=2)
    np.testing.assert_allclose(found["gap_median"].sel(region="V4"), gaps.mean(axis=1))
    same = found["is_same"].values[:, :, v4].mean(axis=(1, 2))
    np.testing.assert_allclose(found["same"].sel(region="V4"), same)
    silent = np.isnan(found["held_out"].values[:, :, v4]).mean(axis=(1, 2))
    np.testing.assert_allclose(found["silent"].sel(region="V4"), silent)
    assert not found["is_same"].values[:, :, 1].any()
    assert np.isnan(found["selected"].values[:, :, 1]).all()
    n_units = int(run.dataset("layers")["n_ok"].sum())
    np.testing.assert_allclose(found["chance"], [best_r(k, n_units) for k in (8, 15, 30)])


def test_selection_r_falls_and_held_out_r_rises_with_the_sample(computed):
    found = computed[2].sel(region="V4")
    assert (np.diff(found["selected_median"]) < 0).all()
    assert (np.diff(found["held_out_median"]) > 0).all()
    assert (np.diff(found["gap_median"]) < 0).all()


def test_it_can_be_stored(computed):
    run, _, found = computed
    stored = add_group(run, "selection_curve", found, {"key": "1"})
    assert stored["fit_status"].values.tolist() == found["fit_status"].values.tolist()
    assert stored.attrs["stratified_by"] == "nothing"
    assert (stored.attrs["n_stimuli"], stored.attrs["n_evaluation"]) == (60, 30)
    assert selection_curve.expected_seconds(run, draws=2) > 0


@settings(max_examples=20)
@given(seed=st.integers(0, 2**16), n=st.integers(1, 80))
def test_every_beginning_of_an_order_is_balanced(seed, n):
    ids = np.array([f"i{k:03d}" for k in range(80)])
    category, thing = np.arange(80) // 20, np.arange(80) // 5
    recording = xr.Dataset(
        coords={"stimulus": ids, "category": ("stimulus", category), "object": ("stimulus", thing)}
    ).isel(stimulus=np.random.default_rng(seed + 1).permutation(80))
    first = np.searchsorted(ids, stratified_order(recording, np.random.default_rng(seed))[:n])
    assert len(set(first.tolist())) == n
    for label, most in ((category, 2), (thing, 3)):
        counts = np.bincount(label[first], minlength=label.max() + 1)
        assert np.ptp(counts) <= most


def test_the_order_in_the_recording_changes_no_sample():
    recording = planted_recording(tiny_network()).data
    turned = recording.isel(stimulus=slice(None, None, -1))
    orders = [stratified_order(one, np.random.default_rng(0)) for one in (recording, turned)]
    np.testing.assert_array_equal(*orders)


def test_parts_are_cut_at_the_sizes_and_at_the_half():
    order = np.array([f"i{k:02d}" for k in range(21)])
    assert np.bincount(nested_parts(order, [4, 7])).tolist() == [4, 3, 4, 10]
    assert np.bincount(nested_parts(order, [4, 11])).tolist() == [4, 7, 10]


def test_default_sizes_rise_in_equal_steps_of_log():
    assert default_sizes(640) == [10, 20, 40, 80, 160, 320]
    assert default_sizes(1200) == [10, 23, 51, 117, 265, 600]
    assert default_sizes(16) == [8]


def test_a_plateau_is_found_where_it_was_planted():
    k = np.array([10, 20, 40, 80, 160, 320])
    rng = np.random.default_rng(0)
    r = 0.6 / (1 + (25 / k) ** 2.2) + 1e-4 * rng.normal(size=6)
    fit = plateau(k, r, np.full(6, 0.01))
    assert fit.fit_status == OK
    assert fit.asymptote == pytest.approx(0.6, abs=0.002)
    assert (fit.n_half, fit.exponent) == pytest.approx((25, 2.2), rel=0.01)
    assert fit.n_95 == pytest.approx(25 * 19 ** (1 / 2.2), rel=0.01)


def test_a_plateau_beyond_the_largest_sample_is_called_extrapolated():
    k = np.array([10, 20, 40, 80, 160, 320])
    fit = plateau(k, 0.6 / (1 + (100 / k) ** 1.5), np.full(6, 0.01))
    assert fit.fit_status == EXTRAPOLATED
    assert fit.n_95 == pytest.approx(100 * 19 ** (1 / 1.5), rel=0.01)


@pytest.mark.parametrize(
    ("r", "status"),
    [
        (0.1 * np.log10([10, 20, 40, 80, 160, 320]), NOT_SATURATED),
        ([0.5, 0.501, 0.5, 0.5, 0.501, 0.5], AT_ONCE),
        ([0.1, np.nan, np.nan, 0.3, 0.4, np.nan], NO_FIT),
        ([-0.2, -0.21, -0.2, -0.2, -0.21, -0.2], NOT_SATURATED),
    ],
)
def test_without_a_plateau_there_is_no_number_and_a_reason(r, status):
    fit = plateau(np.array([10, 20, 40, 80, 160, 320]), np.array(r), np.full(6, 0.01))
    assert np.isnan(fit.n_95)
    assert fit.fit_status == status


def test_settings_that_make_no_sense_are_named(computed):
    run, source, _ = computed
    with pytest.raises(SettingsError) as caught:
        require_sizes([10, 40], 60)
    assert str(caught.value) == (
        "sizes=[10, 40]: rising whole numbers from 3 to 30 are needed; the other 30 of 60 stimuli score what was "
        "chosen."
    )
    for sizes in ([], [2, 10], [20, 10], [10, 10], [10.5, 20]):
        with pytest.raises(SettingsError, match="rising whole numbers"):
            require_sizes(sizes, 60)
    with pytest.raises(
        SettingsError, match=r"draws=1: a whole number of at least 2 is needed, for an SD over the draws"
    ):
        selection_curve.compute(run, source, draws=1)


def test_too_few_stimuli_are_said_to_be_missing(computed):
    assert selection_curve.missing(computed[0]) is None
    few = SimpleNamespace(recording="mine", dataset=lambda _: xr.Dataset(coords={"stimulus": np.arange(18)}))
    assert selection_curve.missing(few) == (
        "mine has 18 stimuli; samples from 10 on and an evaluation set as large need at least 22."
    )


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.timeout(900)
def test_33_real_sites_are_identified_as_published(cowley_dir, tmp_path):
    responses = np.load(cowley_dir / "responses_repeat_averaged" / "responses_190923.npy").T
    names = [f"image{i + 1:04d}" for i in range(len(responses))]
    zipped = cowley_dir / "images" / "images_190923.zip"
    recording = engine.Recording.from_arrays(responses, zipped, stimulus_ids=names, region="V4", size_deg=11.2)
    recording = recording.select(stimuli=names[600:])
    module = AllModels(cowley_dir / "compact_models", WHOLE.sites)
    network = engine.Network.from_module(module, centred, name="compact", layers=["outputs"], image_size=(112, 112))
    run = engine.match(network, recording, top=33, store=tmp_path, progress=False)
    source = SimpleNamespace(network=network, recording=recording, device="cpu", memory="2GiB", progress=None)
    found = selection_curve.compute(run, source, sizes=[10, 25, 50, 100, 200, 300], draws=50).isel(region=0)
    np.testing.assert_allclose(found["same"], [0.405, 0.746, 0.919, 0.983, 1, 1], atol=0.03)
    np.testing.assert_allclose(found["selected_median"], [0.767, 0.664, 0.658, 0.654, 0.646, 0.643], atol=0.02)
    np.testing.assert_allclose(found["held_out_median"], [0.423, 0.618, 0.641, 0.643, 0.643, 0.645], atol=0.02)
    assert str(found["fit_status"].values) == OK
    assert 10 < float(found["n_95"]) < 40
