from importlib.util import find_spec

import numpy as np
import pytest
import torch

from engine.errors import NetworkError
from engine.networks import load_network


def test_a_file_of_weights_is_loaded_and_named(tmp_path):
    random = load_network("squeezenet1_1", weights="random", seed=1)
    torch.save({"state_dict": random.module.state_dict()}, tmp_path / "mine.pt")
    network = load_network("squeezenet1_1", weights=tmp_path / "mine.pt")
    assert network.name == "squeezenet1_1 (weights mine.pt)"
    assert network.metadata["title"] == "SqueezeNet 1.1 (weights mine.pt)"
    assert np.isnan(network.metadata["top1"])
    assert torch.equal(network.module.conv1.weight, random.module.conv1.weight)


def test_a_file_that_does_not_fit_is_refused(tmp_path):
    state = load_network("squeezenet1_1", weights="random").module.state_dict()
    torch.save({**state, "conv1.weight": state["conv1.weight"][:32]}, tmp_path / "half.pt")
    with pytest.raises(
        NetworkError, match=r"half.pt: conv1.weight is \(32, 3, 3, 3\), squeezenet1_1 needs \(64, 3, 3, 3\)"
    ):
        load_network("squeezenet1_1", weights=tmp_path / "half.pt")
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(
        NetworkError,
        match=r"52 of its 52 tensors are missing \(first: \['conv1.weight'\]\), 1 are unknown .*features.0",
    ):
        load_network("squeezenet1_1", weights=tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(
        NetworkError, match=r"list.pt: expected a state dict \(name to tensor\), got list of other things"
    ):
        load_network("squeezenet1_1", weights=tmp_path / "list.pt")
    with pytest.raises(NetworkError, match=r"expected 'pretrained', 'random' or a file; there is no file .*pretraned"):
        load_network("squeezenet1_1", weights="pretraned")


class Malicious:
    """A pickle of it writes a file when it is read by anything that trusts it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_malicious_file_of_weights_runs_nothing_and_gets_no_advice_to_trust_it(tmp_path):
    torch.save({"conv1.weight": Malicious(tmp_path / "canary")}, tmp_path / "evil.pt")
    with pytest.raises(
        NetworkError, match=r"evil.pt: not a plain state dict .* reads tensors and never code"
    ) as caught:
        load_network("squeezenet1_1", weights=tmp_path / "evil.pt")
    assert not (tmp_path / "canary").exists()
    assert "weights_only" not in str(caught.value)


def test_safetensors_need_their_library_and_then_load(tmp_path):
    state = load_network("squeezenet1_1", weights="random", seed=1).module.state_dict()
    path = tmp_path / "mine.safetensors"
    if find_spec("safetensors") is None:
        path.write_bytes(b"anything")
        with pytest.raises(NetworkError, match=r"mine.safetensors: to read it, run: pip install safetensors"):
            load_network("squeezenet1_1", weights=path)
        return
    from safetensors.torch import save_file

    save_file(state, path)
    assert torch.equal(load_network("squeezenet1_1", weights=path).module.conv1.weight, state["conv1.weight"])
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(NetworkError, match=r"mine.safetensors: not a valid safetensors file"):
        load_network("squeezenet1_1", weights=path)
