"""Files that run code when somebody trusts them: none of them runs here, whatever it is handed in as."""

import json
import pickle
import warnings
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
import yaml
import zarr
from click.testing import CliRunner

import engine
from engine.cli import main
from engine.errors import EngineError
from engine.weights import read_weights
from tests.engine.worked_example import planted_recording, tiny_network


class Malicious:
    """Whoever unpickles it makes a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


class Wrapped(torch.nn.Module):
    """A whole module, as ``torch.save(module)`` writes it."""

    def __init__(self, marker: Path):
        super().__init__()
        self.evil = Malicious(marker)


def object_array(marker: Path) -> np.ndarray:
    return np.array([Malicious(marker)], dtype=object)


def zarr_v2(folder: Path, marker: Path, **metadata: object) -> None:
    """An array of one chunk that is a pickle, and asks for numcodecs' Pickle to read it."""
    folder.mkdir()
    told = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "fill_value": None, "order": "C"}
    told |= {"compressor": None, "filters": None, **metadata}
    (folder / ".zarray").write_text(json.dumps(told))
    (folder / "0").write_bytes(pickle.dumps(Malicious(marker)))


def zarr_v3(folder: Path, marker: Path) -> None:
    folder.mkdir()
    grid = {"name": "regular", "configuration": {"chunk_shape": [1]}}
    told = {"zarr_format": 3, "node_type": "array", "shape": [1], "data_type": "float64", "chunk_grid": grid}
    told |= {"chunk_key_encoding": {"name": "default"}, "fill_value": 0.0, "codecs": [{"name": "pickle"}]}
    (folder / "zarr.json").write_text(json.dumps(told | {"attributes": {}}))
    (folder / "c").mkdir()
    (folder / "c" / "0").write_bytes(pickle.dumps(Malicious(marker)))


def namespace_state(marker: Path) -> dict[str, object]:
    import argparse

    return {"state_dict": {"w": torch.zeros(1)}, "args": argparse.Namespace(epochs=3, hook=Malicious(marker))}


def write_module(path: Path, marker: Path) -> None:
    path.write_text(f"from pathlib import Path\nPath({str(marker)!r}).touch()\ndef make(): pass\n")


def write_yaml(path: Path, marker: Path) -> None:
    path.write_text(f"!!python/object/apply:os.mkdir ['{marker}']\n")


def save_script(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Conv2d(3, 2, 3)).save(str(path))


def run_script(path: Path) -> None:
    exec(compile(path.read_text(), str(path), "exec"), {})


def trusting_torch(path: Path) -> object:
    return torch.load(path, weights_only=False)


PAYLOADS: dict[str, tuple[Callable[[Path, Path], object], Callable[[Path], object]]] = {
    "weights.pt": (lambda path, marker: torch.save({"w": Malicious(marker)}, path), trusting_torch),
    "legacy.pth": (
        lambda path, marker: torch.save({"w": Malicious(marker)}, path, _use_new_zipfile_serialization=False),
        trusting_torch,
    ),
    "module.pt": (lambda path, marker: torch.save(Wrapped(marker), path), trusting_torch),
    "namespace.pt": (lambda path, marker: torch.save(namespace_state(marker), path), trusting_torch),
    "scalar.pt": (
        lambda path, marker: torch.save({"w": torch.zeros(1), "a": object_array(marker)}, path),
        trusting_torch,
    ),
    "plain.pkl": (
        lambda path, marker: path.write_bytes(pickle.dumps(Malicious(marker))),
        lambda path: pickle.loads(path.read_bytes()),
    ),
    "disguised.safetensors": (
        lambda path, marker: path.write_bytes(pickle.dumps(Malicious(marker))),
        lambda path: pickle.loads(path.read_bytes()),
    ),
    "objects.npy": (lambda path, marker: np.save(path, object_array(marker)), lambda p: np.load(p, allow_pickle=True)),
    "objects.npz": (
        lambda path, marker: np.savez(path, responses=object_array(marker)),
        lambda path: np.load(path, allow_pickle=True)["responses"],
    ),
    "dumped.joblib": (lambda path, marker: joblib.dump([Malicious(marker)], path), joblib.load),
    "settings.yaml": (write_yaml, lambda path: yaml.unsafe_load(path.read_text())),
    "model.py": (write_module, run_script),
    "codec_v2.zarr": (
        lambda path, marker: zarr_v2(path, marker, filters=[{"id": "pickle", "protocol": 5}]),
        lambda path: pickle.loads((path / "0").read_bytes()),
    ),
    "compressor_v2.zarr": (
        lambda path, marker: zarr_v2(path, marker, compressor={"id": "pickle", "protocol": 5}),
        lambda path: pickle.loads((path / "0").read_bytes()),
    ),
    "codec_v3.zarr": (zarr_v3, lambda path: pickle.loads((path / "c" / "0").read_bytes())),
}


@pytest.fixture
def marker(tmp_path) -> Path:
    return tmp_path / "marker"


@pytest.mark.parametrize("name", PAYLOADS)
def test_every_payload_is_alive_where_it_is_trusted(name, tmp_path, marker):
    write, trust = PAYLOADS[name]
    write(tmp_path / name, marker)
    assert not marker.exists()
    trust(tmp_path / name)
    assert marker.exists()


@pytest.mark.parametrize("name", PAYLOADS)
def test_no_payload_runs_as_weights_recording_run_or_network(name, tmp_path, marker):
    path = tmp_path / name
    PAYLOADS[name][0](path, marker)
    for use in (
        lambda: engine.load_network("squeezenet1_1", weights=path),
        lambda: read_weights(path, part="state_dict"),
        lambda: engine.open_recording(path),
        lambda: engine.open_run(path),
        lambda: engine.load_network(str(path)),
        lambda: engine.Recording.from_arrays(np.ones((4, 2)), [path] * 4, stimulus_ids=list("abcd")).stimuli.pixels(
            "a"
        ),
    ):
        with pytest.raises(EngineError):
            use()
    for arguments in (
        ["match", "squeezenet1_1", str(path)],
        ["list", "layers", str(path)],
        ["list", "layers", "squeezenet1_1", "--weights", str(path)],
        ["convert-weights", str(path), str(tmp_path / "out.safetensors")],
        ["analyse", str(path)],
    ):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code != 0
        assert isinstance(done.exception, SystemExit), (arguments, done.exception)
    assert not marker.exists()


def test_a_saved_recording_whose_arrays_are_objects_runs_nothing(tmp_path, marker):
    folder = planted_recording(tiny_network()).save(tmp_path / "planted")
    file = max(folder.rglob("*.npy"), key=lambda path: path.stat().st_size)
    manifest = next(path for path in folder.glob("*.json") if file.name in path.read_text())
    before = sha256(file.read_bytes()).hexdigest(), file.stat().st_size
    np.save(file, object_array(marker))
    after = sha256(file.read_bytes()).hexdigest(), file.stat().st_size
    forged = manifest.read_text().replace(before[0], after[0]).replace(f": {before[1]}", f": {after[1]}")
    assert after[0] in forged
    manifest.write_text(forged)
    with pytest.raises(EngineError):
        engine.open_recording(folder).data.load()
    assert not marker.exists()
    np.load(file, allow_pickle=True)
    assert marker.exists()


@pytest.mark.parametrize("name", ["codec_v2.zarr", "compressor_v2.zarr", "codec_v3.zarr"])
def test_zarr_itself_refuses_codecs_that_unpickle(name, tmp_path, marker):
    PAYLOADS[name][0](tmp_path / name, marker)
    warnings.simplefilter("ignore")
    with pytest.raises((ValueError, TypeError, KeyError)):
        zarr.open_array(tmp_path / name, mode="r")[:]
    assert not marker.exists()


def test_torchscript_is_refused_by_name_and_told_what_to_do(tmp_path):
    save_script(tmp_path / "program.pt")
    with pytest.raises(EngineError, match=r"program.pt: a TorchScript program, not weights.*never code.*state_dict"):
        engine.load_network("squeezenet1_1", weights=tmp_path / "program.pt")


@pytest.mark.parametrize("field", ["network", "recording", "weights"])
@pytest.mark.parametrize(
    "evil", ["os:abort", "evil:make", "/etc/passwd", "../evil.pt", "timm:hf-hub:a/b", "file:///x", ""]
)
def test_a_browser_can_ask_for_nothing_that_the_page_does_not_offer(field, evil):
    from dashboard.requests import match_request
    from engine.errors import SettingsError

    offered = {"network": "squeezenet1_1", "recording": "builtin", "weights": "pretrained", "weights_seed": "0"}
    offered |= {"folds": "2", "memory": "4GiB"}
    assert match_request(offered, ["squeezenet1_1"], {"builtin": "builtin"}).network == "squeezenet1_1"
    with pytest.raises(SettingsError, match=r"is not offered here\. Choose one of: "):
        match_request({**offered, field: evil}, ["squeezenet1_1"], {"builtin": "builtin"})


def test_what_the_page_offers_is_code_of_ours():
    assert all(":" not in name and "/" not in name for name in engine.list_networks()["name"])
