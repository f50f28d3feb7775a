import re
import tempfile
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine import schema
from engine.errors import RecordingError, StimulusMismatchError
from engine.fetching import fetch
from engine.known_recordings import data_root, list_recordings, open_recording
from engine.recordings import Recording
from engine.stimuli import Stimuli

NAMES = ["im1", "im2", "im3", "im4"]
IMAGES = np.repeat(np.arange(4, dtype=np.uint8), 12).reshape(4, 2, 2, 3)
RESPONSES = np.arange(8.0).reshape(4, 2) ** 2


def recorded(responses=RESPONSES, images=IMAGES, stimulus_ids=NAMES, **settings):
    return Recording.from_arrays(responses, images, stimulus_ids=stimulus_ids, **settings)


def write_images(folder, names, values):
    for name, value in zip(names, values, strict=True):
        Image.fromarray(np.full((2, 2), value, np.uint8)).save(folder / f"{name}.png")


def zipped(folder):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"inside/{file.name}")
    return path


def test_a_recording_is_what_the_schema_says():
    trials = np.stack([RESPONSES, RESPONSES + 1], axis=2)
    rf_map = xr.DataArray(
        np.zeros((2, 3, 3)),
        coords={"site": ["b", "a"], "rf_y": [1.0, 0.0, -1.0], "rf_x": [0.0, 1.0, 2.0]},
        dims=("site", "rf_y", "rf_x"),
    )
    recording = recorded(
        trials,
        site_ids=["a", "b"],
        region=["V4", "IT"],
        size_deg=8,
        name="mine",
        site_coords={"animal": ["M", "N"], "depth_mm": [1.5, np.nan]},
        stimulus_coords={"category": ["face", "car", "", "face"]},
        rf_map=rf_map,
        attrs={"window_ms": "70-170", "simulated": True},
    )
    data = schema.require(recording.data, "recording")
    assert recording.name == "mine"
    assert repr(recording) == "<Recording 'mine': 4 stimuli, 2 sites, IT, V4>"
    assert data["response"].dtype == np.float64
    assert data["trials"].dims == ("stimulus", "site", "repeat")
    np.testing.assert_array_equal(data["response"], RESPONSES + 0.5)
    assert data["region"].values.tolist() == ["V4", "IT"]
    assert data["category"].sel(stimulus="im2") == "car"
    assert data.attrs == {
        "source": "unknown",
        "licence": "unknown",
        "window_ms": "70-170",
        "response_unit": "unknown",
        "simulated": 1,
        "n_repeats": 2,
        "name": "mine",
        "size_deg": 8.0,
    }


def test_what_nobody_said_is_unknown():
    recording = recorded()
    assert recording.data["site"].values.tolist() == ["site00", "site01"]
    assert set(recording.data["region"].values) == {"unknown"}
    assert np.isnan(recording.data.attrs["size_deg"])
    assert recording.data.attrs["simulated"] == 0
    assert recording.stimuli.ids == tuple(NAMES)


def test_a_site_that_never_varies_is_kept():
    assert recorded(np.ones((4, 2))).data.sizes["site"] == 2


# Whatever happens to ids of one side, either every response still stands beside its own pixels, or an error says so.

NAMINGS = {
    "counted": lambda index: f"image{index + 1:04d}",
    "numbers": lambda index: f"{index + 1:03d}",
    "accents": lambda index: f"caf\u00e9-{index + 1:02d}",
}
ON_IMAGES = {
    "same": lambda names, rng: names,
    "partial": lambda names, rng: names[: len(names) - int(rng.integers(1, 3))],
    "extra": lambda names, rng: [*names, "one-more"],
    "leading zeros": lambda names, rng: [re.sub(r"(?<!\d)0+", "", name) for name in names],
    "normalised": lambda names, rng: [unicodedata.normalize("NFD", f"{name}\u00e9") for name in names],
    "case": lambda names, rng: [f"{name}A" for name in names],
    "one swapped": lambda names, rng: [*names[:-1], "another"],
}
ON_IDS = {
    "duplicate": lambda names: [*names[:-1], names[0]],
    "integers": lambda names: list(range(len(names))),
    "one integer": lambda names: [*names[:-1], 17],
    "white space": lambda names: [*names[:-1], f"{names[-1]} "],
    "missing id": lambda names: [*names[:-1], None],
    "empty id": lambda names: [*names[:-1], ""],
    "one fewer": lambda names: names[:-1],
    "normalised twin": lambda names: [*names[:-2], "caf\u00e9", "cafe\u0301"],
    "case twin": lambda names: [*names[:-2], "Im1", "im1"],
}


def given_as(kind, place, names, values):
    if kind == "stimuli":
        return Stimuli.from_array(np.repeat(values, 12).reshape(-1, 2, 2, 3).astype(np.uint8), names)
    folder = Path(place) / "images"
    folder.mkdir()
    write_images(folder, names, values)
    paths = [folder / f"{name}.png" for name in names]
    return {"folder": folder, "zip": zipped(folder), "paths": paths}[kind]


@settings(max_examples=100)
@given(
    naming=st.sampled_from(sorted(NAMINGS)),
    fault=st.sampled_from(sorted(ON_IMAGES | ON_IDS)),
    kind=st.sampled_from(["stimuli", "folder", "zip", "paths"]),
    n_stimuli=st.integers(4, 12),
    seed=st.integers(0, 2**16),
)
def test_no_misalignment_is_silent(naming, fault, kind, n_stimuli, seed):
    rng = np.random.default_rng(seed)
    names = [NAMINGS[naming](index) for index in range(n_stimuli)]
    ids = {"normalised": [f"{name}\u00e9" for name in names], "case": [f"{name}a" for name in names]}.get(fault, names)
    shown = ON_IMAGES.get(fault, ON_IMAGES["same"])(names, rng)
    order = rng.permutation(len(shown))
    responses = rng.normal(size=(n_stimuli, 3))
    with tempfile.TemporaryDirectory() as place:
        images = given_as(kind, place, [shown[index] for index in order], order)
        if fault == "same":
            recording = recorded(responses, images, ids)
            value = np.array([recording.stimuli.pixels(name).mean() for name in recording.data["stimulus"].values])
            np.testing.assert_array_equal(value, np.arange(n_stimuli))
            np.testing.assert_array_equal(recording.data["response"], responses)
            return
        with pytest.raises(RecordingError, match=r"stimulus_ids(:| names).*\d"):
            recorded(responses, images, ON_IDS.get(fault, list)(ids))


@pytest.mark.parametrize("kind", ["stimuli", "folder", "zip", "paths"])
def test_a_mismatch_names_the_place_the_counts_three_ids_and_the_fix(tmp_path, kind):
    images = given_as(kind, tmp_path, ["im1", *"abcde"], np.arange(6))
    where = {"folder": ".*images", "zip": r".*images\.zip"}.get(kind, "images")
    says = (
        rf"stimulus_ids names 4 stimuli, {where} 6; 3 only in the former \(first 'im2', 'im3', 'im4'\), "
        r"5 only in the latter \(first 'a', 'b', 'c'\)\. Keep what both sides have, under the same ids\."
    )
    with pytest.raises(StimulusMismatchError, match=says):
        recorded(images=images)


def test_paths_are_taken_by_name_or_if_their_names_are_others_by_position(tmp_path):
    write_images(tmp_path, ["a", "b", "c", "d"], [3, 2, 1, 0])
    by_position = recorded(images=[str(tmp_path / f"{name}.png") for name in "abcd"])
    assert [by_position.stimuli.pixels(name).max() for name in NAMES] == [3, 2, 1, 0]
    write_images(tmp_path, NAMES, [5, 6, 7, 8])
    by_name = recorded(images=[tmp_path / f"{name}.png" for name in reversed(NAMES)])
    assert [by_name.stimuli.pixels(name).max() for name in NAMES] == [5, 6, 7, 8]
    with pytest.raises(StimulusMismatchError, match=r"pair files .* by hand: images=Stimuli.from_paths\(paths, ids\)"):
        recorded(images=[tmp_path / f"{name}.png" for name in ("im1", "b", "c", "d")])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"stimulus_ids": NAMES[:3]}, r"stimulus_ids names 3, responses has 4 .* = \(4, 2\)\)\. Give one id for each"),
        (
            {"responses": RESPONSES.T},
            r"stimulus_ids names 4, responses has 2 .*If it is \(site, stimulus\), give responses\.T",
        ),
        ({"site_ids": ["a"]}, r"site_ids names 1, responses has 2 along that axis"),
        ({"site_ids": ["a", "a"]}, "site_ids: 2 of 2 site ids occur more than once, first 'a'"),
        ({"images": IMAGES[:3]}, "images holds 3 images for 4 stimulus ids"),
        ({"images": IMAGES / 255}, "images must be uint8"),
        ({"images": "nowhere.zip"}, "no zip of images at nowhere.zip"),
        ({"region": ["V4"]}, r"region must be one name, or one for each of 2 sites, got 1 \('V4'\)"),
        ({"region": ["V4", 4]}, r"got 2 \('V4', 4\)"),
        ({"size_deg": -1}, "size_deg is the width of a stimulus in degrees, a positive number, got -1"),
        ({"name": " "}, "name must be text that can be printed, got ' '"),
        ({"attrs": {"name": "other"}}, "attrs.'name'. is 'other', but name is 'unnamed'. Give it once, as an argument"),
        ({"attrs": {"by": object}}, "attrs.'by'. must be text, a number or a list of them, got <class 'object'>"),
        ({"site_coords": {"response": [1, 2]}}, "site_coords cannot be called 'response': that name is taken"),
        (
            {"site_coords": {"animal": ["a"]}},
            r"site_coords.'animal'. must be .* one for each of 2, got <U1 of shape \(1,\)",
        ),
        ({"site_coords": {"animal": ["a", None]}}, "got object of shape .* where nothing is known"),
        ({"site_coords": {"animal": ["a", 1]}}, "must be text or numbers"),
        (
            {"site_coords": {"k": [1, 2]}, "stimulus_coords": {"k": [1, 2, 3, 4]}},
            "stimulus_coords cannot be called 'k'",
        ),
        ({"rf_map": np.zeros((2, 3, 3))}, "rf_map must be an xr.DataArray"),
        (
            {"responses": np.where([[0, 1], [0, 1], [0, 0], [0, 0]], np.nan, RESPONSES)},
            "unnamed: 1 of 2 sites have fewer than 3 responses, first 'site01' with 2 of 4 stimuli. Leave them out",
        ),
        (
            {"responses": np.where([[0], [0], [0], [1]], np.nan, RESPONSES)},
            "unnamed: 1 of 4 stimuli have no response at any site, first 'im4'. Leave them out",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, says):
    with pytest.raises(RecordingError, match=says):
        recorded(**changes)


def test_a_selection_keeps_responses_beside_their_pixels():
    whole = recorded(site_ids=["a", "b"], name="mine")
    part = whole.select(["im4", "im1", "im3"], ["b"])
    assert part.name == "mine[3 stimuli, 1 sites]"
    assert part.stimuli.ids == ("im4", "im1", "im3")
    np.testing.assert_array_equal(part.data["response"], RESPONSES[[3, 0, 2], 1:])
    assert whole.select(name="again").name == "again"
    with pytest.raises(RecordingError, match="mine has no site 'c'"):
        whole.select(sites=["a", "c"])
    with pytest.raises(RecordingError, match="1 of 1 selected stimuli do not exist, first 'im9'"):
        whole.select(["im9"])
    with pytest.raises(RecordingError, match="fewer than 3 responses"):
        whole.select(["im1", "im2"])


def test_a_dataset_in_another_order_than_its_stimuli_gets_them_by_id():
    whole = recorded()
    again = Recording(whole.data.isel(stimulus=[2, 0, 1, 3]), whole.stimuli)
    assert again.stimuli.ids == ("im3", "im1", "im2", "im4")
    with pytest.raises(StimulusMismatchError, match="unnamed names 4 stimuli, its stimuli 3"):
        Recording(whole.data, whole.stimuli.select(["im1", "im2", "im3"]))


def test_names_that_nobody_knows_are_answered_with_those_that_exist(tmp_path):
    with pytest.raises(RecordingError, match=r"no recording 'mine'\. Known names: builtin, cowley-v4/190923, "):
        open_recording("mine")
    with pytest.raises(RecordingError, match=r"no recording 'cowley-v4/1'\. Known names: builtin"):
        open_recording("cowley-v4/1")
    with pytest.raises(
        RecordingError, match=r"190923 is not on this machine: .*zip is missing\. Run: unitscope fetch cow"
    ):
        open_recording("cowley-v4/190923")
    with pytest.raises(
        RecordingError,
        match=r"holds no responses; expected one of \.nc, .* or a saved recording with its manifest\.json",
    ):
        open_recording(tmp_path)


def test_the_place_of_recordings_is_the_users_choice(monkeypatch, tmp_path):
    assert data_root() == tmp_path / "data"
    monkeypatch.delenv("UNITSCOPE_DATA")
    assert data_root().parts[-2:] == ("unitscope", "recordings")


def test_the_list_says_what_there_is_and_what_can_be_had(tmp_path):
    recorded(region="IT").save(tmp_path / "data" / "mine")
    (recorded().save(tmp_path / "data" / "broken") / "recording.json").write_text("{}")
    table = list_recordings().set_index("name")
    assert table.loc["builtin", "status"] == "not built"
    assert table.loc["cowley-v4/190923"].tolist() == ["V4", 33, 1200, "14", "not fetched"]
    assert table.index.str.startswith("cowley-v4/").sum() == 12
    assert table.loc[str(tmp_path / "data" / "mine")].tolist() == ["IT", 2, 4, "", "saved"]
    assert table.loc[str(tmp_path / "data" / "broken"), "status"] == "damaged"
    recorded().save(tmp_path / "data" / "builtin")
    assert list_recordings().set_index("name").loc["builtin"].tolist() == ["unknown", 2, 4, "", "built"]


@pytest.mark.real_data
def test_published_sessions_open_with_what_is_known_of_them(cowley_dir):
    names = fetch(source=cowley_dir, progress=False)
    assert names == ["cowley-v4/190923", "cowley-v4/210225", "cowley-v4/210325"]
    table = list_recordings().set_index("name")
    for name, animal, n_sites, n_stimuli, n_repeats in zip(
        names, ["WE", "PE", "PE"], [33, 55, 50], [1200, 1200, 640], [14, 6, 10], strict=True
    ):
        recording = open_recording(name)
        data = schema.require(recording.data, "recording")
        assert (data.sizes["site"], data.sizes["stimulus"]) == (n_sites, n_stimuli)
        assert table.loc[name, ["sites", "stimuli", "status"]].tolist() == [n_sites, n_stimuli, "fetched"]
        assert data["site"].values[[0, -1]].tolist() == ["site00", f"site{n_sites - 1}"]
        assert recording.stimuli.ids == tuple(f"image{index + 1:04d}" for index in range(n_stimuli))
        assert set(data["region"].values) == {"V4"}
        assert set(data["animal"].values) == {animal}
        assert {key: data.attrs[key] for key in ("licence", "window_ms", "size_deg", "simulated", "n_repeats")} == {
            "licence": "GPL-3.0",
            "window_ms": "50-150",
            "size_deg": 11.2,
            "simulated": 0,
            "n_repeats": n_repeats,
        }


@pytest.mark.real_data
def test_the_mean_over_published_trials_is_the_published_average_exactly(cowley_dir):
    fetch(sessions=["210325"], source=cowley_dir, progress=False)
    data = open_recording("cowley-v4/210325").data
    averaged = np.load(cowley_dir / "responses_repeat_averaged" / "responses_210325.npy")
    np.testing.assert_array_equal(data["response"], averaged.T)
    assert data["trials"].dtype == np.float32
    n_shown = np.isfinite(data["trials"]).sum("repeat")
    assert (int(n_shown.min()), int(n_shown.max())) == (6, 10)


@pytest.mark.real_data
def test_a_fetched_file_that_changed_is_not_opened(cowley_dir):
    fetch(sessions=["190923"], source=cowley_dir, progress=False)
    path = data_root() / "cowley-v4" / "responses_repeat_averaged" / "responses_190923.npy"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        RecordingError, match=r"190923\.npy is damaged: expected sha256 .*Run: unitscope fetch cowley-v4 190923"
    ):
        open_recording("cowley-v4/190923")
    fetch(sessions=["190923"], source=cowley_dir, progress=False)
    assert open_recording("cowley-v4/190923").data.sizes["site"] == 33
