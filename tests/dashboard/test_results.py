"""Answers from the store: what is there, what is chosen, what is broken; without torch."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dashboard import app
from dashboard.results import Results
from dashboard.state import Selection
from dashboard.thumbnails import address, jpeg
from engine.errors import StoreError
from engine.store import add_group, write_run
from tests.dashboard.stores import damage, put


@pytest.fixture(scope="module")
def store(tmp_path_factory, run_datasets, other_datasets) -> Path:
    """Two networks on one recording; whoever changes it makes a copy."""
    root = tmp_path_factory.mktemp("store")
    put(root, run_datasets)
    put(root, other_datasets, network="tiny (random weights, seed 0)")
    return root


@pytest.fixture
def results(store) -> Results:
    return Results(store)


@pytest.fixture
def relisted(monkeypatch) -> None:
    """The list of runs is read again at every question."""
    monkeypatch.setattr("dashboard.results._RELIST_AFTER_S", -1.0)


def put_data(root, datasets, network: str, *, responses: str, created: str) -> None:
    """Write a run that says of which responses it is, and of when."""
    told = {"name": network}, {"name": "planted"}, {"responses": responses, "stimuli": "ab" * 32}
    about = dict(zip(("network", "recording", "digests"), told, strict=True))
    digest = f"{len(network):02x}" + responses[:62]
    write_run(root, digest, datasets, about | {"settings": {}, "seed": 0, "versions": {}, "created": created})


def test_nothing_chosen_gives_the_trained_network_and_its_best_site(results, run_datasets):
    chosen = results.choose(Selection())
    assert (chosen.run.network, chosen.run.recording, chosen.region) == ("tiny", "planted", "V4")
    r = run_datasets["matches"]["correlation"].isel(rank=0)
    v4 = r[run_datasets["recording"]["region"].values == "V4"]
    assert chosen.site == str(v4["site"].values[v4.values.argmax()])
    assert (chosen.rank, chosen.layer, chosen.notice) == (0, "", "")


def test_unknown_names_are_replaced_and_named(results):
    chosen = results.choose(Selection(network="resnet", site="<b>", rank=4000, stimulus="image0001"))
    assert chosen.run.network == "tiny"
    assert chosen.stimulus == "image0001"
    assert chosen.rank == chosen.run.n_ranks(chosen.site) - 1
    for told in ("network “resnet”", "site “<b>”", "rank 4000"):
        assert told in chosen.notice


def test_an_empty_store_chooses_nothing(tmp_path):
    results = Results(tmp_path / "none")
    assert results.choose(Selection()) is None
    assert results.problems() == []


def test_sites_are_sorted_by_their_match(results, run_datasets):
    sites = results.choose(Selection()).run.sites("V4")
    assert sites["r"].is_monotonic_decreasing
    ceiling = run_datasets["reliability"]["noise_ceiling"].to_series()
    np.testing.assert_array_equal(sites["noise_ceiling"], ceiling[sites.index])


def test_without_trials_the_ceiling_says_so(tmp_path, run_datasets):
    put(tmp_path, {name: dataset for name, dataset in run_datasets.items() if name != "reliability"})
    run = Results(tmp_path).choose(Selection()).run
    assert run.ceiling_method == "not available: no trials"
    assert run.sites("V4")["noise_ceiling"].isna().all()


def test_neural_correlation_is_the_median_where_the_run_does_not_store_it(tmp_path, run_datasets):
    put(tmp_path, {name: dataset for name, dataset in run_datasets.items() if name != "neural_correlation"})
    run = Results(tmp_path).choose(Selection()).run
    assert float(run.neural_correlation["correlation"].sel(region="V4", layer="")) == run.sites("V4")["r"].median()


def test_chance_of_one_r_and_of_a_median_differ(results):
    best, held_out, median = results.choose(Selection()).run.chance("V4")
    assert best > median > held_out


def test_a_damaged_run_is_named_with_what_to_do_and_the_others_stay(tmp_path, run_datasets, other_datasets):
    put(tmp_path, run_datasets)
    broken = put(tmp_path, other_datasets, network="other")
    damage(broken, "matches/correlation").unlink()
    results = Results(tmp_path)
    assert results.choose(Selection(network="other")).run.network == "tiny"
    (problem,) = results.problems()
    assert problem.name == "other against planted"
    assert "matches" in problem.reason
    assert problem.command == "unitscope match other planted"


def test_a_changed_byte_is_found_when_it_is_read_and_the_run_is_given_up(tmp_path, run_datasets, monkeypatch):
    monkeypatch.setattr("engine.runs.READ_AT_ONCE", 0)  # as with groups of a real size
    damage(put(tmp_path, run_datasets), "thumbnails/pixels")
    results = Results(tmp_path)
    run = results.choose(Selection()).run
    with pytest.raises(StoreError) as error:
        run.dataset("thumbnails")
    results.give_up(run.digest, error.value)
    assert results.choose(Selection()) is None
    assert "thumbnails" in results.problems()[0].reason


def test_an_analysis_that_is_added_later_is_shown(tmp_path, run_datasets, relisted):
    later = ("reliability", "neural_correlation")
    stored = put(tmp_path, {name: dataset for name, dataset in run_datasets.items() if name not in later})
    results = Results(tmp_path)
    assert results.choose(Selection()).run.ceiling_method == "not available: no trials"
    for name in later:
        add_group(stored, name, run_datasets[name])
    run = results.choose(Selection()).run
    assert run.ceiling_method == "split half"
    assert run.sites("V4")["noise_ceiling"].notna().all()
    assert run.neural_correlation["correlation_low"].notnull().all()
    assert results.choose(Selection()).run is run


def test_an_analysis_that_is_made_again_is_shown(tmp_path, run_datasets, relisted):
    stored = put(tmp_path, {name: dataset for name, dataset in run_datasets.items() if name != "reliability"})
    add_group(stored, "reliability", run_datasets["reliability"])
    results = Results(tmp_path)
    assert results.choose(Selection()).run.ceiling_method == "split half"
    add_group(stored, "reliability", run_datasets["reliability"].assign_attrs(method="bootstrap"))
    assert results.choose(Selection()).run.ceiling_method == "bootstrap"


def test_a_damaged_run_is_shown_once_it_was_computed_again(tmp_path, run_datasets, relisted):
    damage(put(tmp_path, run_datasets), "matches/correlation").unlink()
    results = Results(tmp_path)
    assert results.choose(Selection()) is None
    put(tmp_path, run_datasets)
    assert results.choose(Selection()).run.network == "tiny"
    assert results.problems() == []


def test_a_run_that_was_given_up_is_shown_once_it_was_computed_again(tmp_path, run_datasets, monkeypatch, relisted):
    monkeypatch.setattr("engine.runs.READ_AT_ONCE", 0)
    damage(put(tmp_path, run_datasets), "thumbnails/pixels")
    results = Results(tmp_path)
    run = results.choose(Selection()).run
    with pytest.raises(StoreError) as error:
        run.dataset("thumbnails")
    results.give_up(run.digest, error.value)
    results.give_up(run.digest, error.value)  # as another session may that met the same
    assert results.choose(Selection()) is None
    (problem,) = results.problems()
    assert (problem.name, problem.command) == ("tiny against planted", "unitscope match tiny planted")
    put(tmp_path, run_datasets)
    again = results.choose(Selection()).run
    assert again is not run
    assert again.dataset("thumbnails").equals(run_datasets["thumbnails"])
    assert results.problems() == []


def test_every_run_of_a_recording_stays_open_however_many_there_are(tmp_path, run_datasets, relisted):
    for i in range(15):
        put(tmp_path, {"recording": run_datasets["recording"]}, network=f"net{i:02d}")
    results = Results(tmp_path)
    first = results.runs("planted")
    assert len(first) == 15
    assert all(again is run for again, run in zip(results.runs("planted"), first, strict=True))


def test_groups_read_longest_ago_leave_memory_first_and_come_back(results, monkeypatch, relisted):
    old, late = results.runs("planted")
    old.dataset("recording")
    late.dataset("recording")
    monkeypatch.setattr("dashboard.results._BYTES_IN_MEMORY", late.n_bytes)
    assert old.n_bytes > 0
    assert results.runs("planted") == [old, late]
    assert old.n_bytes == 0
    assert late.n_bytes > 0
    assert old.dataset("recording").sizes["site"] == 12


def test_a_run_that_was_deleted_is_let_go(store, tmp_path, relisted):
    results = Results(shutil.copytree(store, tmp_path / "copy"))
    tiny = results.choose(Selection(network="tiny")).run
    (tmp_path / "copy" / "runs" / tiny.digest).rename(tmp_path / "elsewhere")
    assert [run.network for run in results.runs("planted")] == ["tiny (random weights, seed 0)"]


def test_other_data_under_the_same_name_are_another_recording(tmp_path, run_datasets, other_datasets, relisted):
    put_data(tmp_path, run_datasets, "tiny", responses="12" * 32, created="2026-01-01T00:00:00+00:00")
    results = Results(tmp_path)
    assert results.choose(Selection()).run.recording == "planted"
    put_data(tmp_path, other_datasets, "other", responses="34" * 32, created="2026-01-02T00:00:00+00:00")
    put_data(tmp_path, run_datasets, "tiny!", responses="12" * 32, created="2026-01-03T00:00:00+00:00")
    older = "planted (responses 343434, images ababab)"
    assert results.recordings() == ["planted", older]
    assert [run.network for run in results.runs("planted")] == ["tiny", "tiny!"]
    assert [run.network for run in results.runs(older)] == ["other"]
    chosen = results.choose(Selection(recording=older))
    assert (chosen.run.network, chosen.run.recording, chosen.notice) == ("other", older, "")


def test_an_opened_run_is_renamed_when_newer_data_take_its_name(tmp_path, run_datasets, other_datasets, relisted):
    put_data(tmp_path, run_datasets, "tiny", responses="12" * 32, created="2026-01-01T00:00:00+00:00")
    results = Results(tmp_path)
    assert results.runs("planted")[0].recording == "planted"
    put_data(tmp_path, other_datasets, "other", responses="34" * 32, created="2026-01-02T00:00:00+00:00")
    (run,) = results.runs("planted (responses 121212, images ababab)")
    assert run.recording == "planted (responses 121212, images ababab)"


def test_sessions_of_panel_serve_share_one_store():
    sessions = [runpy.run_path(app.__file__) for _ in range(2)]  # panel serve runs the file anew for each
    first, second = (session["shared_results"]() for session in sessions)
    assert first is second
    assert not first.tells_paths


def test_paths_of_the_server_are_kept_from_strangers(tmp_path, run_datasets):
    damage(put(tmp_path, run_datasets), "matches/correlation").unlink()
    (problem,) = Results(tmp_path, tells_paths=False).problems()
    assert str(tmp_path) not in problem.reason
    assert "STORE" in problem.reason
    assert str(tmp_path) in Results(tmp_path).problems()[0].reason


def test_datasets_are_one_copy_that_nobody_can_write_to(results):
    run = results.choose(Selection()).run
    matches = run.dataset("matches")
    assert run.dataset("matches") is matches
    with pytest.raises(ValueError, match="read-only"):
        matches["correlation"].values[0, 0] = 1


def test_stimuli_are_ordered_by_response(results):
    run = results.choose(Selection()).run
    response = run.dataset("recording")["response"].sel(site="site00")
    ordered = response.sel(stimulus=run.by_response("site00")).values
    assert (np.diff(ordered) <= 0).all()


def test_a_picture_has_an_address_without_a_way_out(results):
    run = results.choose(Selection()).run
    assert address(run, "../../etc/passwd") == f"img/{run.digest}/..%2F..%2Fetc%2Fpasswd.jpg"
    assert jpeg(run, "image0003").startswith(b"\xff\xd8")
    with pytest.raises(KeyError):
        jpeg(run, "../../etc/passwd")


def test_the_page_never_loads_torch(tmp_path):
    code = (
        "import sys, dashboard.app, dashboard.server\n"
        "from dashboard.results import Results; from dashboard.views.session import Session\n"
        "Session(Results())\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"UNITSCOPE_STORE": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
