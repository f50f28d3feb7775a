"""What is ``torchvision:NAME``? One of torchvision's classifiers, with the preprocessing that its weights state."""

import re
import sys
from hashlib import file_digest
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from engine.errors import NetworkError
from engine.foreign import ForeignNetwork, import_library, require_listed, seeded, unreachable, with_library_errors
from engine.preprocessing import Preprocessing
from engine.weights import Weights, fill, read_weights

_PORTED: Final = ("googlenet", "inception_v3")
"""Their published weights were trained on another input than torchvision's; the module converts it if told so."""

_OLD_DENSENET: Final = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
"""Names of the published weights, which torchvision itself rewrites."""


def torchvision_network(name: str, weights: str | Path, seed: int) -> ForeignNetwork:
    """Build ``torchvision:NAME``.

    A file whose content is one of torchvision's published ones is known by its checksum: it brings its own
    preprocessing and accuracy. Another one gets the preprocessing of the library's default weights, and says so.

    Parameters
    ----------
    name
        ``torchvision:`` and a name of ``torchvision.models``.
    weights
        ``"pretrained"``: the library's default ones, from its cache on this machine or downloaded; ``"random"``; or a
        file.
    seed
        Of random weights.

    Raises
    ------
    NetworkError
        If torchvision is not installed or has no such network; if weights cannot be had or do not fit.
    """
    version = import_library("torchvision", name).__version__.partition("+")[0]
    models = import_module("torchvision.models")
    model = require_listed(name, models.list_models(module=models), "torchvision")
    published = models.get_model_weights(model)
    if weights == "random":
        stated = published.DEFAULT
        module, told = _built(name, model, seed), f"random, seed {seed}"
        return ForeignNetwork(module, torchvision_preprocessing(stated), told, (_borrowed(stated),), _about(version))
    file = _downloaded(name, published.DEFAULT) if weights == "pretrained" else Path(weights)
    read = read_weights(file)
    known = _known(file, published)
    module = _built(name, model, seed, {"transform_input": True} if known and model in _PORTED else {})
    notes = [read.note, fill(module, _renamed(read), str(file), name)]
    notes.append(str(known) if known else _borrowed(published.DEFAULT))
    told = f"pretrained, torchvision {version} {known}" if weights == "pretrained" else f"file {file.name}"
    kept = tuple(note for note in notes if note)
    return ForeignNetwork(
        module, torchvision_preprocessing(known or published.DEFAULT), told, kept, _about(version, known)
    )


def _built(name: str, model: str, seed: int, options: dict[str, Any] | None = None) -> nn.Module:
    builder = import_module("torchvision.models").get_model
    options = dict(options or {})
    if model in _PORTED:
        options["init_weights"] = True  # its default, which it warns of
    with seeded(seed):
        return with_library_errors(name, lambda: builder(model, weights=None, **options).eval())


def torchvision_preprocessing(stated: Any) -> Preprocessing:
    """Return ours for what an entry of torchvision's weights states: the same numbers up to the rounding to uint8."""
    transform = stated.transforms()
    return Preprocessing(
        resize=int(transform.resize_size[0]),
        crop=(int(transform.crop_size[0]), int(transform.crop_size[0])),
        interpolation=transform.interpolation.value,
        antialias=bool(transform.antialias),
        mean=tuple(transform.mean),
        sd=tuple(transform.std),
        rounding="even",
    )


def _borrowed(stated: Any) -> str:
    return f"preprocessing of {stated}, torchvision's default"


def _about(version: str, known: Any = None) -> dict[str, Any]:
    about: dict[str, Any] = {"source": f"torchvision {version}"}
    if known is not None:
        top1 = known.meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1", float("nan"))
        about |= {"top1": float(top1), "top1_source": f"torchvision {version}, {known}"}
    return about


def _checksum(url: str) -> str:
    """Return the first digits of the sha256 that the name of a published file carries."""
    return url.rpartition("-")[2].partition(".")[0]


def _known(file: Path, published: Any) -> Any:
    """Return the entry of torchvision's list whose file this is, or None.

    Raises
    ------
    NetworkError
        If its name says that it is one of them, and its content is not.
    """
    with file.open("rb") as content:
        found = file_digest(content, "sha256").hexdigest()
    known = next((one for one in published if found.startswith(_checksum(one.url))), None)
    if known is None and file.name in {one.url.rpartition("/")[2] for one in published}:
        raise NetworkError(
            f"{file}: its name promises the sha256 {_checksum(file.name)}..., its content has {found[:8]}... It is "
            "damaged or cut short: download it again. If it is a file of your own, give it another name."
        )
    return known


def _downloaded(name: str, stated: Any) -> Path:
    """Return the file of published weights in torch's cache, downloaded first if it is not there."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / stated.url.rpartition("/")[2]
    if not file.is_file():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(stated.url, str(file), _checksum(stated.url), sys.stderr.isatty())
        except Exception as error:  # of the network, the disk, a proxy, or another checksum
            raise unreachable(name, stated.url, error) from error
    return file


def _renamed(read: Weights) -> dict[str, torch.Tensor]:
    return {_OLD_DENSENET.sub(r"\1\2", key): tensor for key, tensor in read.tensors.items()}
