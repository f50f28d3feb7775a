"""Whatever changes a number changes the digest, and nothing else does."""

import argparse
import dataclasses
import enum
import functools
import importlib
import linecache
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image
from torch import nn

import engine
from engine import Network, Preprocessing, Recording
from engine.digests import (
    digest_of,
    match_digest,
    network_digest,
    preprocessing_digest,
    recording_digest,
    responses_digest,
    stimuli_digest,
)
from engine.errors import NetworkError
from engine.stimuli import Stimuli

SIZE = 12
PREPROCESSING = Preprocessing(resize=SIZE, crop=(SIZE, SIZE))


class Small(nn.Module):
    """A convolution, a dense layer, and a factor that neither its repr nor its state shows."""

    def __init__(self, factor: float = 2.0, kernel: int = 3, table: object = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, kernel, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("offset", torch.ones(1), persistent=False)
        self.factor = factor
        self.table = table
        with torch.no_grad():
            self.conv.weight.copy_(torch.linspace(-1, 1, self.conv.weight.numel()).reshape(self.conv.weight.shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x)) * self.factor + self.offset


class Other(Small):
    """The same code under another name."""


def network(module: nn.Module | None = None, preprocess=PREPROCESSING, **settings) -> Network:
    return Network.from_module(module or Small(), preprocess, image_size=(SIZE, SIZE), **settings)


def of_module(change=lambda module: None, **settings) -> str:
    module = Small(**settings)
    change(module)
    return network_digest(network(module))


def one_ulp_up(tensor: torch.Tensor) -> None:
    with torch.no_grad():
        first = tensor.view(-1)[:1]
        first.copy_(torch.nextafter(first, first + 1))


def scaled_by(factor):
    def scale(x):
        return x * factor

    return scale


class Padding(enum.Enum):
    SAME = 1
    VALID = 2


@dataclasses.dataclass
class Options:
    scale: float = 1.0


CHANGES = {
    "one weight by one ulp": lambda: of_module(lambda m: one_ulp_up(m.conv.weight)),
    "one buffer by one ulp": lambda: of_module(lambda m: one_ulp_up(m.norm.running_mean)),
    "a buffer that is not in the state": lambda: of_module(lambda m: one_ulp_up(m.offset)),
    "dtype": lambda: network_digest(dataclasses.replace(network(), module=Small().double().eval())),
    "kernel": lambda: of_module(kernel=1),
    "stride": lambda: of_module(lambda m: setattr(m.conv, "stride", (2, 2))),
    "padding": lambda: of_module(lambda m: setattr(m.conv, "padding", (1, 1))),
    "eps of a norm": lambda: of_module(lambda m: setattr(m.norm, "eps", 1e-4)),
    "one more layer": lambda: of_module(lambda m: m.add_module("relu", nn.ReLU())),
    "a layer's class": lambda: of_module(lambda m: setattr(m, "norm", nn.Identity())),
    "a layer's name": lambda: of_module(lambda m: m.add_module("again", m.conv)),
    "a class of one's own": lambda: network_digest(network(Other())),
    "a factor in an attribute": lambda: of_module(factor=3.0),
    "a tensor in an attribute": lambda: of_module(table=torch.ones(2)),
    "another tensor in an attribute": lambda: of_module(table=torch.zeros(2)),
    "an array in an attribute": lambda: of_module(table=np.ones(2)),
    "a mapping in an attribute": lambda: of_module(table={"a": (1, {2})}),
    "another mapping in an attribute": lambda: of_module(table={"a": (1, {3})}),
    "a hidden module": lambda: of_module(table=[nn.ReLU()]),
    "another hidden module": lambda: of_module(table=[nn.LeakyReLU(0.5)]),
    "one more hidden module": lambda: of_module(table=[nn.LeakyReLU(0.25)]),
    "a function": lambda: of_module(table=torch.nn.functional.relu),
    "another function": lambda: of_module(table=torch.tanh),
    "a closure": lambda: of_module(table=scaled_by(2)),
    "what a closure holds": lambda: of_module(table=scaled_by(3)),
    "a partial": lambda: of_module(table=functools.partial(torch.clamp, min=0)),
    "what a partial holds": lambda: of_module(table=functools.partial(torch.clamp, min=1)),
    "options": lambda: of_module(table=Options()),
    "an option": lambda: of_module(table=Options(2.0)),
    "a namespace": lambda: of_module(table=types.SimpleNamespace(scale=2)),
    "parsed arguments": lambda: of_module(table=argparse.Namespace(scale=2)),
    "a parsed argument": lambda: of_module(table=argparse.Namespace(scale=3)),
    "a member of an enumeration": lambda: of_module(table=Padding.SAME),
    "another member": lambda: of_module(table=Padding.VALID),
    "a dtype in an attribute": lambda: of_module(table=torch.float16),
    "a class in an attribute": lambda: of_module(table=Options),
    "a forward hook": lambda: of_module(lambda m: m.conv.register_forward_hook(lambda *_: None)),
    "train": lambda: network_digest(trained(network())),
    "resize": lambda: network_digest(network(preprocess=Preprocessing(resize=SIZE + 1, crop=(SIZE, SIZE)))),
    "crop": lambda: network_digest(network(preprocess=Preprocessing(resize=SIZE, crop=(SIZE, SIZE - 1)))),
    **{
        name: functools.partial(
            lambda changed: network_digest(network(preprocess=dataclasses.replace(PREPROCESSING, **changed))),
            {name: value},
        )
        for name, value in {
            "interpolation": "bicubic",
            "antialias": False,
            "channels": "BGR",
            "scale": 1.0,
            "mean": (0.485, 0.456, 0.4060001),
            "sd": (0.229, 0.224, 0.2250001),
            "rounding": "even",
        }.items()
    },
    "a callable that does the same": lambda: network_digest(network(preprocess=lambda image: PREPROCESSING(image))),
}


def trained(network: Network) -> Network:
    network.module.train()
    return network


def test_every_change_of_a_network_changes_its_digest():
    digests = {name: change() for name, change in CHANGES.items()}
    digests["nothing"] = network_digest(network())
    same = {name: digest for name, digest in digests.items() if list(digests.values()).count(digest) > 1}
    assert same == {}
    assert len(digests) > 40


def test_every_field_of_the_preprocessing_is_in_the_mutation_test():
    assert {field.name for field in dataclasses.fields(Preprocessing)} <= CHANGES.keys()


def test_what_changes_no_number_leaves_the_digest_of_a_network():
    expected = network_digest(network())
    assert network_digest(network(name="another name")) == expected
    assert network_digest(network(layers=["conv"])) == expected
    assert of_module(lambda m: m.requires_grad_(False)) == expected
    assert of_module(lambda m: m.to(memory_format=torch.channels_last)) == expected
    used = network()
    with torch.inference_mode():
        used.module(torch.zeros(2, 3, SIZE, SIZE))
    assert network_digest(used) == expected


def test_another_process_finds_the_same_digest():
    """It has another seed of hashes, and so another order of sets."""
    code = "from tests.engine.test_digests import *; print(network_digest(network(Small(table={'b', 'a', 'c'}))))"
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(engine.__file__).parents[1],
        env={"PYTHONHASHSEED": "1"},
        capture_output=True,
        check=True,
    )
    assert said.stdout.decode() == network_digest(network(Small(table={"b", "a", "c"}))) + "\n"


def test_a_digest_of_names_and_shapes_fails_the_mutation_test(monkeypatch):
    """The control: what a cache that is keyed by the network's name and layers would miss."""
    monkeypatch.setattr(
        sys.modules[__name__],
        "network_digest",
        lambda made: str([(name, tuple(value.shape)) for name, value in made.module.state_dict().items()]),
    )
    digests = [change() for name, change in CHANGES.items() if name != "a class of one's own"]
    assert len(set(digests)) < len(digests) / 2


def defined_nowhere(code: str) -> type:
    names = {"nn": nn, "__name__": "typed_in"}
    exec(code, names)
    return names["Typed"]


CODE = "class Typed(nn.Module):\n    def forward(self, x):\n        return x"


def test_a_module_without_source_needs_a_version():
    typed = network(nn.Sequential(nn.Conv2d(3, 2, 1), defined_nowhere(CODE)()), layers=["0"])
    with pytest.raises(
        NetworkError, match=r"source of typed_in.Typed, part of network 'mine', cannot be had .*version='1'"
    ):
        network_digest(typed)
    versions = [network_digest(dataclasses.replace(typed, version=version)) for version in ("1", "1", "2")]
    assert versions[0] == versions[1] != versions[2]


def test_the_source_of_a_class_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    digests = []
    for name, factor in (("first", 2), ("second", 2), ("third", 3)):
        forward = f"    def forward(self, x):\n        return super().forward(x) * {factor}\n"
        (tmp_path / f"{name}.py").write_text(f"from torch import nn\n\n\nclass Mine(nn.Conv2d):\n{forward}")
        module = __import__(name).Mine(3, 2, 1, bias=False)
        type(module).__module__ = "mine"
        sys.modules["mine"] = sys.modules[name]
        nn.init.ones_(module.weight)
        digests.append(network_digest(network(nn.Sequential(module))))
    sys.modules.pop("mine")
    assert digests[0] == digests[1] != digests[2]


OWN = """
from torch import nn

import {tools}

GAIN = {gain}


def bounded(x):
    return floored(x).clamp(max={most})


def floored(x):
    return x.clamp(min={least})


def lifted(x):
    return x + {lift}


def unused(x):
    return {unused}


class Settings:
    def __init__(self, offset):
        self.offset = offset


class Narrow:
    __slots__ = ("width",)

    def __init__(self, width):
        self.width = width


class Scaled:
    def __init__(self, factor):
        self.factor, self.itself = factor, self

    def run(self, x):
        return x * self.factor


class Mine(nn.Conv2d):
    class Head:
        def run(self, x):
            return lifted(x)

    def __init__(self):
        super().__init__(3, 2, 1, bias=False)
        nn.init.ones_(self.weight)
        self.settings, self.scaled, self.narrow = Settings({offset}), Scaled({factor}).run, Narrow({width})
        self.settings.owner = [self]

    def forward(self, x):
        x = self.scaled(bounded(super().forward(x)) * GAIN + self.settings.offset)
        return {tools}.deep.shifted(self.Head().run({tools}.halved(x)))[..., : self.narrow.width]
"""
OWN_VALUES = {
    "gain": 2,
    "most": 4,
    "least": -1,
    "offset": 0.5,
    "factor": 3,
    "width": 2,
    "unused": 1,
    "share": 2,
    "lift": 7,
    "shift": 8,
}


OWN_FILES = {
    "own_deep": "def shifted(x):\n    return x + {shift}\n",
    "own_tools": "import own_deep as deep\n\n\ndef halved(x):\n    return x / {share}\n",
    "own_network": OWN,
}


def digest_of_own(folder, **changes) -> str:
    """The digest of a network from a file, which another process would have read anew."""
    values = OWN_VALUES | changes
    for name, code in OWN_FILES.items():
        (folder / f"{name}.py").write_text(code.format(**values, tools="own_tools"))
        sys.modules.pop(name, None)
    linecache.clearcache()
    importlib.invalidate_caches()
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        return network_digest(network(nn.Sequential(importlib.import_module("own_network").Mine()), layers=["0"]))
    finally:
        sys.dont_write_bytecode = before
        for name in OWN_FILES:
            sys.modules.pop(name, None)


def test_what_the_code_of_a_network_names_counts_and_what_it_does_not_name_does_not(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    plain = digest_of_own(tmp_path)
    assert digest_of_own(tmp_path) == plain
    changed = {name: digest_of_own(tmp_path, **{name: value + 1}) for name, value in OWN_VALUES.items()}
    assert changed.pop("unused") == plain
    assert plain not in changed.values()
    assert len(set(changed.values())) == len(changed) == 9


def test_an_arbitrary_preprocessing_counts_by_what_it_does():
    def with_factor(factor):
        return lambda image: torch.from_numpy(image).permute(2, 0, 1).float() / factor

    digests = [preprocessing_digest(network(preprocess=with_factor(factor))) for factor in (255, 255, 255.00001)]
    assert digests[0] == digests[1] != digests[2]


def test_a_random_preprocessing_is_refused():
    chance = np.random.default_rng(0)
    noisy = dataclasses.replace(network(), preprocess=lambda image: PREPROCESSING(image) + chance.normal())
    with pytest.raises(NetworkError, match=r"'mine' gives different outputs for the same image. Leave out its random"):
        network_digest(noisy)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.eye(3).to_sparse(), "parameter extra is not a plain dense tensor"),
        (torch.zeros(3, device="meta"), r"parameter extra has no values yet \(meta device\). Load the weights"),
    ],
)
def test_weights_without_plain_values_are_refused(weight, message):
    made = network()
    made.module.register_parameter("extra", nn.Parameter(weight, requires_grad=False))
    with pytest.raises(NetworkError, match=message):
        network_digest(made)


def recording(**changes) -> Recording:
    rng = np.random.default_rng(0)
    given = {
        "responses": rng.normal(size=(8, 3, 4)),
        "images": rng.integers(0, 256, (8, 6, 6, 3), dtype=np.uint8),
        "stimulus_ids": [f"image{i}" for i in range(8)],
        "site_ids": ["a", "b", "c"],
        "region": ["V4", "V4", "IT"],
        "stimulus_coords": {"category": list("xxxxyyyy"), "luminance": np.arange(8.0)},
        "size_deg": 8.0,
        "name": "mine",
    }
    given.update(changes)
    return Recording.from_arrays(given.pop("responses"), given.pop("images"), **given)


def both(made: Recording) -> tuple[str, str]:
    return stimuli_digest(made.stimuli), responses_digest(made)


def test_every_change_of_a_recording_that_a_match_reads_changes_its_digests():
    made = recording()
    responses, images = made.data["trials"].values.astype(np.float64), made.stimuli
    pixels = np.stack([images.pixels(name) for name in images.ids])
    one_pixel = pixels.copy()
    one_pixel[3, 2, 1, 0] ^= 1
    one_response = made.data["response"].values.copy()
    one_response[4, 1] = np.nextafter(one_response[4, 1], np.inf)
    missing = responses.copy()
    missing[2, 1] = np.nan
    changed = [
        recording(images=one_pixel),
        recording(images=pixels[:, :, ::-1].copy()),
        recording(images=pixels[[1, 0, *range(2, 8)]]),
        recording(images=pixels.reshape(8, 6, 6, 3)[:, :5].copy()),
        recording(stimulus_ids=[f"image{i + 1}" for i in range(8)]),
        recording(responses=one_response),
        recording(responses=missing),
        recording(responses=responses[[1, 0, *range(2, 8)]]),
        recording(site_ids=["a", "c", "b"]),
        recording(region=["V4", "IT", "IT"]),
        recording(stimulus_coords={"category": list("xxxxyyyx")}),
        recording(stimulus_coords={"category": list("xxxxyyyy"), "object": list("abababab")}),
    ]
    digests = [both(one) for one in [made, *changed]]
    assert len(set(digests)) == len(digests)


def test_what_a_match_does_not_read_leaves_its_digests(tmp_path):
    made = recording()
    expected = both(made)
    order = [5, 2, 7, 0, 1, 3, 6, 4]
    pixels = np.stack([made.stimuli.pixels(name) for name in made.stimuli.ids])
    folder = tmp_path / "images"
    folder.mkdir()
    for name, image in zip(made.stimuli.ids, pixels, strict=True):
        Image.fromarray(image).save(folder / f"{name}.png")
    averages = made.data["response"].values
    assert both(recording(name="other", size_deg=5.0, attrs={"source": "elsewhere"})) == expected
    assert both(recording(responses=averages)) == expected
    assert both(recording(images=folder)) == expected
    moved = folder.rename(tmp_path / "elsewhere")
    for path in moved.iterdir():
        os.utime(path, (0, 0))
    assert both(recording(images=moved)) == expected
    folder = moved
    assert stimuli_digest(Stimuli.from_folder(folder)) == expected[0]
    assert (
        both(
            recording(
                responses=averages[order][:, [2, 0, 1]],
                images=pixels[order],
                stimulus_ids=[f"image{i}" for i in order],
                site_ids=["c", "a", "b"],
                region=["IT", "V4", "V4"],
                stimulus_coords={"category": ["xxxxyyyy"[i] for i in order]},
            )
        )
        == expected
    )
    opened = engine.open_recording(made.save(tmp_path / "saved"))
    assert both(opened) == expected


def test_an_analysis_is_keyed_by_what_it_reads():
    made = recording()
    other_trials = dataclasses.replace(made, data=made.data.assign(trials=made.data["trials"][..., ::-1]))
    other_size = dataclasses.replace(made, data=made.data.assign_attrs(size_deg=5.0))
    assert responses_digest(other_trials) == responses_digest(other_size) == responses_digest(made)
    without = recording(stimulus_coords={})
    for names, changed in ((["trials"], other_trials), (["size_deg"], other_size), (["luminance"], without)):
        assert recording_digest(made, names) != recording_digest(changed, names)
    assert recording_digest(made, ["trials", "region"]) == recording_digest(made, ["region", "trials"])


def test_missing_responses_and_signed_zeros_count_by_value():
    data = recording().data
    nans = data.assign(response=data["response"].where(data["site"] != "b"))
    payload = nans.assign(response=xr.where(np.isnan(nans["response"]), -np.float64("nan"), nans["response"]))
    zeros = data.assign(response=data["response"] * 0.0)
    for one, other in ((nans, payload), (zeros, -1 * zeros.assign_coords(zeros.coords))):
        digests = [recording_digest(types.SimpleNamespace(data=each), ["response"]) for each in (one, other)]
        assert digests[0] == digests[1]


MATCH = {
    "network": "a",
    "stimuli": "b",
    "responses": "c",
    "layers": ["conv", "fc"],
    "settings": {"top": 100, "folds": 2, "seed": 0},
    "algorithm": 1,
    "torch_version": "2.13.0+cpu",
}


def test_every_part_of_a_match_is_in_its_digest():
    changes = [
        {},
        {"network": "x"},
        {"stimuli": "x"},
        {"responses": "x"},
        {"stimuli": "c", "responses": "b"},
        {"layers": ["conv"]},
        {"layers": ["fc", "conv"]},
        {"layers": ["convfc"]},
        {"settings": {"top": 101, "folds": 2, "seed": 0}},
        {"settings": {"top": 100, "folds": 3, "seed": 0}},
        {"settings": {"top": 100, "folds": 2, "seed": 1}},
        {"settings": {"top": 100, "folds": 2}},
        {"algorithm": 2},
        {"torch_version": "2.14.0"},
        {"torch_version": "3.13.0"},
    ]
    assert len({match_digest(**MATCH | change) for change in changes}) == len(changes)


def test_a_patch_of_torch_and_the_order_of_settings_are_not():
    settings = {"seed": 0, "folds": np.int64(2), "top": 100}
    changed = {"torch_version": "2.13.1", "settings": settings, "layers": ("conv", "fc")}
    assert match_digest(**MATCH | changed) == match_digest(**MATCH)
    at_hand = MATCH | {"torch_version": torch.__version__}
    assert match_digest(**MATCH | {"torch_version": None}) == match_digest(**at_hand)
    assert len(digest_of({})) == 64
