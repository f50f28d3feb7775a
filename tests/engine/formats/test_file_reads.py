"""No file of a recording makes us read another file of this machine: 0 bytes of a canary outside the data."""

import json
import zipfile

import h5py
import numpy as np
import pytest
import xarray as xr
from PIL import Image

from engine import recording_files
from engine.errors import RecordingError
from engine.known_recordings import open_recording
from engine.stimuli import Stimuli
from tests.engine.formats.planted_files import SITES, png, write, write_images, write_npz, write_wide

IDS = [f"im{index}" for index in range(6)]
SECRET = np.frombuffer(b"TOPSECRET-KEY-123 TOPSECRET-KEY-123 ".ljust(6 * 3 * 8, b"!"), np.float64).reshape(6, 3)


@pytest.fixture
def place(tmp_path):
    """Data with their images, and outside of them numbers and a picture that nobody may see."""
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "secret.bin").write_bytes(SECRET.tobytes())
    (tmp_path / "secret.png").write_bytes(png(213))
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["response"] = SECRET
    write_images(data / "images.zip", IDS, range(6))
    return data


def with_labels(file):
    """Ids and dims as netCDF-4 has them."""
    for dim, ids in (("stimulus", IDS), ("site", list(SITES))):
        file[dim] = np.array(ids, dtype=object).astype(h5py.string_dtype())
        file[dim].make_scale(dim)
    for axis, dim in enumerate(("stimulus", "site")):
        if isinstance(file.get("response", getlink=True), h5py.HardLink):
            file["response"].dims[axis].attach_scale(file[dim])


def external_raw(file, outside):
    file.create_dataset("response", (6, 3), "f8", external=[(str(outside / "secret.bin"), 0, SECRET.nbytes)])
    with_labels(file)


def external_link(file, outside):
    file["response"] = h5py.ExternalLink(str(outside / "secret.h5"), "response")
    with_labels(file)


def virtual_dataset(file, outside):
    layout = h5py.VirtualLayout((6, 3), "f8")
    layout[:] = h5py.VirtualSource(str(outside / "secret.h5"), "response", (6, 3))
    file.create_virtual_dataset("response", layout)
    with_labels(file)


def soft_link(file, outside):
    file["deep/inside"] = h5py.ExternalLink(str(outside / "secret.h5"), "/")
    file["response"] = h5py.SoftLink("/deep/inside/response")
    with_labels(file)


def linked_group(file, outside):
    file["response"] = np.zeros((6, 3))
    with_labels(file)
    file["more"] = h5py.ExternalLink(str(outside / "secret.h5"), "/")


HDF5 = [external_raw, external_link, virtual_dataset, soft_link, linked_group]


@pytest.mark.parametrize("ending", [".nc", ".h5"])
@pytest.mark.parametrize("make", HDF5)
def test_hdf5_that_points_into_another_file_is_refused_unread(place, make, ending):
    path = place / f"mine{ending}"
    with h5py.File(path, "w") as file:
        make(file, place.parent)
    with pytest.raises(
        RecordingError, match=r"mine\.(nc|h5).*(another file of this machine|is a link).*Nothing was read"
    ) as caught:
        open_recording(path)
    assert "TOPSECRET" not in str(caught.value)


@pytest.mark.parametrize("make", [external_raw, external_link, virtual_dataset])
def test_without_the_guard_the_same_files_give_the_canary(place, make):
    """Negative control: these files do show it to xarray with its defaults."""
    with h5py.File(place / "mine.nc", "w") as file:
        make(file, place.parent)
    with xr.open_dataset(place / "mine.nc", engine="h5netcdf", phony_dims="sort") as dataset:
        assert b"TOPSECRET-KEY-123" in dataset["response"].values.tobytes()


def test_a_file_that_holds_its_own_data_in_the_same_layout_opens(place):
    with h5py.File(place / "mine.nc", "w") as file:
        file["response"] = np.arange(18.0).reshape(6, 3)
        with_labels(file)
    np.testing.assert_array_equal(open_recording(place / "mine.nc").data["response"], np.arange(18.0).reshape(6, 3))


@pytest.mark.parametrize("kind", ["own.zarr", "coded.zarr"])
def test_a_link_in_a_zarr_folder_is_refused_unread(place, kind):
    path, _ = write(place, kind, IDS, np.zeros((6, 3)))
    chunk = next(file for file in sorted((path / "response").rglob("*")) if file.is_file() and file.name[0] in "0c")
    chunk.unlink()
    chunk.symlink_to(place.parent / "secret.bin")
    with pytest.raises(RecordingError, match=rf"{kind}: 'response/.*' is a link, .* Nothing was read\. Copy what"):
        open_recording(path)
    chunk.unlink()
    (path / "more").symlink_to(place.parent)
    with pytest.raises(RecordingError, match="'more' is a link"):
        open_recording(path)


def test_zarr_and_pillow_follow_such_links(place):
    """Negative control: the canary is what they show."""
    plain = xr.Dataset({"response": (("stimulus", "site"), np.zeros((6, 3)))})
    plain.to_zarr(place / "x.zarr", zarr_format=2, consolidated=False, encoding={"response": {"compressors": None}})
    chunk = place / "x.zarr" / "response" / "0.0"
    chunk.unlink(missing_ok=True)
    chunk.symlink_to(place.parent / "secret.bin")
    shown = xr.open_zarr(place / "x.zarr", consolidated=False, chunks=None)["response"].values
    assert b"TOPSECRET-KEY-123" in shown.tobytes()
    with pytest.raises(RecordingError, match="is a link"):
        open_recording(place / "x.zarr")
    (place / "im5.png").symlink_to(place.parent / "secret.png")
    for name in ("im5.png", "../secret.png"):
        with Image.open(place / name) as picture:
            assert picture.getpixel((0, 0)) == 213


def test_zarr_metadata_that_names_a_file_outside_reads_nothing_there(place):
    path, _ = write(place, "own.zarr", IDS, np.zeros((6, 3)))
    stolen = json.loads((path / "response" / ".zarray").read_text())
    consolidated = {"zarr_consolidated_format": 1, "metadata": {".zgroup": {"zarr_format": 2}}}
    consolidated["metadata"]["../secret.bin/.zarray"] = stolen
    (path / ".zmetadata").write_text(json.dumps(consolidated))
    recording = open_recording(path)
    assert set(recording.data.data_vars) == {"response"}
    assert not recording.data["response"].values.any()


@pytest.mark.parametrize("codec", [{"id": "pickle"}, {"id": "zfpy"}, {"id": "json2"}])
def test_zarr_codecs_that_could_run_code_are_refused_before_zarr_sees_them(place, codec):
    path, _ = write(place, "own.zarr", IDS, np.zeros((6, 3)))
    metadata = json.loads((path / "response" / ".zarray").read_text())
    (path / "response" / ".zarray").write_text(json.dumps(metadata | {"filters": [codec]}))
    with pytest.raises(RecordingError, match=rf"is packed with {codec['id']}, which is not read .* xarray's defaults"):
        open_recording(path)


def test_an_image_that_is_a_link_out_of_its_folder_is_refused(place):
    folder = place / "pictures"
    folder.mkdir()
    for index, name in enumerate(IDS[:-1]):
        (folder / f"{name}.png").write_bytes(png(index))
    (folder / "im5.png").symlink_to(place.parent / "secret.png")
    write_wide(place / "wide.csv", IDS, np.zeros((6, 3)))
    with pytest.raises(RecordingError, match=r"im5\.png is a link to a file outside of its folder\. Nothing of it was"):
        open_recording(place / "wide.csv", images=folder)
    (folder / "im5.png").unlink()
    (folder / "im5.png").symlink_to(folder / "im0.png")
    assert len(Stimuli.from_folder(folder)) == 6
    (place / "linked").symlink_to(folder)
    assert len(Stimuli.from_folder(place / "linked")) == 6


@pytest.mark.parametrize("name", ["../secret.png", "{outside}/secret.png", "a/../../secret.png", "linked/secret.png"])
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_stimulus_set_that_names_a_file_outside_is_refused(place, name, kind):
    folder = place / "pictures"
    folder.mkdir()
    (folder / "im0.png").write_bytes(png(0))
    (folder / "linked").symlink_to(place.parent)
    with zipfile.ZipFile(place / "pictures.zip", "w") as archive:
        archive.write(folder / "im0.png", "im0.png")
    stolen = name.format(outside=place.parent)
    rows = [f"{one},{stolen if one == 'im3' else 'im0.png'}" for one in IDS]
    (place / "table.csv").write_text("stimulus_id,filename\n" + "\n".join(rows) + "\n")
    write_wide(place / "wide.csv", IDS, np.zeros((6, 3)))
    images = folder if kind == "folder" else place / "pictures.zip"
    with pytest.raises(
        RecordingError, match=r"table\.csv.*(line 5, filename names '.*', which is not inside|are not in)"
    ):
        open_recording(place / "wide.csv", images=images, stimulus_set=place / "table.csv")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "..\\secret", "file:///etc/passwd"])
def test_ids_that_look_like_paths_are_only_names(place, name):
    ids = [*IDS[:-1], name]
    write_npz(place / "ids.npz", ids, np.arange(18.0).reshape(6, 3), images=np.zeros((6, 3, 4), np.uint8))
    recording = open_recording(place / "ids.npz")
    assert recording.data["stimulus"].values[-1] == name
    saved = recording.save(place / "saved")
    assert not any("secret" in file.name or "passwd" in file.name for file in place.rglob("*"))
    assert open_recording(saved).stimuli.ids[-1] == name
    write_wide(place / "wide.csv", ids, np.zeros((6, 3)))
    with pytest.raises(RecordingError, match="1 only in the former"):
        open_recording(place / "wide.csv", images=place / "images.zip")


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:9/a.nc", "https://x.org/a.npz", "s3://bucket/a.zarr", "file:///etc/passwd", "ftp://x/a"],
)
def test_an_address_is_not_opened(address):
    with pytest.raises(RecordingError, match=r"is an address; recordings are opened from this machine\. Download it"):
        open_recording(address)


@pytest.mark.parametrize("images", ["http://127.0.0.1:9/images.zip", "file:///etc", "s3://bucket/images"])
def test_images_at_an_address_are_not_opened(place, images):
    write_wide(place / "wide.csv", IDS, np.zeros((6, 3)))
    with pytest.raises(RecordingError, match=r"There are no images at .*\. Check the path\."):
        open_recording(place / "wide.csv", images=images)


@pytest.mark.parametrize("named", ["../secret.png", "/etc", "http://127.0.0.1/x", "linked"])
def test_notes_that_name_a_file_outside_are_refused(place, named):
    write_wide(place / "wide.csv", IDS, np.zeros((6, 3)))
    (place / "linked").symlink_to(place.parent)
    (place / "recording.toml").write_text(f'images = "{named}"\n')
    with pytest.raises(RecordingError, match=r"recording\.toml: images names .* is not inside|There are no images at"):
        open_recording(place / "wide.csv")


@pytest.mark.parametrize("named", ["../../secret.npy", "linked.npy", "{outside}/secret.npy"])
def test_a_saved_recording_with_a_right_manifest_reads_no_file_outside(place, named):
    write_npz(place / "ids.npz", IDS, np.arange(18.0).reshape(6, 3), images=np.zeros((6, 3, 4), np.uint8))
    saved = open_recording(place / "ids.npz").save(place / "saved")
    np.save(place.parent / "secret.npy", SECRET)
    (saved / "linked.npy").symlink_to(place.parent / "secret.npy")
    description = json.loads((saved / "recording.json").read_text())
    description["variables"]["response"]["file"] = named.format(outside=place.parent)
    (saved / "recording.json").write_text(json.dumps(description))
    manifest = json.loads((saved / "manifest.json").read_text())
    manifest["files"]["recording.json"] = recording_files._fingerprint(saved / "recording.json")
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RecordingError, match=r"does not hold a whole recording .* is no file of the folder"):
        open_recording(saved)
    manifest["files"]["linked.npy"] = {"sha256": "", "bytes": 0}
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RecordingError, match=r"lacks its file 'linked\.npy'"):
        open_recording(saved)
