"""Runs and Provenance without a browser: what is computed, how to have more computed, and whether it holds."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashboard.jobs import CANCELLED, DONE, QUEUED, RUNNING, Task
from dashboard.requests import MatchRequest
from dashboard.results import Results
from dashboard.views import bar, missing, working
from dashboard.views.markup import Markup
from dashboard.views.session import Session
from engine.store import open_parts, open_run
from tests.dashboard.stores import damage, put


@pytest.fixture(scope="module")
def store(tmp_path_factory, run_datasets, other_datasets) -> Path:
    root = tmp_path_factory.mktemp("store")
    put(root, run_datasets)
    put(root, other_datasets, network="other (random weights, seed 4)", title="Other Net")
    about = {"network": {"name": "half"}, "recording": {"name": "planted"}, "settings": {}}
    open_parts(root, "abcdef123456", about)
    return root


@pytest.fixture
def served(tmp_path, run_datasets) -> Iterator[Results]:
    """A store of a server with jobs."""
    put(tmp_path / "store", run_datasets)
    results = Results(tmp_path / "store")
    results.compute_jobs()
    yield results
    results.jobs.close()
    results.lane.close()


def areas(session: Session, page: str) -> dict[str, str]:
    shown = next(one for name, one in session.pages.items() if name[0] == page)
    return {name: re.sub(r"<[^>]*>", " ", html) for name, html in shown.screen.written.items()}


def html(session: Session, page: str, area: str) -> str:
    return next(one for name, one in session.pages.items() if name[0] == page).screen.written[area]


def until(session: Session, holds: Callable[[], bool], within_s: float = 60) -> None:
    """Let the page hear of what happens, as the server's loop does."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
        session.hear()


def test_the_runs_page_lists_runs_and_what_is_not_finished_with_its_command(store):
    results = Results(store)
    session = Session(results, {"page": "runs", "network": "tiny"})
    until(session, lambda: "KiB" in areas(session, "runs")["runs"])
    told = areas(session, "runs")
    assert "Tiny Net" in told["runs"]
    assert "2 of 19" in told["runs"] or "2 of " in told["runs"]
    assert "half against planted: not finished" in told["runs"]
    assert "unitscope match half planted" in told["runs"]
    session.act({"do": "select", "network": "other (random weights, seed 4)", "recording": "planted"})
    assert 'data-network="other (random weights, seed 4)"' in html(session, "runs", "runs")
    results.lane.close()


def test_a_read_only_page_says_why_and_which_command_computes(store):
    results = Results(store)
    session = Session(results, {"page": "runs"})
    told = areas(session, "runs")
    assert "This page is read-only" in told["form"]
    assert "unitscope serve" in told["form"]
    assert "data-do" not in re.sub(r'data-do="copy"', "", html(session, "runs", "form"))
    for action in ("analyse", "start", "plan", "cancel", "again"):
        session.act({"do": action, "run": "x", "names": "decoding", "job": "1"})
    assert results.jobs is None
    chosen = results.choose(session.selection)
    state = missing.not_computed(chosen, ["decoding"])
    assert "Where the store is:" in state
    assert f"unitscope analyse {chosen.run.digest[:12]} decoding" in state
    results.lane.close()


def test_compute_in_place_of_a_figure_computes_and_the_figure_appears(served):
    session, other = Session(served, {"page": "layers"}), Session(served, {"page": "runs"})
    chosen = served.choose(session.selection)

    def state() -> str:
        return missing.not_computed(chosen, ["layer_summary"])

    until(session, lambda: "<button" in state() and "Compute" in state())
    assert "It takes a moment." in state()
    session.act({"do": "analyse", "run": chosen.run.digest, "names": "layer_summary"})
    assert "Cancel" in state()
    (task,) = served.jobs.tasks
    until(session, lambda: not task.is_live)
    assert task.state == DONE
    other.hear()
    until(session, lambda: served.choose(session.selection).run.has("layer_summary"))
    assert "done in 0:" in areas(other, "runs")["jobs"]
    assert "layer_summary" in open_run(chosen.run.stored.path).names


def test_what_a_run_cannot_have_says_what_is_missing(served):
    session = Session(served, {"page": "runs"})
    chosen = served.choose(session.selection)
    until(session, lambda: "Finding out" not in missing.not_computed(chosen, ["decoding"]))
    told = re.sub(r"<[^>]*>", " ", missing.not_computed(chosen, ["decoding"]))
    assert "cannot be computed for this run" in told
    assert "decoding needs categories" in told
    assert 'data-do="analyse"' not in missing.not_computed(chosen, ["decoding"])
    assert "match again" in missing.not_computed(chosen, ["fold_matches"])


def test_settings_of_a_figure_reach_command_and_button(served):
    session = Session(served, {"page": "runs"})
    chosen = served.choose(session.selection)
    until(session, lambda: "Compute" in missing.not_computed(chosen, ["map_counts"], settings={"layer": "conv1"}))
    told = missing.not_computed(chosen, ["map_counts"], settings={"layer": "conv1"})
    assert 'data-settings="{&quot;layer&quot;: &quot;conv1&quot;}"' in told
    assert "map_counts --set=layer=conv1" in told


def test_what_the_next_site_takes_is_said_at_once_and_not_for_other_settings(served, monkeypatch):
    session = Session(served, {"page": "runs"})
    run, jobs = served.choose(session.selection).run, served.jobs
    first, second = run.sites("V4").index[:2]
    until(session, lambda: jobs.state(run, "unit_correlations", {"site": first}) is not None)
    known = jobs.state(run, "unit_correlations", {"site": first})
    is_held = threading.Event()
    monkeypatch.setattr("dashboard.jobs.state_of", lambda *_, **__: is_held.wait(30))
    try:
        assert jobs.state(run, "unit_correlations", {"site": second}) is known
        assert jobs.state(run, "unit_correlations", {"layer": second}) is None
        assert jobs.state(run, "map_counts", {"site": second}) is None
    finally:
        is_held.set()


def test_nonsense_from_a_browser_is_refused_in_a_sentence(served):
    session = Session(served, {"page": "runs"})
    digest = served.choose(session.selection).run.digest
    for action, why in (
        ({"run": "nothing", "names": "decoding"}, "This run is not in the store any more."),
        ({"names": "../../etc"}, "There is no analysis"),
        ({"names": "map_counts", "settings": '{"layer": "/etc"}'}, "cannot be"),
        ({"names": "map_counts", "settings": "[1]"}, "are an object of JSON"),
    ):
        session.act({"do": "analyse", "run": digest, **action})
        assert why in session.bar.written["notice"].replace("&#x27;", "'")
    assert served.jobs.tasks == []


def test_jobs_show_progress_failure_and_what_to_do(served):
    jobs = served.jobs
    session = Session(served, {"page": "runs"})
    blocked = jobs.start(MatchRequest("squeezenet1_1", "nowhere"))
    until(session, lambda: "It failed" in areas(session, "runs")["jobs"])
    assert "There is no recording" in areas(session, "runs")["jobs"]
    assert not blocked.is_live
    session.act({"do": "again", "job": str(blocked.id)})
    assert [task.is_live for task in jobs.tasks] == [True]
    session.act({"do": "cancel", "job": str(jobs.tasks[0].id)})
    until(session, lambda: not jobs.is_busy)
    session.act({"do": "put-away", "job": str(jobs.tasks[0].id)})
    assert "Nothing is computed now" in areas(session, "runs")["jobs"]
    task = Task(9, blocked.request, expected_s=84, state=RUNNING, started=time.monotonic())
    task.hear({"step": "fire6", "done": 500, "total": 1000, "memory": 1181116006})
    shown = re.sub(r"<[^>]*>", " ", working.progress(task, jobs)).split()
    assert shown == ["fire6", "0:42", "left,", "1.1", "GiB", "of", "4", "GiB", "Cancel"]
    blocked.state = QUEUED
    assert "begins now" in working.progress(blocked, jobs)
    blocked.state = CANCELLED
    assert "Start again" in working.ended(blocked)


def test_the_self_check_tells_what_was_checked_and_what_fails(tmp_path, run_datasets):
    run = put(tmp_path, run_datasets)
    results = Results(tmp_path)
    session = Session(results, {"page": "provenance"})
    assert "Check this run" in areas(session, "provenance")["check"]
    session.act({"do": "check", "run": run.digest})
    until(session, lambda: "claims hold" in areas(session, "provenance")["check"])
    told = areas(session, "provenance")["check"]
    assert "fail" not in told
    assert "r computed again from responses and activations is the stored one" in told
    damage(run, "unit_counts/count")
    session.act({"do": "check", "run": run.digest, "again": "1"})
    until(session, lambda: "This run does not hold" in areas(session, "provenance")["check"])
    assert "was changed after it was written" in areas(session, "provenance")["check"]
    results.lane.close()


def test_provenance_tells_manifest_layers_and_commands(store):
    session = Session(Results(store), {"page": "provenance", "network": "tiny"})
    told = areas(session, "provenance")
    for text in ("Digest", "Settings", "folds", "Layers", "fire2", "units"):
        assert text in told["manifest"]
    assert "neural_correlation" in told["analyses"]


def test_keys_are_complete_and_a_long_menu_can_be_filtered(store):
    session = Session(Results(store), {"page": "runs"})
    keys = session.bar.written["keys"]
    for key in ("V", "/", "E", "J", "?", "Esc"):
        assert f"<kbd>{key}</kbd>" in keys
    assert keys.count("<kbd>G</kbd>") == 9
    assert "data-filter" not in session.bar.written["menus"]
    assert 'data-filter="network"' in bar._menu("network", "Network", [Markup("<button></button>")] * 300)


def test_the_view_of_a_site_is_toggled_and_in_the_address(store):
    session = Session(Results(store), {"page": "site"})
    session.act({"do": "toggle-view"})
    assert "view=field" in session.browser.address["query"]
    session.act({"do": "toggle-view"})
    assert "view" not in session.browser.address["query"]
