"""The trial of a match's steps before its plan."""

import torch

from engine.costs import measure_costs
from engine.folds import assign_folds
from engine.planning import Way
from engine.targets import make_targets
from tests.engine.worked_example import planted_recording, tiny_network

HELD, SUMMED = Way(True, 16, 240, 0), Way(False, 16, 100, 0)


def test_every_step_takes_time_and_deeper_layers_are_reached_later():
    network = tiny_network()
    recording = planted_recording(network)
    targets = make_targets(recording.data, assign_folds(recording.data, 2, 0), shuffles=2, seed=0)
    costs = measure_costs(network, recording.stimuli, targets, torch.device("cpu"))
    assert min(costs.decode_s, costs.multiply_s, costs.touch_s, costs.fresh_s) > 0
    assert list(costs.reach_s) == network.layers["name"].tolist()
    assert costs.reach_s["fc"] > costs.reach_s["conv1"] > 0
    seconds = costs.seconds(targets)
    assert seconds.decode == 60 * costs.decode_s
    assert seconds.forward["fc"] == 60 * costs.reach_s["fc"]
    for way in (HELD, SUMMED):
        assert 0 < seconds.summarise(way, 100) < seconds.summarise(way, 1000)
    assert seconds.take(2**30) > seconds.take(2**20) > 0
