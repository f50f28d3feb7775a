"""How many times its floor does a match take? ``unitscope bench`` as a test: the targets beside what was measured."""

import os
from pathlib import Path

import pytest

from engine.bench import BenchSettings, bench

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

TARGETS = [
    ("squeezenet1_1", 640, 50, 1, 1.15),
    ("squeezenet1_1", 640, 50, 2, 1.25),
    ("squeezenet1_1", 1200, 89, 1, 1.15),
    ("squeezenet1_1", 1200, 89, 2, 1.25),
    ("squeezenet1_1", 640, 1000, 1, 1.00),
]
"""Network, images, sites, folds, and the largest ratio to the floor with the network as it comes that we aim at."""

SLACK = 1.5
"""A test fails only beyond the target times this: on two shared cores single ratios have varied by a third."""


@pytest.mark.parametrize(("network", "images", "sites", "folds", "target"), TARGETS)
def test_a_match_stays_near_its_floor(network, images, sites, folds, target, capsys):
    found = bench(BenchSettings(network, images=images, sites=sites, folds=folds, peers=()))
    with capsys.disabled():
        print(f"\n{found.describe()}\nTarget: {target:.2f} x the floor; measured: {found.match_ratio:.2f}")
    _keep(found.to_json(), f"{network}-{images}x{sites}-folds{folds}.json")
    assert found.match_ratio <= SLACK * target


def test_peers_find_the_same_and_take_longer(capsys):
    found = bench(BenchSettings("squeezenet1_1", images=640, sites=50, repeats=1))
    with capsys.disabled():
        print(f"\n{found.describe()}")
    _keep(found.to_json(), "squeezenet1_1-640x50-peers.json")
    ran = [peer for peer in found.peers if peer.seconds]
    assert [peer.name for peer in ran][:2] == ["numpy", "hooks"]
    assert max(peer.max_difference for peer in ran) < 1e-5  # theirs are float32 throughout
    assert min(found.ratio(peer.seconds) for peer in ran) > found.match_ratio


def _keep(text: str, name: str) -> None:
    """Write a result where ``UNITSCOPE_BENCH`` says, if it does."""
    if folder := os.environ.get("UNITSCOPE_BENCH"):
        Path(folder, name).write_text(text)
