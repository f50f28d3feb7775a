import errno
import json
import shutil

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import recording_files
from engine.errors import RecordingError
from engine.known_recordings import open_recording
from engine.recordings import Recording

NAMES = ["../im1", "im 2", "caf\u00e9", "im4"]


def recorded():
    rng = np.random.default_rng(0)
    trials = rng.poisson(3, (4, 3, 5)).astype(float)
    trials[0, 0, 2:] = np.nan
    images = rng.integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    images[1] = images[1, ..., :1]
    maps = xr.DataArray(
        rng.normal(size=(3, 2, 2)),
        coords={"site": ["a", "b", "c"], "rf_y": [1.0, -1.0], "rf_x": [0.1, 0.2]},
        dims=("site", "rf_y", "rf_x"),
    )
    return Recording.from_arrays(
        trials,
        images,
        stimulus_ids=NAMES,
        site_ids=["a", "b", "c"],
        region=["V4", "V4", "IT"],
        name="mine",
        site_coords={"animal": ["M", "", "N"], "../depth": [1.5, np.nan, 0.1]},
        stimulus_coords={"category": ["face", "<b>car</b>", "", "face"], "is_new": [True, False, True, True]},
        rf_map=maps,
        attrs={"simulated": 1, "authors": ["A", "B"]},
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return recorded().save(tmp_path_factory.mktemp("saved") / "mine")


def test_what_is_saved_opens_as_it_was(saved):
    before, after = recorded(), open_recording(saved)
    xr.testing.assert_identical(after.data, before.data)
    assert {name: after.data[name].dtype for name in after.data.variables} == {
        name: before.data[name].dtype for name in before.data.variables
    }
    assert after.stimuli.ids == tuple(NAMES)
    assert after.stimuli.pixel_digests() == before.stimuli.pixel_digests()
    xr.testing.assert_identical(open_recording(str(saved)).data, before.data)


def test_the_same_recording_gives_the_same_files(saved, tmp_path):
    again = recorded().save(tmp_path / "again")
    assert (again / "manifest.json").read_bytes() == (saved / "manifest.json").read_bytes()


def test_a_moved_folder_opens(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "elsewhere")
    assert open_recording(tmp_path / "elsewhere").name == "mine"


def test_nothing_is_overwritten(saved):
    with pytest.raises(RecordingError, match=r"mine exists already and is never overwritten\. Remove it, or save to"):
        recorded().save(saved)
    assert open_recording(saved).name == "mine"


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_flipped_bit_goes_unnoticed(saved, tmp_path_factory, data):
    copy = tmp_path_factory.mktemp("copy") / "mine"
    shutil.copytree(saved, copy)
    path = copy / data.draw(st.sampled_from(sorted(file.name for file in saved.iterdir())))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        opened = open_recording(copy)
    except RecordingError:
        return
    xr.testing.assert_identical(opened.data, recorded().data)
    assert opened.stimuli.pixel_digests() == recorded().stimuli.pixel_digests()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("stimuli.zip", r"lacks its file 'stimuli\.zip'\. Save the recording again, or copy the whole folder"),
        ("recording.json", r"lacks its file 'recording\.json'"),
        ("manifest.json", r"is no saved recording: it has no manifest\.json"),
    ],
)
def test_a_missing_file_is_named(saved, tmp_path, name, says):
    shutil.copytree(saved, tmp_path / "mine")
    (tmp_path / "mine" / name).unlink()
    with pytest.raises(RecordingError, match=says):
        open_recording(tmp_path / "mine")


def test_a_damaged_file_is_named_with_both_checksums(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "mine")
    with open(tmp_path / "mine" / "stimuli.zip", "ab") as file:
        file.write(b"x")
    with pytest.raises(
        RecordingError, match=r"stimuli\.zip is damaged: expected .*'bytes': \d+.*found .*copy it again"
    ):
        open_recording(tmp_path / "mine")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda manifest: manifest | {"version": 2}, "is not a recording of format 'unitscope recording', version 1"),
        (lambda manifest: manifest | {"files": {}}, "is not a recording of format"),
        (lambda manifest: {}, r"manifest\.json cannot be read \(KeyError\('format'\)\)"),
        (lambda manifest: [1], r"manifest\.json cannot be read \(TypeError"),
        (
            lambda manifest: manifest | {"files": manifest["files"] | {"../stolen": {}}},
            r"lacks its file '\.\./stolen'",
        ),
    ],
)
def test_a_manifest_of_another_kind_is_refused(saved, tmp_path, change, says):
    shutil.copytree(saved, tmp_path / "mine")
    path = tmp_path / "mine" / "manifest.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(RecordingError, match=says):
        open_recording(tmp_path / "mine")


def with_rewritten(folder, name, content):
    (folder / name).write_bytes(content)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"][name] = recording_files._fingerprint(folder / name)
    path.write_text(json.dumps(manifest))


def test_arrays_that_claim_more_than_they_hold_or_hold_objects_are_refused(saved, tmp_path):
    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    bomb = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000000), }"
    objects = b"{'descr': '|O', 'fortran_order': False, 'shape': (4, 3), }"
    for index, text in enumerate((bomb, objects)):
        folder = tmp_path / str(index)
        shutil.copytree(saved, folder)
        with_rewritten(folder, "000.npy", header + text.ljust(117) + b"\n" + bytes(100))
        with pytest.raises(RecordingError, match=r"does not hold a whole recording .*Save it again"):
            open_recording(folder)


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def no_space(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(recording_files, "write_file", no_space)
    with pytest.raises(
        RecordingError, match=r"mine cannot be written \(No space left on device\)\. Make room, or save to"
    ):
        recorded().save(tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_cannot_be_decoded_leaves_nothing_behind(tmp_path):
    broken = tmp_path / "im1.png"
    broken.write_bytes(b"no image")
    recording = Recording.from_arrays(np.zeros((3, 1)), [broken] * 3, stimulus_ids=["a", "b", "c"])
    with pytest.raises(RecordingError, match=r"im1\.png: cannot be decoded"):
        recording.save(tmp_path / "mine")
    assert list(tmp_path.iterdir()) == [broken]
