"""A file that is lost, cut, exchanged, outdated or changed by one bit never gives a number."""

import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from engine.errors import StoreError
from engine.store import Run, add_group, find_run, list_runs, open_parts, write_run
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


def groups_in(path: Path) -> list[str]:
    """The groups that a file belongs to; all of them for the manifest of the run."""
    return [name for name in GROUPS if name in path.parts or path.stem == name] or list(GROUPS)


def is_detected(run: Path, groups=tuple(GROUPS)) -> bool:
    """Whether opening or verifying says that something is wrong; fails if a wrong value came back first."""
    try:
        opened = Run(run)
        datasets = {name: opened.dataset(name) for name in groups}
    except StoreError as error:
        return str(run) in str(error)
    for name, dataset in datasets.items():
        xr.testing.assert_equal(dataset, GROUPS[name])
        assert dataset.attrs["versions"] == manifest()["versions"]
    assert opened.manifest["network"]["name"] == "squeezenet1_1"
    return bool(opened.verify())


def is_computed_again(run: Path, groups: list[str]) -> bool:
    """Whether what uses the store, a match or an analysis, would compute what was damaged, and no more than that."""
    found = find_run(run.parents[1], DIGEST)
    if groups != ["decoding"]:
        return found is None
    assert found is not None
    try:
        found.require("decoding")
    except StoreError:
        return True
    return False


def flipped(path: Path, rng: np.random.Generator) -> bytes:
    """Change one bit of a file, and return what it was."""
    intact = path.read_bytes()
    changed = bytearray(intact)
    changed[rng.integers(len(intact))] ^= 1 << rng.integers(8)
    path.write_bytes(changed)
    return intact


def count_flips(run: Path, n: int, seed: int) -> dict[str, int]:
    """Flip bits of all files of a run, one at a time; those that nobody reads are harmless."""
    rng = np.random.default_rng(seed)
    files, counted = files_of(run), {"detected": 0, "harmless": 0}
    for _ in range(n):
        path = files[rng.integers(len(files))]
        intact, groups = flipped(path, rng), groups_in(path.relative_to(run))
        detected = is_detected(run, groups)
        assert is_computed_again(run, groups) == detected, path
        counted["detected" if detected else "harmless"] += 1
        path.write_bytes(intact)
    assert not is_detected(run)
    return counted


def test_a_thousand_flipped_bits_are_detected_and_computed_again_or_harmless(written):
    counted = count_flips(written, 1000, 0)
    print(counted)
    assert counted["detected"] >= 950  # nobody reads zarr.json of the root, the newline that ends a manifest
    list_runs(written.parents[1])


@pytest.mark.slow
def test_ten_thousand_flipped_bits_are_detected_and_computed_again_or_harmless(written):
    print(count_flips(written, 10_000, 1))


def test_a_flipped_bit_of_a_finished_layer_makes_it_unfinished(tmp_path):
    parts, rng = open_parts(tmp_path, DIGEST, manifest()), np.random.default_rng(0)
    for _ in range(100):
        parts.write("conv1", GROUPS["counts"])
        (path,) = parts.folder.glob("*.part")
        flipped(path, rng)
        assert "conv1" not in parts
        about = parts.folder / "about.json"
        intact = flipped(about, rng)
        assert list_runs(tmp_path)["network"].tolist() in ([""], ["squeezenet1_1"])
        about.write_bytes(intact)


def test_without_checksums_most_flipped_bits_give_wrong_values(tmp_path):
    """The control: the same damage, read as xarray reads it."""
    GROUPS["counts"][["activation"]].drop_vars("layer").to_zarr(tmp_path / "naive.zarr", consolidated=False)
    rng, n_silent = np.random.default_rng(0), 0
    chunks = sorted(path for path in (tmp_path / "naive.zarr" / "activation").rglob("*") if path.parent.name == "0")
    for path in chunks * 20:
        intact = flipped(path, rng)
        with suppress(RuntimeError, ValueError, OSError):
            found = xr.open_zarr(tmp_path / "naive.zarr", chunks=None, consolidated=False)["activation"].values
            n_silent += not np.array_equal(found, GROUPS["counts"]["activation"].values)
        path.write_bytes(intact)
    assert n_silent > 10 * len(chunks)


def test_without_a_manifest_lost_and_exchanged_chunks_give_wrong_values(tmp_path):
    """The control: what xarray reads of them, without a word."""
    root = tmp_path / "naive.zarr"
    expected = GROUPS["counts"]["activation"]
    expected.to_dataset().drop_vars("layer").to_zarr(
        root, consolidated=False, encoding={"activation": {"chunks": (10, 50)}}
    )
    chunks = sorted((root / "activation" / "c").glob("*/*"))

    def is_silent() -> bool:
        found = xr.open_zarr(root, chunks=None, consolidated=False)["activation"].values
        return found.shape == expected.shape and not np.array_equal(found, expected.values)

    intact = chunks[0].read_bytes()
    shutil.copy(chunks[1], chunks[0])
    assert is_silent()
    chunks[0].unlink()
    assert is_silent()
    chunks[0].write_bytes(intact)
    assert not is_silent()


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
        groups = groups_in(path.relative_to(written))
        detected = is_detected(written, groups)
        is_lost = path == written / "manifests/decoding.json" and not path.exists()  # an analysis that is not there
        assert is_lost or is_computed_again(written, groups)
        path.write_bytes(intact)
        assert detected or is_lost, path
    assert not is_detected(written)
    assert len(read) > 40  # four kinds of damage: more than 160 cases, and those below


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
