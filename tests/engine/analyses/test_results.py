"""An analysis is computed once: what keys it, what makes it invalid, what it is stored with, what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import engine
from engine import analyses
from engine.analyses.results import Analysis
from engine.errors import NotAvailableError, SettingsError
from engine.sources import Source
from engine.store import write_run
from tests.engine.small_runs import DIGEST, manifest, recording


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path, DIGEST, {"recording": recording()}, manifest("tiny", "planted"))


def module(compute, **more):
    """A module of an analysis of its own, as ``engine.analyses.NAME`` would be."""
    return SimpleNamespace(**{"compute": compute, "VERSION": 1, **more})


def counted(calls):
    def compute(run, *, seed=0, size=10, noise=0.5, names=("a", "b")):
        calls.append((seed, size, noise, names))
        return xr.Dataset({"value": ("k", np.arange(2.0) * size)})

    return compute


def test_a_result_is_computed_once_and_a_default_given_explicitly_is_the_same(run):
    calls = []
    one, source = Analysis("counted", module(counted(calls))), Source(run)
    first = one.result(source)
    for settings in ({}, {"size": 10}, {"noise": 0.5, "names": ("a", "b")}, {"names": ["a", "b"]}):
        xr.testing.assert_identical(one.result(source, settings=settings), first)
    assert len(calls) == 1
    assert one.is_stored(source, 0, one.filled({}))
    one.result(source, settings={"size": 11})
    one.result(source, settings={"size": 11}, seed=1)
    assert len(calls) == 3
    assert not one.is_stored(source, 0, one.filled({}))


def test_a_whole_number_for_a_float_is_the_same_setting(run):
    calls = []
    one = Analysis("counted", module(counted(calls)))
    one.result(Source(run), settings={"noise": 1})
    one.result(Source(run), settings={"noise": 1.0})
    assert calls == [(0, 10, 1.0, ("a", "b"))]


def test_a_higher_version_computes_again(run):
    calls = []
    Analysis("counted", module(counted(calls))).result(Source(run))
    Analysis("counted", module(counted(calls), VERSION=2)).result(Source(run))
    assert len(calls) == 2


def test_a_result_carries_what_it_was_made_with(run):
    one = Analysis("counted", module(counted([])))
    stored = one.result(Source(run), seed=3, settings={"size": 4})
    about = stored.attrs
    assert about["key"] == one.key(3, one.filled({"size": 4}))
    assert about["seed"] == 3
    assert about["analysis_settings"] == {"size": 4, "noise": 0.5, "names": ["a", "b"]}
    assert about["analysis_version"] == 1
    assert {"unitscope", "python", "numpy"} <= set(about["versions"])
    assert about["seconds"] >= 0
    assert about["computed"].endswith("+00:00")
    assert about["settings"] == run.manifest["settings"]


def test_a_result_counts_no_longer_once_what_it_read_has_changed(run):
    engine.analyse(run, "reliability")
    calls = []

    def compute(run, *, seed=0):
        calls.append(seed)
        run.dataset("recording")
        return run.dataset("reliability")[["reliability"]]

    one, source = Analysis("derived", module(compute)), Source(run)
    stored = one.result(source)
    assert stored.attrs["reads"] == {"reliability": run.attributes("reliability")["key"]}
    one.result(source)
    assert len(calls) == 1
    engine.analyse(run, "reliability", seed=1)
    one.result(source)
    assert len(calls) == 2


def test_an_unknown_setting_names_those_there_are_before_anything_runs(run):
    calls = []
    one = Analysis("counted", module(counted(calls)))
    expected = r"counted has no setting 'sise'; it has size=10, noise=0.5, names=\('a', 'b'\), seed=0\."
    with pytest.raises(SettingsError, match=expected):
        one.result(Source(run), settings={"sise": 3})
    with pytest.raises(SettingsError, match=r"reliability has no setting 'splits'; it has seed=0\."):
        engine.analyse(run, "reliability", splits=3)
    assert not calls


def test_a_type_error_of_the_analysis_itself_is_not_taken_for_an_unknown_setting(run):
    def compute(run, *, seed=0):
        raise TypeError("got an unexpected keyword argument 'x'")

    with pytest.raises(TypeError, match="unexpected keyword"):
        Analysis("broken", module(compute)).result(Source(run))


def test_a_setting_without_a_default_must_be_given(run):
    def compute(run, *, word, seed=0):
        return xr.Dataset({"length": ((), len(word))})

    one = Analysis("counted", module(compute))
    with pytest.raises(SettingsError, match=r"counted needs the setting 'word'; it has word, seed=0\."):
        one.result(Source(run))
    assert int(one.result(Source(run), settings={"word": "abc"})["length"]) == 3


def test_what_is_missing_is_said_before_anything_runs(run):
    one = Analysis("counted", module(lambda run, *, seed=0: 1 / 0, missing=lambda run: "it has no trials."))
    with pytest.raises(NotAvailableError, match=r"counted of tiny@planted cannot be computed: it has no trials\."):
        one.result(Source(run))
    needs_images = Analysis("images", module(lambda run, source, *, seed=0: 1 / 0))
    with pytest.raises(NotAvailableError, match="images of tiny@planted cannot be computed: the network 'tiny'"):
        needs_images.result(Source(run))


def test_a_stored_result_is_returned_without_network_and_images(run):
    def compute(run, source, *, seed=0):
        return xr.Dataset({"value": ((), float(source.memory == "1GiB"))})

    one = Analysis("images", module(compute))
    given = Source(run, network="never:opened", recording="builtin", memory="1GiB")
    assert float(one.result(given)["value"]) == 1
    assert float(one.result(Source(run))["value"]) == 1


def test_what_was_computed_without_images_counts_until_they_can_be_had(run, tmp_path, monkeypatch):
    def compute(run, source=None, *, seed=0):
        return xr.Dataset({"n_units": ((), 0 if source.missing() else 5)})

    one = Analysis("partial", module(compute))
    assert int(one.result(Source(run))["n_units"]) == 0
    assert one.is_stored(Source(run), 0, {})
    given = Source(run, network="never:opened", recording="builtin")
    assert not one.is_stored(given, 0, {})
    assert int(one.result(given)["n_units"]) == 5
    assert int(one.result(Source(run))["n_units"]) == 5


def test_the_expected_time_gets_the_settings_that_it_takes(run):
    assert Analysis("quick", module(counted([]))).expected_seconds(run, {}) == 0
    told = module(counted([]), expected_seconds=lambda run, size=10: 2 * size)
    assert Analysis("slow", told).expected_seconds(run, {"size": 4, "noise": 0.5}) == 8
    every = module(counted([]), expected_seconds=lambda run, **settings: len(settings))
    assert Analysis("slow", every).expected_seconds(run, {"size": 4, "noise": 0.5}) == 2


def test_progress_is_told_to_an_analysis_that_passes_stimuli(run, capsys):
    def compute(run, source, *, seed=0):
        for done in range(1, 5):
            source.progress("rotating", done, 4)
        source.progress("again", 1, 9)
        return xr.Dataset({"value": ((), 1.0)})

    given = Source(run, network="never:opened", recording="builtin")
    Analysis("images", module(compute)).result(given, progress=True)
    assert "images" in capsys.readouterr().err
    with pytest.raises(TypeError, match="NoneType"):
        Analysis("images", module(compute)).result(given, seed=1)


def test_every_analysis_keeps_the_contract():
    for name in analyses.ANALYSES:
        one = analyses.find_analysis(name)
        assert one.module.VERSION >= 1
        assert analyses.TITLES[name]
        assert "seed" in one._parameters
        assert next(iter(one._parameters)) == "run"
        assert one.module.compute.__doc__
        assert set(one.module.__dict__) & {"expected_seconds"} or not one.needs_source


def test_an_analysis_that_there_is_not_names_those_that_there_are(run):
    with pytest.raises(SettingsError, match=r"no analysis 'decodign'\. There are: neural_correlation, reliability"):
        engine.analyse(run, "decodign")
