"""Which network is it? A torch module with its preprocessing, its table of layers and where it comes from."""

import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from engine import layers as layer_list
from engine import weights as weight_files
from engine import zoo
from engine.errors import EngineError, NetworkError
from engine.foreign import ForeignNetwork
from engine.from_timm import timm_network
from engine.from_torchvision import torchvision_network
from engine.tracing import Output, is_same, trace

if TYPE_CHECKING:
    from engine.stimuli import Stimuli

Preprocess = Callable[[np.ndarray], torch.Tensor]

_PROBE_SEED = 20180

_LIBRARIES: dict[str, Callable[[str, str | Path, int], ForeignNetwork]] = {
    "torchvision": torchvision_network,
    "timm": timm_network,
}


@dataclass(frozen=True, eq=False, repr=False)
class Network:
    """A torch module in eval mode, what it is fed with, and the layers whose units take part.

    Make one with ``Network.from_module`` or ``load_network``.
    """

    name: str
    module: nn.Module
    preprocess: Preprocess
    """uint8 RGB (height, width, 3) to float tensor (3, h, w)."""
    layers: pd.DataFrame
    """name, kind, channels, height, width, units, depth (0 to 1); in execution order."""
    left_out: pd.DataFrame
    """name, kind, reason of every other output."""
    image_size: tuple[int, int] = (224, 224)
    """(height, width) of a probe image, in pixels."""
    version: str | None = None
    """Stands for the module's code where its source cannot be had."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """title, parameters, top1 (%; NaN if unknown), top1_source, source, licence, weights, doi, classifier."""
    largest_output: int = 0
    """Units of the largest output of any module, listed or not: what a forward pass must hold."""
    channels_last: frozenset[str] = frozenset()
    """Layers whose output holds its channels in the last dimension."""

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        preprocess: Preprocess,
        name: str = "mine",
        layers: Collection[str] | None = None,
        image_size: tuple[int, int] = (224, 224),
        version: str | None = None,
    ) -> "Network":
        """Your own module as a network: tried on two random images, its layers listed.

        Parameters
        ----------
        module
            Takes (batch, 3, h, w) float32. It is switched to eval mode, and stays so; nothing else about it changes.
        preprocess
            ``Preprocessing``, or any callable from uint8 RGB (height, width, 3) to a float tensor (3, h, w).
        name
            What results call it.
        layers
            Names of modules (``name@2``: the second call), taken literally whatever the layer list says; or patterns
            such as ``features.*``, which choose from the layer list. None = the whole layer list.
        image_size
            (height, width) of the random images that it is tried on, before ``preprocess``.
        version
            Anything that names the module's code; needed where its source cannot be had.

        Raises
        ------
        NetworkError
            If ``preprocess`` or the module fails on the images, or answers differently to the same images.
        LayerError
            If a layer is unknown (with the closest names) or does not return a float tensor with the batch first; if a
            pattern matches no layer.
        """
        if not isinstance(module, nn.Module):
            raise NetworkError(f"network {name!r}: expected a torch.nn.Module, got {type(module).__name__}.")
        module.eval()
        probe = _probe(preprocess, image_size, name).to(_device(module))
        outputs = _traced(module, probe, name)
        _require_repeatable(module, probe, outputs, name)
        reasons = layer_list.left_out(outputs, probe)
        listed, others = layer_list.layer_tables(outputs, reasons, layers)
        return cls(
            name=name,
            module=module,
            preprocess=preprocess,
            layers=listed,
            left_out=others,
            image_size=image_size,
            version=version,
            metadata={
                "title": name,
                "parameters": _n_parameters(module),
                "top1": float("nan"),
                "weights": "the caller's",
            },
            largest_output=_largest(outputs),
            channels_last=frozenset(output.name for output in outputs if output.channels_last),
        )

    def with_layers(self, names: Collection[str]) -> "Network":
        """Choose just these layers: a new network, the same module.

        A name is taken literally, also one that ``left_out`` has; a pattern such as ``features.*`` or ``*.conv?``
        chooses from ``layers``, its ``*`` matches dots too.

        Raises
        ------
        LayerError
            If a name is unknown or its output cannot be a layer; if a pattern matches no layer, with the closest ones.
        """
        probe = _probe(self.preprocess, self.image_size, self.name).to(_device(self.module))
        outputs = _traced(self.module, probe, self.name, fingerprints=False)
        reasons = dict(zip(self.left_out["name"], self.left_out["reason"], strict=True))
        listed, others = layer_list.layer_tables(outputs, reasons, names)
        return replace(self, layers=listed, left_out=others)

    def inputs(self, stimuli: "Stimuli", ids: Sequence[str]) -> torch.Tensor:
        """Network input of the stimuli, (batch, 3, h, w) float32, on the processor, in the order of ``ids``."""
        images = [_input(self.preprocess, stimuli.pixels(i), f"stimulus {i!r}", self.name) for i in ids]
        for stimulus_id, image in zip(ids, images, strict=True):
            if image.shape != images[0].shape:
                raise NetworkError(
                    f"network {self.name!r}: preprocess gives {tuple(images[0].shape)} for stimulus {ids[0]!r} and "
                    f"{tuple(image.shape)} for {stimulus_id!r}; it must bring all stimuli to one size."
                )
        return torch.stack(images)

    def __repr__(self) -> str:
        return f"Network({self.name!r}, {len(self.layers)} layers, {int(self.layers['units'].sum())} units)"


def load_network(
    name: str, *, weights: str | Path | None = None, seed: int = 0, layers: Collection[str] | None = None
) -> Network:
    """Load a network by its name.

    Parameters
    ----------
    name
        One that ``list_networks`` names; ``"torchvision:NAME"`` or ``"timm:NAME"``, as these libraries list them; or
        ``"module:callable"``, a function of yours that returns a ``Network``.
    weights
        ``"pretrained"``; ``"random"``, untrained and called "NAME (random weights, seed N)"; or a file with a state
        dict (safetensors, or written by ``torch.save``), from which tensors are read and never code. None means
        pretrained for what ``list_networks`` names, and is an error for networks of torchvision and timm.
    seed
        Of random weights. The global random state is neither used nor changed.
    layers
        Just these, as for ``Network.with_layers``; None = those that the network comes with.

    Raises
    ------
    NetworkError
        If there is no such network, if its weights are not installed or cannot be had, or if a file does not fit.
    LayerError
        If a layer is unknown.
    """
    library, colon, _ = name.partition(":")
    if library in _LIBRARIES and colon:
        network = _from_library(name, library, weights, seed)
    else:
        network = _of_the_user(name, weights) if colon else _from_zoo(name, weights or "pretrained", seed)
    return network if layers is None else network.with_layers(layers)


def list_networks() -> pd.DataFrame:
    """List what ``load_network`` knows: name, title, parameters, weights (what can be had on this machine)."""
    entries = [zoo.entry(name) for name in zoo.NAMES]
    return pd.DataFrame(
        {
            "name": [entry.name for entry in entries],
            "title": [entry.title for entry in entries],
            "parameters": [entry.metadata["parameters"] for entry in entries],
            "weights": [
                "pretrained, random" if entry.is_installed() else f"random; pretrained: {zoo.INSTALL}"
                for entry in entries
            ],
        }
    )


def _from_zoo(name: str, weights: str | Path, seed: int) -> Network:
    entry = zoo.entry(name)
    with torch.device("meta"):
        module = entry.build()
    module.to_empty(device="cpu")
    notes: list[str] = []
    if weights == "pretrained":
        tensors = entry.pretrained()  # says what is missing, where the package is
        origin = entry.pretrained_source
        weight_files.fill(module, tensors, origin, name)
    elif weights == "random":
        origin = f"random, seed {seed}"
        entry.initialise(module, torch.Generator().manual_seed(seed))
    else:
        origin, read = f"file {Path(weights).name}", weight_files.read_weights(Path(weights))
        notes = [read.note, weight_files.fill(module, read.tensors, str(weights), name)]
    return _listed(entry, module.eval(), _suffix(weights, seed), origin, "; ".join(filter(None, notes)))


def _suffix(weights: str | Path, seed: int) -> str:
    """Say of a network's weights what its name must say."""
    if weights == "pretrained":
        return ""
    return f" (random weights, seed {seed})" if weights == "random" else f" (weights {Path(weights).name})"


def _listed(entry: zoo.ZooEntry, module: nn.Module, suffix: str, origin: str, notes: str) -> Network:
    name = entry.name + suffix
    probe = _probe(entry.preprocessing, (224, 224), name)
    outputs = _traced(module, probe, name, fingerprints=False)
    reasons = {output.name: "not in the zoo's list for this network" for output in outputs}
    reasons |= dict.fromkeys(entry.classifier, "classifier; name it explicitly to take it in")
    layers, left_out = layer_list.layer_tables(outputs, reasons, entry.layers)
    metadata = {"title": entry.title, **entry.metadata, "weights": origin, "classifier": list(entry.classifier)}
    if suffix:
        metadata |= {"title": entry.title + suffix, "top1": float("nan"), "top1_source": ""}
    if notes:
        metadata["weights_notes"] = notes
    return Network(
        name=name,
        module=module,
        preprocess=entry.preprocessing,
        layers=layers,
        left_out=left_out,
        metadata=metadata,
        largest_output=_largest(outputs),
    )


def _largest(outputs: Sequence[Output]) -> int:
    return max((prod(output.size) for output in outputs), default=0)


def _from_library(name: str, library: str, weights: str | Path | None, seed: int) -> Network:
    if weights is None:
        raise NetworkError(
            f"{name!r}: say which weights: 'pretrained' (downloaded by {library} unless they are on this machine), "
            "'random' (untrained, drawn from a seed) or a file; weights=... in Python, --weights ... on the command "
            "line."
        )
    built = _LIBRARIES[library](name, weights, seed)
    suffix = _suffix(weights, seed)
    size = built.preprocess.image_size
    network = Network.from_module(built.module, built.preprocess, name=name + suffix, image_size=size)
    title = name.partition(":")[2] + suffix
    metadata = {**network.metadata, **built.metadata, "title": title, "weights": built.weights}
    if built.notes:
        metadata["weights_notes"] = "; ".join(built.notes)
    return replace(network, metadata=metadata)


def _of_the_user(name: str, weights: str | Path | None) -> Network:
    library, _, what = name.partition(":")
    if weights not in (None, "pretrained"):
        raise NetworkError(
            f"{name!r}: a function of yours chooses its own weights; weights={str(weights)!r} cannot apply."
        )
    with _importable_from_here():
        try:
            make_network = getattr(import_module(library), what)
        except (ImportError, AttributeError) as error:
            raise NetworkError(
                f"{name!r}: expected MODULE:CALLABLE, importable from here or installed; {error}. "
                f"Networks known by name: {', '.join(zoo.NAMES)}, torchvision:NAME, timm:NAME."
            ) from error
        except Exception as error:  # importing runs the user's code
            raise NetworkError(f"{name!r}: importing {library} failed ({type(error).__name__}: {error}).") from error
        network = _called(name, make_network)
    if not isinstance(network, Network):
        raise NetworkError(
            f"{name!r} returned {type(network).__name__}, expected an engine.Network: end the function with "
            "`return engine.Network.from_module(module, preprocess, name=...)`."
        )
    return network


def _called(name: str, make_network: Any) -> Any:
    if not callable(make_network):
        raise NetworkError(f"{name!r} is a {type(make_network).__name__}, expected a function that returns a Network.")
    try:
        return make_network()
    except EngineError:
        raise
    except Exception as error:  # the user's code may raise anything
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise NetworkError(
            f"{name!r} failed: {type(error).__name__}: {error} ({where.filename}, line {where.lineno}). It is called "
            "without arguments."
        ) from error


@contextmanager
def _importable_from_here() -> Iterator[None]:
    """As ``python -m`` does, look for modules in the current folder first."""
    sys.path.insert(0, "")
    try:
        yield
    finally:
        sys.path.remove("")


def _probe(preprocess: Preprocess, image_size: tuple[int, int], name: str) -> torch.Tensor:
    """Two random images, blocks and noise, as network input."""
    if not callable(preprocess):
        raise NetworkError(f"network {name!r}: preprocess is not callable but a {type(preprocess).__name__}.")
    height, width = image_size
    rng = np.random.default_rng(_PROBE_SEED)
    blocks = rng.integers(0, 192, (2, 8, 8, 3)).repeat(-(-height // 8), 1).repeat(-(-width // 8), 2)
    images = (blocks[:, :height, :width] + rng.integers(0, 64, (2, height, width, 3))).astype(np.uint8)
    return torch.stack([_input(preprocess, image, "a probe image", name) for image in images])


def _input(preprocess: Preprocess, stimulus: np.ndarray, which: str, name: str) -> torch.Tensor:
    expected = f"network {name!r}: preprocess of {which}, uint8 {stimulus.shape}: expected a float tensor (3, h, w)"
    try:
        found = preprocess(stimulus)
    except EngineError:
        raise
    except Exception as error:
        raise NetworkError(f"{expected}, got {type(error).__name__}: {error}.") from error
    if not isinstance(found, torch.Tensor):
        raise NetworkError(f"{expected}, got {type(found).__name__}; wrap an array in torch.from_numpy.")
    if not found.is_floating_point():
        raise NetworkError(f"{expected}, got {found.dtype}; end with .float() and the network's scale.")
    if found.ndim != 3 or found.shape[0] != 3:
        raise NetworkError(
            f"{expected}, got shape {tuple(found.shape)}; colours come first, without a batch dimension."
        )
    if not found.isfinite().all():
        raise NetworkError(f"{expected} of finite values, got NaN or infinity.")
    return found.detach().cpu().float()


def _device(module: nn.Module) -> torch.device:
    tensors = [*module.parameters(), *module.buffers()]
    return tensors[0].device if tensors else torch.device("cpu")


def _n_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _traced(module: nn.Module, probe: torch.Tensor, name: str, *, fingerprints: bool = True) -> list[Output]:
    try:
        return trace(module, probe, fingerprints=fingerprints)
    except Exception as error:
        raise NetworkError(
            f"network {name!r} fails on a probe batch of {tuple(probe.shape)} ({type(error).__name__}: {error}). "
            "Are image_size and preprocess those that it was trained with?"
        ) from error


def _require_repeatable(module: nn.Module, probe: torch.Tensor, outputs: Sequence[Output], name: str) -> None:
    again = _traced(module, probe, name)
    if [output.name for output in again] != [output.name for output in outputs]:
        raise NetworkError(
            f"network {name!r} ran other modules when it saw the same images again; it must be deterministic."
        )
    for before, after in zip(outputs, again, strict=True):
        if not is_same(before, after):
            raise NetworkError(
                f"network {name!r} answers differently to the same images, first in {before.name!r} ({before.kind}), "
                "in eval mode. Something in it is random (functional dropout without training=self.training?): "
                "make it deterministic."
            )
