"""Small files that claim to be huge are refused before anything is allocated: < 200 MB more memory, < 2 s."""

import gzip
import io
import json
import os
import shutil
import struct
import time
import zipfile
import zlib

import h5py
import numpy as np
import pytest
from numcodecs.zstd import Zstd

from engine.errors import RecordingError
from engine.known_recordings import open_recording
from engine.pictures import MAX_IMAGES
from engine.stimuli import Stimuli
from tests.engine.formats.planted_files import SITES, png, write, write_images, write_npz, write_wide
from tests.engine.peak_memory import count_from_here, peak_bytes

IDS = [f"im{index}" for index in range(6)]
MOST_SECONDS = 2.0
MOST_BYTES = 200 * 2**20


def refused(path, says, **said):
    """Open; the refusal is quick and takes no memory, peak included."""
    before, started = count_from_here(), time.monotonic()
    with pytest.raises(RecordingError, match=says):
        open_recording(path, **said)
    seconds, peak = time.monotonic() - started, peak_bytes() - before
    assert (seconds < MOST_SECONDS, peak < MOST_BYTES) == (True, True), (seconds, peak)


@pytest.fixture
def place(tmp_path):
    write_images(tmp_path / "images.zip", IDS, range(6))
    write_wide(tmp_path / "warm.csv", IDS, np.zeros((6, 3)))
    open_recording(tmp_path / "warm.csv")  # imports are no part of a refusal
    return tmp_path


def npz_of_zeros(path, n_bytes):
    """responses.npy of zeros, a thousand times smaller in the file; written in pieces."""
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (6, n_bytes // 48)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("responses.npy", "w") as member:
        member.write(header.getvalue())
        for _ in range(n_bytes // 2**20):
            member.write(bytes(2**20))
    return path


def test_the_peak_that_is_measured_is_real():
    """Negative control: what numpy itself does with such a file is seen."""
    before = count_from_here()
    np.ones(MOST_BYTES // 8 + 2**20).sum()
    assert peak_bytes() - before > MOST_BYTES * 0.9


def test_an_npz_that_unpacks_a_thousandfold(place):
    path = npz_of_zeros(place / "bomb.npz", 256 * 2**20)
    assert path.stat().st_size < 2**20
    refused(path, r"bomb\.npz: responses\.npy claims 268,\d+,\d+ bytes and holds \d+,\d+: more than 200 times as much")


def test_an_npz_whose_directory_understates_the_size(place):
    path = npz_of_zeros(place / "bomb.npz", 256 * 2**20)
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = struct.pack("<I", 1000)
    path.write_bytes(content)
    refused(path, r"bomb\.npz")


@pytest.mark.parametrize("shape", [(10**9, 10**6), (2**62, 2**62), (6, 10**8)])
def test_a_header_that_claims_petabytes(place, shape):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
    (place / "bomb.npy").write_bytes(header.getvalue() + bytes(1000))
    refused(place / "bomb.npy", r"bomb\.npy claims [\d,]+ bytes")
    with zipfile.ZipFile(place / "bomb.npz", "w") as archive:
        archive.writestr("responses.npy", header.getvalue() + bytes(1000))
    refused(place / "bomb.npz", r"responses\.npy claims [\d,]+ bytes")


@pytest.mark.parametrize("kind", ["own.zarr", "coded.zarr"])
def test_a_zarr_array_of_8_terabytes(place, kind):
    path, _ = write(place, kind, IDS, np.zeros((6, 3)))
    metadata = path / "response" / (".zarray" if kind == "own.zarr" else "zarr.json")
    content = json.loads(metadata.read_text())
    metadata.write_text(json.dumps(content | {"shape": [10**6, 10**6]}))
    refused(path, rf"{kind}: response claims 8,000,000,000,000 bytes, more than the 4,294,967,296")
    if kind == "own.zarr":
        metadata.write_text(json.dumps(content | {"shape": [10**4, 10**4], "chunks": [10**4, 10**4]}))
        refused(path, rf"{kind}: response claims 800,000,000 bytes and holds")


@pytest.mark.parametrize(
    "pack",
    [lambda raw: Zstd(level=3).encode(raw), lambda raw: gzip.compress(raw, mtime=0)],
    ids=["zstd", "gzip"],
)
def test_a_zarr_chunk_that_unpacks_to_a_quarter_of_a_gigabyte(place, pack):
    path, _ = write(place, "own.zarr", IDS, np.zeros((6, 3)))
    chunk = path / "response" / "0.0"
    chunk.write_bytes(pack(bytes(2**28)))
    assert chunk.stat().st_size < 2**20
    refused(path, r"response/0\.0 unpacks to 268,435,456 bytes, where a chunk has 144\. Nothing of it was read")


def test_a_hdf5_array_of_8_terabytes_in_a_kilobyte(place):
    with h5py.File(place / "bomb.nc", "w") as file:
        file.create_dataset("response", (10**6, 10**6), "f8", chunks=(1000, 1000), compression="gzip")
    assert (place / "bomb.nc").stat().st_size < 10_000
    refused(place / "bomb.nc", r"bomb\.nc: response claims 8,000,000,000,000 bytes")
    with h5py.File(place / "zeros.nc", "w") as file:
        file.create_dataset("response", (10**4, 10**4), "f8", chunks=(1000, 1000), compression="gzip")
    refused(place / "zeros.nc", r"zeros\.nc: response claims 800,000,000 bytes and holds 0: more than 200 times")


def test_a_hdf5_chunk_that_unpacks_to_a_quarter_of_a_gigabyte(place):
    with h5py.File(place / "bomb.nc", "w") as file:
        chunked = file.create_dataset("response", (6, 3), "f8", chunks=(6, 3), compression="gzip")
        chunked.id.write_direct_chunk((0, 0), zlib.compress(bytes(2**28), 9))
    assert (place / "bomb.nc").stat().st_size < 2**20
    refused(place / "bomb.nc", r"bomb\.nc: response: a chunk unpacks to more than the 144 bytes that it has")


def test_hdf5_groups_that_never_end(place):
    with h5py.File(place / "bomb.nc", "w") as file:
        file["a/b"] = np.zeros(1)
        file["a/again"] = file["/a"]
    refused(place / "bomb.nc", r"bomb\.nc nests more than 16 groups")


def huge_png(width, height):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    packed = zlib.compressobj(9)
    rows = b"".join(packed.compress(bytes(width + 1)) for _ in range(height)) + packed.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore:Image size")
def test_a_png_of_12000_by_12000_pixels(place):
    folder = place / "pictures"
    folder.mkdir()
    for name in IDS:
        (folder / f"{name}.png").write_bytes(png(1))
    (folder / "im3.png").write_bytes(huge_png(12_000, 12_000))
    assert (folder / "im3.png").stat().st_size < 200_000
    stimuli = Stimuli.from_folder(folder)
    before, started = count_from_here(), time.monotonic()
    with pytest.raises(RecordingError, match=r"im3\.png: 12000 x 12000 px is more than the 50,000,000 px"):
        stimuli.pixels("im3")
    assert time.monotonic() - started < MOST_SECONDS
    assert peak_bytes() - before < MOST_BYTES


def test_an_image_in_a_zip_that_unpacks_a_thousandfold(place):
    with zipfile.ZipFile(place / "pictures.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in IDS[:-1]:
            archive.writestr(f"{name}.png", png(1))
        with archive.open("im5.png", "w") as member:
            for _ in range(300):
                member.write(bytes(2**20))
    stimuli = Stimuli.from_zip(place / "pictures.zip")
    before = count_from_here()
    with pytest.raises(RecordingError, match=r"im5\.png: 314,572,800 bytes is more than an image may have"):
        stimuli.pixels("im5")
    assert peak_bytes() - before < MOST_BYTES


@pytest.mark.parametrize("n_files", [MAX_IMAGES + 1, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_more_files_than_any_set_of_stimuli(place, n_files):
    """A folder is read up to the limit and not beyond, so that one file more costs what a million cost."""
    folder = place / "many"
    folder.mkdir()
    for index in range(n_files):
        os.close(os.open(folder / f"{index}.png", os.O_CREAT | os.O_WRONLY))
    refused(place / "warm.csv", r"many has more than the 200,000 files that a set of stimuli may have", images=folder)
    path, _ = write(place, "own.zarr", IDS, np.zeros((6, 3)))
    folder.rename(path / "response" / "many")
    refused(path, r"own\.zarr has more than 20,000 files\. Write it again with larger chunks")
    (place / "many.zip").write_bytes(zip_of_many(1_000_000))
    refused(place / "warm.csv", r"many\.zip: lists more than the 200,000 files", images=place / "many.zip")
    shutil.rmtree(path)


def zip_of_many(n_files):
    """A zip that lists one file under a million names."""
    file = b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, 0, 0, 0, 5, 0) + b"a.png"
    entry = b"PK\x01\x02" + struct.pack("<HHHHHHIIIHHHHHII", 20, 20, 0, 0, 0, 33, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0)
    directory = b"".join(entry + f"{index:07d}.png".encode() for index in range(n_files))
    end = struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, len(directory), len(file), 0)
    return file + directory + b"PK\x05\x06" + end


def test_folders_in_folders(place):
    path, _ = write(place, "own.zarr", IDS, np.zeros((6, 3)))
    deep = path / "response"
    for _ in range(200):
        deep = deep / "d"
        deep.mkdir()
    refused(path, r"own\.zarr nests more than 8 folders; a recording needs a few")


def test_a_table_of_more_bytes_than_are_read(place):
    with open(place / "long.csv", "wb") as file:
        file.write(b"stimulus_id," + ",".join(SITES).encode() + b"\n")
        file.truncate(2**40)
    refused(place / "long.csv", r"long\.csv has 1,099,511,627,776 bytes, more than the 536,870,912 that a table may")


def test_what_is_as_large_as_it_says_opens(place):
    """Negative control: the limits refuse bombs, not data."""
    rng = np.random.default_rng(0)
    trials = rng.poisson(2, (6, 1000, 300)).astype(np.float64)
    trials[:, :, 200:] = np.nan
    np.savez_compressed(place / "large.npz", responses=trials, stimulus_ids=np.array(IDS))
    write_npz(place / "small.npz", IDS, np.zeros((6, 3)))
    assert open_recording(place / "large.npz").data.sizes["site"] == 1000
    assert open_recording(place / "small.npz").data.sizes["site"] == 3
