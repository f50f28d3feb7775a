import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional

from engine.errors import LayerError, NetworkError
from engine.networks import Network, list_networks, load_network
from engine.preprocessing import Preprocessing

SMALL = Preprocessing(resize=(16, 16), crop=None)


def small_module() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(4 * 14 * 14, 5))


def small_network(**settings) -> Network:
    return Network.from_module(small_module(), SMALL, image_size=(20, 24), **settings)


class Pictures:
    """Stimuli of a given pixel value, by id."""

    def __init__(self, **values: int):
        self.values = values

    def pixels(self, stimulus_id: str) -> np.ndarray:
        return np.full((16, 16, 3), self.values[stimulus_id], np.uint8)


def test_a_module_becomes_a_network_with_tables_and_metadata():
    network = small_network(name="toy", version="7")
    assert (network.name, network.version, network.image_size) == ("toy", "7", (20, 24))
    assert list(network.layers) == ["name", "kind", "channels", "height", "width", "units", "depth"]
    assert network.layers["name"].tolist() == ["0", "1", "4"]
    assert list(network.left_out) == ["name", "kind", "reason"]
    assert network.left_out["name"].tolist() == ["2", "3", "(output)"]
    assert network.metadata["parameters"] == sum(p.numel() for p in network.module.parameters())
    assert np.isnan(network.metadata["top1"])
    assert repr(network) == "Network('toy', 3 layers, 1573 units)"


def test_the_callers_module_is_put_into_eval_mode_and_nothing_else_about_it_changes():
    module = small_module().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    random_state = torch.random.get_rng_state()
    network = Network.from_module(module, SMALL)
    assert network.module is module
    assert not any(m.training for m in module.modules())
    assert all(p.requires_grad for p in module.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert torch.equal(torch.random.get_rng_state(), random_state)
    pd.testing.assert_series_equal(
        pd.Series({k: v.sum().item() for k, v in before.items()}),
        pd.Series({k: v.sum().item() for k, v in module.state_dict().items()}),
    )


def test_layers_may_be_chosen_afterwards_even_what_the_list_leaves_out():
    network = small_network()
    chosen = network.with_layers(["3", "0"])
    assert chosen.layers["name"].tolist() == ["0", "3"]
    assert chosen.left_out.set_index("name")["reason"].to_dict() == {
        "1": "not among the named layers",
        "2": "Dropout hands on '1'",
        "4": "not among the named layers",
        "(output)": "hands on the output of '4'",
    }
    assert network.layers["name"].tolist() == ["0", "1", "4"]
    with pytest.raises(LayerError, match=r"layer '5' is not among the 6 known ones"):
        network.with_layers(["5"])


def test_any_callable_may_preprocess():
    network = Network.from_module(
        small_module(), lambda image: torch.tensor(image).permute(2, 0, 1).double() / 255, image_size=(16, 16)
    )
    inputs = network.inputs(Pictures(dark=0, bright=255), ["bright", "dark"])
    assert inputs.dtype == torch.float32
    assert inputs.mean((1, 2, 3)).tolist() == [1, 0]


def test_inputs_are_what_preprocess_makes_of_the_stimuli_in_the_order_of_the_ids():
    network = small_network()
    stimuli = Pictures(a=10, b=200, c=90)
    found = network.inputs(stimuli, ["c", "a"])
    torch.testing.assert_close(found, torch.stack([SMALL(stimuli.pixels(i)) for i in ("c", "a")]))


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        (lambda image: image, "got ndarray; wrap an array in torch.from_numpy"),
        (lambda image: torch.tensor(image).permute(2, 0, 1), "got torch.uint8; end with .float"),
        (lambda image: torch.tensor(image).float(), r"got shape \(20, 24, 3\); colours come first"),
        (lambda image: torch.full((3, 16, 16), torch.nan), "of finite values, got NaN or infinity"),
        (lambda image: image.no_such_thing, "got AttributeError: .*no_such_thing"),
    ],
)
def test_a_preprocess_that_gives_the_wrong_thing_is_refused(preprocess, message):
    with pytest.raises(
        NetworkError, match=rf"network 'toy': preprocess of a probe image, uint8 \(20, 24, 3\).*{message}"
    ):
        Network.from_module(small_module(), preprocess, name="toy", image_size=(20, 24))


def test_a_preprocess_that_is_no_callable_and_a_module_that_is_none_are_refused():
    with pytest.raises(NetworkError, match="network 'mine': preprocess is not callable but a int"):
        Network.from_module(small_module(), 3)
    with pytest.raises(NetworkError, match=r"network 'mine': expected a torch.nn.Module, got str"):
        Network.from_module("resnet18", SMALL)


def test_stimuli_that_come_out_at_different_sizes_are_refused():
    class Sizes(Pictures):
        def pixels(self, stimulus_id: str) -> np.ndarray:
            return np.zeros((self.values[stimulus_id], 16, 3), np.uint8)

    network = Network.from_module(
        nn.Conv2d(3, 2, 3), lambda image: torch.tensor(image).permute(2, 0, 1).float(), image_size=(16, 16)
    )
    with pytest.raises(NetworkError, match=r"gives \(3, 16, 16\) for stimulus 'a' and \(3, 18, 16\) for 'b'"):
        network.inputs(Sizes(a=16, b=18), ["a", "b"])


def test_a_module_that_fails_on_the_probe_is_refused_with_its_own_words():
    with pytest.raises(NetworkError, match=r"network 'mine' fails on a probe batch of \(2, 3, 16, 16\) \(RuntimeError"):
        Network.from_module(nn.Conv2d(5, 2, 3), SMALL)


def test_a_network_that_is_random_in_eval_mode_is_refused_by_the_name_of_the_culprit():
    class Dropping(nn.Module):
        def forward(self, maps):
            return functional.dropout(maps, 0.1)  # always on: training is True by default

    with pytest.raises(NetworkError, match=r"answers differently to the same images, first in '1' \(Dropping\)"):
        Network.from_module(nn.Sequential(nn.Conv2d(3, 4, 3), Dropping(), nn.ReLU()), SMALL)


def test_a_network_that_takes_another_path_the_second_time_is_refused():
    class Alternating(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other, self.n_calls = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), 0

        def forward(self, images):
            self.n_calls += 1
            return self.one(images) if self.n_calls % 2 else self.other(images)

    with pytest.raises(NetworkError, match="ran other modules when it saw the same images again"):
        Network.from_module(Alternating(), SMALL)


def test_an_unknown_layer_is_refused_with_the_closest_names():
    with pytest.raises(LayerError, match=r"layer 'relu' is not among the 6 known ones; closest: "):
        small_network(layers=["relu"])


def test_the_networks_that_there_are_can_be_listed():
    listed = list_networks().set_index("name")
    assert list(listed) == ["title", "parameters", "weights"]
    assert listed.loc["squeezenet1_1", "title"] == "SqueezeNet 1.1"
    assert listed.loc["efficientnet_lite0", "parameters"] == 4_652_008


def test_an_unknown_network_is_refused_with_those_that_there_are():
    with pytest.raises(
        NetworkError,
        match=r"'resnet18'\. Known: squeezenet1_1, efficientnet_lite0; torchvision:NAME and timm:NAME, .* or MODULE",
    ):
        load_network("resnet18")


def test_a_function_of_the_users_makes_a_network(tmp_path, monkeypatch):
    (tmp_path / "my_networks_for_a_test.py").write_text(
        "import torch\nfrom engine import Network, Preprocessing\n"
        "def good():\n    preprocess = Preprocessing(16, (16, 16))\n"
        "    return Network.from_module(torch.nn.Conv2d(3, 2, 3), preprocess, name='own')\n"
        "def bad():\n    return torch.nn.Conv2d(3, 2, 3)\n"
        "def wrong():\n    return {}['weights']\n"
        "def needs(size):\n    return size\n"
        "NUMBER = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    (tmp_path / "my_broken_module.py").write_text("1 / 0\n")
    assert load_network("my_networks_for_a_test:good").name == "own"
    assert load_network("my_networks_for_a_test:good", layers=["(out*"]).layers["name"].tolist() == ["(output)"]
    with pytest.raises(
        NetworkError, match=r"wrong' failed: KeyError: 'weights' \(.*my_networks_for_a_test.py, line 9\)"
    ):
        load_network("my_networks_for_a_test:wrong")
    with pytest.raises(NetworkError, match=r"needs' failed: TypeError: .*size.* It is called without arguments"):
        load_network("my_networks_for_a_test:needs")
    with pytest.raises(NetworkError, match=r"NUMBER' is a int, expected a function that returns a Network"):
        load_network("my_networks_for_a_test:NUMBER")
    with pytest.raises(NetworkError, match=r"importing my_broken_module failed \(ZeroDivisionError: division by zero"):
        load_network("my_broken_module:make")
    with pytest.raises(NetworkError, match=r"'my_networks_for_a_test:bad' returned Conv2d, expected an engine.Network"):
        load_network("my_networks_for_a_test:bad")
    with pytest.raises(NetworkError, match=r"expected MODULE:CALLABLE, importable from here or installed; .*'worse'"):
        load_network("my_networks_for_a_test:worse")
    with pytest.raises(NetworkError, match=r"No module named 'no_such_module'.*squeezenet1_1"):
        load_network("no_such_module:f")
    with pytest.raises(
        NetworkError, match="a function of yours chooses its own weights; weights='random' cannot apply"
    ):
        load_network("my_networks_for_a_test:good", weights="random")
    assert sys.path == before
