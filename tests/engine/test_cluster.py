"""Matches shared out among processes: the same numbers, whoever dies, and a message for whatever cannot be."""

import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
import xarray as xr

import engine
from engine import cluster, dispatch, workers
from engine.errors import ClusterError, MemoryBudgetError, NetworkError, RecordingError, SettingsError
from engine.matching import MatchSettings
from engine.pipeline import plan_match
from engine.store import store_root
from tests.engine.worked_example import N_STIMULI, Tiny, planted_recording, tiny_network

distributed = pytest.importorskip("distributed")

QUIET = {"progress": False, "memory": "1GiB"}
N_BATCHES = -(-N_STIMULI // 16)


class Noting(Tiny):
    """Writes, for each of its passes, who makes it and how many layers are recorded; and takes its time."""

    def __init__(self, notes: Path, seconds: float) -> None:
        super().__init__()
        self.notes, self.seconds = str(notes), seconds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hooked = [name for name, module in self.named_modules() if module._forward_hooks]
        with open(self.notes, "a") as file:
            file.write(f"{os.getpid()} {','.join(hooked)}\n")
        time.sleep(self.seconds)
        return super().forward(x)


class Hungry(Tiny):
    """Wants more memory than there is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x + torch.empty(2**60)[0]) if len(x) > 2 else super().forward(x)


class Dying(Tiny):
    """Ends its process as the system does when memory runs out."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)


def with_weights(module: Tiny) -> engine.Network:
    module.load_state_dict(tiny_network().module.state_dict())
    return replace(tiny_network(), module=module.eval())


@pytest.fixture(scope="module")
def network():
    return tiny_network()


@pytest.fixture(scope="module")
def recording(network):
    return planted_recording(network, noise=0.7)


@pytest.fixture(scope="module")
def alone(network, recording, tmp_path_factory):
    """The run of one process."""
    return engine.match(network, recording, store=tmp_path_factory.mktemp("alone"), **QUIET)


@pytest.fixture(scope="module")
def team():
    """Two processes that were started here."""
    with cluster.local_team(2) as started:
        yield started


@pytest.fixture
def running(team):
    """Address of their scheduler, to be used like any other."""
    return team.client.scheduler.address


@pytest.fixture
def groups_of_two(monkeypatch):
    """Two groups of layers for every match, whatever the machine's speed."""
    halves = lambda layers, plan, n: [plan(half) for half in (layers[:2], layers[2:]) if half]  # noqa: E731
    monkeypatch.setattr(dispatch, "share_out", halves)


@pytest.fixture
def notes(tmp_path):
    file = tmp_path / "notes"
    file.touch()
    return file


def require_same(found: engine.Run, expected: engine.Run, *names: str) -> None:
    for name in names or expected.names:
        xr.testing.assert_allclose(found.dataset(name).drop_attrs(), expected.dataset(name).drop_attrs(), atol=1e-6)


def passes(notes: Path) -> Counter:
    """Batches by (process, layers that were recorded); trials of all layers left out."""
    lines = [line.split() for line in notes.read_text().splitlines()]
    return Counter((int(line[0]), line[1]) for line in lines if len(line) == 2 and line[1].count(",") < 3)


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.parametrize(("batch", "missing"), [(None, 0.0), (7, 0.1)])
def test_two_workers_find_what_one_process_finds(network, running, tmp_path, groups_of_two, batch, missing):
    """Activations held (batch None), or summed and then scored by all workers, a stretch of the images each."""
    recording = planted_recording(network, noise=0.7, missing=missing)
    one = engine.match(network, recording, store=tmp_path / "one", batch=batch, **QUIET)
    two = engine.match(network, recording, store=tmp_path / "two", batch=batch, scheduler=running, **QUIET)
    assert two.digest == one.digest
    assert two.manifest["compute"]["plan"].startswith("2 groups of layers on 2 workers, each with 1 GiB, about ")
    require_same(two, one)


def test_several_recordings_share_the_workers(network, running, tmp_path):
    recordings = [planted_recording(network, noise=0.7, seed=seed, name=f"r{seed}") for seed in range(3)]
    settings, shared = MatchSettings(shuffles=3), {"scheduler": running, **QUIET}
    runs = list(dispatch.match_all(network, recordings, settings, tmp_path / "all", **shared))
    assert sorted(run.recording for run in runs) == ["r0", "r1", "r2"]
    of_last = next(run for run in runs if run.recording == "r2")
    require_same(of_last, engine.match(network, recordings[2], store=tmp_path / "each", shuffles=3, **QUIET))
    again = list(dispatch.match_all(network, recordings, settings, tmp_path / "all", **shared))
    assert {run.digest for run in again} == {run.digest for run in runs}


def test_the_plan_names_every_group(network, recording, running, groups_of_two):
    plan = dispatch.plan_all(network, [recording], MatchSettings(), scheduler=running, memory="1GiB")
    first, *groups = plan.splitlines()
    assert first.startswith("2 groups of layers on 2 workers, each with 1 GiB, about ")
    assert [line.split(": ")[0] for line in groups] == ["  tiny@planted, conv1 to relu1", "  tiny@planted, conv2 to fc"]
    assert all(": 1 pass over the stimuli, 16 at a time" in line for line in groups)


def test_workers_are_shared_by_whole_matches_first():
    assert dispatch._workers_of(5, 2) == [1, 1, 1, 1, 2]
    assert dispatch._workers_of(1, 8) == [8]
    assert dispatch._workers_of(4, 2) == [1, 1, 1, 1]
    assert dispatch._workers_of(0, 2) == []


def test_a_worker_killed_in_the_middle_costs_its_group_only(notes, recording, alone, groups_of_two, capsys):
    """And processes that were started for a match end with it, with what they changed in this one."""
    network, before, others = with_weights(Noting(notes, seconds=0.3)), dict(os.environ), children()
    killed = []

    def kill_one() -> None:
        while len({process for process, _ in passes(notes)}) < 2:
            time.sleep(0.02)
        killed.append(min(passes(notes).items(), key=lambda item: item[1])[0])
        os.kill(killed[0][0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    found = engine.match(network, recording, workers=2, progress=True, memory="1GiB")
    killer.join()
    assert "tiny @ planted: 100%" in capsys.readouterr().err
    assert dict(os.environ) == before
    assert children() == others
    require_same(found, alone, "matches", "layer_matches", "feature_maps", "null", "unit_counts")
    of_layers = Counter()
    for (_, layers), n in passes(notes).items():
        of_layers[layers] += n
    (other,) = set(of_layers) - {killed[0][1]}
    assert of_layers[other] == N_BATCHES
    assert N_BATCHES < of_layers[killed[0][1]] <= 2 * N_BATCHES


def test_parts_that_are_there_are_not_computed_again(notes, recording, running, groups_of_two, monkeypatch):
    network = with_weights(Noting(notes, 0.0))
    real = dispatch._Shares.results

    def one_group(self):
        yield next(real(self))
        raise KeyboardInterrupt

    monkeypatch.setattr(dispatch._Shares, "results", one_group)
    with pytest.raises(KeyboardInterrupt):
        engine.match(network, recording, scheduler=running, **QUIET)
    monkeypatch.setattr(dispatch._Shares, "results", real)
    assert len(list(store_root(None).glob("parts/*/*.part"))) == 2
    notes.write_text("")
    engine.match(network, recording, scheduler=running, **QUIET)
    assert len({layers for _, layers in passes(notes)}) <= 2
    assert not list(store_root(None).glob("parts/*/*.part"))


def test_ctrl_c_stops_groups_of_others_workers_within_a_batch(notes, recording, running, groups_of_two):
    """The client goes; workers that belong to somebody else stay, and stop what nobody waits for."""

    def interrupt() -> None:
        while len({process for process, _ in passes(notes)}) < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        engine.match(with_weights(Noting(notes, 0.2)), recording, scheduler=running, **QUIET)
    interrupter.join()
    time.sleep(0.5)
    stopped = sum(passes(notes).values())
    time.sleep(0.5)
    assert sum(passes(notes).values()) == stopped < 2 * N_BATCHES


def test_a_worker_without_memory_goes_on_in_smaller_batches(recording, running):
    run = engine.match(with_weights(Hungry()), recording, scheduler=running, **QUIET)
    alone = engine.match(tiny_network(), recording, **QUIET)
    correlation = [one.dataset("matches")["correlation"] for one in (run, alone)]
    xr.testing.assert_allclose(*correlation, atol=5e-6)


def test_workers_that_die_one_after_the_other_are_not_started_for_ever(recording, team, running, monkeypatch):
    monkeypatch.setattr(team.client.cluster.scheduler, "allowed_failures", 0)
    with pytest.raises(ClusterError, match=r"1 workers died .* ran out of memory: give .*--memory .*same command"):
        engine.match(with_weights(Dying()), recording, scheduler=running, **QUIET)
    team.client.wait_for_workers(2, timeout=60)


def test_a_task_that_the_cluster_gives_up_is_said_to_be(team):
    future = team.submit(time.sleep, 0.5)
    team.client.cancel([future])
    with pytest.raises(ClusterError, match=r"gave up a task while it was tried .*same command goes on"):
        team.result(future, "it was tried")


def test_more_memory_than_this_machine_has_is_refused(network, recording, team):
    shares = dispatch._Shares(team, [], [])
    plan = plan_match(network, recording, memory="1GiB")
    shares.groups = [dispatch._Group(0, replace(plan, peak=2**50))] * 3
    with pytest.raises(MemoryBudgetError, match=r"2 workers would take 2.05e\+03 TiB at once, .* --memory \d+MiB, or"):
        shares.require_machine()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 0}, r"workers=0: a whole number of processes of at least 1 is needed\."),
        ({"workers": 2, "scheduler": "tcp://127.0.0.1:1"}, "give one of the two"),
    ],
)
def test_wrong_choices_are_refused(network, recording, settings, message):
    with pytest.raises(SettingsError, match=message):
        engine.match(network, recording, **settings)


def test_without_distributed_the_message_installs_it(network, recording, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r'not installed: pip install "unitscope\[cluster\]"'):
        engine.match(network, recording, workers=2)


def test_a_scheduler_that_does_not_answer_is_named(network, recording, monkeypatch):
    monkeypatch.setattr(cluster, "_ANSWER_S", 0.3)
    with pytest.raises(ClusterError, match=r"scheduler='tcp://127.0.0.1:1' does not answer .*`dask scheduler`"):
        engine.match(network, recording, scheduler="tcp://127.0.0.1:1", **QUIET)


def test_a_scheduler_without_workers_is_said_to_have_none(network, recording, monkeypatch):
    monkeypatch.setattr(cluster, "_ANSWER_S", 0.5)
    with (
        distributed.LocalCluster(
            n_workers=0, host="127.0.0.1", dashboard_address=None, silence_logs=logging.CRITICAL,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        ) as empty,
        pytest.raises(ClusterError, match=r"has no workers, and none came within 0.5 s.*`dask worker ADDRESS`"),
    ):  # fmt: skip
        engine.match(network, recording, scheduler=empty.scheduler_address, **QUIET)


def test_workers_with_other_versions_are_refused(network, recording, running, monkeypatch):
    monkeypatch.setattr(workers, "ALGORITHM", 99)
    with pytest.raises(ClusterError, match=r"Worker tcp.* has algorithm \d+, this process 99\. Install"):
        engine.match(network, recording, scheduler=running, **QUIET)


def test_a_network_that_cannot_travel_is_refused(recording, running):
    network = with_weights(Tiny())
    network.module.lock = threading.Lock()
    with pytest.raises(NetworkError, match=r"'tiny' cannot be sent to workers \(TypeError: .*without workers"):
        engine.match(network, recording, scheduler=running, **QUIET)


def test_a_network_whose_code_a_worker_lacks_is_refused(team, network):
    packed = b"cno_such_module\nTiny\n."
    with pytest.raises(NetworkError, match=r"cannot load the network: No module named 'no_such_module'.* PYTHONPATH"):
        team.result(team.submit(workers.unpack, packed), "it was opened")


def test_other_code_on_the_worker_is_refused(network, recording, running, monkeypatch):
    real = engine.pipeline.network_digest
    monkeypatch.setattr(engine.pipeline, "network_digest", lambda network: real(network)[::-1])
    with pytest.raises(NetworkError, match=r"worker tcp.* has other code for 'tiny' than the process that matches"):
        engine.match(network, recording, scheduler=running, **QUIET)


def test_images_that_a_worker_cannot_read_are_named(network, running, tmp_path, monkeypatch):
    folder = planted_recording(network).save(tmp_path / "saved")
    saved = engine.open_recording(folder)
    real = dispatch._packed

    def packed(jobs):
        content = real(jobs)
        for file in [*folder.rglob("*.png"), *folder.rglob("*.zip")]:
            file.unlink()
        return content

    monkeypatch.setattr(dispatch, "_packed", packed)
    with pytest.raises(RecordingError, match=r"worker tcp.* cannot read stimulus 'image000'.*under the same path"):
        engine.match(network, saved, scheduler=running, **QUIET)


def test_other_images_at_the_same_path_are_refused(network, running, monkeypatch):
    recording = planted_recording(network)
    real = dispatch._packed

    def packed(jobs):
        recording.stimuli._digests = dict.fromkeys(recording.stimuli.ids, "0" * 64)
        return real(jobs)

    monkeypatch.setattr(dispatch, "_packed", packed)
    with pytest.raises(RecordingError, match=r"finds other pixels for stimulus 'image000' than"):
        engine.match(network, recording, scheduler=running, **QUIET)
