"""What ``unitscope check-data`` says, of recordings whose answers are known, on the command line."""

import re

import numpy as np
import pytest
from click.testing import CliRunner

from engine.cli import main
from engine.data_checks import check_data, what_can_be_done
from engine.fetching import fetch
from engine.known_recordings import open_recording
from engine.recordings import Recording
from tests.engine.formats.planted_files import assembly, write_assembly, write_images, write_npz, write_wide

N = 60


def run(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def bright_recording(seed=0, **about):
    """Four sites that follow the brightness of their images, with four repeats of noise."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (N, 6, 6), dtype=np.uint8)
    images = (images * rng.random(N)[:, None, None]).astype(np.uint8)
    drive = images.mean(axis=(1, 2))[:, None, None] / 20
    trials = rng.poisson(drive + 1, (N, 4, 4)).astype(float)
    ids = [f"im{index}" for index in range(N)]
    return Recording.from_arrays(trials, images, stimulus_ids=ids, region=["V4", "V4", "IT", "IT"], **about)


def test_everything_that_was_found_is_said():
    told = check_data(
        bright_recording(size_deg=8, name="mine", stimulus_coords={"category": ["a", "b"] * 30})
    ).describe()
    for line in (
        r"^Recording 'mine': 60 stimuli, 4 sites, IT, V4$",
        r"^sites +4: 2 in IT, 2 in V4; first 'site00', 'site01', 'site02'$",
        r"^stimuli +60, 6 x 6 px, gray; first 'im0', 'im1', 'im2'; known of each: category$",
        r"^repeats +4 of each stimulus; single trials are there$",
        r"^missing +none: every site has a response to every stimulus$",
        r"^reliability +median 0\.\d\d \(split half, Spearman-Brown\), so no r above the noise ceiling, median 0\.\d\d",
        r"^size +8 degrees wide$",
        r"^window +unknown: --window-ms$",
        r"^source +unknown; licence unknown$",
        r"^alignment +luminance and contrast explain \d\d\.\d\d% of .* given order, above all of 20 shuffled ones",
        r"^possible +match, runner-ups",
        r"^possible +reliability and noise ceilings$",
        r"^possible +decoding of categories, stability$",
        r"^not possible +receptive fields of sites beside those of units: needs response maps \(rf_map\)$",
        r"^possible +positions in degrees$",
        r"^possible +comparison of regions$",
    ):
        assert re.search(line, told, re.MULTILINE), (line, told)
    assert "WARNING" not in told


def test_responses_beside_the_wrong_images_are_warned_of():
    right = bright_recording()
    order = np.random.default_rng(1).permutation(N)
    wrong = Recording(right.data.assign_coords(stimulus=right.data["stimulus"].values[order]), right.stimuli)
    told = check_data(wrong).describe()
    assert re.search(r"^alignment .* NOT above all of 20 shuffled ones", told, re.MULTILINE)
    assert "WARNING: responses follow luminance and contrast of the images no better than in shuffled orders." in told
    assert "check which id each row has" in told
    assert check_data(right).warnings == ()


def test_what_is_missing_is_said_and_what_it_would_allow():
    whole = bright_recording()
    data = whole.data.drop_vars("trials").isel(site=[0, 1])
    response = data["response"].copy()
    response[:6, 0] = np.nan
    response[:, 1] = 3.0
    plain = Recording(data.assign(response=response), whole.stimuli)
    told = check_data(plain).describe()
    for line in (
        r"^repeats +averages of 4; no single trials$",
        r"^missing +5\.0% of responses, at 1 of 2 sites and 6 of 60 stimuli; 1 sites never vary and have no match$",
        r"^reliability +not available: no trials, nor counts with known repeats$",
        r"^size +unknown in degrees: --size-deg$",
        r"^not possible +reliability and noise ceilings: needs single trials, or spike counts with n_repeats$",
        r"^not possible +decoding of categories, stability: needs a category for each stimulus",
        r"^not possible +comparison of regions: needs sites of a second region$",
    ):
        assert re.search(line, told, re.MULTILINE), (line, told)
    assert what_can_be_done(plain)[0] == (
        True,
        "match, runner-ups, layers, feature maps, chance, redundancy, assignment",
    )


def test_stimuli_that_look_the_same_are_warned_of():
    images = np.zeros((4, 3, 3), np.uint8)
    images[3] = 9
    recording = Recording.from_arrays(np.arange(8.0).reshape(4, 2), images, stimulus_ids=list("abcd"))
    told = check_data(recording).describe()
    assert "WARNING: 2 of 4 stimuli have the pixels of another one under another id." in told
    assert "alignment     not tried: it needs 20 stimuli whose luminance or contrast differ" in told


def test_the_command_says_it_of_every_kind_of_file_and_saves(tmp_path):
    ids, responses = [f"im{index}" for index in range(6)], np.arange(18.0).reshape(6, 3) ** 2
    write_images(tmp_path / "images.zip", ids, 9 * np.arange(6))
    write_assembly(tmp_path / "a.nc", assembly(ids, responses, repeats=2, bins=((50, 70), (70, 170))))
    code, told = run("check-data", tmp_path / "a.nc")
    assert code == 1
    assert told.startswith("Error: ")
    assert "a.nc has 2 time bins, 50-70, 70-170 ms. Say which to average: --window-ms 70-170" in told
    code, told = run("check-data", tmp_path / "a.nc", "--window-ms", "70-170", "--size-deg", "8", "--name", "mine")
    assert code == 0
    assert "Recording 'mine': 6 stimuli, 3 sites, IT, V4" in told
    assert "sites         3: 1 in IT, 2 in V4; first 's-1', 's-2', 's-3'; known of each: animal" in told
    assert "window        70-170 ms" in told
    assert "repeats       2 of each stimulus; single trials are there" in told
    write_npz(tmp_path / "b.npz", ids, responses)
    code, told = run("check-data", tmp_path / "b.npz", "--region", "V4", "--save", tmp_path / "saved")
    assert code == 0
    assert f"saved: unitscope match NETWORK {tmp_path / 'saved'}" in told
    assert "sha256" in told
    assert run("check-data", tmp_path / "saved")[0] == 0
    code, told = run("check-data", tmp_path / "saved", "--region", "V4")
    assert "says all of itself; images, region and the like are for files of your own." in told
    code, told = run("match", "squeezenet1_1", tmp_path / "a.nc", tmp_path / "b.npz", "--region", "V4")
    assert code == 2
    assert "--region is about one recording, 2 are named: write a recording.toml for each." in told


def test_an_order_that_the_user_states_is_named_wherever_the_recording_is(tmp_path):
    write_images(tmp_path / "images.zip", list("abcd"), range(4))
    np.save(tmp_path / "bare.npy", np.arange(8.0).reshape(4, 2) ** 2)
    (tmp_path / "order.txt").write_text("d\nc\nb\na\n")
    code, told = run("check-data", tmp_path / "bare.npy")
    assert code == 1
    assert "has no stimulus ids, so nothing says which image each row belongs to." in told
    assert "or state the order yourself: --order FILE" in told
    code, told = run("check-data", tmp_path / "bare.npy", "--order", tmp_path / "order.txt")
    assert "Recording 'bare (order asserted by user)': 4 stimuli, 2 sites" in told
    assert "order         order asserted by user: order.txt" in told
    assert (
        "WARNING: the file has no stimulus ids; every result rests on the order that you stated, and says so." in told
    )
    recording = open_recording(tmp_path / "bare.npy", order=tmp_path / "order.txt")
    assert recording.data["stimulus"].values.tolist() == list("dcba")
    assert int(recording.stimuli.pixels("d")[0, 0, 0]) == 3


def test_the_command_says_what_is_wrong_in_one_sentence(tmp_path):
    write_wide(tmp_path / "wide.csv", list("abcd"), np.zeros((4, 3)))
    for arguments, says in [
        (["nowhere.nc"], "There is no recording 'nowhere.nc'. Known names: builtin"),
        ([tmp_path / "wide.csv"], "holds no images, and none lie beside it as images/, images.zip, stimuli/"),
        ([tmp_path / "wide.csv", "--images", tmp_path / "no"], "There are no images at"),
        ([tmp_path / "wide.csv", "--window-ms", "soon"], "window_ms must be like '70-170'"),
    ]:
        code, told = run("check-data", *arguments)
        assert (code, "Traceback" in told) == (1, False)
        assert says in told


@pytest.mark.real_data
@pytest.mark.parametrize("session", ["190923", "210225", "210325"])
def test_published_sessions_are_above_all_shuffles_and_permuted_ones_are_not(cowley_dir, session):
    fetch(sessions=[session], source=cowley_dir, progress=False)
    right = open_recording(f"cowley-v4/{session}")
    assert check_data(right).warnings == ()
    order = np.random.default_rng(1).permutation(right.data.sizes["stimulus"])
    wrong = Recording(right.data.assign_coords(stimulus=right.data["stimulus"].values[order]), right.stimuli)
    assert any("no better than in shuffled orders" in warning for warning in check_data(wrong).warnings)
