"""Decoding against scikit-learn, planted answers, the identities, and its messages."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import engine
from engine.analyses import classifiers, decoding
from engine.analyses.classifiers import COSTS, confusion, learn, splits, z_score
from engine.analyses.confusions import off_diagonal_r, permutation_p
from engine.analyses.decodable_regions import draw_random, usable_regions
from engine.analyses.decoding import Job, do
from engine.analyses.populations import best_pixels, gather, gray_pixels
from engine.errors import SettingsError
from engine.store import add_group
from tests.engine.worked_example import activations, images, planted_recording, tiny_network

K = 4
N = 80
CATEGORY = [f"c{k % K}" for k in range(N)]


def population(n=160, n_features=6, n_categories=8, signal=1.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_categories
    return signal * rng.normal(size=(n_categories, n_features))[labels] + rng.normal(size=(n, n_features)), labels


def job(features, trained_on, tests, train, test, seed=(0,)):
    return Job("shared", 0, trained_on, tests, train, test, features, seed)


def test_the_machine_and_its_cost_are_those_of_scikit_learn():
    values, labels = population(n=90, n_features=3, n_categories=3, seed=1)
    learned = learn(values, labels, np.random.default_rng(5))
    same_splits = splits(labels, 10, np.random.default_rng(5))
    grid = {"linearsvc__C": COSTS}
    judge = GridSearchCV(make_pipeline(StandardScaler(), LinearSVC(dual=False)), grid, cv=same_splits)
    judge.fit(values, labels)
    assert learned.cost == judge.best_params_["linearsvc__C"]
    np.testing.assert_allclose(learned.machine.coef_, judge.best_estimator_[-1].coef_, rtol=1e-6)
    assert learned.n_unconverged == 0


def test_splits_hold_out_a_tenth_of_each_category():
    labels = np.repeat(np.arange(4), 20)
    for train, test in splits(labels, 3, np.random.default_rng(0)):
        assert np.bincount(labels[test]).tolist() == [2] * 4
        assert sorted([*train, *test]) == list(range(80))


def test_what_does_not_vary_in_training_is_zero_everywhere():
    training = np.array([[1.0, 2.0], [1.0, 4.0]])
    np.testing.assert_array_equal(z_score(np.array([[7.0, 6.0]]), training), [[0.0, 3.0]])


@pytest.mark.parametrize("seed", [0, 1])
def test_permuted_labels_are_decoded_at_chance(seed):
    values, labels = population(n=512, n_features=3, signal=2.0)
    rng = np.random.default_rng(seed)
    labels, order = rng.permutation(labels), rng.permutation(512)
    found = do(job({"neural": values}, "neural", [("within", "neural")], order[:256], order[256:]), labels, 8)
    sd = np.sqrt(0.125 * 0.875 / 256)
    assert found.tests["within", "neural"][0] == pytest.approx(0.125, abs=1.96 * sd)


def test_identical_populations_transfer_at_their_training_accuracy():
    values, labels = population(signal=0.7)
    everything = np.arange(len(labels))
    features = {"neural": values, "matched": values.copy()}
    tests = [("to_neural", "neural"), ("from_neural", "matched")]
    from_sites = do(job(features, "neural", tests, everything, everything), labels, 8)
    to_sites = do(job(features, "matched", [("to_neural", "matched")], everything, everything), labels, 8)
    training, third = (from_sites.tests[key][0] for key in tests)
    assert training == third == to_sites.tests["to_neural", "matched"][0]
    judge = LinearSVC(C=from_sites.cost, dual=False).fit(z_score(values, values), labels)
    assert training == judge.score(z_score(values, values), labels)


def test_each_population_has_its_own_mean_and_sd():
    values, labels = population(signal=3.0)
    features = {"neural": values, "matched": 1000 * values - 7}
    everything = np.arange(len(labels))
    found = do(job(features, "neural", [("from_neural", "matched")], everything, everything), labels, 8)
    assert found.tests["from_neural", "matched"][0] > 0.95


def test_confusions_are_shares_of_each_true_category():
    counts = confusion(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1]), 3)
    np.testing.assert_array_equal(counts, [[0.5, 0.5, 0], [0, 1, 0], [np.nan] * 3])


def test_similarity_is_pearsons_r_and_its_p_that_of_all_orders_of_the_categories():
    rng = np.random.default_rng(0)
    a = rng.random((4, 4))
    b = a + 0.8 * rng.random((4, 4))
    off = ~np.eye(4, dtype=bool)
    own = np.corrcoef(a[off], b[off])[0, 1]
    assert off_diagonal_r(a, b) == pytest.approx(own)
    every = [np.corrcoef(a[off], b[np.ix_(order, order)][off])[0, 1] for order in itertools.permutations(range(4))]
    assert permutation_p(a, b, rng) == pytest.approx(np.mean(np.array(every) >= own - 1e-12), abs=0.015)
    assert np.isnan(permutation_p(np.eye(4), b, rng))


def test_the_best_pixel_is_that_of_numpy_and_test_stimuli_do_not_choose_it():
    rng = np.random.default_rng(0)
    pixels, response = rng.normal(size=(30, 12)), rng.normal(size=(30, 3))
    pixels[:, 5] = 1.0
    chosen_on = np.arange(20)
    r = np.corrcoef(np.delete(pixels, 5, axis=1)[:20].T, response[:20].T)[:11, 11:]
    best = np.delete(np.arange(12), 5)[r.argmax(axis=0)]
    np.testing.assert_array_equal(best_pixels(pixels, response, chosen_on), pixels[:, best])
    response[20:] = 1e6
    np.testing.assert_array_equal(best_pixels(pixels, response, chosen_on), pixels[:, best])


def test_pictures_become_gray_and_are_averaged():
    colour = np.zeros((2, 64, 64, 3), np.uint8)
    colour[0, :2, :2] = (100, 0, 0)
    gray = gray_pixels(colour)
    assert gray.shape == (2, 32 * 32)
    assert gray[0, 0] == pytest.approx(29.9)
    assert gray[0, 1:].max() == 0
    assert gray_pixels(colour[:, :8, :8, :1]).shape == (2, 64)


@pytest.fixture(scope="module")
def decoded(tmp_path_factory):
    """A run of planted sites with categories, decoded with a short grid of costs, with and without its network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers, "COSTS", COSTS[3:5])
        patch.setattr(classifiers, "COST_SPLITS", 2)
        network = tiny_network()
        recording = planted_recording(network, n=N, noise=0.3, stimulus_coords={"category": CATEGORY})
        store = tmp_path_factory.mktemp("store")
        run = engine.match(network, recording, progress=False, store=store, shuffles=2)
        source = SimpleNamespace(network=network, recording=recording, device="cpu", memory="1GiB", progress=None)
        with_source = decoding.compute(run, source, runs=3, transfer_runs=2)
        yield run, source, with_source, decoding.compute(run, runs=3, transfer_runs=2)


def test_all_conditions_are_there_and_their_means_are_those_of_their_runs(decoded):
    found = decoded[2]
    assert found["accuracy"].dims == ("images", "condition", "region", "population", "run")
    n = np.isfinite(found["accuracy"]).sum("run")
    assert (n.sel(images="shared", condition="within") == 3).all()
    assert (n.sel(images="shared", condition=["to_neural", "from_neural"]) == 2).all()
    assert (n.sel(images="disjoint") == 4).all()
    np.testing.assert_allclose(found["mean_accuracy"], found["accuracy"].mean("run"))
    np.testing.assert_allclose(found["sd_accuracy"], found["accuracy"].std("run", ddof=1))
    np.testing.assert_allclose(found["confusion"].sum("predicted"), 1)
    diagonal = found["confusion"].values[..., range(K), range(K)].mean(axis=-1)
    np.testing.assert_allclose(diagonal, found["mean_accuracy"])
    assert found["n_sites"].to_series().to_dict() == {"IT": 3, "V4": 4}
    assert found.attrs["chance"] == 0.25
    assert set(np.unique(found["population_status"])) == {"ok"}


def test_the_run_keeps_it(decoded):
    run, _, found, _ = decoded
    xr.testing.assert_equal(add_group(run, "decoding", found).drop_attrs(), found.drop_attrs())


def test_without_network_only_the_random_units_are_missing(decoded):
    _, _, found, alone = decoded
    others = ["neural", "matched", "pixels"]
    np.testing.assert_array_equal(alone["accuracy"].sel(population=others), found["accuracy"].sel(population=others))
    assert alone["accuracy"].sel(population="random").isnull().all()
    assert found["accuracy"].sel(population="random").notnull().any()
    status = str(alone["population_status"].sel(population="random", region="V4", images="shared").values)
    assert status == ("no activations of other units than the run's: the network and the images of the run are needed")


def test_features_are_the_activations_of_matches_and_of_units_of_their_layers(decoded):
    run, source, _, _ = decoded
    rng = np.random.default_rng(0)
    regions = draw_random(run, usable_regions(run, least=10), runs=2, transfer_runs=2, rng=rng)
    it, v4 = gather(run, source, regions)
    units = activations(source.network, images(N, 0))
    matches = run.dataset("matches")
    for which, table in ((v4.shared(0), matches), (v4.disjoint(1, 0), run.dataset("fold_matches").isel(fold=1))):
        for k, site in enumerate(run.dataset("recording")["site"].values[v4.of.sites]):
            best = table.sel(site=site).isel(rank=0)
            own = units[str(best["layer"].values)]
            np.testing.assert_allclose(which["matched"][:, k], own[:, int(best["unit"])], atol=1e-5)
            assert np.isclose(own, which["random"][:, [k]], atol=1e-5).all(axis=0).any()
    assert not np.array_equal(it.shared(0)["random"], it.shared(1)["random"])
    np.testing.assert_array_equal(v4.response, run.dataset("recording")["response"].values[:, v4.of.sites])


def test_a_fit_that_stops_early_is_counted(decoded, monkeypatch):
    monkeypatch.setattr(classifiers, "MOST_STEPS", 1)
    monkeypatch.setattr(classifiers, "COSTS", COSTS[4:5])
    monkeypatch.setattr(classifiers, "COST_SPLITS", 1)
    assert (decoding.compute(decoded[0], runs=2, transfer_runs=2)["n_unconverged"] > 0).all()


def test_a_region_without_match_or_with_gaps_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(classifiers, "COSTS", COSTS[4:5])
    monkeypatch.setattr(classifiers, "COST_SPLITS", 1)
    network = tiny_network()
    recording = planted_recording(network, n=N, noise=0.3, stimulus_coords={"category": CATEGORY})
    recording.data["response"][:, 4:] = 1.0
    recording.data["response"][:6, 0] = np.nan
    run = engine.match(network, recording, progress=False, store=tmp_path, shuffles=0, folds=1)
    found = decoding.compute(run, runs=2, transfer_runs=2)
    assert found["region_status"].to_series().to_dict() == {"IT": "no site has a match", "V4": "ok"}
    assert found["accuracy"].sel(region="IT").isnull().all()
    assert found["n_stimuli"].sel(region="V4") == N - 6
    assert found["n_left_out"].to_series().to_dict() == {"IT": 3, "V4": 0}
    disjoint = found["population_status"].sel(region="V4", images="disjoint", population="neural")
    assert str(disjoint.values) == "the run has no folds"


def test_what_keeps_a_region_from_being_decoded_is_said(decoded):
    run = decoded[0]

    def changed(name, **variables):
        one = run.dataset(name).assign(variables)
        return SimpleNamespace(names=run.names, dataset=lambda asked: one if asked == name else run.dataset(asked))

    assert usable_regions(run, least=21)[1].status == (
        "fewer than 21 stimuli of a category were seen by all of its sites"
    )
    apart = run.dataset("folds")["fold"].copy(data=[int(name == "c0") for name in CATEGORY])
    region = usable_regions(changed("folds", fold=apart), least=10)[1]
    assert (region.status, region.n_folds) == ("ok", 0)
    assert region.disjoint_status == "some part of the run leaves fewer than 5 stimuli of a category for training"
    unit = run.dataset("fold_matches")["unit"].copy(deep=True)
    unit[1, 2, 0] = -1
    region = usable_regions(changed("fold_matches", unit=unit), least=10)[1]
    assert region.disjoint_status == "on some part of the run a site has no match"


def without(decoded, category):
    recording = decoded[0].dataset("recording").drop_vars("category")
    if category is not None:
        recording = recording.assign_coords(category=("stimulus", np.array(category)))
    return SimpleNamespace(recording="mine", dataset=lambda _: recording)


def test_what_is_missing_is_said(decoded):
    assert decoding.missing(decoded[0]) is None
    assert decoding.missing(without(decoded, None)) == (
        "categories: recording 'mine' has no category for its stimuli; give one for each, "
        "Recording.from_arrays(..., stimulus_coords={'category': [...]}), and match again."
    )
    one = decoding.missing(without(decoded, ["cat"] * N))
    assert one == "at least two categories: the stimuli of 'mine' have cat."
    few = decoding.missing(without(decoded, ["cat"] * 3 + ["dog"] * (N - 3)))
    assert few == "at least 10 stimuli of each category: 'mine' has 3 of 'cat'."


def test_a_single_run_has_no_sd(decoded):
    with pytest.raises(SettingsError, match="runs=1: a whole number of at least 2 is needed, since the SD is over"):
        decoding.compute(decoded[0], runs=1)


def test_the_expected_time_grows_with_the_runs(decoded):
    few, many = (decoding.expected_seconds(decoded[0], runs=n) for n in (5, 50))
    assert 0 < few < many
