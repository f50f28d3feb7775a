"""What a user is told when a file, its notes or what was said of it do not fit: the file, the place, the fix."""

import json

import h5py
import numpy as np
import pytest
import xarray as xr

from engine.errors import RecordingError
from engine.known_recordings import open_recording
from tests.engine.formats.planted_files import (
    SITES,
    assembly,
    dataset,
    write_assembly,
    write_images,
    write_npz,
    write_wide,
)

IDS = ["a", "b", "c", "d"]
RESPONSES = np.arange(12.0).reshape(4, 3) ** 2


@pytest.fixture
def place(tmp_path):
    write_images(tmp_path / "images.zip", IDS, range(4))
    return tmp_path


def refused(path, says, **said):
    with pytest.raises(RecordingError, match=f"(?s){says}"):
        open_recording(path, **said)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "stimulus_id,s\n",
            r"line 1: expected 2 fields and at least one line below the header, got 2 fields in 1 lines",
        ),
        ("stimulus_id,s\na,1\nb\n", r"line 3: expected 2 fields .* got 1 fields in 3 lines"),
        ("stimulus_id,s\na,1\nb,2,3\n", r"line 3: expected 2 fields .* got 3 fields in 3 lines"),
        ("stimulus_id,s,s\na,1,2\n", r"2 columns have the name of another, first 's', 's'\. Rename them"),
        ("image,s\na,1\n", r"its first column is 'image'; expected stimulus_id, then a column for each site"),
        ("stimulus_id;s\na;1\n", r"its first column is 'stimulus_id;s'"),
        ("stimulus_id\na\nb\n", r"has no column for a site after 'stimulus_id'; is it separated by ';'\? Use commas"),
        ("stimulus_id,s\na,1\na,2\n", r"lines 2 and 3: a stimulus stands in more than one line; add a column 'repeat'"),
        (
            "stimulus_id,repeat,s\na,1,1\na,1,2\n",
            r"lines 2 and 3: a stimulus has a repeat more than once: \('a', '1'\)",
        ),
        ("stimulus_id,s\na,1\nb,fast\n", r"line 3, column 's': a response must be a number, empty or nan, got 'fast'"),
        ("stimulus_id,s\na,1\nb,0x10\n", r"line 3, column 's': a response must be a number"),
        ("stimulus_id,site_id,response,colour\na,s,1,red\n", r"a row for each response has columns .* found .*colour"),
        (
            "stimulus_id,site_id,response\na,s,1\na,s,2\n",
            r"lines 2 and 3: a site has a stimulus \(and repeat\) in more",
        ),
        (
            "stimulus_id,site_id,response,region\na,s,1,V4\nb,s,1,IT\n",
            r"line 3: site 's' is in 'IT', in an earlier line in 'V4'",
        ),
    ],
)
def test_a_table_that_does_not_fit(place, text, says):
    (place / "x.csv").write_text(text)
    refused(place / "x.csv", rf"x\.csv.*{says}")


def test_a_table_of_another_encoding(place):
    (place / "x.csv").write_bytes("stimulus_id,s\ncaf\u00e9,1\n".encode("latin-1"))
    refused(place / "x.csv", r"x\.csv cannot be read as a table .*Save it as UTF-8 text")


def test_tables_keep_ids_and_repeats_as_they_stand(place):
    names = ["001", "1e3", "NA", "null"]
    write_images(place / "images.zip", names, range(4))
    rows = [f"{name},{repeat},{value}" for name in names for repeat, value in (("x", 1), ("y", ""), ("z", 4))]
    (place / "x.tsv").write_text("\n".join(["stimulus_id,repeat,s", *rows]).replace(",", "\t"))
    data = open_recording(place / "x.tsv").data
    assert data["stimulus"].values.tolist() == names
    np.testing.assert_array_equal(data["trials"].values[:, 0], [[1, np.nan, 4]] * 4)
    np.testing.assert_array_equal(data["response"].values[:, 0], [2.5] * 4)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        (
            {"stimulus_ids": np.array(IDS)},
            r"has no key 'responses'; it has stimulus_ids\. Keys: responses, stimulus_ids",
        ),
        ({"responses": RESPONSES, "extra": np.zeros(2)}, r"nobody knows the key 'extra' of shape \(2,\)\. Keys: "),
        (
            {"responses": RESPONSES[0], "stimulus_ids": np.array(IDS)},
            r"responses must be \(stimulus, site\).* got \(3,\)",
        ),
        (
            {"responses": RESPONSES, "stimulus_ids": np.arange(4)},
            r"stimulus_ids must be text, got int64: id 0 is \[0\]",
        ),
        ({"responses": RESPONSES, "response": RESPONSES}, r"holds 'responses' twice"),
        (
            {"responses": RESPONSES, "stimulus_ids": np.array(IDS, object)},
            r"holds object, which is never unpacked: it could",
        ),
        (
            {"responses": RESPONSES * 1j, "stimulus_ids": np.array(IDS)},
            r"responses\.npy holds complex128\. Save real numbers, and ids as text",
        ),
        (
            {"responses": RESPONSES, "stimulus_ids": np.array([IDS])},
            r"stimulus_ids must be one text for each, got an array",
        ),
    ],
)
def test_an_npz_that_does_not_fit(place, arrays, says):
    np.savez(place / "x.npz", **arrays)
    refused(place / "x.npz", rf"x\.npz.*{says}")


def test_an_npz_may_say_everything(tmp_path):
    more = {
        "images": np.zeros((4, 3, 3), np.uint8),
        "region": np.array(["V4", "V4", "IT"]),
        "site_animal": np.array(["M", "N", "M"]),
        "stimulus_category": np.array(["x", "y", "x", "y"]),
        "size_deg": 8.0,
        "window_ms": "70-170",
        "name": "mine",
    }
    write_npz(tmp_path / "x.npz", IDS, RESPONSES, **more)
    data = open_recording(tmp_path / "x.npz").data
    assert data["animal"].values.tolist() == ["M", "N", "M"]
    assert data["category"].values.tolist() == ["x", "y", "x", "y"]
    assert (data.attrs["name"], data.attrs["size_deg"], data.attrs["window_ms"]) == ("mine", 8.0, "70-170")
    refused(tmp_path / "x.npz", r"x\.npz holds images itself; i\.zip is for files that hold none", images="i.zip")
    refused(tmp_path / "x.npz", r"says that its sites are in IT, V4; region='V4' is for files that do not", region="V4")
    refused(tmp_path / "x.npz", r"stimuli are said to be 4 and 8 degrees wide", size_deg=4)
    refused(tmp_path / "x.npz", r"was counted in 70-170 ms; window_ms=0-50 contradicts it", window_ms="0-50")
    refused(tmp_path / "x.npz", r"window_ms must be like '70-170' \(from, to, in ms.*got '1-2-3'", window_ms="1-2-3")
    refused(tmp_path / "x.npz", r"has ids of its own; an order \(o\.txt\) is for files without", order="o.txt")
    refused(tmp_path / "x.npz", r"there is no 'colour'\. What can be said: images, stimulus_set, order, ", colour="red")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda data: data.drop_vars("image_id"),
            r"no ids along 'presentation': expected a coordinate stimulus_id or image",
        ),
        (lambda data: data.drop_vars("neuroid_id"), r"no ids along 'neuroid': expected a coordinate neuroid_id"),
        (
            lambda data: data.assign_coords(image_id=("presentation", np.arange(8.0))),
            r"image_id must be one text for each",
        ),
        (
            lambda data: data.where(data.presentation != 3, 9.969209968386869e36),
            r"3 values are netCDF's mark for never",
        ),
        (lambda data: data.rename(neuroid="cell"), r"holds no responses: expected a variable \(presentation, neuroid"),
    ],
)
def test_an_assembly_that_does_not_fit(place, change, says):
    plain = assembly(IDS, RESPONSES, repeats=2).reset_index(["presentation", "neuroid", "time_bin"])
    plain.attrs = {}
    if "presentation" not in plain.coords:
        plain = plain.assign_coords(presentation=np.arange(8))
    change(plain).astype("f4").to_dataset(name="data").to_netcdf(place / "x.nc", engine="h5netcdf")
    refused(place / "x.nc", rf"x\.nc.*{says}")


def test_time_bins_are_averaged_only_in_a_window_of_whole_ones(place):
    bins = ((50, 70), (70, 90), (90, 110), (110, 130), (130, 150))
    write_assembly(place / "x.nc", assembly(IDS, RESPONSES, bins=bins))
    refused(
        place / "x.nc", r"has 5 time bins, 50-70, 70-90, \.\.\., 130-150 ms\. Say which to average: --window-ms 70-170"
    )
    for window in ("60-90", "50-160", "150-170"):
        refused(place / "x.nc", rf"{window} ms is not made of whole ones side by side", window_ms=window)
    for window in ("soon", "90-70", "70", "1-2-3"):
        refused(place / "x.nc", r"window_ms must be like '70-170' \(from, to, in ms", window_ms=window)
    np.testing.assert_array_equal(open_recording(place / "x.nc", window_ms="70-110").data["response"].shape, (4, 3))
    write_assembly(place / "y.nc", assembly(IDS, RESPONSES))
    refused(place / "y.nc", r"was counted in 70-170 ms; 50-70 cannot be had from it\. Leave it out", window_ms="50-70")


def test_a_file_of_two_assemblies_or_of_another_kind(place):
    data = assembly(IDS, RESPONSES).reset_index(["presentation", "neuroid", "time_bin"])
    data.attrs = {}
    two = data.to_dataset(name="one").assign(two=data)
    two.to_netcdf(place / "x.nc", engine="h5netcdf")
    refused(place / "x.nc", r"holds 2 assemblies \(one, two\); keep one in a file")
    (place / "old.nc").write_bytes(b"CDF\x01" + bytes(100))
    refused(
        place / "old.nc", r"old\.nc is a netCDF-3 file; netCDF-4 is read\. Convert it: nccopy -k nc4 old\.nc new\.nc"
    )
    (place / "empty.nc").write_bytes(b"")
    refused(place / "empty.nc", r"empty\.nc is empty\. Copy it again")
    (place / "text.nc").write_text("not HDF5 at all")
    refused(place / "text.nc", r"text\.nc cannot be read .* It is damaged, or no netCDF-4 file; copy it again")
    (place / "x.mat").write_bytes(b"MATLAB")
    refused(
        place / "x.mat", r"x\.mat is of a kind that is not read; \.nc, .* and zarr folders are\. Or make a recording"
    )


def test_a_labelled_file_whose_trials_are_others_or_without_ids(place):
    whole = dataset(IDS, RESPONSES)
    whole.assign(trials=(("stimulus", "site", "repeat"), np.ones((4, 3, 2)))).to_netcdf(
        place / "x.nc", engine="h5netcdf"
    )
    refused(place / "x.nc", r"x\.nc: response is not the mean of trials, first at stimulus 0, site 0 .*: 0\.0 and 1\.0")
    whole.drop_vars("stimulus").to_netcdf(place / "y.nc", engine="h5netcdf")
    refused(place / "y.nc", r"y\.nc: 'stimulus' has no ids\. Give them: dataset\.assign_coords\(stimulus=\[\.\.\.\]\)")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("region = V4\n", r"recording\.toml cannot be read as TOML .* Write lines like region = \"V4\""),
        ('colour = "red"\n', r"there is no key 'colour'\. Keys: images, stimulus_set, order, region"),
        ("region = 4\n", r"region must be str, got 4"),
        ('size_deg = "8"\n', r"size_deg must be a number, got '8'"),
        ('sha256 = "abc"\n', r"\[sha256\] must have lines like"),
        ('[sha256]\n"x.csv" = "abc"\n', r"x\.csv has changed: recording\.toml says sha256 abc, found [0-9a-f]{64}"),
        ('[sha256]\n"y.csv" = "abc"\n', r"y\.csv is missing, but recording\.toml has its checksum\. Copy it again"),
    ],
)
def test_notes_that_do_not_fit(place, text, says):
    write_wide(place / "x.csv", IDS, RESPONSES)
    (place / "recording.toml").write_text(text)
    refused(place / "x.csv", says)


def test_notes_say_what_the_file_does_not_and_options_go_first(place):
    write_wide(place / "x.csv", IDS, RESPONSES)
    notes = 'responses = "x.csv"\nregion = "V4"\nsize_deg = 8\nsource = "mine"\nname = "noted"\n'
    (place / "recording.toml").write_text(notes)
    for opened in (open_recording(place), open_recording(place / "x.csv")):
        assert (opened.name, opened.data.attrs["size_deg"], opened.data.attrs["source"]) == ("noted", 8.0, "mine")
        assert set(opened.data["region"].values) == {"V4"}
    assert open_recording(place, name="other", region="IT").data["region"].values.tolist() == ["IT"] * 3
    write_wide(place / "y.csv", IDS, RESPONSES)
    assert set(open_recording(place / "y.csv").data["region"].values) == {"unknown"}
    (place / "recording.toml").write_text('responses = "z.csv"\n')
    refused(place, r"recording\.toml says responses = 'z\.csv', but there is no such file")
    (place / "recording.toml").unlink()
    refused(
        place, r"holds 2 files that may hold responses \('x\.csv', 'y\.csv'\); .* Name the file itself, or write respo"
    )


def test_an_order_that_does_not_fit(place):
    np.save(place / "x.npy", RESPONSES)
    (place / "o.txt").write_text("a\nb\n")
    refused(place / "x.npy", r"o\.txt names 2 stimuli, .*x\.npy has responses of shape \(4, 3\)", order=place / "o.txt")
    refused(place / "x.npy", r"nowhere\.txt cannot be read .* one stimulus id a line", order=place / "nowhere.txt")
    (place / "o.txt").write_text("a\nb\nb\nd\n")
    refused(place / "x.npy", r"o\.txt: 2 of 4 stimulus ids occur more than once", order=place / "o.txt")


def test_images_that_cannot_be_found_or_told_apart(place):
    write_wide(place / "x.csv", IDS, RESPONSES)
    (place / "stimuli").mkdir()
    refused(
        place / "x.csv", r"2 places beside .*x\.csv may hold its images: images\.zip, stimuli\. Say which: --images"
    )
    (place / "stimuli").rmdir()
    (place / "stimuli.csv").write_text("name,file\na,b\n")
    refused(place / "x.csv", r"stimuli\.csv: a stimulus set has columns stimulus_id .* found name, file")
    (place / "stimuli.csv").write_text("stimulus_id,filename\n" + "".join(f"{name},{name}.jpg\n" for name in IDS))
    refused(
        place / "x.csv", r"4 of 4 images that .*stimuli\.csv names are not in .*images\.zip, first 'a\.jpg', 'b\.jpg'"
    )
    (place / "images.csv").write_text("stimulus_id,filename\na,b\n")
    refused(
        place / "x.csv", r"2 files may describe the stimuli: .*stimuli\.csv, .*images\.csv\. Say which: --stimulus-set"
    )


def test_hdf5_lists_that_would_fill_memory_or_never_end(place):
    write_assembly(place / "x.nc", assembly(IDS, RESPONSES))
    content = bytearray((place / "x.nc").read_bytes())
    heap = content.index(b"GCOL\1\0\0\0")
    endless = content.copy()
    endless[heap + 16 : heap + 32] = bytes(16)
    (place / "endless.nc").write_bytes(endless)
    refused(place / "endless.nc", r"endless\.nc has a damaged list of texts at byte [\d,]+\. Nothing of it was read")
    with h5py.File(place / "x.nc") as file:
        offset = file["image_id"].id.get_offset()
    long = content.copy()
    long[offset : offset + 4] = (2**31).to_bytes(4, "little")
    (place / "long.nc").write_bytes(long)
    refused(
        place / "long.nc", r"image_id claims a text of 2,147,483,648 bytes, .* in all; the file has [\d,]+\. Nothing"
    )
    name = content.index(b"DIMENSION_LIST\0")
    listed = content.copy()
    listed[name + 16 + 16 + 24 : name + 16 + 16 + 28] = (2**30).to_bytes(4, "little")
    listed[name + 15 + 16 + 24 : name + 15 + 16 + 24] = b""
    (place / "listed.nc").write_bytes(listed)
    refused(place / "listed.nc", r"listed\.nc.*(DIMENSION_LIST|cannot be read)")


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(("lost", "kind"), [("response", "i4"), ("stimulus", "f8")])
def test_a_piece_of_a_zarr_folder_that_is_lost(place, zarr_format, lost, kind):
    chunks = {"response": {"chunks": (2, 3)}, "stimulus": {"chunks": (2,)}}
    whole = dataset(np.array(IDS, dtype=object), RESPONSES.astype(kind) + 1)
    whole.to_zarr(place / "x.zarr", zarr_format=zarr_format, consolidated=False, encoding=chunks)
    np.testing.assert_array_equal(open_recording(place / "x.zarr").data["response"], RESPONSES + 1)
    pieces = [file for file in (place / "x.zarr" / lost).rglob("*") if file.is_file() and "zar" not in file.name]
    sorted(file for file in pieces if not file.name.startswith(".z"))[1].unlink()
    plain = xr.open_zarr(place / "x.zarr", consolidated=False, chunks=None).load()  # the control: without a word
    assert (plain[lost].values[2:] == (0 if lost == "response" else "")).all()
    refused(place / "x.zarr", rf"x\.zarr: {lost}: 1 of its 2 pieces are not in the file, and would read as .*copy")


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
def test_pieces_of_nothing_but_zeros_may_be_left_out_of_a_column(place):
    whole = dataset(IDS, RESPONSES).assign_coords(variation=("stimulus", np.zeros(4, int)))
    whole.to_zarr(place / "x.zarr", consolidated=False)
    assert open_recording(place / "x.zarr").data["variation"].values.tolist() == [0, 0, 0, 0]


def test_a_piece_of_a_hdf5_file_that_was_never_written(place):
    for name, chunks, n_written in (("chunked", (2, 3), 2), ("whole", None, 0)):
        with h5py.File(place / f"{name}.nc", "w") as file:
            for dim, ids in (("stimulus", IDS), ("site", SITES)):
                file[dim] = np.array(ids, dtype=object).astype(h5py.string_dtype())
                file[dim].make_scale(dim)
            response = file.create_dataset("response", (4, 3), "f8", chunks=chunks)
            if n_written:
                response[:n_written] = RESPONSES[:n_written]
            for index, dim in enumerate(("stimulus", "site")):
                response.dims[index].attach_scale(file[dim])
        with xr.open_dataset(place / f"{name}.nc", engine="h5netcdf") as plain:  # the control: without a word
            assert (plain["response"].values[n_written:] == 0).all()
        refused(place / f"{name}.nc", r"response: 1 of its . pieces are not in the file, and would read as .*copy")


def test_netcdfs_mark_for_never_written_is_no_response(place):
    filled = RESPONSES.copy()
    filled[1, 2] = np.float32(9.969209968386869e36)
    dataset(IDS, filled).to_netcdf(place / "x.nc", engine="h5netcdf")
    refused(place / "x.nc", r"x\.nc: response: 1 values are netCDF's mark for never written")


def test_bins_count_as_long_as_they_last(place):
    data = assembly(IDS, RESPONSES, bins=((50, 100), (100, 200), (200, 210)))
    data = data * 0 + xr.DataArray([10.0, 40.0, 1000.0], dims="time_bin")
    write_assembly(place / "x.nc", data)
    np.testing.assert_allclose(open_recording(place / "x.nc", window_ms="50-200").data["response"], 30)


def test_a_message_names_the_file_from_wherever_it_is_opened(place, monkeypatch):
    infinite = RESPONSES.copy()
    infinite[1, 1] = np.inf
    np.savez(place / "x.npz", responses=infinite, stimulus_ids=np.array(IDS), site_ids=np.array(SITES))
    monkeypatch.chdir(place)
    refused("x.npz", r"^x\.npz: responses: 1 of 12 values are infinite")
    refused(place / "x.npz", r"x\.npz: responses: 1 of 12 values are infinite")


@pytest.mark.parametrize("size_deg", [0, -1.0, float("nan"), float("inf")])
def test_a_size_that_is_none(place, size_deg):
    write_npz(place / "x.npz", IDS, RESPONSES)
    refused(place / "x.npz", r"size_deg is the width of a stimulus in degrees, larger than 0", size_deg=size_deg)


def test_a_zarr_folder_that_is_damaged(place):
    dataset(IDS, RESPONSES).to_zarr(place / "x.zarr", zarr_format=2, consolidated=False)
    metadata = place / "x.zarr" / "response" / ".zarray"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"dtype": "<f4"}))
    refused(place / "x.zarr", r"x\.zarr.*(cannot be read|unpacks to)")
    assert SITES == ("s-1", "s-2", "s-3")
