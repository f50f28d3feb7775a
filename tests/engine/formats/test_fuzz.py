"""Mutated files of every format: an error of ours or the same data; nothing else, and never a crash.

A format with checksums notices every change of its numbers. A csv, an npy, a JPEG or a netCDF file without checksums
cannot: then the data are those that the bytes say, their digests change with them, and a sha256 in recording.toml
notices all.
"""

import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
import xarray as xr
from PIL import Image

from engine.errors import EngineError
from engine.formats.given import sha256_of
from engine.known_recordings import open_recording
from engine.recordings import Recording
from tests.engine.formats.planted_files import SITES, WRITERS, write, write_images
from tests.engine.peak_memory import count_from_here, peak_bytes

IDS = [f"im{index:02d}" for index in range(6)]
RESPONSES = np.random.default_rng(10).integers(-80, 80, (6, 3)) / 8
MOST_SECONDS = 10.0
MOST_BYTES = 2 * 200 * 2**20
FORMATS = [*sorted(WRITERS), "old.h5", "saved", "png", "jpg", "zip"]
NOTICES_ALL = {"saved", "ids.npz", "png", "zip"}
"""Formats whose own checksums notice a change of what a result rests on."""


def made(kind, folder):
    """A valid recording in a format, what opens it, and the files to mutate."""
    folder.mkdir(parents=True)
    images = folder / "images.zip"
    write_images(images, IDS, 40 * np.arange(6))
    if kind in ("png", "jpg"):
        path, images = write(folder, "wide.csv", IDS, RESPONSES)[0], folder / "images"
        images.mkdir()
        (folder / "images.zip").unlink()
        for index, name in enumerate(IDS):
            picture = Image.fromarray(np.random.default_rng(index).integers(0, 256, (16, 16, 3), dtype=np.uint8))
            picture.save(images / f"{name}.{kind}")
        return path, {}, sorted(images.iterdir())
    if kind == "zip":
        return write(folder, "wide.csv", IDS, RESPONSES)[0], {}, [images]
    if kind == "saved":
        recording = open_recording(write(folder, "wide.csv", IDS, RESPONSES)[0])
        path = recording.save(folder / "saved")
        return path, {}, sorted(path.iterdir())
    if kind == "old.h5":
        path, said = write(folder, "labelled.nc", IDS, RESPONSES)
        return path.rename(folder / "old.h5"), said, [folder / "old.h5"]
    path, said = write(folder, kind, IDS, RESPONSES)
    return path, said, sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def mutated(content, rng):
    """One to four small injuries of the kinds that files suffer."""
    content = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        place, how = int(rng.integers(0, max(1, len(content)))), rng.choice(["flip", "byte", "cut", "fill", "double"])
        if how == "flip" and content:
            content[place] ^= 1 << int(rng.integers(0, 8))
        elif how == "byte" and content:
            content[place] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF]))
        elif how == "cut":
            del content[place : place + int(rng.integers(1, 40))]
        elif how == "fill":
            content[place : place + 8] = bytes(rng.integers(0, 256, 8, dtype=np.uint8))
        elif how == "double":
            content[place:place] = content[place : place + int(rng.integers(1, 40))]
    return bytes(content)


def contents(recording):
    """What a result rests on: responses and pixels, by id."""
    pixels = {name: recording.stimuli.pixels(name) for name in recording.stimuli.ids}
    data = recording.data.sortby(["stimulus", "site"])
    return data[["response"]].reset_coords(drop=True), recording.stimuli.select(sorted(pixels)).pixel_digests()


def opened(path, said):
    """Open and decode everything; the error's text, or what was opened."""
    before, started = count_from_here(), time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = contents(open_recording(path, **said))
    except EngineError as error:
        found = str(error)
    assert (time.monotonic() - started < MOST_SECONDS, peak_bytes() - before < MOST_BYTES) == (True, True)
    return found


def is_same(found, right):
    return found[1] == right[1] and found[0].identical(right[0])


def fuzz(tmp_path, n_inputs, seed):
    """Mutate files of all formats in turn; count what came of it."""
    rng, outcomes = np.random.default_rng(seed), Counter()
    prepared = {kind: made(kind, tmp_path / kind) for kind in FORMATS}
    right = {kind: opened(path, said) for kind, (path, said, _) in prepared.items()}
    assert not [kind for kind, found in right.items() if isinstance(found, str)], right
    before = psutil.Process().memory_info().rss
    for index in range(n_inputs):
        kind = FORMATS[index % len(FORMATS)]
        path, said, files = prepared[kind]
        file = files[int(rng.integers(len(files)))]
        content = file.read_bytes()
        file.write_bytes(mutated(content, rng))
        found = opened(path, said)
        if isinstance(found, str):
            assert str(path.parent) in found, (kind, found)
            assert found.rstrip().endswith((".", ").")), (kind, found)
            outcomes["refused"] += 1
        elif is_same(found, right[kind]):
            outcomes["same"] += 1
        else:
            assert kind not in NOTICES_ALL, (kind, file)
            outcomes["as the bytes say"] += 1
            notes = path.parent / "recording.toml"
            file.write_bytes(content)
            top = next(part for part in (file, *file.parents) if part.parent == path.parent)
            notes.write_text(f'[sha256]\n"{top.name}" = "{sha256_of(top)}"\n')
            assert is_same(opened(path, said), right[kind])
            file.write_bytes(mutated(content, rng))
            assert "has changed: recording.toml says sha256" in opened(path, said) or file.read_bytes() == content
            notes.unlink()
        file.write_bytes(content)
    assert psutil.Process().memory_info().rss - before < MOST_BYTES
    return outcomes


def test_200_mutated_files(tmp_path):
    outcomes = fuzz(tmp_path, 200, seed=0)
    assert sum(outcomes.values()) == 200
    assert outcomes["refused"] > 100


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_1000_mutated_files(tmp_path):
    outcomes = fuzz(tmp_path, 1000, seed=1)
    assert sum(outcomes.values()) == 1000
    print(dict(outcomes))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_1000_mutated_hdf5_files(tmp_path, monkeypatch):
    """HDF5 is the one format that C code takes apart from its first byte on."""
    monkeypatch.setattr("tests.engine.formats.test_fuzz.FORMATS", ["assembly.nc", "labelled.nc", "old.h5"])
    print(dict(fuzz(tmp_path, 1000, seed=2)))


def test_the_fuzz_would_see_changed_numbers():
    """Negative control: one response that differs in its last bit, or one pixel, is another content."""
    images = np.repeat(np.arange(6, dtype=np.uint8), 12).reshape(6, 3, 4)
    right = contents(Recording.from_arrays(RESPONSES, images, stimulus_ids=IDS, site_ids=SITES))
    changed, other = RESPONSES.copy(), images.copy()
    changed[2, 1] = np.nextafter(changed[2, 1], 99)
    other[0, 0, 0] += 1
    assert is_same(contents(Recording.from_arrays(RESPONSES, images, stimulus_ids=IDS, site_ids=SITES)), right)
    assert not is_same(contents(Recording.from_arrays(changed, images, stimulus_ids=IDS, site_ids=SITES)), right)
    assert not is_same(contents(Recording.from_arrays(RESPONSES, other, stimulus_ids=IDS, site_ids=SITES)), right)


def test_a_netcdf_file_with_checksums_notices_a_flipped_bit(tmp_path):
    dataset = xr.Dataset({"response": (("stimulus", "site"), RESPONSES)}, {"stimulus": IDS, "site": list(SITES)})
    dataset.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding={"response": {"fletcher32": True}})
    write_images(tmp_path / "images.zip", IDS, range(6))
    open_recording(tmp_path / "a.nc")
    content = bytearray(Path(tmp_path / "a.nc").read_bytes())
    content[content.index(RESPONSES.astype("<f8").tobytes()) + 3] ^= 1
    (tmp_path / "a.nc").write_bytes(content)
    with pytest.raises(EngineError, match=r"a\.nc cannot be read .* It is damaged, or no netCDF-4 file; copy it again"):
        open_recording(tmp_path / "a.nc")
