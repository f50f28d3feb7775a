"""Whatever happens to ids, in any format: every response stands beside its own pixels, or an error says so."""

import re
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.alignment import alignment_canary
from engine.digests import responses_digest, stimuli_digest
from engine.errors import RecordingError
from engine.known_recordings import open_recording
from engine.recordings import Recording
from tests.engine.formats.planted_files import SITES, WRITERS, write, write_images

NAMINGS = {
    "counted": lambda index: f"image{index + 1:04d}",
    "numbers": lambda index: f"{index + 1:03d}",
    "accents": lambda index: f"caf\u00e9-{index + 1:02d}",
    "like numbers": lambda index: f"1e{index + 1}",
    "like missing": lambda index: ["NA", "null", "None", "nan", "n.a", "1.0", "-", "inf"][index],
}
ON_IMAGES = {
    "same": lambda names: names,
    "partial": lambda names: names[:-2],
    "extra": lambda names: [*names, "one-more"],
    "leading zeros": lambda names: [re.sub(r"(?<!\d)0+(?=\d)", "", name) for name in names],
    "normalised": lambda names: [unicodedata.normalize("NFD", name) for name in names],
    "case": lambda names: [name.swapcase() for name in names],
    "white space": lambda names: [*names[:-1], f"{names[-1]} "],
    "one other": lambda names: [*names[:-1], "another"],
}
ON_RESPONSES = {
    "duplicate": lambda names: [*names[:-1], names[0]],
    "white space in responses": lambda names: [*names[:-1], f"{names[-1]} "],
    "missing id": lambda names: [*names[:-1], ""],
    "integers": lambda names: list(range(1, len(names) + 1)),
    "normalised twin": lambda names: [*names[:-2], "caf\u00e9", "cafe\u0301"],
    "case twin": lambda names: [*names[:-2], "Im1", "im1"],
}


QUICK = [kind for kind in sorted(WRITERS) if not kind.endswith((".nc", ".zarr"))]


@settings(max_examples=300, report_multiple_bugs=False)
@given(
    kind=st.sampled_from(sorted(WRITERS) + QUICK),
    naming=st.sampled_from(sorted(NAMINGS)),
    fault=st.sampled_from(["same", *sorted(ON_IMAGES | ON_RESPONSES)]),
    n_stimuli=st.integers(5, 8),
    seed=st.integers(0, 2**16),
)
def test_no_misalignment_is_silent_in_any_format(kind, naming, fault, n_stimuli, seed):
    rng = np.random.default_rng(seed)
    names = [NAMINGS[naming](index) for index in range(n_stimuli)]
    responses = rng.integers(-80, 80, (n_stimuli, len(SITES))) / 8
    ids = ON_RESPONSES.get(fault, list)(names)
    shown = ON_IMAGES.get(fault, list)(names)
    in_file, in_images = rng.permutation(n_stimuli), rng.permutation(len(shown))
    with tempfile.TemporaryDirectory() as place:
        path, said = write(place, kind, [ids[index] for index in in_file], responses[in_file])
        write_images(Path(place) / "images.zip", [shown[index] for index in in_images], in_images)
        if set(shown) == set(map(str, ids)) and len(set(ids)) == len(ids) == len(shown):  # nothing happened to these
            require_own_pixels(open_recording(path, **said), names, responses)
            return
        with pytest.raises(RecordingError) as caught:
            open_recording(path, **said)
    message = str(caught.value)
    assert place in message, message
    assert re.search(r"\d", message), message
    assert message.rstrip().endswith((".", ").")), message


def require_own_pixels(recording, names, responses):
    """Every response, bit for bit, and the pixels of its stimulus, and the digests that a result is keyed by."""
    opened = recording.data["response"]
    place = [names.index(name) for name in opened["stimulus"].values.tolist()]
    np.testing.assert_array_equal(opened.values, responses[place])
    pixels = [int(recording.stimuli.pixels(name)[0, 0, 0]) for name in opened["stimulus"].values.tolist()]
    assert pixels == place
    images = np.repeat(np.arange(len(names), dtype=np.uint8), 12).reshape(-1, 3, 4)
    sites, regions = (opened[name].values.tolist() for name in ("site", "region"))
    plain = Recording.from_arrays(responses, images, stimulus_ids=names, site_ids=sites, region=regions)
    assert stimuli_digest(recording.stimuli) == stimuli_digest(plain.stimuli)
    if "object" not in recording.data:
        assert responses_digest(recording) == responses_digest(plain)


def test_the_judge_would_see_a_response_beside_other_pixels(tmp_path):
    """Negative control: xarray by position, and pandas with its defaults, pass what ours refuses."""
    names, responses = [f"{index:03d}" for index in range(5)], np.arange(15.0).reshape(5, 3)
    path, _ = write(tmp_path, "wide.csv", names, responses)
    write_images(tmp_path / "images.zip", names, range(5))
    recording = open_recording(path)
    shuffled = recording.data.assign_coords(stimulus=np.roll(recording.data["stimulus"].values, 1))
    with pytest.raises(AssertionError):
        require_own_pixels(Recording(shuffled, recording.stimuli), names, responses)
    one_sided = xr.DataArray(responses[::-1], dims=("stimulus", "site"))
    assert (recording.data["response"] * one_sided).shape == (5, 3)  # aligned by position, without a word


def test_a_mismatch_names_both_files_the_counts_three_ids_and_the_fix(tmp_path):
    path, _ = write(tmp_path, "wide.csv", list("abcd"), np.zeros((4, 3)))
    write_images(tmp_path / "images.zip", ["a", "x", "y"], [0, 1, 2])
    says = (
        rf"{re.escape(str(path))} names 4 stimuli, {re.escape(str(tmp_path))}/images\.zip 3; 3 only in the former "
        r"\(first 'b', 'c', 'd'\), 2 only in the latter \(first 'x', 'y'\)\. Keep what both sides have, under the same "
        r"ids\. Or let unitscope keep them: --allow-subset \(in Python allow_subset=True\)\."
    )
    with pytest.raises(RecordingError, match=says):
        open_recording(path)


def test_a_subset_is_kept_only_when_asked_and_says_so(tmp_path):
    responses = np.arange(15.0).reshape(5, 3) ** 2
    path, _ = write(tmp_path, "wide.csv", list("abcde"), responses)
    write_images(tmp_path / "images.zip", list("edcx"), [4, 3, 2, 9])
    recording = open_recording(path, allow_subset=True)
    assert recording.data["stimulus"].values.tolist() == list("cde")
    np.testing.assert_array_equal(recording.data["response"], responses[2:])
    assert recording.data.attrs["subset"] == "3 of 5 stimuli that were shown, the others have no image"
    write_images(tmp_path / "images.zip", list("xyz"), [1, 2, 3])
    with pytest.raises(RecordingError, match="share none of 5 and 3 stimuli: 'a', 'b', 'c' against 'x', 'y', 'z'"):
        open_recording(path, allow_subset=True)


def test_mixed_up_ids_that_nobody_could_compare_are_seen_by_the_canary():
    rng = np.random.default_rng(0)
    looks = rng.normal(size=(200, 2))
    response = looks @ rng.normal(size=(2, 10)) + 3 * rng.normal(size=(200, 10))
    assert alignment_canary(response, looks).is_above
    assert not alignment_canary(response, looks[rng.permutation(200)]).is_above
    response[rng.random(response.shape) < 0.3] = np.nan
    assert alignment_canary(response, looks).is_above
    assert alignment_canary(response[:19], looks[:19]) is None
    assert alignment_canary(np.ones((200, 2)), looks) is None
