"""What the server computes for its visitors: begun, watched, cancelled, and nothing left behind."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import engine
from dashboard.bell import Bell
from dashboard.child import Child, EndedError, JobError
from dashboard.jobs import CANCELLED, DONE, FAILED, QUEUED, RUNNING, Jobs, Task
from dashboard.lane import Lane
from dashboard.requests import AnalyseRequest, MatchRequest, analyse_request, match_request
from dashboard.results import Results
from dashboard.runs import OpenRun
from dashboard.views.session import Session
from engine.errors import SettingsError
from tests.dashboard.stores import put
from tests.engine import test_full_disk
from tests.engine.test_full_disk import enlarge, fill

disk = test_full_disk.disk
LONG = '{"n_resamples": 1000000}'
"""Settings with which ``intervals`` takes longer than any test waits."""


@pytest.fixture
def run(tmp_path, run_datasets) -> engine.Run:
    return put(tmp_path / "store", run_datasets)


@pytest.fixture
def jobs(tmp_path) -> Iterator[Jobs]:
    made = Jobs(str(tmp_path / "store"), Bell())
    yield made
    made.close()


def analysis(run: engine.Run, name: str, settings: str = "{}") -> AnalyseRequest:
    return AnalyseRequest(run.digest, "Tiny Net against planted", (name,), settings)


def wait_until(holds: Callable[[], bool], within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def processes_of(jobs: Jobs) -> list[int]:
    return [child._process.pid for child in jobs._children.values() if child._process is not None]


def is_there(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_job_computes_what_was_asked_for_and_tells_when_it_is_done(run, jobs):
    rung: list[bool] = []

    class Page:
        def rung(self, *, is_news: bool) -> None:
            rung.append(is_news)

    page = Page()
    jobs._bell.listen(page)
    task = jobs.start(analysis(run, "layer_summary"))
    wait_until(lambda: not task.is_live)
    assert (task.state, task.message) == (DONE, "")
    assert "layer_summary" in engine.open_run(run.path).names
    assert task.result["digest"] == run.digest
    assert rung.count(True) >= 3  # it came, it began, it ended


def test_a_cancelled_job_is_gone_within_two_seconds_and_the_store_is_whole(run, jobs):
    task = jobs.start(analysis(run, "intervals", LONG))
    second = jobs.start(analysis(run, "map_counts"))
    wait_until(lambda: task.state == RUNNING and task.step == "intervals")
    (pid,) = processes_of(jobs)
    assert second.state == QUEUED
    jobs.cancel(second.id)
    started = time.monotonic()
    jobs.cancel(task.id)
    assert time.monotonic() - started < 2
    assert not is_there(pid)
    wait_until(lambda: not task.is_live)
    assert (task.state, second.state) == (CANCELLED, CANCELLED)
    assert "same match goes on where it stopped" in task.message
    assert second.message == "It was cancelled before it began."
    assert "intervals" not in engine.open_run(run.path).names
    assert run.verify() == []


def test_jobs_end_with_the_server(run, tmp_path):
    jobs = Jobs(str(tmp_path / "store"), Bell())
    task = jobs.start(analysis(run, "intervals", LONG))
    wait_until(lambda: task.step == "intervals")
    (pid,) = processes_of(jobs)
    jobs.close()
    assert not is_there(pid)
    with pytest.raises(SettingsError, match="wait already"):
        jobs.start(analysis(run, "map_counts"))


def test_a_process_whose_server_was_killed_ends_by_itself(run):
    request = '{"do": "analyse", "run": "%s", "names": ["intervals"], "settings": {"intervals": %s}}\n'
    command = [sys.executable, "-m", "engine.jobs"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdin.write(request % (str(run.path), LONG))
    process.stdin.flush()
    assert '"step": "intervals"' in process.stdout.readline()
    process.stdin.close()
    assert process.wait(10) == 3
    process.stdout.close()


def test_what_the_engine_says_is_what_the_page_shows(jobs):
    task = jobs.start(MatchRequest("squeezenet1_1", "nowhere"))
    wait_until(lambda: not task.is_live)
    assert task.state == FAILED
    assert task.message.startswith("There is no recording 'nowhere'. Known names: builtin")
    assert "Traceback" not in task.message


def test_a_process_that_the_system_kills_is_explained(run):
    heard: list = []
    child = Child({"do": "analyse", "run": str(run.path), "names": ["intervals"], "settings": {}}, heard.append)
    message = str(child._died(-9))
    assert "as it does when memory runs out. Choose less memory." in message
    assert "status 7" in str(child._died(7))
    child.end()
    with pytest.raises(EndedError, match="cancelled before it began"):
        child.result()
    with pytest.raises(JobError, match=r"It failed \(error \w{6}; the server's log says more\)"):
        Child({"do": "nothing"}).result()


def test_the_same_request_is_done_once_and_ended_jobs_can_be_put_away(run, jobs):
    blocked = jobs.start(analysis(run, "intervals", LONG))
    first, again = jobs.start(analysis(run, "map_counts")), jobs.start(analysis(run, "map_counts"))
    assert first is again
    assert jobs.of_run(run.digest, "map_counts") is first
    jobs.put_away(first.id)
    assert first in jobs.tasks, "what waits is not put away"
    jobs.cancel(first.id)
    jobs.put_away(first.id)
    assert jobs.tasks == [blocked]


def test_time_left_follows_the_plan_at_first_and_then_what_was_measured(monkeypatch):
    now = 100.0
    monkeypatch.setattr("dashboard.jobs.time.monotonic", lambda: now)
    task = Task(1, MatchRequest("a", "b"), expected_s=60, state=RUNNING, started=100.0)
    now = 110.0
    assert task.left_s == pytest.approx(50)
    task.hear({"step": "one", "done": 0, "total": 1000, "memory": 5})
    now = 111.0
    task.hear({"step": "one", "done": 10, "total": 1000, "memory": 3})
    assert task.left_s == pytest.approx(60 * 0.99)
    assert task.memory == 5, "the peak"
    now = 130.0
    task.hear({"step": "two", "done": 500, "total": 1000})
    assert (task.share, task.left_s) == (0.5, pytest.approx(20))


def test_a_question_is_answered_once_beside_the_loop_and_rings():
    bell, rings, asked = Bell(), [], []

    class Page:
        def rung(self, *, is_news: bool) -> None:
            rings.append(is_news)

    page = Page()
    bell.listen(page)
    lane = Lane(bell)
    for _ in range(3):
        lane.ask("key", lambda: asked.append(1) or 42)
        wait_until(lambda: lane.ask("key", lambda: None) is not None)
    assert (lane.ask("key", lambda: 0).value, asked, rings) == (42, [1], [False])
    lane.ask("wrong", lambda: 1 / 0)
    wait_until(lambda: lane.ask("wrong", lambda: None) is not None)
    told = lane.ask("wrong", lambda: None).problem
    assert re.fullmatch("That did not work \\(error [0-9a-f]{6}; the server's log says more\\).", told)
    lane.close()


@pytest.mark.parametrize("is_ending", [False, True])
def test_what_goes_wrong_is_logged_but_for_a_server_that_ends(caplog, is_ending):
    lane, goes_on = Lane(Bell()), threading.Event()

    def fails() -> None:
        goes_on.wait(30)
        raise RuntimeError("cannot schedule new futures after shutdown")

    lane.ask("key", fails)
    if is_ending:
        lane.close()
    goes_on.set()
    wait_until(lambda: lane.ask("key", fails) is not None)
    assert ("a question of the page was not answered" in caplog.text) != is_ending
    lane.close()


OFFERED = {
    "network": "tiny",
    "recording": "planted",
    "weights": "random",
    "weights_seed": "3",
    "folds": "2",
    "memory": "4GiB",
}


def test_a_match_is_made_only_of_what_was_offered():
    request = match_request(OFFERED, ["tiny"], {"planted": "/data/planted"})
    assert request == MatchRequest("tiny", "/data/planted", "random", 3, 2, "4GiB")
    assert request.title == "Match tiny (random weights, seed 3) against planted"
    assert request.command.endswith("--weights=random --weights-seed=3 --folds=2 --memory=4GiB")
    for name, value in {
        "network": "os:system",
        "recording": "/etc",
        "weights": "/home/x.pt",
        "weights_seed": "-1",
        "folds": "0",
        "memory": "900GiB",
    }.items():
        with pytest.raises(SettingsError, match=r"is not offered here\. Choose one of: "):
            match_request({**OFFERED, name: value}, ["tiny"], {"planted": "/data/planted"})


def test_an_analysis_takes_only_names_and_settings_that_there_are(run):
    opened = OpenRun(run)
    request = analyse_request(opened, ["map_counts", "intervals"], {"n_resamples": 500, "layer": "conv1"}, [])
    assert request.by_name == {"map_counts": {"layer": "conv1"}, "intervals": {"n_resamples": 500}}
    assert request.command == (
        f"unitscope analyse {run.digest[:12]} map_counts intervals --set=layer=conv1 --set=n_resamples=500"
    )
    assert analyse_request(opened, ["comparison"], {"other": "abc"}, ["abc"]).by_name == {
        "comparison": {"other": "abc"}
    }
    for names, settings, why in (
        (["nothing"], {}, "There is no analysis 'nothing'"),
        ([], {}, "There is no analysis"),
        (["intervals"], {"layer": "conv1"}, "there is no setting 'layer'"),
        (["map_counts"], {"layer": "/etc/passwd"}, "'layer' cannot be '/etc/passwd'"),
        (["intervals"], {"n_resamples": "many"}, "'n_resamples' cannot be 'many'"),
        (["intervals"], {"n_resamples": 10**9}, "cannot be '1000000000'"),
        (["comparison"], {"other": "another"}, "'other' cannot be 'another'"),
    ):
        with pytest.raises(SettingsError, match=why):
            analyse_request(opened, names, settings, ["abc"])


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, {"workers": 2}])
def test_a_match_is_planned_started_and_found_in_the_store(tmp_path, monkeypatch, how):
    monkeypatch.setenv("UNITSCOPE_DATA", str(tmp_path / "data"))
    rng = np.random.default_rng(0)
    recording = engine.Recording.from_arrays(
        rng.gamma(2, 3, (16, 3)),
        rng.integers(0, 255, (16, 32, 32, 3), np.uint8),
        stimulus_ids=[f"image{i}" for i in range(16)],
        region=["V4"] * 3,
        name="mine",
    )
    recording.save(tmp_path / "data" / "mine")
    jobs = Jobs(str(tmp_path / "store"), Bell(), how=how)
    try:
        wait_until(lambda: jobs.offers() is not None)
        offers = jobs.offers().value
        assert "squeezenet1_1" in [row["name"] for row in offers.networks]
        assert offers.opens["mine"] == str(Path(tmp_path / "data" / "mine"))
        asked = {**OFFERED, "network": "squeezenet1_1", "recording": "mine"}
        request = match_request(asked, [str(row["name"]) for row in offers.networks], offers.opens)
        wait_until(lambda: jobs.plan(request) is not None, 120)
        plan = jobs.plan(request).value
        assert (plan["is_stored"], plan["sites"], plan["stimuli"]) == (False, 3, 16)
        assert ("on 2 workers, each with 4 GiB" in plan["way"]) if how else plan["seconds"] > 0
        task = jobs.start(request, expected_s=plan.get("seconds", 0))
        wait_until(lambda: not task.is_live, 240)
        assert task.total > 0
        assert task.state == DONE, task.message
        assert task.result["digest"] == plan["digest"]
        assert engine.open_run(plan["digest"], tmp_path / "store").verify() == []
        wait_until(lambda: jobs.plan(request) is not None, 120)
        assert jobs.plan(request).value["is_stored"]
    finally:
        jobs.close()


@pytest.mark.slow
def test_on_a_full_disk_a_job_fails_with_that_reason_and_the_page_goes_on(disk, run_datasets):
    enlarge(disk, "16m")
    run = put(disk / "store", run_datasets)
    fill(disk, 4_000)
    results = Results(disk / "store")
    results.jobs = Jobs(str(disk / "store"), results.bell)
    try:
        page = Session(results, {"page": "runs"})
        task = results.jobs.start(analysis(run, "intervals"))
        wait_until(lambda: not task.is_live)
        assert task.state == FAILED
        assert "No space left to write" in task.message
        page.hear()
        assert any("No space left to write" in html for html in page.pages["runs", ""].shown.written.values())
        page.act({"do": "select", "page": "site"})
        page.act({"do": "step", "name": "site", "by": 1})
        assert page.bar.written["notice"] == ""
        assert engine.open_run(run.path).verify() == []
    finally:
        results.jobs.close()
