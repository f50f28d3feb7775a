import argparse
import resource
import time
import zipfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from engine.cli import main
from engine.errors import NetworkError
from engine.networks import load_network
from engine.weights import convert_weights, fill, read_weights


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


def small(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(8, 5))


def filled(path: Path, **settings) -> tuple[nn.Module, str]:
    module, read = small(1), read_weights(path, **settings)
    return module, "; ".join(filter(None, [read.note, fill(module, read.tensors, str(path), "small")]))


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


class Hook:
    """A class of a training script."""


STATE = small().state_dict()


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (STATE, ""),
        ({"state_dict": STATE, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}}, "its entry 'state_dict'"),
        ({"model_state_dict": STATE}, "its entry 'model_state_dict'"),
        ({f"module.{k}": v for k, v in STATE.items()}, "names without 'module.'"),
        ({f"_orig_mod.module.{k}": v for k, v in STATE.items()}, "names without '_orig_mod.module.'"),
        ({k: v for k, v in STATE.items() if not k.endswith("num_batches_tracked")}, ""),
        (
            {
                "model": STATE,
                "args": argparse.Namespace(lr=np.float64(0.1), seed=np.int64(3), name=np.str_("a")),
                "best": np.float32(57.5),
                "when": {"epoch": np.bool_(True)},
            },
            "its entry 'model'",
        ),
    ],
)
def test_checkpoints_are_read_in_the_wrappers_that_training_scripts_give_them(tmp_path, content, note):
    torch.save(content, tmp_path / "a.pt")
    module, found = filled(tmp_path / "a.pt")
    assert found == note
    assert same(module, small())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"model": STATE, "model_ema": STATE},
            r"holds 2 state dicts, 'model', 'model_ema'. Choose one: unitscope convert",
        ),
        ({"epoch": 3, "args": {"lr": 0.1}}, r"expected a state dict \(name to tensor\), got dict of other things"),
        ({f"module.{k}": v for k, v in STATE.items()} | {"x": torch.zeros(1)}, r"8 of its 9 tensors are missing"),
        (
            {**STATE, "0.bias": torch.tensor([0, 1, torch.nan, 2])},
            "0.bias holds NaN or infinity, so small would answer",
        ),
        (
            {"model": STATE, "hook": Hook()},
            r"not a plain state dict \(it needs tests.engine.test_weights.Hook\)\..*torch.save",
        ),
    ],
)
def test_checkpoints_that_leave_a_choice_or_do_not_fit_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(NetworkError, match=message) as caught:
        filled(tmp_path / "a.pt")
    assert "weights_only" not in str(caught.value)


def test_one_of_several_state_dicts_is_converted_to_safetensors(tmp_path):
    pytest.importorskip("safetensors")
    torch.save({"model": small(2).state_dict(), "model_ema": STATE}, tmp_path / "both.pt")
    arguments = [str(tmp_path / "both.pt"), str(tmp_path / "ema.safetensors"), "--part", "model_ema"]
    told = CliRunner().invoke(main, ["convert-weights", *arguments])
    assert told.exit_code == 0
    assert told.output.endswith("ema.safetensors: 9 tensors, its entry 'model_ema' of both.pt.\n")
    assert same(filled(tmp_path / "ema.safetensors")[0], small())
    with pytest.raises(
        NetworkError, match=r"ema.safetensors: expected the name of a new file that ends in .safetensor"
    ):
        convert_weights(tmp_path / "both.pt", tmp_path / "ema.safetensors", "model")
    with pytest.raises(NetworkError, match=r"both.pt: holds no state dict 'ema'; it holds: 'model', 'model_ema'"):
        convert_weights(tmp_path / "both.pt", tmp_path / "other.safetensors", "ema")


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for _ in range(2):
            archive.writestr(f"a/data/{_}", bytes(2**26))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NetworkError, match=r"bomb.pt: a compressed archive, as torch.save never writes it"):
        read_weights(tmp_path / "bomb.pt")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """One bit turned, a piece cut off, lost, doubled, overwritten or zeroed."""
    data, n = bytearray(content), len(content)
    at, length = int(rng.integers(n)), int(rng.integers(1, 64))
    kind = rng.integers(6)
    if kind == 0:
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        del data[at : at + length]
    elif kind == 3:
        data[at:at] = data[at : at + length]
    elif kind == 4:
        data[at : at + length] = rng.bytes(min(length, n - at))
    else:
        data[at : at + length] = bytes(min(length, n - at))
    return bytes(data)


def fuzz(tmp_path: Path, n: int, seed: int) -> Counter:
    """Outcomes for ``n`` mutated files, by format: refused, unharmed, or other values in a format without checksums."""
    from safetensors.torch import save_file

    torch.save({"state_dict": STATE, "epoch": 3}, tmp_path / "new.pt")
    torch.save(STATE, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    save_file(dict(STATE), tmp_path / "tensors.safetensors")
    originals = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    rng, outcomes = np.random.default_rng(seed), Counter()
    for k in range(n):
        name = list(originals)[k % len(originals)]
        path = tmp_path / name
        path.write_bytes(mutated(originals[name], rng))
        started = time.monotonic()
        try:
            module = filled(path)[0]
            outcome = "unharmed" if same(module, small()) else "other values"
        except NetworkError as error:
            outcome = "refused" if str(path) in str(error) else f"refused without its name: {error}"
        assert time.monotonic() - started < 10
        outcomes[name, outcome] += 1
    return outcomes


def test_mutated_files_of_weights_are_refused_or_unharmed(tmp_path):
    pytest.importorskip("safetensors")
    outcomes = fuzz(tmp_path, 60, 0)
    assert {outcome for _, outcome in outcomes} == {"refused", "unharmed", "other values"}
    assert outcomes["new.pt", "other values"] == 0
    assert all(outcomes[name, "refused"] >= 5 for name in ("new.pt", "legacy.pt", "tensors.safetensors"))


def test_without_its_checksums_torch_takes_changed_weights_without_a_word(tmp_path):
    torch.save(STATE, tmp_path / "a.pt")
    content, values = bytearray((tmp_path / "a.pt").read_bytes()), STATE["0.weight"].numpy().tobytes()
    content[content.index(values) + 2] ^= 1
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(NetworkError, match=r"a.pt: (damaged, the checksum of 'a/data/0'|its archive is damaged)"):
        read_weights(tmp_path / "a.pt")
    assert not torch.equal(torch.load(tmp_path / "a.pt", weights_only=True)["0.weight"], STATE["0.weight"])


@pytest.mark.slow
def test_300_mutated_files_of_weights(tmp_path):
    outcomes = fuzz(tmp_path, 300, 1)
    print(dict(outcomes))
    assert outcomes["new.pt", "other values"] == 0
    assert sum(outcomes.values()) == 300
