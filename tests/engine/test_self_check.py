"""unitscope check: the table, the exit code, the store that is tried, and that each claim about it can fail."""

import json
import subprocess
import sys
import time

import pandas as pd
import pytest
from click.testing import CliRunner

import engine.identities
import engine.runs
from engine import self_check, store_trial
from engine.cli import main
from engine.errors import NetworkError
from engine.identities import Identity
from engine.store import open_run, run_lock, write_run
from engine.store_trial import try_runs, try_store
from tests.engine.small_runs import DIGEST, counts, manifest, recording

QUIET = {"seconds": 60.0, "told": lambda step: None}


@pytest.fixture
def store(tmp_path):
    write_run(tmp_path / "store", DIGEST, {"recording": recording(), "counts": counts()}, manifest())
    return tmp_path / "store"


def checked(store) -> dict[str, self_check.Check]:
    return {check.name: check for check in [*try_store(store), *try_runs(store, **QUIET)]}


def test_a_store_that_works_passes_and_is_left_as_it_was(store):
    before = sorted(path for path in store.rglob("*"))
    found = checked(store)
    assert [name for name, check in found.items() if not check.is_passed] == []
    assert sorted(path for path in store.rglob("*")) == before
    assert found["a flipped bit"].found.endswith(" 0 silent")
    assert "runs left by 4 killed writers, 0 damaged" in found["kill -9"].found
    assert found["runs"].found.startswith("1 runs, ")


def test_a_store_that_is_not_there_yet_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setattr(store_trial, "_killed", lambda folder: iter(()))
    assert checked(tmp_path / "none")["runs"].found == "none there"
    assert not (tmp_path / "none").exists()


def test_a_reader_that_compares_nothing_fails(store, monkeypatch):
    monkeypatch.setattr(engine.runs, "read_listed", lambda folder, name, files: (folder / name).read_bytes())
    monkeypatch.setattr(engine.runs, "missing_or_resized", lambda folder, files: iter(()))
    monkeypatch.setattr(store_trial, "_killed", lambda folder: iter(()))
    found = checked(store)
    assert found["written and read"].is_passed
    assert not found["a flipped bit"].is_passed
    assert not found["a cut or lost file"].is_passed


def test_writers_that_leave_halves_fail(tmp_path, monkeypatch):
    def naive(root):
        code = f"import pathlib, time; (pathlib.Path({str(root)!r}) / 'runs/{0:064x}/data.zarr').mkdir(parents=True)"
        code += "; print('writing', flush=True); time.sleep(60)"
        return subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True)

    monkeypatch.setattr(store_trial, "_writer", naive)
    monkeypatch.setattr(store_trial, "_seconds_to_go_on", lambda root, number: 99.0)
    found = {check.name: check for check in try_store(tmp_path)}
    assert found["kill -9"].found == "4 runs left by 4 killed writers, 4 damaged"
    assert not found["kill -9"].is_passed
    assert not found["a killed writer's lock"].is_passed


def test_writers_that_cannot_begin_are_told(tmp_path, monkeypatch):
    said = [sys.executable, "-c", "import sys; sys.exit('no numpy here')"]
    monkeypatch.setattr(store_trial, "_writer", lambda root: subprocess.Popen(said, stdout=-1, stderr=-1, text=True))
    found = {check.name: check for check in try_store(tmp_path)}["kill -9"]
    assert not found.is_passed
    assert "some could not begin: no numpy here" in found.found


def test_values_that_come_back_changed_fail(store, monkeypatch):
    monkeypatch.setattr(store_trial, "_killed", lambda folder: iter(()))
    kept = store_trial._values
    drawn = iter(range(10**6))
    monkeypatch.setattr(store_trial, "_values", lambda number: kept(number) + next(drawn))
    assert not checked(store)["written and read"].is_passed


def test_a_damaged_run_is_named_with_what_to_do(store):
    file = next(path for path in (store / "runs" / DIGEST / "data.zarr/counts/count").rglob("0") if path.is_file())
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    damaged, all_runs = try_runs(store, **QUIET)
    assert damaged.name == f"squeezenet1_1@cowley-v4/190923 {DIGEST[:12]}"
    assert f"{file} was changed after it was written" in damaged.found
    assert "Delete the run and compute it again" in damaged.found
    assert (damaged.is_passed, all_runs.is_passed) == (False, False)
    (by_size,) = try_runs(store, seconds=-1, told=print)
    assert by_size.is_passed
    assert "of 1 only the sizes, --all reads them too" in by_size.found
    file.unlink()
    assert [check.is_passed for check in try_runs(store, seconds=-1, told=print)] == [False, False]


def test_a_run_in_a_folder_of_another_name_is_read_where_it_is(store):
    (store / "runs" / DIGEST).rename(store / "runs" / "from-a-colleague")
    (whole,) = try_runs(store, **QUIET)
    assert whole.is_passed
    assert whole.found.startswith("1 runs, ")


def test_a_store_that_cannot_be_written_says_why(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    (failed, _) = self_check._of_store(tmp_path / "file" / "store", 1.0, print)
    assert failed.is_passed is False
    assert "Check the disk or choose another place with --store or UNITSCOPE_STORE" in failed.found


@pytest.mark.parametrize(("n_found", "is_passed"), [(20, True), (19, True), (18, False), (0, False)])
def test_most_reliable_sites_must_find_their_unit(tmp_path, monkeypatch, n_found, is_passed):
    found = pd.Series([True] * n_found + [False] * (20 - n_found))
    monkeypatch.setattr(self_check, "_small_answer", lambda: (found, "made here"))
    answer = self_check.known_answer(tmp_path)
    assert answer.is_passed == is_passed
    assert answer.found == f"{n_found} of 20, made here"


@pytest.fixture
def quick(monkeypatch):
    """Two identities, no network, no writers that are killed: the rest of the command is real."""

    def missing():
        raise NetworkError('squeezenet1_1 is not installed: pip install "unitscope[demo]"')

    monkeypatch.setattr(self_check, "_small_answer", missing)
    monkeypatch.setattr(store_trial, "_killed", lambda folder: iter(()))
    held = {"one": Identity("differs little", 1e-6, lambda: 2.5e-9), "two": Identity("is here", 1, lambda: None)}
    monkeypatch.setattr(self_check, "IDENTITIES", held)
    return held


def test_the_command_prints_a_table(store, quick):
    result = CliRunner().invoke(main, ["check", "--store", str(store)])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[1].split()[:3] == ["ok", "one", "2.5e-09"]
    assert lines[1].split("<= 1e-06")[1].strip() == "differs little"
    assert "not checked: no such device here" in result.output
    assert 'not checked: squeezenet1_1 is not installed: pip install "unitscope[demo]"' in result.output
    assert "5 of 7 claims hold, 0 FAILED, 2 could not be checked here." in lines
    assert "algorithm " in lines[-2]
    assert "cores" in lines[-1]


def test_a_claim_that_fails_is_the_exit_code(store, quick):
    def broken():
        raise RuntimeError("no such instruction")

    quick |= {"three": Identity("is small", 1e-6, lambda: 0.5), "four": Identity("x", 1, broken)}
    quick["five"] = Identity("is a number", 1, lambda: float("nan"))
    result = CliRunner().invoke(main, ["check", "--store", str(store), "--json"])
    assert result.exit_code == 1
    told = json.loads(result.output)
    assert told["n_failed"] == 3
    (identities, *_) = told["parts"].values()
    by_name = {check["name"]: check for check in identities}
    assert (by_name["three"]["found"], by_name["three"]["bound"]) == ("0.5", "<= 1e-06")
    assert by_name["four"]["found"] == "RuntimeError: no such instruction"
    assert "3 FAILED" in CliRunner().invoke(main, ["check", "--store", str(store)]).output


def test_what_is_long_stands_below_the_line(store, quick):
    quick["long"] = Identity("x", 1, lambda: (_ for _ in ()).throw(ValueError("y" * 99)))
    assert f"\n          ValueError: {'y' * 99}\n" in self_check.self_check(store).describe()


def test_a_lock_that_is_held_is_waited_for(tmp_path):
    with run_lock(tmp_path, f"{0:064x}"):
        begun = time.monotonic()
        assert store_trial._seconds_to_go_on(tmp_path, 0) < 10
        assert time.monotonic() - begun < 10
    assert open_run(f"{0:064x}", tmp_path).verify() == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_everything_holds_here_in_a_minute(store):
    begun = time.monotonic()
    result = CliRunner().invoke(main, ["check", "--store", str(store)])
    took = time.monotonic() - begun
    print(f"{took:.0f} s\n{result.output}")
    assert took < 60
    assert result.exit_code == 0
    assert "matched now with 64 images" in result.output
