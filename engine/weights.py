"""Whose weights are these? State dicts from files that are not trusted, put into a module only where they fit."""

from pathlib import Path

import torch
from torch import nn

from engine.errors import NetworkError


def fill(module: nn.Module, state: dict[str, torch.Tensor], origin: str, name: str) -> None:
    """Put weights into a module.

    Parameters
    ----------
    module
        Of the zoo.
    state
        Tensor by name.
    origin, name
        Where the weights come from and the network's name, for messages.

    Raises
    ------
    NetworkError
        If names or shapes are not the module's, with the first that is not.
    """
    expected = module.state_dict()
    missing, unknown = [k for k in expected if k not in state], [k for k in state if k not in expected]
    if missing or unknown:
        raise NetworkError(
            f"{origin}: not the weights of {name}: {len(missing)} of its {len(expected)} tensors are missing "
            f"(first: {missing[:1]}), {len(unknown)} are unknown (first: {unknown[:1]})."
        )
    for key, tensor in expected.items():
        if state[key].shape != tensor.shape:
            raise NetworkError(
                f"{origin}: {key} is {tuple(state[key].shape)}, {name} needs {tuple(tensor.shape)}. "
                "Is it another network's?"
            )
    module.load_state_dict(state)


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors by name from a file of safetensors or of ``torch.save``, without running code from it.

    Raises
    ------
    NetworkError
        If there is no such file, or anything but tensors in it.
    """
    if not path.is_file():
        raise NetworkError(f"weights: expected 'pretrained', 'random' or a file; there is no file {path}.")
    if path.suffix == ".safetensors":
        return _safetensors(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can provoke any; torch's own advice would be to run the file's code
        raise NetworkError(
            f"{path}: not a plain state dict ({type(error).__name__}). unitscope reads tensors and never code; "
            "where you trust its origin, write it again with torch.save(module.state_dict(), FILE)."
        ) from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise NetworkError(
            f"{path}: expected a state dict (name to tensor), got {type(state).__name__} of other things."
        )
    return state


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise NetworkError(f"{path}: to read it, run: pip install safetensors") from None
    try:
        return load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        raise NetworkError(f"{path}: not a valid safetensors file: {error}.") from error
