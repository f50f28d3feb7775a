"""A run is found by what its user calls it, and one broken run hides no other."""

import os
import shutil
import time
from pathlib import Path

import pytest

from engine import catalogue
from engine.errors import RunNotFoundError, StoreError
from engine.store import list_runs, open_parts, open_run, store_root, write_run
from tests.engine.small_runs import DIGEST, counts, layer_result, manifest, recording

OTHER = "ba5e" * 16


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path, DIGEST, {"recording": recording(), "counts": counts()}, manifest())


def test_a_run_opens_by_path_by_name_and_by_prefix(run, tmp_path, monkeypatch):
    for name in (
        run.path,
        str(run.path),
        run,
        "squeezenet1_1@cowley-v4/190923",
        DIGEST,
        DIGEST[:1],
        DIGEST[:9].upper(),
    ):
        assert open_run(name, tmp_path).digest == DIGEST
    monkeypatch.setenv("UNITSCOPE_STORE", str(tmp_path))
    assert open_run("squeezenet1_1@cowley-v4/190923").digest == DIGEST
    monkeypatch.chdir(run.path.parent)
    assert open_run(DIGEST).path == run.path


def test_an_ambiguous_name_lists_the_candidates(run, tmp_path):
    write_run(tmp_path, "5eee" * 16, {}, manifest(settings={"top": 7}))
    with pytest.raises(RunNotFoundError, match="'squeezenet1_1@cowley-v4/190923' fits 2 runs") as error:
        open_run("squeezenet1_1@cowley-v4/190923", tmp_path)
    assert "5eee5eee5eee  squeezenet1_1@cowley-v4/190923  top=7 " in str(error.value)
    assert "5eed5eed5eed  squeezenet1_1@cowley-v4/190923  folds=2 top=100 " in str(error.value)
    with pytest.raises(RunNotFoundError, match="'5ee' fits 2 runs"):
        open_run("5ee", tmp_path)
    assert open_run("5eee", tmp_path).settings == {"top": 7}


def test_a_name_that_fits_nothing_says_what_there_is(run, tmp_path):
    with pytest.raises(
        RunNotFoundError, match=r"(?s)No run 'alexnet@mine' in .*There are:.*5eed5eed5eed  squeezenet1_1@"
    ):
        open_run("alexnet@mine", tmp_path)
    with pytest.raises(RunNotFoundError, match=r"No run '': .*holds no runs. Make one with 'unitscope match'"):
        open_run("", tmp_path / "nowhere")
    with pytest.raises(RunNotFoundError, match="No run"):
        open_run("\0" + "x" * 5000, tmp_path)
    for i in range(25):
        write_run(tmp_path, f"{i:06x}", {}, manifest(f"net{i}"))
    with pytest.raises(RunNotFoundError, match="and 6 more"):
        open_run("alexnet@mine", tmp_path)


def test_a_folder_that_is_no_run_is_never_advised_to_be_deleted(run, tmp_path):
    with pytest.raises(RunNotFoundError, match="is a store, not a run; its runs: unitscope list runs --store") as store:
        open_run(tmp_path)
    (tmp_path / "home").mkdir()
    with pytest.raises(RunNotFoundError, match=r"is not the folder of a run \(it has no manifest.json\)") as folder:
        open_run(tmp_path / "home")
    assert "rm -r" not in str(store.value) + str(folder.value)


def test_a_damaged_manifest_says_what_to_do(run, tmp_path):
    path = run.path / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"squeezenet1_1", b"squeezenet1_0"))
    with pytest.raises(
        StoreError, match=r"manifest.json was changed after .* Delete the run and compute it again: rm -r"
    ):
        open_run(DIGEST, tmp_path)
    path.unlink()
    with pytest.raises(StoreError, match=r"manifest.json is missing. Delete the run"):
        open_run(run.path)


def test_the_store_is_the_one_named_else_the_environments_else_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("UNITSCOPE_STORE", str(tmp_path / "a"))
    assert store_root(tmp_path / "b") == tmp_path / "b"
    assert store_root() == tmp_path / "a"
    monkeypatch.delenv("UNITSCOPE_STORE")
    assert store_root().parts[-2:] == ("unitscope", "store")
    assert store_root("~/x") == Path.home() / "x"
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file is a file, and a store is a folder\. Name another with --store"):
        store_root(tmp_path / "file")


def test_runs_are_listed_newest_first_and_a_broken_one_hides_none(run, tmp_path):
    write_run(tmp_path, OTHER, {}, manifest("efficientnet_lite0", created="2018-12-01T00:00:00+00:00"))
    write_run(tmp_path, "aaaaaa", {"counts": counts()}, manifest())
    (tmp_path / "runs/aaaaaa/manifest.json").write_bytes(b"\xff\0nothing")
    write_run(tmp_path, "bbbbbb", {"counts": counts()}, manifest("lost"))
    (tmp_path / "runs/bbbbbb/manifests/counts.json").unlink()
    (tmp_path / "runs" / "stray").mkdir()
    (tmp_path / "runs" / "file").touch()
    open_parts(tmp_path, "cccccc", manifest("half", "mine")).write("layer", layer_result(0))
    (tmp_path / "parts/dddddd").mkdir()
    table = list_runs(tmp_path)
    assert table.columns.tolist() == ["digest", "network", "recording", "settings", "created", "status"]
    rows = {row.digest: row for row in table.itertuples()}
    assert table["created"].is_monotonic_decreasing
    assert (rows[DIGEST].status, rows[DIGEST].settings) == ("complete", "folds=2 top=100")
    assert (rows[OTHER].status, rows[OTHER].network) == ("complete", "efficientnet_lite0")
    assert rows["aaaaaa"].status.startswith("damaged: ")
    assert rows["bbbbbb"].status == "damaged: group 'counts' has lost its manifest"
    assert (rows["cccccc"].status, rows["cccccc"].network, rows["cccccc"].recording) == ("incomplete", "half", "mine")
    assert rows["dddddd"].status == "incomplete"
    assert rows["stray"].status.startswith("damaged: ")
    with pytest.raises(RunNotFoundError, match=r"'half@mine' in .* is not finished. Go on with the command"):
        open_run("half@mine", tmp_path)


def test_an_empty_store_lists_nothing(tmp_path):
    assert list_runs(tmp_path / "nowhere").empty


def test_three_hundred_runs_are_listed_in_a_second(run, tmp_path):
    for i in range(300):
        shutil.copytree(run.path, tmp_path / "runs" / f"{i:064x}", copy_function=os.link)
    list_runs(tmp_path)
    start = time.perf_counter()
    assert len(list_runs(tmp_path)) == 301
    assert time.perf_counter() - start < 1


def test_a_whole_digest_is_opened_without_a_look_at_the_other_runs(run, tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "_table", lambda root: pytest.fail("hundreds of runs would be read for one"))
    assert open_run(DIGEST, tmp_path).path == run.path
