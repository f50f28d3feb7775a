"""A file that is lost, cut, exchanged, outdated or changed by one bit never gives a number."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from engine.errors import StoreError
from engine.store import Run, add_group, list_runs, write_run
from tests.engine.small_runs import DIGEST, counts, manifest, recording

GROUPS = {"recording": recording(), "counts": counts(), "decoding": counts(1)}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return made(tmp_path_factory.mktemp("store"), 0)


def made(root: Path, seed: int) -> Path:
    groups = {"recording": recording(seed), "counts": counts(seed)}
    run = write_run(root, DIGEST, groups, manifest(created="2018-06-01T00:00:00+00:00"))
    add_group(run, "decoding", counts(seed + 1), {"key": "k"})
    return run.path


def files_of(run: Path) -> list[Path]:
    return sorted(path for path in run.rglob("*") if path.is_file())


def is_detected(run: Path) -> bool:
    """Whether opening or verifying says that something is wrong; fails if a wrong value came back first."""
    list_runs(run.parent.parent)
    try:
        opened = Run(run)
        datasets = {name: opened.dataset(name) for name in GROUPS}
    except StoreError as error:
        return str(run) in str(error)
    for name, dataset in datasets.items():
        xr.testing.assert_equal(dataset, GROUPS[name])
        assert dataset.attrs["versions"] == manifest()["versions"]
    assert opened.manifest["network"]["name"] == "squeezenet1_1"
    return bool(opened.verify())


def count_detected_flips(run: Path, n: int) -> int:
    rng = np.random.default_rng(0)
    files = files_of(run)
    detected = 0
    for _ in range(n):
        path = files[rng.integers(len(files))]
        intact = path.read_bytes()
        changed = bytearray(intact)
        changed[rng.integers(len(intact))] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        detected += is_detected(run)
        path.write_bytes(intact)
    assert not is_detected(run)
    return detected


def test_one_flipped_bit_anywhere_is_detected_or_harmless(written):
    assert count_detected_flips(written, 200) >= 190  # not read by us: zarr.json of the root, the newline of a manifest


@pytest.mark.slow
def test_a_thousand_flipped_bits_are_detected_or_harmless(written):
    detected = count_detected_flips(written, 1000)
    print(f"{detected} of 1000 flips detected, the others harmless")
    assert detected >= 950


@pytest.mark.parametrize(
    "damage",
    [
        lambda path, other: path.unlink(),
        lambda path, other: path.write_bytes(path.read_bytes()[:-1]),
        lambda path, other: path.write_bytes(b""),
        lambda path, other: shutil.copy(other, path),
    ],
    ids=["lost", "cut", "emptied", "exchanged"],
)
def test_every_file_of_a_run_is_missed(written, damage):
    files = files_of(written)
    read = [path for path in files if path != written / "data.zarr/zarr.json"]
    for index, path in enumerate(read):
        intact = path.read_bytes()
        other = next(file for file in read[index:] + read if file.suffix == path.suffix and file.read_bytes() != intact)
        damage(path, other)
        silent = not is_detected(written) and path != written / "manifests/decoding.json"
        path.write_bytes(intact)
        assert not silent, path
    assert not is_detected(written)


def test_a_chunk_of_an_earlier_run_is_detected(written, tmp_path):
    earlier = made(tmp_path, 5)
    for path in files_of(written):
        replayed = earlier / path.relative_to(written)
        intact = path.read_bytes()
        if not replayed.exists() or replayed.read_bytes() == intact:
            continue
        shutil.copy(replayed, path)
        silent = not is_detected(written)
        path.write_bytes(intact)
        assert not silent, path


def test_a_group_of_another_run_is_detected(written, tmp_path):
    run = tmp_path / "runs" / "copied"
    shutil.copytree(written, run)
    shutil.copy(run / "manifests/counts.json", run / "manifests/decoding.json")
    with pytest.raises(StoreError, match=r"decoding.json belongs to another group or run"):
        Run(run).dataset("decoding")
    other = write_run(tmp_path, "ba5e" * 16, {"counts": counts()}, manifest())
    shutil.copy(other.path / "manifests/counts.json", run / "manifests/counts.json")
    with pytest.raises(StoreError, match=r"counts.json belongs to another group or run"):
        Run(run).dataset("counts")


def test_a_file_that_belongs_to_no_group_is_not_read(written, tmp_path):
    run = tmp_path / "runs" / "copied"
    shutil.copytree(written, run)
    shutil.copytree(run / "data.zarr/counts/count", run / "data.zarr/counts/count2")
    shutil.copy(run / "data.zarr/counts/count/c/0/0", run / "data.zarr/counts/count/c/0/1")
    assert "count2" not in Run(run).dataset("counts")
    assert not is_detected(run)
