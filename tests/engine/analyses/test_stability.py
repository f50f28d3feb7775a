"""The winner without a category, and the winner of another network: against numpy."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import engine
from engine.analyses import stability
from engine.analyses.stability import correlate_rows, parts_of
from engine.errors import SettingsError
from engine.store import add_group
from tests.engine.worked_example import activations, images, planted_recording, tiny_network

CATEGORIES = np.array(["cars", "faces", "fruits"])[np.arange(60) % 3]


class Altered:
    """A run with some of its groups replaced."""

    def __init__(self, run, **groups):
        self.path, self.network, self.recording, self.manifest = run.path, run.network, run.recording, run.manifest
        self.run, self.groups = run, groups

    def dataset(self, name):
        return self.groups.get(name, self.run.dataset(name))


@pytest.fixture(scope="module")
def matched(tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    networks = [tiny_network(seed) for seed in (0, 1)]
    recording = planted_recording(networks[0], noise=0.6, stimulus_coords={"category": CATEGORIES})
    recording.data["response"][:, 1] = 1.0
    runs = [engine.match(network, recording, top=3, progress=False, store=store) for network in networks]
    source = SimpleNamespace(network=networks[0], recording=recording, device="cpu", memory="2GiB", progress=None)
    return runs, source


@pytest.fixture(scope="module")
def computed(matched):
    (run, other), source = matched
    return stability.compute(run, source, other=other.digest[:16])


def test_without_a_category_the_winner_and_its_scores_are_numpys(matched, computed):
    (run, _), source = matched
    of_layer = activations(source.network, images())
    units = np.concatenate(list(of_layer.values()), axis=1)
    response = source.recording.data["response"].values
    match = run.dataset("matches").isel(rank=0)
    first = dict(zip(of_layer, np.cumsum([0, *(a.shape[1] for a in of_layer.values())]), strict=False))
    for part, name in enumerate(["cars", "faces", "fruits"]):
        out = name == CATEGORIES
        for site in (0, 2, 6):
            y, one = response[:, site], computed.isel(part=part, site=site)
            r = _r(units[~out], y[~out])
            best = int(np.nanargmax(r))
            own = first[str(match["layer"].values[site])] + int(match["unit"].values[site])
            assert float(one["selected"]) == pytest.approx(r[best], abs=2e-6)
            assert float(one["left_out"]) == pytest.approx(_r(units[out][:, [best]], y[out])[0], abs=2e-6)
            assert float(one["match_left_out"]) == pytest.approx(_r(units[out][:, [own]], y[out])[0], abs=2e-6)
            assert float(one["similarity"]) == pytest.approx(_r(units[:, [best]], units[:, own])[0], abs=2e-6)
            over_all = _r(units, y)
            assert bool(one["is_same"]) == (over_all[best] >= np.nanmax(over_all) - 2e-6)
            assert first[str(one["layer"].values)] + int(one["unit"]) == best


def _r(x, y):
    x, y = x - x.mean(0), y - y.mean()
    norm = np.sqrt((x**2).sum(0) * (y**2).sum())
    return np.divide(y @ x, norm, out=np.full(len(norm), np.nan), where=norm > 1e-9)


def test_summaries_are_over_the_matched_sites_of_a_region(computed):
    assert computed["part"].values.tolist() == ["cars", "faces", "fruits"]
    assert computed["n_stimuli"].values.tolist() == [20, 20, 20]
    v4 = computed.isel(site=[0, 2, 3])
    np.testing.assert_allclose(computed["share_same"].sel(region="V4"), v4["is_same"].mean("site"))
    np.testing.assert_allclose(computed["left_out_median"].sel(region="V4"), v4["left_out"].median("site"))
    assert computed["n_sites"].values.tolist() == [3, 3]
    assert computed["n_left_out"].values.tolist() == [0, 1]
    assert np.isnan(computed["selected"].values[:, 1]).all()
    assert not computed["is_same"].values[:, 1].any()
    assert computed.attrs["left_out"] == "one category"


def test_another_run_is_compared_site_by_site(matched, computed):
    (run, other), _ = matched
    here, there = (one.dataset("matches").isel(rank=0) for one in (run, other))
    np.testing.assert_allclose(computed["other_difference"], there["correlation"].values - here["correlation"].values)
    same = (here["layer"].values == there["layer"].values)[[0, 2, 3]].mean()
    assert float(computed["other_share_same_layer"].sel(region="V4")) == pytest.approx(same)
    assert (computed["other_similarity"].values[[0, 2, 3]] > 0.2).all()
    assert np.isnan(computed["other_similarity"].values[1])
    assert computed.attrs["other"] == "tiny"


def test_a_run_is_like_itself(matched):
    (run, _), _ = matched
    found = stability.compare_runs(run, run)
    np.testing.assert_allclose(found["other_similarity"].values[[0, 2, 3, 4, 5, 6]], 1)
    assert not found["other_difference"].values[[0, 2, 3, 4, 5, 6]].any()


def test_it_can_be_stored(matched, computed):
    run = matched[0][0]
    stored = add_group(run, "stability", computed, {"key": "1"})
    assert stored["layer"].values[0, 1] == ""
    assert stability.expected_seconds(run) > 0


def test_without_categories_seeded_parts_are_left_out_and_named_so(matched):
    (run, _), source = matched
    recording = run.dataset("recording")
    fold, names = parts_of(recording.drop_vars("category"), 4, 7)
    assert names == ["part 1", "part 2", "part 3", "part 4"]
    assert np.bincount(fold.values).tolist() == [15] * 4
    one_category = recording.assign_coords(category=("stimulus", ["cars"] * 60))
    assert parts_of(one_category, 4, 7)[1] == names
    found = stability.compute(Altered(run, recording=recording.drop_vars("category")), source, parts=3)
    assert found.attrs["left_out"] == "one of seeded parts"
    assert "other_difference" not in found


def test_rows_are_correlated_with_each_other():
    a, b = np.random.default_rng(0).normal(size=(2, 3, 20))
    np.testing.assert_allclose(correlate_rows(a, b), [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)])


def test_what_does_not_fit_is_named(matched):
    run = matched[0][0]
    with pytest.raises(
        SettingsError, match="parts=1: a whole number from 2 to 20 is needed, of at least 3 stimuli each"
    ):
        parts_of(run.dataset("recording").drop_vars("category"), 1, 0)
    another = Altered(run)
    another.manifest = {"digests": {**run.manifest["digests"], "responses": "others"}}
    with pytest.raises(SettingsError, match=r"other=tiny@planted has other responses than tiny@planted. Name a run of"):
        stability.compare_runs(run, another)


def test_what_is_missing_is_said(matched):
    (run, _), _ = matched
    assert stability.missing(run) is None
    few = SimpleNamespace(recording="mine", dataset=lambda _: xr.Dataset(coords={"stimulus": np.arange(9)}))
    assert stability.missing(few) == "mine has 9 stimuli; parts to leave out need at least 12."
