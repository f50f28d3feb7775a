"""How well every unit of every layer matches every site: one pass over the stimuli for each group of layers.

A pass gives one result for each of its layers, small enough to store at once: candidates for the best units, over all
stimuli and over each selection set, counts of units by r, the best position of every feature map, and chance.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from numbers import Integral

import numpy as np
import torch
import xarray as xr

from engine.activations import input_batches, recorded
from engine.errors import SettingsError
from engine.moments import PairMoments, TargetSums, product_dtype
from engine.networks import Network
from engine.ranking import TopUnits
from engine.schema import N_R_BINS, R_BIN, SHUFFLE, SITE
from engine.stimuli import Stimuli
from engine.targets import Targets

ALGORITHM = 1
"""Raised whenever a number that a run stores can change."""

CHUNK = 2**21
"""Pairs of a unit and a column that are ranked at a time."""

Progress = Callable[[str, int, int], None]
"""Told the step, and how many of how many stimuli are done."""


@dataclass(frozen=True)
class MatchSettings:
    """What, besides network and recording, changes the numbers of a run."""

    top: int = 100
    folds: int = 2
    seed: int = 0
    shuffles: int = 30

    def __post_init__(self) -> None:
        for name, least in (("top", 1), ("folds", 1), ("seed", 0), ("shuffles", 0)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise SettingsError(f"{name}={value!r}: a whole number of at least {least} is needed.")

    def as_dict(self) -> dict[str, int]:
        """The settings by name."""
        return {name: int(value) for name, value in asdict(self).items()}


def choose_device(device: str) -> torch.device:
    """Return the device that ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"auto"`` names.

    Raises
    ------
    SettingsError
        If it is unknown, or this torch cannot use it here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise SettingsError(f"device={device!r} is unknown. Choose 'auto', 'cpu', 'cuda' or 'cuda:N'.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"device={device!r}: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices here. "
            "Choose 'cpu', or install a torch built for your GPU."
        )
    return torch.device(device)


@contextmanager
def exact_float32() -> Iterator[None]:
    """Multiply and convolve in full float32: no TF32, no bfloat16. What the user had set comes back afterwards."""
    backends = (
        torch.backends.cuda.matmul,
        torch.backends.cudnn.conv,  # type: ignore[attr-defined]
        torch.backends.mkldnn.matmul,  # type: ignore[attr-defined]
        torch.backends.mkldnn.conv,  # type: ignore[attr-defined]
    )
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "ieee"
    try:
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def match_layers(
    network: Network,
    stimuli: Stimuli,
    targets: Targets,
    layers: Sequence[str],
    *,
    top: int,
    device: torch.device,
    batch: int,
    progress: Progress,
) -> Iterator[tuple[str, xr.Dataset]]:
    """Pass once over the stimuli and yield the result of each layer, in order.

    Parameters
    ----------
    network
        On ``device`` already.
    targets
        What to correlate with, in canonical order.
    layers
        Names of the layers of this pass; their sums are held together.
    top
        Units kept for each site.
    batch
        Stimuli at a time. It changes r by rounding only.

    Yields
    ------
    tuple of str and xr.Dataset
        Layer name, and the dataset that ``layer_result`` gives.
    """
    table = network.layers.set_index("name")
    sums = TargetSums(targets, device)
    products = product_dtype(targets, batch)
    moments = {name: PairMoments(int(table.loc[name, "units"]), sums, products) for name in layers}
    for start, fold, inputs in batches(network, stimuli, targets, batch, device, progress):

        def add(name: str, activation: torch.Tensor, start: int = start, fold: int = fold) -> None:
            moments[name].add(activation, start, fold)

        with recorded(network, layers, add) as run_forward:
            run_forward(inputs)
    for index, name in enumerate(network.layers["name"]):
        if name in moments:
            channels, height, width = (int(table.loc[name, dim]) for dim in ("channels", "height", "width"))
            yield name, layer_result(moments.pop(name), index, (channels, height, width), top, targets)


def batches(
    network: Network, stimuli: Stimuli, targets: Targets, batch: int, device: torch.device, progress: Progress
) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Yield first stimulus, fold and network input of every batch; a batch lies within its fold."""
    n = len(targets.stimuli)
    edges = np.append(np.flatnonzero(np.diff(targets.fold, prepend=-1)), n)
    spans = [slice(s, min(s + batch, b)) for a, b in pairwise(edges.tolist()) for s in range(a, b, batch)]
    for span, inputs in input_batches(network, stimuli, targets.stimuli, spans):
        yield span.start, int(targets.fold[span.start]), inputs.to(device, non_blocking=True)
        progress("matching", span.stop, n)


def layer_result(
    moments: PairMoments, layer: int, shape: tuple[int, int, int], top: int, targets: Targets
) -> xr.Dataset:
    """Turn a layer's sums into what a run keeps of the layer.

    Returns
    -------
    xr.Dataset
        ``r``, ``left_out_r``, ``split``, ``column``, ``unit`` (candidate): candidates for the best units of each site,
        split 0 selected over all stimuli, split f + 1 over all folds but f and scored on fold f as well;
        ``count`` (site, r_bin); ``map_r``, ``map_y``, ``map_x`` (channel, site); ``null_r`` (split, shuffle) and
        ``null_left_out_r`` likewise; attributes count units by status.
    """
    folds = range(targets.n_folds)
    splits = [list(folds), *([f for f in folds if f != out] for out in folds if len(folds) > 1)]
    channels, height, width = shape
    area = height * width
    maps_at_once = max(1, CHUNK // (targets.n_columns * area))
    tops = [TopUnits(layer, top) for _ in splits]
    nulls = [TopUnits(layer, 1) for _ in splits]
    counts = torch.zeros(targets.n_sites * N_R_BINS, dtype=torch.int64, device=moments.targets.device)
    map_r, map_position = [], []
    for first in range(0, channels, maps_at_once):
        units = slice(first * area, min(first + maps_at_once, channels) * area)
        for split, folds_in in enumerate(splits):
            r = moments.correlation(folds_in, units)
            if split == 0:
                counts += _count(r[: targets.n_sites])
            r.nan_to_num_(nan=-torch.inf)
            if split == 0:
                values, positions = r[: targets.n_sites].view(targets.n_sites, -1, area).max(dim=2)
                map_r.append(values.T.cpu().numpy())
                map_position.append(positions.T.cpu().numpy())
            tops[split].add(r[: targets.n_sites], units.start)
            if targets.n_columns > targets.n_sites:
                nulls[split].add(r[targets.n_sites :], units.start)
    best_r = np.concatenate(map_r).astype(np.float32)
    position = np.where(np.isfinite(best_r), np.concatenate(map_position), -1)
    best_r[~np.isfinite(best_r)] = np.nan
    null_r, null_out = _null(nulls, moments, targets)
    return xr.Dataset(
        {
            **_candidates(tops, moments),
            "count": ((SITE, R_BIN), counts.view(-1, N_R_BINS).cpu().numpy().astype(np.int32)),
            "map_r": (("channel", SITE), best_r),
            "map_y": (("channel", SITE), np.where(position < 0, -1, position // width).astype(np.int16)),
            "map_x": (("channel", SITE), np.where(position < 0, -1, position % width).astype(np.int16)),
            "null_r": (("split", SHUFFLE), null_r),
            "null_left_out_r": (("split", SHUFFLE), null_out),
        },
        attrs=_statuses(moments, targets),
    )


def _count(r: torch.Tensor) -> torch.Tensor:
    """Count units in 200 bins of r over [-1, 1] for each site, flattened (site x bin)."""
    bins = ((r + 1) * (N_R_BINS / 2)).nan_to_num_(nan=-1.0).floor_().clamp_(-1, N_R_BINS - 1).long()
    site = torch.arange(len(r), device=r.device)[:, None]
    flat = torch.where(bins < 0, len(r) * N_R_BINS, bins + site * N_R_BINS)
    return torch.bincount(flat.view(-1), minlength=len(r) * N_R_BINS + 1)[:-1]


def _candidates(tops: list[TopUnits], moments: PairMoments) -> dict[str, tuple[str, np.ndarray]]:
    found = [t.candidates for t in tops]
    left_out = [np.full(len(found[0]), np.nan)]
    left_out += [_left_out_r(moments, fold, c.column, c.unit) for fold, c in enumerate(found[1:])]
    return {
        "split": ("candidate", np.repeat(np.arange(len(found)), [len(c) for c in found]).astype(np.int16)),
        "column": ("candidate", np.concatenate([c.column for c in found]).astype(np.int32)),
        "unit": ("candidate", np.concatenate([c.unit for c in found]).astype(np.int32)),
        "r": ("candidate", np.concatenate([c.r for c in found])),
        "left_out_r": ("candidate", np.concatenate(left_out)),
    }


def _left_out_r(moments: PairMoments, fold: int, column: np.ndarray, unit: np.ndarray) -> np.ndarray:
    pairs = torch.from_numpy(np.stack([column, unit])).to(moments.targets.device)
    at_once = max(1, CHUNK // len(moments.targets.present))
    parts = [moments.correlation_at([fold], *chunk).cpu().numpy() for chunk in pairs.split(at_once, dim=1)]
    return np.concatenate([np.empty(0), *parts])


def _null(nulls: list[TopUnits], moments: PairMoments, targets: Targets) -> tuple[np.ndarray, np.ndarray]:
    n = targets.n_columns - targets.n_sites
    r, left_out = np.full((len(nulls), n), np.nan), np.full((len(nulls), n), np.nan)
    for split, found in enumerate(t.candidates for t in nulls):
        first = found.take(np.flatnonzero(found.rank() == 0))
        r[split, first.column] = first.r
        if split > 0:
            left_out[split, first.column] = _left_out_r(moments, split - 1, first.column + targets.n_sites, first.unit)
    return r, left_out


def _statuses(moments: PairMoments, targets: Targets) -> dict[str, int | str]:
    counts = {
        "n_constant": int(moments.is_constant().sum()),
        "n_low_variation": int(moments.varies_by_rounding().sum()),
        "n_nonfinite": int(moments.is_nonfinite().sum()),
    }
    first = str(targets.stimuli[moments.first_nonfinite]) if counts["n_nonfinite"] else ""
    return {**counts, "n_ok": moments.n_units - sum(counts.values()), "first_nonfinite": first}
