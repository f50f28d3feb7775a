"""Whose weights are these? State dicts from files that are not trusted, put into a module only where they fit.

No file can run code here: of safetensors only tensors are read, of what ``torch.save`` wrote only tensors and plain
values, among them the numpy scalars and ``argparse.Namespace`` that training scripts like to keep.
"""

import argparse
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from engine.errors import NetworkError

_SCALAR: Final = np.float64(0).__reduce__()[0]
_HARMLESS: Final[list[Callable | tuple[Callable, str]]] = [
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(code)) for code in "?bBhHiIlLqQefdFDSU"),
    _SCALAR,  # type: ignore[list-item]
    (_SCALAR, "numpy.core.multiarray.scalar"),  # type: ignore[list-item]
]
"""Classes and functions, beside torch's own list, that build plain values and nothing else."""

_COUNTER: Final = "num_batches_tracked"
"""Of a batch norm; unused once it is trained, and absent from files of old versions of torch."""

_ADVICE: Final = "unitscope reads tensors and never code; where you trust its origin, write it again with "


@dataclass(frozen=True)
class Weights:
    """Tensors by name, as a file holds them."""

    tensors: dict[str, torch.Tensor]
    note: str = ""
    """What was taken of a file that holds more."""


def fill(module: nn.Module, state: Mapping[str, torch.Tensor], origin: str, name: str) -> str:
    """Put weights into a module, and return what was done to their names, "" if nothing.

    A prefix that all names share, such as ``module.`` of ``DataParallel``, is cut where the names fit without it.

    Parameters
    ----------
    module
        Built, with or without values.
    state
        Tensor by name.
    origin, name
        Where the weights come from and the network's name, for messages.

    Raises
    ------
    NetworkError
        If names or shapes are not the module's, or values not finite, with the first that is not.
    """
    expected = module.state_dict()
    prefix = _needless_prefix(state, expected)
    state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    missing = [key for key in expected if key not in state and not key.endswith(_COUNTER)]
    unknown = [key for key in state if key not in expected]
    if missing or unknown:
        raise NetworkError(
            f"{origin}: not the weights of {name}: {len(missing)} of its {len(expected)} tensors are missing "
            f"(first: {missing[:1]}), {len(unknown)} are unknown (first: {unknown[:1]})."
        )
    for key, found in state.items():
        if found.shape != expected[key].shape:
            raise NetworkError(
                f"{origin}: {key} is {tuple(found.shape)}, {name} needs {tuple(expected[key].shape)}. "
                "Is it another network's?"
            )
        if not bool(torch.isfinite(found).all()):
            raise NetworkError(
                f"{origin}: {key} holds NaN or infinity, so {name} would answer with NaN. Training diverged, or the "
                "file is damaged: take another checkpoint."
            )
    module.load_state_dict({**expected, **state})
    return f"names without {prefix!r}" if prefix else ""


def read_weights(path: Path, part: str | None = None) -> Weights:
    """Read tensors by name from a file of safetensors or of ``torch.save``, without running code from it.

    Parameters
    ----------
    path
        The file. A state dict, or a dict that holds one under a name of its own such as ``model_state_dict``.
    part
        That name, needed where the file holds several.

    Raises
    ------
    NetworkError
        If there is no such file, if it is damaged, if it holds a program or classes, or several state dicts or none.
    """
    if not path.is_file():
        raise NetworkError(f"weights: expected 'pretrained', 'random' or a file; there is no file {path}.")
    if path.suffix == ".safetensors":
        return Weights(_safetensors(path))
    return _state_dict_in(_loaded(path), part, path)


def convert_weights(path: Path, output: Path, part: str | None = None) -> Weights:
    """Write the weights of a file again as safetensors, which holds tensors and nothing else; ``part`` as above.

    Raises
    ------
    NetworkError
        As ``read_weights``; if the output exists already or is not called ``.safetensors``.
    """
    if output.suffix != ".safetensors" or output.exists():
        raise NetworkError(f"{output}: expected the name of a new file that ends in .safetensors.")
    save_file = _library(path).save_file
    read = read_weights(path, part)
    save_file({name: tensor.clone().contiguous() for name, tensor in read.tensors.items()}, output)
    return read


def _needless_prefix(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> str:
    """Return what all names begin with, up to a dot, if the module's names are those without it."""
    needed = {key for key in expected if not key.endswith(_COUNTER)}
    if not state or needed <= state.keys():
        return ""
    first = min(state, key=len)
    prefixes = [first[: end + 1] for end, letter in enumerate(first) if letter == "."]
    for prefix in prefixes:
        bare = {key.removeprefix(prefix) for key in state if key.startswith(prefix)}
        if len(bare) == len(state) and needed <= bare <= expected.keys():
            return prefix
    return ""


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    library = _library(path)
    try:
        return library.load_file(path)
    except Exception as error:  # damaged bytes can provoke any
        raise NetworkError(
            f"{path}: not a valid safetensors file: {error}. It is damaged or cut short: copy or download it again."
        ) from error


def _library(path: Path) -> Any:
    try:
        import safetensors.torch
    except ImportError:
        raise NetworkError(f"{path}: to read or write safetensors, run: pip install safetensors") from None
    return safetensors.torch


def _loaded(path: Path) -> Any:
    """Return what ``torch.save`` wrote, if all of it is tensors and plain values."""
    with path.open("rb") as file:
        is_archive = file.read(4) == b"PK\x03\x04"
    if is_archive:
        _require_whole(path)
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can provoke any; torch's own advice would be to run the file's code
        classes = _classes_in(path) if is_archive else []
        found = f"it needs {', '.join(classes[:3])}" if classes else type(error).__name__
        raise NetworkError(
            f"{path}: not a plain state dict ({found}). {_ADVICE}torch.save(module.state_dict(), FILE)."
        ) from None


def _require_whole(path: Path) -> None:
    """Compare every checksum in the archive, which torch leaves alone, and refuse what it would run or unpack."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            is_packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
            damaged = None if is_packed else archive.testzip()
    except Exception as error:  # damaged bytes can provoke any
        raise NetworkError(
            f"{path}: its archive is damaged or cut short ({type(error).__name__}: {error}). Copy or download it again."
        ) from error
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise NetworkError(
            f"{path}: a TorchScript program, not weights. {_ADVICE}"
            "torch.save(torch.jit.load(FILE).state_dict(), OTHER)."
        )
    if is_packed:
        raise NetworkError(f"{path}: a compressed archive, as torch.save never writes it. Give the file inside it.")
    if damaged is not None:
        raise NetworkError(f"{path}: damaged, the checksum of {damaged!r} is not its own. Copy or download it again.")


def _classes_in(path: Path) -> list[str]:
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # it is only for the message
        return []


def _state_dict_in(loaded: Any, part: str | None, path: Path) -> Weights:
    if part is None and _is_state_dict(loaded):
        return Weights(dict(loaded))
    parts = {key: value for key, value in loaded.items() if _is_state_dict(value)} if isinstance(loaded, dict) else {}
    if part is not None and part in parts:
        return Weights(dict(parts[part]), f"its entry {part!r}")
    if part is not None:
        raise NetworkError(f"{path}: holds no state dict {part!r}; it holds: {', '.join(map(repr, parts)) or 'none'}.")
    if len(parts) > 1:
        names = ", ".join(map(repr, parts))
        raise NetworkError(
            f"{path}: holds {len(parts)} state dicts, {names}. Choose one: unitscope convert-weights {path} "
            f"{path.stem}.safetensors --part {next(iter(parts))}"
        )
    if not parts:
        raise NetworkError(
            f"{path}: expected a state dict (name to tensor), got {type(loaded).__name__} of other things."
        )
    key, tensors = next(iter(parts.items()))
    return Weights(dict(tensors), f"its entry {key!r}")


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) > 0
        and all(isinstance(key, str) and isinstance(tensor, torch.Tensor) for key, tensor in value.items())
    )
