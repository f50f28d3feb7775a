"""What a result is keyed by: exactly that which changes its numbers, and nothing else.

All digests are sha256 over content. Names, paths, dates, devices, batch sizes and the order of stimuli and sites are in
none of them.
"""

import argparse
import dataclasses
import enum
import functools
import hashlib
import inspect
import re
import site
import sys
import sysconfig
import types
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from engine.encoding import as_json, canonical_json
from engine.errors import NetworkError
from engine.schema import SITE, STIMULUS

if TYPE_CHECKING:
    import torch

    from engine.networks import Network
    from engine.recordings import Recording
    from engine.stimuli import Stimuli

MATCH_READS: Final = ("response", "region", "category", "object")
"""What a match reads of a recording: ``category`` and ``object`` stratify the folds, ``region`` is stored beside it."""

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
_KNOWN_BY_NAME: Final = {"torch", "builtins", *sys.stdlib_module_names} - {"__main__"}
_INSTALLED: Final = tuple(
    {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    | {*site.getsitepackages(), site.getusersitepackages()}
)
"""Folders of installed packages."""

_N_PROBES: Final = 4
_PROBE_SEED: Final = 20180101


def digest_of(content: Mapping[str, Any]) -> str:
    """Return the sha256, in hexadecimal, of JSON-like content; the order of keys does not matter."""
    return hashlib.sha256(canonical_json(as_json(content, "digest"))).hexdigest()


def match_digest(
    network: str,
    stimuli: str,
    responses: str,
    layers: Sequence[str],
    settings: Mapping[str, Any],
    *,
    algorithm: str | int,
    torch_version: str | None = None,
) -> str:
    """Return what a match is keyed by.

    Parameters
    ----------
    network, stimuli, responses
        From ``network_digest``, ``stimuli_digest`` and ``responses_digest``.
    layers
        Names of the layers that are matched, in execution order (it decides ties).
    settings
        Those that change a number; not device, memory, batch size or workers.
    algorithm
        Version of our code that computes the numbers.
    torch_version
        By default that of the torch at hand; only major.minor counts.
    """
    if torch_version is None:
        import torch

        torch_version = torch.__version__
    return digest_of(
        {
            "network": network,
            "stimuli": stimuli,
            "responses": responses,
            "layers": list(layers),
            "settings": settings,
            "algorithm": algorithm,
            "torch": ".".join(torch_version.split(".")[:2]),
        }
    )


def stimuli_digest(stimuli: "Stimuli") -> str:
    """Return the digest of ids and pixels, in any order; files and their formats do not matter."""
    return digest_of({"stimuli": dict(stimuli.pixel_digests())})


def responses_digest(recording: "Recording") -> str:
    """Return the digest of what a match reads of a recording besides the pixels."""
    return recording_digest(recording, MATCH_READS)


def recording_digest(recording: "Recording", names: Collection[str]) -> str:
    """Return the digest of ids and of the named variables, coordinates and attributes of a recording.

    The order of stimuli and sites does not matter, nor whether numbers are held as float32 or float64. A name that the
    recording does not have counts as such.

    Parameters
    ----------
    recording
        With ``data`` as in ``engine.schema.RECORDING``.
    names
        Exactly what the computation reads, e.g. ``["response", "trials", "region", "size_deg"]``.
    """
    data = recording.data
    data = data.isel({dim: np.argsort(data[dim].values.astype(str), kind="stable") for dim in (STIMULUS, SITE)})
    ids = {dim: data[dim].values.tolist() for dim in (STIMULUS, SITE)}
    return digest_of({"ids": ids, "contents": {name: _content(data, name) for name in sorted(names)}})


def network_digest(network: "Network") -> str:
    """Return the digest of parameters, buffers, structure, code and preprocessing of a network.

    Structure and code are the module's ``repr``, the attributes of its submodules, the source of their classes and of
    functions they hold, and what that source names in its modules: functions, classes and constants, and what those
    name. torch's own classes and functions count by name; those of installed packages by their own source alone.

    Raises
    ------
    NetworkError
        If the source of a class cannot be had and the network has no ``version``; if the preprocessing gives two
        outputs for one image; if a parameter has no plain values.
    """
    modules = dict(network.module.named_modules(remove_duplicate=False))
    code = _Code(network)
    content = {
        "tensors": {name: _tensor(name, tensor) for name, tensor in _tensors(network.module)},
        "repr": _ADDRESS.sub("", repr(network.module)),
        "attributes": {name: _attributes(module, code) for name, module in modules.items()},
        "classes": dict(sorted(_sources({type(module) for module in modules.values()}, code))),
        "preprocessing": preprocessing_digest(network),
    }
    named = code.named()
    return digest_of(content | {"named": named} if named else content)


def preprocessing_digest(network: "Network") -> str:
    """Return the digest of a network's preprocessing: its settings, or of any other callable what it does to images.

    Raises
    ------
    NetworkError
        If it gives two outputs for one image.
    """
    from engine.preprocessing import Preprocessing

    if isinstance(network.preprocess, Preprocessing):
        return digest_of({"settings": network.preprocess.settings()})
    seen = hashlib.sha256()
    for probe in _probes(*network.image_size):
        first, second = (_tensor("preprocessing", network.preprocess(probe.copy())) for _ in range(2))
        if first != second:
            raise NetworkError(
                f"The preprocessing of {network.name!r} gives different outputs for the same image. "
                "Leave out its random steps (crops, flips, noise): a match needs the same input every time."
            )
        seen.update(canonical_json(first))
    return seen.hexdigest()


def _probes(height: int, width: int) -> Iterator[np.ndarray]:
    """Yield noise and ramps, uint8 (height, width, 3), the same ones in every process."""
    rng = np.random.default_rng(_PROBE_SEED)
    for _ in range(_N_PROBES // 2):
        yield rng.integers(0, 256, size=(height, width, 3), dtype=np.uint8)
        y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
        slopes = rng.uniform(-1, 1, size=(2, 3))
        yield (127.5 + 63 * (y[..., None] * slopes[0] + x[..., None] * slopes[1])).astype(np.uint8)


def _content(data: xr.Dataset, name: str) -> Any:
    if name not in data.variables:
        return {"attribute": data.attrs.get(name)}
    variable = data[name].variable
    values = variable.values
    if values.dtype.kind in "OUT":
        return {"dims": variable.dims, "text": values.tolist()}
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), np.nan, values.astype(np.float64)) + 0.0
    plain = np.ascontiguousarray(values)
    return {"dims": variable.dims, "shape": plain.shape, "kind": plain.dtype.str, "sha256": _sha256(plain)}


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def _tensors(module: "torch.nn.Module") -> Iterator[tuple[str, "torch.Tensor"]]:
    yield from ((f"parameter {name}", tensor) for name, tensor in module.named_parameters(remove_duplicate=False))
    yield from ((f"buffer {name}", tensor) for name, tensor in module.named_buffers(remove_duplicate=False))


def _tensor(name: str, tensor: "torch.Tensor") -> list[Any]:
    import torch

    if not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided or tensor.is_quantized:
        raise NetworkError(
            f"{name} is not a plain dense tensor; its values cannot be keyed. Convert the network first."
        )
    if tensor.is_meta:
        raise NetworkError(f"{name} has no values yet (meta device). Load the weights first.")
    values = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
    return [str(tensor.dtype), list(tensor.shape), _sha256(values.numpy())]


def _attributes(module: "torch.nn.Module", code: "_Code") -> dict[str, Any]:
    import torch

    internal = vars(torch.nn.Module()).keys() - {"training"}
    hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
    scripted = getattr(module, "code", None)  # of scripted and traced modules, whose class says nothing
    return {
        "attributes": {
            name: _described(value, f"{type(module).__name__}.{name}", code)
            for name, value in vars(module).items()
            if name not in internal
        },
        "hooks": [_described(hook, "a forward hook", code) for hook in hooks],
        "code": scripted if isinstance(scripted, str) else None,
    }


def _described(value: Any, where: str, code: "_Code") -> Any:
    """Return as JSON what an attribute holds; of an object that we cannot look into, the name of its class only."""
    import torch

    def described(item: Any) -> Any:
        return _described(item, where, code)

    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, torch.Tensor):
        return _tensor(where, value)
    if isinstance(value, (np.ndarray, np.generic)):
        return [value.dtype.str, list(value.shape), _sha256(np.asarray(value))]
    if isinstance(value, Mapping):
        return {_ADDRESS.sub("", repr(key)): described(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [described(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_ADDRESS.sub("", repr(item)) for item in value)
    if isinstance(value, functools.partial):
        return [described(item) for item in (value.func, value.args, value.keywords)]
    if isinstance(value, types.MethodType):
        return [described(value.__self__), value.__func__.__name__]
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        held = [described(item) for item in (value.__defaults__, value.__kwdefaults__, cells)]
        return [_name(value), code.source(value), *held]
    if isinstance(value, type):
        return [_name(value), code.source(value)]
    if isinstance(value, (torch.dtype, enum.Enum, complex, bytes, range, slice)):
        return repr(value)
    transparent = (torch.nn.Module, types.SimpleNamespace, argparse.Namespace)
    kind = type(value)
    if isinstance(value, transparent) or dataclasses.is_dataclass(value) or _is_own(kind):
        with code.looked_into(value) as is_first:
            return [_name(kind), code.source(kind), described(_state(value)) if is_first else "itself"]
    if not _is_known(kind) and getattr(value, "__dict__", None):  # of an installed package
        with code.looked_into(value) as is_first:
            return [_name(kind), described(vars(value)) if is_first else "itself"]
    return _name(value) if isinstance(value, types.BuiltinFunctionType) else _name(kind)


def _state(value: Any) -> dict[str, Any]:
    """Return the attributes of an object, those in slots too."""
    named = [vars(ancestor).get("__slots__", ()) for ancestor in type(value).__mro__]
    slots = [slot for names in named for slot in ([names] if isinstance(names, str) else names)]
    held = {
        slot: getattr(value, slot) for slot in slots if slot not in ("__dict__", "__weakref__") and hasattr(value, slot)
    }
    return {**held, **getattr(value, "__dict__", {})}


def _sources(classes: Iterable[type], code: "_Code") -> Iterator[tuple[str, str | None]]:
    ancestors = {ancestor for one in classes for ancestor in one.__mro__}
    return ((_name(one), code.source(one)) for one in ancestors)


class _Code:
    """The code of a network: its sources, and whatever those name in turn."""

    def __init__(self, network: "Network") -> None:
        self._network = network
        self._own: dict[str, Any] = {}
        self._open: set[int] = {id(module) for module in network.module.modules()}  # described one by one

    def source(self, thing: Any) -> str | None:
        """Return the source of a class or function; None for those of torch and of Python, which count by name."""
        if _is_known(thing):
            return None
        if _is_own(thing):
            self._own.setdefault(_name(thing), thing)
        try:
            return inspect.getsource(thing)
        except (OSError, TypeError) as error:
            if self._network.version is not None:
                return f"version {self._network.version}"
            raise NetworkError(
                f"The source of {_name(thing)}, part of network {self._network.name!r}, cannot be had (it was not "
                "defined in a file), so a change of its code would go unseen. Put it in a file, or name what you run: "
                "Network.from_module(..., version='1')."
            ) from error

    @contextmanager
    def looked_into(self, value: Any) -> Iterator[bool]:
        """Say whether an object is not looked into already: it may hold itself, or a module of the network."""
        is_first = id(value) not in self._open
        self._open.add(id(value))
        yield is_first
        if is_first:
            self._open.discard(id(value))

    def named(self) -> dict[str, Any]:
        """Return what the sources so far name in their modules, and what those name in turn, by module and name."""
        named: dict[str, Any] = {}
        waiting, seen = list(self._own), set(self._own)
        while waiting:
            for name, value in _globals_of(self._own[waiting.pop()]):
                if name not in named:
                    named[name] = _described(value, name, self)
            waiting += [name for name in self._own if name not in seen]
            seen |= set(self._own)
        return named


def _globals_of(thing: Any) -> Iterator[tuple[str, Any]]:
    """Yield what the code of a function or class names in its module, and in modules of the user's that it names."""
    for function in _functions(thing):
        names = set(_names(function.__code__))
        yield from _members(function.__module__, function.__globals__, names, set())


def _members(module: str, members: Mapping[str, Any], names: set[str], seen: set[str]) -> Iterator[tuple[str, Any]]:
    for name in names & members.keys():
        value = members[name]
        if not isinstance(value, types.ModuleType):
            yield f"{module}.{name}", value
        elif _is_of_user(value.__name__) and value.__name__ not in seen:
            seen.add(value.__name__)
            yield from _members(value.__name__, vars(value), names, seen)


def _functions(thing: Any) -> Iterator[types.FunctionType]:
    """Yield the functions of a class, and of classes inside it; or the function itself."""
    for one in vars(thing).values() if isinstance(thing, type) else [thing]:
        if isinstance(one, type):
            if one.__qualname__.startswith(f"{thing.__qualname__}."):
                yield from _functions(one)
            continue
        parts = [one.fget, one.fset] if isinstance(one, property) else [getattr(one, "__func__", one)]
        yield from (
            part for part in map(inspect.unwrap, filter(callable, parts)) if isinstance(part, types.FunctionType)
        )


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield from _names(one)


def _is_known(thing: Any) -> bool:
    return str(thing.__module__).partition(".")[0] in _KNOWN_BY_NAME


def _is_own(thing: Any) -> bool:
    return _is_of_user(str(thing.__module__))


def _is_of_user(module: str) -> bool:
    """Say whether a module is the user's own, and not Python's, ours or one of an installed package."""
    package = module.partition(".")[0]
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return package not in {*_KNOWN_BY_NAME, "engine"} and not file.startswith(_INSTALLED)


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"
