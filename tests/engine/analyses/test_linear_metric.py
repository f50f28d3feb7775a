"""The linear metric against scikit-learn on all units, single units against brute force, and the run's own values."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from scipy.stats import pearsonr
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import StratifiedShuffleSplit
from torch import nn

import engine
from engine.analyses import layer_pass, linear_metric
from engine.analyses.regressions import (
    PENALTIES,
    can_stratify,
    coordinates,
    correlate,
    predict_pls,
    predict_ridge,
    score,
    shuffle_splits,
)
from engine.analyses.single_units import BestUnits
from engine.errors import LayerError, MemoryBudgetError, SettingsError
from engine.store import add_group
from tests.engine.worked_example import IMAGE, activations, images, planted_recording, tiny_network, to_input

N = 60


def world(n=60, n_units=300, n_sites=5, seed=0):
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, 8))
    x = hidden @ rng.normal(size=(8, n_units)) + 0.5 * rng.normal(size=(n, n_units)) + 3
    return x, hidden @ rng.normal(size=(8, n_sites)) + rng.normal(size=(n, n_sites))


def centred_gram(x):
    return (x - x.mean(axis=0)) @ (x - x.mean(axis=0)).T


@pytest.mark.parametrize("n_units", [300, 20])
def test_pls_of_the_gram_matrix_is_pls_of_all_units(n_units):
    x, y = world(n_units=n_units)
    (train, test), *_ = shuffle_splits(None, len(x))
    own = predict_pls(*_placed(x, y, train, test), 10)
    judge = PLSRegression(10, scale=False).fit(x[train], y[train]).predict(x[test])
    np.testing.assert_allclose(own.response, judge, atol=1e-8)
    assert own.n_components == 10


@pytest.mark.parametrize("n_units", [300, 20])
def test_ridge_of_the_gram_matrix_is_ridge_of_all_units(n_units):
    x, y = world(n_units=n_units)
    (train, test), *_ = shuffle_splits(None, len(x))
    own = predict_ridge(*_placed(x, y, train, test))
    total = ((x[train] - x[train].mean(axis=0)) ** 2).sum()
    judge = RidgeCV(alphas=PENALTIES * total, alpha_per_target=True).fit(x[train], y[train])
    np.testing.assert_allclose(own.penalty, judge.alpha_ / total)
    np.testing.assert_allclose(own.response, judge.predict(x[test]), atol=1e-8)


def _placed(x, y, train, test):
    known, new = coordinates(centred_gram(x), train, test)
    return known, y[train], new


def test_inner_products_with_training_stimuli_are_kept():
    x, _ = world()
    (train, test), *_ = shuffle_splits(None, len(x))
    known, new = coordinates(centred_gram(x), train, test)
    x = x - x[train].mean(axis=0)
    np.testing.assert_allclose(known @ known.T, x[train] @ x[train].T, atol=1e-8)
    np.testing.assert_allclose(new @ known.T, x[test] @ x[train].T, atol=1e-8)
    assert known.shape[1] == len(train) - 1


def test_pls_takes_no_more_components_than_there_are():
    x, y = world(n_units=4)
    (train, test), *_ = shuffle_splits(None, len(x))
    assert predict_pls(*_placed(x, y, train, test), 25).n_components == 4


def test_splits_are_those_of_brain_score():
    strata = np.repeat(["a", "b", "c"], 20)
    judge = StratifiedShuffleSplit(10, train_size=0.9, random_state=1).split(np.zeros(60), strata)
    for own, (train, test) in zip(shuffle_splits(strata, 60), judge, strict=True):
        assert own[0].tolist() == sorted(train)
        assert own[1].tolist() == sorted(test)
    assert can_stratify(strata)
    assert not can_stratify(np.arange(60))


def test_the_best_unit_of_each_split_is_that_of_brute_force_in_any_blocks():
    x, y = world(n_units=90)
    x[:, 7], x[:, 70] = 5.0, x[:, 3]
    x[:, 11] = 0.0
    splits = shuffle_splits(None, len(x))
    x[splits[0][1][0], 11] = 1e3
    x[2, 20] = np.nan
    best = BestUnits(y, splits)
    for first, last in ((0, 1), (1, 64), (64, 90)):
        best.add(first, x[:, first:last])
    for index, (train, test) in enumerate(splits):
        with np.errstate(invalid="ignore"):
            r = np.corrcoef(x[train].T, y[train].T)[:90, 90:]
        np.testing.assert_array_equal(best.unit[index], np.nanargmax(r, axis=0))
        expected = [pearsonr(x[test, unit], y[test, site])[0] for site, unit in enumerate(best.unit[index])]
        np.testing.assert_allclose(best.held_out()[index], expected, atol=1e-12)


def test_a_score_is_the_median_over_sites_and_the_mean_over_splits():
    r = np.array([[0.1, 0.5, np.nan], [0.2, 0.4, 0.9]])
    assert score(r) == pytest.approx((0.35, 0.05 / np.sqrt(2)))
    assert np.isnan(score(np.full((2, 3), np.nan))).all()
    assert np.isnan(score(np.empty((0, 3)))).all()
    assert np.isnan(correlate(np.ones((4, 1)), np.arange(4.0)[:, None]))[0]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    network = tiny_network()
    coords = {"category": [f"c{k % 3}" for k in range(N)]}
    recording = planted_recording(network, n=N, noise=0.3, stimulus_coords=coords)
    store = tmp_path_factory.mktemp("store")
    run = engine.match(network, recording, progress=False, store=store, shuffles=2)
    source = SimpleNamespace(network=network, recording=recording, device="cpu", memory="1GiB", progress=None)
    return run, source, linear_metric.compute(run, source)


def test_the_layer_is_the_regions_best_and_its_units_predict_as_in_scikit_learn(compared):
    run, source, found = compared
    profile, recording = run.dataset("layer_profile")["correlation"], run.dataset("recording")
    units, response = activations(source.network, images(N, 0)), recording["response"].values
    for region in ("V4", "IT"):
        sites = np.flatnonzero(recording["region"].values == region)
        layer = str(found["layer"].sel(region=region).values)
        assert layer == profile["layer"].values[int(profile[:, sites].median("site").values.argmax())]
        splits = StratifiedShuffleSplit(10, train_size=0.9, random_state=1)
        for split, (train, test) in enumerate(splits.split(np.zeros(N), recording["category"].values)):
            x, y = units[layer], response[:, sites]
            known = np.sort(train)
            model = PLSRegression(int(found["n_components"].sel(region=region)), scale=False).fit(x[known], y[known])
            r = correlate(model.predict(x[test]), y[test])
            own = found["correlation"].sel(predictor="pls").values[split, sites]
            np.testing.assert_allclose(own, r, atol=1e-4)
    assert set(found["stratified_by"].values.tolist()) == {"category"}
    assert found["correlation"].sel(predictor="network_unit").isnull().all()


def test_on_the_runs_folds_single_units_are_those_of_the_run(compared):
    run, _, found = compared
    held_out = run.dataset("layer_profile")["held_out"]
    region = run.dataset("recording")["region"]
    folds = found["fold_correlation"]
    for name, layer in found["layer"].to_series().items():
        sites = region["site"][region == name].values
        own = folds.sel(predictor="layer_unit", site=sites).mean("fold")
        np.testing.assert_allclose(own, held_out.sel(layer=layer, site=sites), atol=1e-6)
    network = folds.sel(predictor="network_unit").mean("fold")
    np.testing.assert_allclose(network, run.dataset("matches")["held_out"].isel(rank=0))
    np.testing.assert_allclose(found["single"], run.dataset("matches")["correlation"].isel(rank=0))
    assert (found["single"] >= found["single_in_layer"] - 1e-9).all()


def test_scores_are_medians_over_the_sites_of_the_region(compared):
    run, _, found = compared
    sites = run.dataset("recording")["region"].values == "V4"
    medians = found["correlation"].sel(predictor="pls").values[:, sites]
    medians = np.median(medians, axis=1)
    assert float(found["score"].sel(predictor="pls", region="V4")) == pytest.approx(medians.mean())
    assert float(found["error"].sel(predictor="pls", region="V4")) == pytest.approx(medians.std() / np.sqrt(10))


def test_the_run_keeps_it(compared):
    run, _, found = compared
    xr.testing.assert_equal(add_group(run, "linear_metric", found).drop_attrs(), found.drop_attrs())


def test_little_memory_means_more_passes_and_the_same_numbers(compared, monkeypatch):
    run, source, found = compared
    monkeypatch.setattr(layer_pass, "BLOCK", 100)
    monkeypatch.setattr(layer_pass, "units_at_once", lambda *_: 700)
    again = linear_metric.compute(run, source)
    np.testing.assert_allclose(again["correlation"], found["correlation"], atol=1e-6)
    np.testing.assert_array_equal(again["unit"], found["unit"])


def test_a_memory_below_one_block_names_what_is_needed(compared):
    run, source, _ = compared
    little = SimpleNamespace(**{**vars(source), "memory": "100KiB"})
    with pytest.raises(MemoryBudgetError, match=r"too little to hold activations of layer '\w+' over 60 stimuli: at"):
        linear_metric.compute(run, little)


def test_wrong_settings_are_refused(compared):
    run, source, _ = compared
    with pytest.raises(SettingsError, match="components=0: a whole number of at least 1"):
        linear_metric.compute(run, source, components=0)
    with pytest.raises(LayerError, match="conv9"):
        linear_metric.compute(run, source, layer="conv9")


def test_a_region_without_a_match_and_a_recording_of_few_stimuli_say_so(tmp_path):
    network = tiny_network()
    recording = planted_recording(network, n=25)
    recording.data["response"][:, 4:] = 1.0
    run = engine.match(network, recording, progress=False, store=tmp_path, shuffles=0, folds=1)
    assert linear_metric.missing(run) == "at least 30 stimuli, of which a tenth is held out: 'planted' has 25."
    source = SimpleNamespace(network=network, recording=recording, device="cpu", memory="1GiB", progress=None)
    found = linear_metric.compute(run, source)
    assert found["region_status"].to_series().to_dict() == {
        "IT": "no site has a match",
        "V4": "fewer than 30 stimuli were seen by all of its sites",
    }
    assert found["score"].isnull().all()
    assert found.sizes["fold"] == 0
    assert linear_metric.expected_seconds(run) >= 0


class HalfDead(nn.Module):
    """A convolution, and one whose weights are zero."""

    def __init__(self):
        super().__init__()
        self.live, self.dead = nn.Conv2d(3, 4, 5), nn.Conv2d(3, 4, 5)
        nn.init.zeros_(self.dead.weight)

    def forward(self, x):
        return self.live(x).mean((2, 3)) + self.dead(x).mean((2, 3))


def test_a_layer_without_variation_says_so(tmp_path):
    network = engine.Network.from_module(HalfDead(), to_input, name="half", image_size=(IMAGE, IMAGE))
    recording = planted_recording(tiny_network())
    run = engine.match(network, recording, progress=False, store=tmp_path, shuffles=0)
    source = SimpleNamespace(network=network, recording=recording, device="cpu", memory="1GiB", progress=None)
    found = linear_metric.compute(run, source, layer="dead")
    assert set(found["region_status"].values.tolist()) == {"no unit of layer 'dead' varies"}
    assert found["score"].isnull().all()
