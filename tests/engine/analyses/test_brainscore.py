"""Single units and partial least squares agree with Brain-Score's published metrics, in an environment of its own.

Skipped without one: ``brainscore_judge.py`` says how to make it; its python is named by UNITSCOPE_BRAINSCORE_PYTHON.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from engine.analyses.regressions import coordinates, correlate, predict_pls, score, shuffle_splits
from engine.analyses.single_units import BestUnits

VARIABLE = "UNITSCOPE_BRAINSCORE_PYTHON"
JUDGE = Path(__file__).with_name("brainscore_judge.py")


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Random units and sites that depend on them, 8 objects x 20 stimuli, and what Brain-Score makes of them."""
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(f"{VARIABLE} names no python with brainscore-vision; see {JUDGE.name}")
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(160, 12))
    units = np.maximum(hidden @ rng.normal(size=(12, 400)) + rng.normal(size=(160, 400)), 0)
    units[:, 3] = 0
    response = hidden @ rng.normal(size=(12, 9)) + 2 * rng.normal(size=(160, 9))
    labels = np.array([f"object{k % 8}" for k in range(160)])
    folder = tmp_path_factory.mktemp("judge")
    np.savez(folder / "in.npz", units=units, response=response, object=labels)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [python, str(JUDGE), str(folder / "in.npz"), str(folder / "out.json")]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return units, response, labels, json.loads((folder / "out.json").read_text())


@pytest.mark.slow
def test_single_units_score_as_neuron_to_neuron(judged):
    units, response, labels, judge = judged
    best = BestUnits(response, shuffle_splits(labels, len(labels)))
    for first in range(0, units.shape[1], 128):
        best.add(first, units[:, first : first + 128])
    _agrees(best.held_out(), judge["neuron_to_neuron"], 1e-6)


@pytest.mark.slow
def test_partial_least_squares_score_as_pls(judged):
    units, response, labels, judge = judged
    centred = units - units.mean(axis=0)
    rows = []
    for train, test in shuffle_splits(labels, len(labels)):
        known, new = coordinates(centred @ centred.T, train, test)
        rows.append(correlate(predict_pls(known, response[train], new, 25).response, response[test]))
    _agrees(np.array(rows), judge["pls"], 1e-4)


def _agrees(r, judge, tolerance):
    own = score(r)
    difference = {
        "r": float(np.abs(r - np.array(judge["r"])).max()),
        "score": abs(own[0] - judge["score"]),
        "error": abs(own[1] - judge["error"]),
    }
    print(f"own score {own[0]:.6f}, Brain-Score {judge['score']:.6f}, differences {difference}")
    assert max(difference.values()) < tolerance
