"""The command line: what it prints, and one sentence instead of a traceback."""

import io
import json
import re
import shlex
import subprocess
import sys
import zipfile
from contextlib import nullcontext, suppress

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import engine
from engine.cli import main
from tests.engine.worked_example import images, planted_recording, tiny_network

NETWORK = "tests.engine.worked_example:tiny_network"


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture
def saved(tmp_path):
    return str(planted_recording(tiny_network(), noise=0.5).save(tmp_path / "planted"))


def test_match_prints_selected_held_out_and_chance_and_list_shows_the_run(saved):
    code, output = run("match", NETWORK, saved, "--top", "10")
    assert code == 0
    assert "tiny@planted" in output
    assert "V4: median over 4 of 4 sites of the best unit's r" in output
    assert "held out" in output
    assert "shuffled images" in output
    code, output = run("list")
    assert "tiny" in output
    assert "complete" in output
    matches = engine.open_run("tiny@planted").dataset("matches")
    assert matches.sizes["rank"] == 10
    code, output = run("analyse", "tiny@planted", "reliability")
    assert code == 0
    assert output.startswith("reliability: stored already; it took ")
    assert "noise_ceiling" in output


def test_analyses_are_listed_computed_and_go_on_after_one_that_lacks_something(saved):
    run("match", NETWORK, saved, "--top", "10", "--shuffles", "2")
    code, output = run("analyse", "tiny@planted")
    assert code == 0
    assert re.search(r"\nreliability +stored +Reliability and noise ceiling of every site\n", output)
    assert re.search(r"\nrotation +cannot be computed, see below ", output)
    assert "rotation lacks the network 'tiny', which the run does not hold: give network= in Python" in output
    code, output = run("analyse", "tiny@planted", "--all", "--seed", "1")
    assert code == 0
    assert re.search(r"reliability: a moment\nreliability: took \S+ s, stored in [0-9a-f]{12}\n", output)
    assert "rotation of tiny@planted cannot be computed: the network 'tiny'" in output
    given = ["--network", NETWORK, "--recording", saved, "--set", "rotations=2"]
    code, output = run("analyse", "tiny@planted", "rotation", "reliability", *given)
    assert code == 0
    assert output.startswith("rotation: a moment\nrotation: took ")
    assert engine.open_run("tiny@planted").dataset("rotation").sizes["rotation"] == 2
    told = run("analyse", "tiny@planted", *given[:4])[1]
    assert re.search(r"\nrotation +stored with seed=0, rotations=2; with these settings it can run, a moment ", told)


def test_an_analysis_that_was_asked_for_and_cannot_be_computed_is_a_failure(saved):
    run("match", NETWORK, saved, "--top", "10", "--shuffles", "2")
    for arguments, message in [
        (["rotation"], "Error: not computed: rotation."),
        (["decodign"], "no analysis 'decodign'. There are: neural_correlation"),
        (
            ["reliability", "--set", "splits=3"],
            "no analysis named here has a setting 'splits'. Settings: reliab",
        ),
        (["reliability", "--set", "splits"], "--set splits: expected KEY=VALUE, as in --set rotations=20."),
        (["rotation", "--set", "rotations=few"], "rotation, rotations=few: expected int, as in 10."),
        (["rotation", "--weights", "a.pt"], "there is no network 'tiny'"),
    ]:
        code, output = run("analyse", "tiny@planted", *arguments)
        assert code != 0
        assert message in output


def test_plan_says_passes_and_memory_and_computes_nothing(saved):
    code, output = run("match", NETWORK, saved, "--plan", "--memory", "1GiB")
    assert code == 0
    assert "1 pass over the stimuli, " in output
    assert engine.list_runs().empty


def test_layers_can_be_chosen_by_patterns_and_are_listed_before_the_run(saved):
    code, output = run("match", NETWORK, saved, "--layers", "conv?,fc", "--plan")
    assert code == 0
    assert re.search(r"conv1 +Conv2d +8 +18 +18 +2592 +0.0", output)
    assert "3 layers, 2,986 units." in output
    assert "relu1" not in output
    assert engine.list_runs().empty
    code, output = run("list", "layers", NETWORK, "--layers", "conv*")
    assert (code, "2 layers, 2,976 units. Left out:" in output) == (0, True)
    code, output = run("match", NETWORK, saved, "--layers", "blob*")
    assert code != 0
    assert "layers: 'blob*' matches none of the 4 layers; closest: " in output


def test_layers_can_be_chosen(saved):
    assert run("match", NETWORK, saved, "--layers", "fc, conv2")[0] == 0
    assert engine.open_run("tiny@planted").dataset("layers")["layer"].values.tolist() == ["conv2", "fc"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["match", "squeezenet9", "SAVED"], "squeezenet1_1"),
        (["match", NETWORK, "no-such-recording"], "cowley-v4/190923"),
        (["match", NETWORK, "SAVED", "--weights", "random"], "a function of yours chooses its own weights"),
        (["list", "layers", "timm:resnet18"], "say which weights: 'pretrained'"),
        (["match", NETWORK, "SAVED", "--memory", "2MiB"], "Give memory="),
        (["match", NETWORK, "SAVED", "--layers", "conv9"], "conv"),
        (["analyse", "tiny@planted", "reliability"], "holds no runs. Make one with 'unitscope match'"),
        (["list", "layers", NETWORK, "--weights-seed", "9" * 23], "is not in the range 0<=x<="),
        (["list", "layers"], "name the network: unitscope list layers NETWORK"),
    ],
)
def test_what_is_wrong_is_one_sentence_that_names_the_fix(saved, arguments, message):
    code, output = run(*[saved if a == "SAVED" else a for a in arguments])
    assert code != 0
    assert "Traceback" not in output
    assert message in output


def test_a_folder_without_a_name_may_hold_the_images(tmp_path, monkeypatch):
    (tmp_path / "responses.csv").write_text("stimulus_id,a\nim0,1\nim1,2\nim2,4\n")
    for k in range(3):
        Image.fromarray(np.full((8, 8, 3), 60 * k, np.uint8)).save(tmp_path / f"im{k}.png")
    monkeypatch.chdir(tmp_path)
    code, output = run("check-data", "responses.csv", "--images", ".")
    assert code == 0, output
    assert "3 stimuli" in output


def test_what_was_said_of_a_file_can_be_said_again_where_an_analysis_opens_it(tmp_path, monkeypatch):
    pictures = images()
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for k, picture in enumerate(pictures):
            written = io.BytesIO()
            Image.fromarray(picture).save(written, "PNG")
            archive.writestr(f"im{k}.png", written.getvalue())
    responses = np.random.default_rng(0).normal(size=(len(pictures), 3))
    np.savez(tmp_path / "day.npz", responses=responses, stimulus_ids=np.array([f"im{k}" for k in range(len(pictures))]))
    monkeypatch.chdir(tmp_path)
    said = ["--images", "pictures.zip", "--region", "V4", "--size-deg", "8"]
    code, output = run("match", NETWORK, "day.npz", *said, "--top", "10", "--shuffles", "2")
    assert code == 0, output
    asked = ["analyse", "tiny@day", "rotation", "--network", NETWORK, "--set", "rotations=2"]
    code, output = run(*asked, "--recording", "day.npz", "--images", "pictures.zip")
    assert code == 1
    assert "with what was said of its file then (--region, --images and so on)" in output
    code, output = run(*asked, *said)
    assert "--images is about a recording in a file: add --recording FILE." in output
    code, output = run(*asked, "--recording", "day.npz", *said)
    assert code == 0, output
    assert engine.open_run("tiny@day").dataset("rotation").sizes["rotation"] == 2


def test_who_stops_reading_is_not_told_of_a_fault():
    command = [sys.executable, "-m", "engine.cli", "list", "networks"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listing:
        listing.stdout.close()
        assert listing.stderr.read() == ""


def test_what_nobody_foresaw_is_one_sentence_too_and_shown_whole_on_request(monkeypatch):
    def fail(*_: object) -> None:
        raise ZeroDivisionError("by 0")

    monkeypatch.setattr("engine.commands.networks.loaded_network", fail)
    code, output = run("list", "layers", NETWORK)
    assert code == 1
    assert output.startswith("Error: ZeroDivisionError: by 0. That is a fault of unitscope")
    monkeypatch.setenv("UNITSCOPE_TRACEBACK", "1")
    assert isinstance(CliRunner().invoke(main, ["list", "layers", NETWORK]).exception, ZeroDivisionError)


def test_lists_of_recordings_networks_and_layers():
    assert "builtin" in run("list", "recordings")[1]
    output = run("list", "networks")[1]
    assert "squeezenet1_1" in output
    assert output.endswith("and torchvision:NAME, timm:NAME (with --weights), MODULE:CALLABLE (a function of yours)\n")
    code, output = run("list", "layers", NETWORK)
    assert code == 0
    assert "4 layers, 5,578 units" in output
    assert run("list")[1] == "No runs yet. Make one: unitscope match NETWORK RECORDING\n"


def test_simulated_sites_are_said_to_be_simulated(tmp_path):
    recording = planted_recording(tiny_network(), noise=0.5, attrs={"simulated": 1})
    code, output = run("match", NETWORK, str(recording.save(tmp_path / "simulated")))
    assert code == 0
    assert "SIMULATED" in output


def test_bench_prints_the_table_and_writes_the_json(saved, tmp_path):
    file = tmp_path / "bench.json"
    code, output = run(
        "bench", NETWORK, "--recording", saved, "--repeats", "1", "--peers", "numpy", "--folds", "2", "-o", str(file)
    )
    assert code == 0
    assert "tiny: 4 layers, 5,578 units; 60 images x 7 sites of 'planted'\n" in output
    assert "SIMULATED" not in output
    assert "engine.match" in output
    assert "numpy in memory" in output
    assert json.loads(file.read_text())["settings"]["folds"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peers", "numpy, matlab"], "peer 'matlab' is unknown. Choose from numpy, hooks, faiss, thingsvision"),
        (["--recording", "builtin", "--sites", "9"], "Leave out images and sites, or leave out the recording"),
        (["--images", "3", "--peers", "none"], "images=3: a whole number of at least 8 is needed."),
        (["-o", "no/such/folder/bench.json"], "no/such/folder for -o no/such/folder/bench.json; make it, or name"),
    ],
)
def test_bench_refuses_before_it_measures(arguments, message):
    code, output = run("bench", NETWORK, *arguments)
    assert code != 0
    assert message in output


@pytest.mark.parametrize("name", main.list_commands(None))
def test_every_command_has_examples_that_it_takes(name):
    code, output = run(name, "--help")
    assert code == 0
    assert "\\b" not in output
    examples = [line for line in output.splitlines() if line.startswith(f"  unitscope {name}")]
    assert examples
    for line in examples:
        words = shlex.split(line.split("    ")[0].split(" > ")[0])[2:]
        with suppress(click.BadParameter) if "--from" in words else nullcontext():  # a folder of the reader's
            main.get_command(None, name).make_context(name, words)


def test_the_summary_is_what_numpy_says(saved):
    run("match", NETWORK, saved)
    best = engine.open_run("tiny@planted").dataset("matches")["correlation"][:4, 0]
    assert f"r {np.median(best):.3f}" in run("match", NETWORK, saved)[1]
