"""What is ``timm:NAME``? One of timm's networks, with the preprocessing that its configuration states."""

from collections.abc import Mapping
from math import floor
from pathlib import Path
from typing import Any

from torch import nn

from engine.errors import NetworkError, SettingsError
from engine.foreign import ForeignNetwork, import_library, require_listed, seeded, unreachable, with_library_errors
from engine.preprocessing import Preprocessing
from engine.weights import fill, read_weights


def timm_network(name: str, weights: str | Path, seed: int) -> ForeignNetwork:
    """Build ``timm:NAME``.

    Parameters
    ----------
    name
        ``timm:`` and a name of ``timm.list_models()``, with or without the tag of its weights (``resnet50.a1_in1k``),
        whose configuration then holds. No other source that timm knows is opened.
    weights
        ``"pretrained"``, from timm's cache on this machine or downloaded; ``"random"``; or a file.
    seed
        Of random weights.

    Raises
    ------
    NetworkError
        If timm is not installed or has no such network; if weights cannot be had or do not fit; if it prepares images
        in a way that ``Preprocessing`` has no setting for.
    """
    timm = import_library("timm", name)
    plain = timm.list_models()
    tagged = timm.list_pretrained() if "." in name else []
    model = require_listed(name, {*plain, *tagged}, "timm")
    notes: list[str] = []
    if weights == "pretrained":
        module, told = _pretrained(timm, name, model), f"pretrained, timm {timm.__version__}"
    elif weights == "random":
        module, told = _built(timm, name, model, seed), f"random, seed {seed}"
    else:
        module, told = _built(timm, name, model, seed), f"file {Path(weights).name}"
        read = read_weights(Path(weights))
        notes = [read.note, fill(module, read.tensors, str(weights), name)]
    stated: Any = module.pretrained_cfg
    about = {"source": f"timm {timm.__version__}", "licence": str(stated.get("license") or "")}
    if weights == "pretrained":
        told = f"{told} {stated.get('hf_hub_id') or stated.get('url') or model}"
    else:
        notes.append(f"preprocessing of timm's {'.'.join(filter(None, (stated['architecture'], stated.get('tag'))))}")
    kept = tuple(note for note in notes if note)
    return ForeignNetwork(module, timm_preprocessing(timm, stated, name), told, kept, about)


def _built(timm: Any, name: str, model: str, seed: int) -> nn.Module:
    with seeded(seed):
        return with_library_errors(name, lambda: timm.create_model(model, pretrained=False).eval())


def _pretrained(timm: Any, name: str, model: str) -> nn.Module:
    stated = timm.get_pretrained_cfg(model)
    if stated is None or not stated.has_weights:
        raise NetworkError(f"{name!r}: timm publishes no weights of it. Give a file, or weights='random'.")
    try:
        with seeded(0):
            return timm.create_model(model, pretrained=True).eval()
    except Exception as error:  # of the network, the disk, a proxy, or another checksum
        raise unreachable(name, f"its hub ({stated.hf_hub_id or stated.url})", error) from error


def timm_preprocessing(timm: Any, config: Mapping[str, Any], name: str) -> Preprocessing:
    """Return ours for what timm's configuration of a network states: the same numbers up to the rounding to uint8.

    Raises
    ------
    NetworkError
        If we have no setting for it: margins that are filled up, input that is not square, an odd interpolation.
    """
    stated = timm.data.resolve_data_config(pretrained_cfg=config)
    height, width = (int(length) for length in stated["input_size"][1:])
    larger = (floor(height / stated["crop_pct"]), floor(width / stated["crop_pct"]))
    way = stated["crop_mode"]
    if way not in ("center", "squash") or (way == "center" and larger[0] != larger[1]):
        raise _no_setting(name, f"crop_mode={way!r} at {height} x {width} pixels")
    try:
        return Preprocessing(
            resize=larger[0] if way == "center" else larger,
            crop=(height, width),
            interpolation=stated["interpolation"],
            mean=tuple(stated["mean"]),
            sd=tuple(stated["std"]),
            rounding="even",
        )
    except SettingsError as error:
        raise _no_setting(name, str(error)) from error


def _no_setting(name: str, what: str) -> NetworkError:
    model = name.partition(":")[2]
    return NetworkError(
        f"{name!r}: timm prepares its images in a way that engine.Preprocessing has no setting for ({what}). Hand it "
        f"over with timm's own transform: module = timm.create_model({model!r}); engine.Network.from_module(module, "
        "preprocess), where preprocess takes uint8 (height, width, 3)."
    )
