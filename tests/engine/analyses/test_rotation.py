"""Best layers, the population's own rotations, medians, and how a rotated run is stored."""

import numpy as np
import pytest
import xarray as xr

import engine
from engine import rotations
from engine.analyses.rotation import (
    best_layers,
    expected_seconds,
    missing,
    population_rotations,
    random_rotation,
    region_medians,
)
from engine.errors import NotAvailableError, SettingsError
from tests.engine.worked_example import planted_recording, tiny_network


@pytest.fixture(scope="module")
def matched(tmp_path_factory):
    network = tiny_network()
    recording = planted_recording(network, noise=0.3, region=["V4", "V4", "IT", "V4", "IT", "V4", "V4"])
    return network, recording, engine.match(network, recording, progress=False, store=tmp_path_factory.mktemp("store"))


def test_the_best_layer_has_the_highest_median(matched):
    run = matched[2]
    profile, region = run.dataset("layer_profile")["correlation"], run.dataset("recording")["region"]
    for name, layer in best_layers(run).items():
        medians = profile.sel(site=region["site"][region == name]).median("site")
        assert layer == medians["layer"].values[int(medians.values.argmax())]


def test_a_region_without_a_match_has_no_best_layer_and_that_is_what_is_missing(matched):
    network, recording = tiny_network(), planted_recording(tiny_network())
    recording.data["response"][:, 4:] = 1.0
    run = engine.match(network, recording, progress=False)
    told = "no layer has a neural correlation with region 'IT', since no site or no unit"
    with pytest.raises(SettingsError, match=told):
        best_layers(run)
    with pytest.raises(NotAvailableError, match=f"rotation of tiny@planted cannot be computed: run .*: {told}"):
        engine.analyse(run, "rotation", network=network, recording=recording)
    assert missing(matched[2]) is None


def test_the_expected_time_grows_with_the_rotations(matched):
    assert 0 < expected_seconds(matched[2]) < expected_seconds(matched[2], rotations=1000) < 1


def test_each_site_is_rotated_in_its_regions_best_layer_and_stored_with_the_run(matched, monkeypatch):
    network, recording, run = matched
    given = {"network": network, "recording": recording}
    stored = engine.analyse(run, "rotation", **given, rotations=3)
    layers = best_layers(run)
    assert dict(zip(stored["region"].values.tolist(), stored["layer"].values.tolist(), strict=True)) == layers
    assert len(set(layers.values())) == 2
    np.testing.assert_array_equal(stored["site"], recording.data["site"])
    region = recording.data["region"]
    matches = run.dataset("layer_profile")
    for site in stored["site"].values:
        own = matches.sel(site=site, layer=layers[str(region.sel(site=site).values)])
        assert float(stored["natural"].sel(site=site)) == pytest.approx(float(own["correlation"]), abs=1e-6)
        assert float(stored["natural_held_out"].sel(site=site)) == pytest.approx(float(own["held_out"]), abs=1e-6)
    v4 = stored.sel(site=(region == "V4").values, scaling="raw")
    medians = v4["correlation"].median("site").values
    assert float(stored["mean_correlation"].sel(region="V4", scaling="raw")) == pytest.approx(medians.mean())
    assert float(stored["sd_correlation"].sel(region="V4", scaling="raw")) == pytest.approx(medians.std(ddof=1))
    assert float(stored["median_natural"].sel(region="V4")) == pytest.approx(float(v4["natural"].median()))
    assert stored["n_sites"].values.tolist() == stored["n_matched"].values.tolist() == [2, 5]
    shape = network.layers.set_index("name")["channels"]
    assert stored["n_channels"].values.tolist() == [shape[layer] for layer in stored["layer"].values]
    assert run.attributes("rotation")["analysis_settings"] == {"rotations": 3}
    assert list(run.attributes("rotation")["reads"]) == ["neural_correlation"]
    monkeypatch.setattr(rotations, "compute_rotations", None)
    xr.testing.assert_identical(engine.analyse(run, "rotation", rotations=3), stored)
    with pytest.raises(TypeError):
        engine.analyse(run, "rotation", **given, rotations=3, seed=1)


def population(n_v4=3, n_it=1, n=40, seed=0):
    rng = np.random.default_rng(seed)
    response = rng.gamma(2, 5, (n, n_v4 + n_it)) * rng.uniform(0.1, 10, n_v4 + n_it)
    region = ["V4"] * n_v4 + ["IT"] * n_it
    return xr.Dataset(
        {"response": (("stimulus", "site"), response)},
        {
            "stimulus": [f"i{k}" for k in range(n)],
            "site": [f"s{k}" for k in range(n_v4 + n_it)],
            "region": ("site", region),
        },
    )


def test_a_population_is_matched_with_rotations_of_its_own_region():
    recording = population()
    recording["response"][5, 1] = np.nan
    found = population_rotations(recording, rotations=2, seed=4)
    own = np.delete(recording["response"].values[:, :3], 5, axis=0)
    rng = np.random.default_rng(4)
    for rotation in range(2):
        q = random_rotation(3, rng)
        for scaling, x in (("raw", own), ("standardised", own / own.std(axis=0))):
            r = np.corrcoef(own.T, (x @ q.T).T)[:3, 3:].max(axis=1)
            np.testing.assert_allclose(found.sel(scaling=scaling)[rotation, :3], r, atol=1e-12)
    np.testing.assert_allclose(found[..., 3], 1)


def test_a_constant_site_has_no_r_and_leaves_the_others_theirs():
    recording = population()
    without = population_rotations(recording.isel(site=[0, 1, 2]), rotations=2, seed=0)
    recording["response"][:, 3] = 2
    recording["region"][:] = "V4"
    found = population_rotations(recording, rotations=2, seed=0)
    assert np.isnan(found[..., 3]).all()
    assert np.isfinite(found[..., :3]).all()
    assert without.shape == (2, 2, 3)
    recording["response"][:38, 0] = np.nan
    assert np.isnan(population_rotations(recording, rotations=1, seed=0)).all()


def test_medians_leave_out_sites_without_a_value():
    r = np.array([0.1, np.nan, 0.3, np.nan])
    rotated = xr.DataArray(np.tile(r, (2, 1, 1)), dims=("scaling", "rotation", "site"))
    sites = xr.Dataset(
        dict.fromkeys(("correlation", "held_out", "population"), rotated)
        | dict.fromkeys(("natural", "natural_held_out"), ("site", r))
    )
    found = region_medians(sites, np.array(["V4", "V4", "V4", "IT"]))
    assert found["region"].values.tolist() == ["IT", "V4"]
    np.testing.assert_allclose(found["median_natural"], [np.nan, 0.2])
    np.testing.assert_allclose(found["mean_correlation"], [[np.nan, 0.2]] * 2)
    assert np.isnan(found["sd_correlation"]).all()
