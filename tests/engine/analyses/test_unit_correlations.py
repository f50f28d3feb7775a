"""r of every unit with a site: against numpy, the match's own, sites kept side by side, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import engine
from engine import analyses
from engine.analyses.batch import settings_by_name, state_of
from engine.correlating import require_room
from engine.errors import MemoryBudgetError, NotAvailableError, SettingsError
from engine.runs import group_manifest
from engine.sources import Source
from engine.targets import make_targets
from tests.engine.worked_example import activations, images, planted_recording, tiny_network

NAME = "unit_correlations"


def with_odd_units():
    """A network of which one unit never varies, one varies by rounding only, and one is not always a number."""
    network = tiny_network()

    def spoil(module, args, output):
        output[:, 0] = 3.0
        output[:, 1] = 1e6 + output[:, 1]
        output[:, 2] = torch.where(output[:, 3] > output[:, 3].median(), torch.nan, 1.0)
        return output

    network.module.fc.register_forward_hook(spoil)
    return network


@pytest.fixture(scope="module")
def network():
    return tiny_network()


@pytest.fixture(scope="module")
def recording(network):
    return planted_recording(network, noise=0.3)


@pytest.fixture(scope="module")
def run(network, recording, tmp_path_factory):
    return engine.match(network, recording, progress=False, store=tmp_path_factory.mktemp("store"))


def by_numpy(network, recording, site):
    """(unit,) float64 r over the stimuli that the site saw; NaN for units that do not vary."""
    units = np.concatenate(list(activations(network, images()).values()), axis=1)
    response = recording.data["response"].sel(site=site).values
    seen = np.isfinite(response)
    x, y = units[seen] - units[seen].mean(0), response[seen] - response[seen].mean()
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.ptp(units[seen], axis=0) > 0, x.T @ y / np.sqrt((x**2).sum(0) * (y**2).sum()), np.nan)


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_every_unit_has_numpys_r_and_constant_ones_have_none(network, missing, tmp_path):
    recording = planted_recording(network, noise=0.3, missing=missing)
    run = engine.match(network, recording, progress=False, store=tmp_path, top=5)
    found = engine.analyse(run, NAME, network=network, recording=recording, sites=["site1", "site5"])
    for site in ("site1", "site5"):
        expected, r = by_numpy(network, recording, site), found["correlation"].sel(site=site).values
        np.testing.assert_allclose(r, expected, atol=1e-6)
        assert np.isnan(r).sum() == np.isnan(expected).sum()


def test_units_without_an_r_are_those_that_the_match_left_out(tmp_path):
    network = with_odd_units()
    recording = planted_recording(tiny_network(), noise=0.3)
    run = engine.match(network, recording, progress=False, store=tmp_path, top=5)
    r = engine.analyse(run, NAME, network=network, recording=recording, site="site1")["correlation"][0]
    layers = run.dataset("layers")
    assert layers["n_ok"].sel(layer="fc") == 7
    assert int(np.isnan(r).sum()) == int((layers["units"] - layers["n_ok"]).sum())


def test_r_is_that_of_the_match_where_both_have_it(run, network, recording):
    found = engine.analyse(run, NAME, network=network, recording=recording, sites=["site0", "site6"])
    first = found["first_unit"].to_series()
    for site in ("site0", "site6"):
        ranked = run.dataset("matches").sel(site=site)
        unit = first[ranked["layer"].values].to_numpy() + ranked["unit"].values
        r = found["correlation"].sel(site=site).values
        np.testing.assert_allclose(r[unit], ranked["correlation"], atol=1e-6)
        assert int(np.nanargmax(r)) == unit[0]


def test_sites_are_kept_side_by_side_and_only_new_ones_are_computed(run, network, recording):
    source, one = Source(run, network=network, recording=recording), analyses.find_analysis(NAME)

    def ask(**given):
        return one.result(source, settings=settings_by_name([NAME], given)[NAME])

    alone = ask(site="site2")
    version = version_of(run, f"{NAME}.2")
    both = ask(sites="site3,site2")
    assert both["site"].values.tolist() == ["site3", "site2"]
    assert both["first_unit"].dims == ("layer",)
    np.testing.assert_array_equal(both["correlation"][1], alone["correlation"][0])
    assert version_of(run, f"{NAME}.2") == version
    assert {f"{NAME}.2", f"{NAME}.3"} <= set(run.names)
    assert run.attributes(f"{NAME}.3")["analysis_settings"] == {"site": "site3"}
    assert state_of(NAME, source, settings={"site": "site3"}).is_stored
    assert not state_of(NAME, source, settings={"sites": ["site3", "site4"]}).is_stored
    told = state_of(NAME, source)
    assert str(told) == f"stored with {told.stored_with}"
    assert told.stored_with.endswith("sites")
    assert told.missing.startswith("the setting 'site': --set site=VALUE on the command line")


def version_of(run, group):
    return group_manifest(run.path, group).stat().st_mtime_ns


def test_it_is_said_which_sites_there_are_and_what_is_missing(run):
    with pytest.raises(SettingsError, match=r"planted has no site 'site9'; it has 7, the first are 'site0', 'site1'"):
        engine.analyse(run, NAME, site="site9")
    with pytest.raises(SettingsError, match=r"unit_correlations needs the setting 'site'; it has site='', sites=\(\)"):
        engine.analyse(run, NAME)
    with pytest.raises(NotAvailableError, match="unit_correlations of tiny@planted cannot be computed: the network"):
        engine.analyse(run, NAME, site="site5", seed=7)
    assert analyses.find_analysis(NAME).expected_seconds(run, {"site": "site5", "sites": ()}) > 0


def test_sites_whose_sums_do_not_fit_are_refused_before_the_pass(run, network, recording):
    sites = [f"site{k}" for k in range(7)]
    told = "memory=100 MiB is too little to correlate 5,578 units with 7 sites in one pass: at least .* MiB is needed"
    with pytest.raises(MemoryBudgetError, match=told):
        engine.analyse(run, NAME, network=network, recording=recording, sites=sites, seed=1, memory="100MiB")
    known = xr.DataArray(np.zeros(60, int), {"stimulus": recording.data["stimulus"].values}, ["stimulus"])
    targets = make_targets(recording.data, known, shuffles=0, seed=0)
    large = SimpleNamespace(
        layers=pd.DataFrame({"units": [10**7], "height": [100], "width": [100]}),
        largest_output=10**6,
        image_size=(20, 20),
    )
    with pytest.raises(MemoryBudgetError, match=r"Give memory=\d+MiB or more, or name at most 1 at a time\."):
        require_room(large, targets, torch.device("cpu"), 2**32 + 2**27)
