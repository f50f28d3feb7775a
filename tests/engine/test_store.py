"""A run is found, opens anywhere without torch, and what is read from it is what was written."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import engine.runs
from engine.errors import StoreError
from engine.store import Run, add_group, find_run, open_run, write_run
from tests.engine.small_runs import DIGEST, counts, manifest, recording


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path, DIGEST, {"recording": recording(), "counts": counts()}, manifest())


def test_groups_come_back_with_where_they_come_from(run, tmp_path):
    found = open_run(DIGEST, tmp_path)
    for name, written in {"recording": recording(), "counts": counts()}.items():
        dataset = found.dataset(name)
        xr.testing.assert_equal(dataset, written)
        assert dataset.attrs.items() >= written.attrs.items()
        assert dataset.attrs["settings"] == {"top": 100, "folds": 2}
        assert dataset.attrs["digests"] == manifest()["digests"]
        assert (dataset.attrs["seed"], dataset.attrs["versions"]["torch"]) == (0, "2.13")
        assert found.attributes(name) == dataset.attrs
    assert (found.network, found.recording, found.digest) == ("squeezenet1_1", "cowley-v4/190923", DIGEST)
    assert found.names == ["counts", "recording"]
    assert found.settings == {"top": 100, "folds": 2}
    assert np.isnan(found.manifest["network"]["top1"])
    assert found.verify() == []
    assert repr(found).startswith("<Run squeezenet1_1@cowley-v4/190923 5eed5eed5eed in ")


def test_what_a_run_gives_cannot_be_written_to(run):
    dataset = run.dataset("counts")
    with pytest.raises(ValueError, match="read-only"):
        dataset["count"].values[0, 0] = 7
    dataset["more"] = ("layer", np.zeros(30))
    assert "more" not in run.dataset("counts")


def test_a_group_is_read_once(run, monkeypatch):
    first = run.dataset("counts")
    monkeypatch.setattr(engine.runs, "decode_bytes", None)
    assert run.dataset("counts")["count"].values is first["count"].values


def test_a_large_group_is_read_where_it_is_needed(run, monkeypatch):
    monkeypatch.setattr(engine.runs, "READ_AT_ONCE", 0)
    dataset = run.dataset("counts")
    xr.testing.assert_equal(dataset, counts())
    lazy = Run(run.path).dataset("counts")
    chunk = run.path / "data.zarr/counts/activation/c/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"!")
    np.testing.assert_array_equal(lazy["count"].values, counts()["count"].values)
    with pytest.raises(
        StoreError,
        match=r"activation/c/0/0 was changed after it was written .* rm -r .*, then match squeezenet1_1 against",
    ):
        lazy["activation"].sel(layer="features.2").load()
    chunk.unlink()
    with pytest.raises(StoreError, match="activation/c/0/0 is missing"):
        lazy["activation"].load()


def test_any_zarr_reader_can_read_a_run(run):
    group = zarr.open_group(run.path / "data.zarr", mode="r")
    assert sorted(group.group_keys()) == ["counts", "recording"]
    np.testing.assert_array_equal(group["counts/count"][:], counts()["count"].values)


def test_every_chunk_is_there_and_has_a_checksum(run):
    group = zarr.open_group(run.path / "data.zarr", mode="r")
    arrays = [array for name in ("counts", "recording") for _, array in group[name].arrays()]
    assert len(arrays) == 12
    for array in arrays:
        assert array.nchunks_initialized == array.nchunks
        assert "'checksum': True" in str([codec.to_dict() for codec in array.compressors])


def test_a_run_and_a_store_open_where_they_are_copied_to(run, tmp_path):
    add_group(run, "decoding", counts(1), {"key": "k"})
    shutil.copytree(run.path, tmp_path / "elsewhere" / "my run")
    shutil.copytree(tmp_path / "runs", tmp_path / "moved" / "runs")
    shutil.rmtree(run.path)
    for copied in (open_run(tmp_path / "elsewhere/my run"), open_run(DIGEST[:4], tmp_path / "moved")):
        assert copied.verify() == []
        xr.testing.assert_equal(copied.dataset("decoding"), counts(1))
    added = add_group(open_run(tmp_path / "elsewhere/my run"), "rotation", counts(2))
    xr.testing.assert_equal(added, counts(2))


def test_a_store_opens_without_torch(run, tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from engine.store import open_run, list_runs, add_group\n"
        f"run = open_run('squeezenet1_1@cowley-v4/190923', {str(tmp_path)!r})\n"
        "assert run.verify() == [] and run.dataset('counts').sizes['layer'] == 30\n"
        f"assert list_runs({str(tmp_path)!r})['status'].tolist() == ['complete']\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=Path(engine.runs.__file__).parents[1])


def test_the_same_digest_is_written_once(run, tmp_path):
    again = write_run(tmp_path, DIGEST, {"recording": recording(seed=9)}, manifest())
    xr.testing.assert_equal(again.dataset("recording"), recording())


def test_a_damaged_run_is_not_found_and_is_replaced(run, tmp_path):
    (run.path / "data.zarr/counts/count/c/0/0").unlink()
    assert find_run(tmp_path, DIGEST) is None
    again = write_run(tmp_path, DIGEST, {"recording": recording(), "counts": counts()}, manifest())
    assert again.verify() == []
    assert find_run(tmp_path, DIGEST).digest == DIGEST
    assert sorted(path.name for path in tmp_path.iterdir()) == ["locks", "runs"]


def test_a_run_is_refused_before_anything_is_written(tmp_path):
    wrong = recording().rename(response="responses")
    with pytest.raises(StoreError, match="recording: variable 'response'"):
        write_run(tmp_path, DIGEST, {"recording": wrong}, manifest())
    about = manifest()
    del about["seed"], about["versions"]
    with pytest.raises(StoreError, match=r"The manifest of a run needs network, .*; missing: seed, versions"):
        write_run(tmp_path, DIGEST, {}, about)
    for name in ("../up", "", "a/b", ".hidden", "x" * 101):
        with pytest.raises(StoreError, match="A group is named with at most 100 letters"):
            write_run(tmp_path, DIGEST, {name: counts()}, manifest())
    for digest in ("../../up", "", "XYZ", "abc"):
        with pytest.raises(StoreError, match="A run is keyed by a digest of 6 to 128 hexadecimal digits"):
            write_run(tmp_path, digest, {}, manifest())
    with pytest.raises(StoreError, match=r"manifest\['settings'\]\['path'\] is of type"):
        write_run(tmp_path, DIGEST, {}, manifest(settings={"path": tmp_path}))
    assert list(tmp_path.iterdir()) == []


def test_an_analysis_is_added_and_replaced(run):
    added = add_group(run, "decoding", counts(1), {"key": "one", "seed": 5})
    xr.testing.assert_equal(added, counts(1))
    assert (added.attrs["key"], added.attrs["seed"], added.attrs["settings"]) == ("one", 5, {"top": 100, "folds": 2})
    for seed in (2, 3, 4):
        xr.testing.assert_equal(add_group(run, "decoding", counts(seed), {"key": str(seed)}), counts(seed))
        assert Run(run.path).attributes("decoding")["key"] == str(seed)
        folders = [path.name.rstrip("~") for path in (run.path / "data.zarr").iterdir() if path.is_dir()]
        assert sorted(folders) == ["counts", "decoding", "recording"]
    assert run.names == ["counts", "recording", "decoding"]
    assert run.verify() == []


def test_a_group_of_the_run_itself_cannot_be_replaced(run):
    with pytest.raises(StoreError, match="Group 'counts' was written with the run 5eed5eed5eed and cannot be replaced"):
        add_group(run, "counts", counts())


def test_an_added_group_must_be_what_the_schema_says(run):
    with pytest.raises(StoreError, match="folds: variable 'fold'"):
        add_group(run, "folds", counts())


def test_a_damaged_analysis_says_how_to_get_it_back_and_can_be_computed_again(run):
    add_group(run, "decoding", counts(1))
    (run.path / "data.zarr/decoding/count/c/0/0").write_bytes(b"")
    with pytest.raises(StoreError, match=r"has 0 bytes instead of \d+\. .*unitscope analyse .* decoding"):
        Run(run.path).dataset("decoding")
    assert len(run.verify("decoding")) == 1
    assert run.verify("counts") == []
    xr.testing.assert_equal(add_group(run, "decoding", counts(1)), counts(1))
    (run.path / "manifests/decoding.json").write_bytes(b"{")
    with pytest.raises(StoreError, match=r"decoding.json is not a manifest: .* unitscope analyse"):
        run.dataset("decoding")
    xr.testing.assert_equal(add_group(run, "decoding", counts(2)), counts(2))


def test_a_group_that_is_not_there_is_named_with_those_that_are(run):
    with pytest.raises(
        StoreError, match=r"has no group 'decoding'; it has counts, recording.*unitscope analyse .*decoding"
    ):
        run.dataset("decoding")


def test_a_run_of_a_later_layout_says_so(run, monkeypatch):
    monkeypatch.setattr(engine.manifests, "FORMAT", 0)
    with pytest.raises(StoreError, match="has layout 1; this version of unitscope reads layout 0"):
        Run(run.path)
