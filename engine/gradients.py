"""To which pixels does a unit respond? Gradients of its activation, averaged over many starts.

Of a unit only the crop of the image is computed that it can see (``engine.crops``), and units share what they can
(``engine.sharing``): in a batch each image selects its own unit, so that one backward pass serves them all.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import xarray as xr

from engine.allocation import freed_memory_kept
from engine.backprojection import Backprojection
from engine.crops import Crop, find_crops
from engine.errors import LayerError, MemoryBudgetError, SettingsError
from engine.layers import require_known
from engine.matching import exact_float32
from engine.passes import home, truncated
from engine.planning import format_bytes, parse_memory
from engine.preprocessing import Preprocessing
from engine.sharing import Group, shared_groups
from engine.starts import Starts

if TYPE_CHECKING:
    from engine.networks import Network

UNIT, COLOUR, Y, X = "unit", "colour", "y", "x"

_AT_ONCE = 64
"""Gradients that go back through the preprocessing and into the sums at a time."""


def receptive_fields(
    network: "Network",
    units: Sequence[tuple[str, int]],
    *,
    starts: Starts,
    chosen: np.ndarray | None = None,
    crops: Mapping[str, Crop] | None = None,
    memory: str | int = "1GiB",
) -> xr.Dataset:
    """Average, for every unit, the gradient of its activation to the pixels over the starts.

    Computed in the floating type of the network's parameters, in eval mode; sums run in float64. The network is left as
    it was found. A gradient is that of autograd on the full image, up to rounding, and exactly 0 outside the unit's
    theoretical field. (Where an activation inside the network lies within rounding of a rectifier's threshold, autograd
    itself answers one way or the other, with the batch size for example.)

    Parameters
    ----------
    network
        Whose ``layers`` table has the layers.
    units
        (layer, unit) each, ``unit`` in C order of (channel, y, x). A pair may come several times; it is computed once.
    starts
        From ``noise_starts`` or ``stimulus_starts``. Gradients are to what they hold: pixels or network input.
    chosen
        Indices of the starts of each unit, int (unit, start), such as the images that drive it; None: all starts.
    crops
        From ``find_crops`` of this network, if it was called before; must hold the layers.
    memory
        Bound of what a batch holds: its crops, what autograd keeps of them, their gradients. It decides the batch size.

    Returns
    -------
    xr.Dataset
        ``gradient`` (unit, colour, y, x) float32, mean over the starts, in activation per pixel value; colours are
        R, G, B of pixels, channels 0, 1, 2 of network input;
        ``rms`` (unit, y, x) float32, root of the mean square over starts and colours;
        ``live`` (unit), number of starts at which the gradient is not zero everywhere;
        ``field_top, field_bottom, field_left, field_right`` (unit), the theoretical field in pixels of network input,
        ends excluded; ``crop_height, crop_width`` (unit), what was computed.
        On ``unit``: ``layer``, ``channel``, ``unit_y``, ``unit_x``, ``unit_index``.

    Raises
    ------
    LayerError
        If a layer is unknown, or no gradient reaches the input from it.
    SettingsError
        If a unit does not exist, or starts or ``chosen`` do not fit.
    MemoryBudgetError
        If not even one image fits into the memory.

    References
    ----------
    Arend et al. (2018), CBMM Memo 93, figure S2.
    """
    table = _located(network, units)
    selected = _selected(table, len(starts), chosen)
    budget = parse_memory(memory)
    crops = find_crops(network, table["layer"].unique().tolist()) if crops is None else crops
    with freed_memory_kept(), exact_float32(), torch.inference_mode(False):
        inputs = _fitting_inputs(network, starts, crops[table["layer"].iloc[0]])
        asked, first, of_asked = _distinct(table, selected)
        sums = _Sums(network, starts, len(asked))
        for group in shared_groups(network, table.iloc[first].reset_index(drop=True), asked, crops):
            _add_group(network, group, inputs, sums, budget)
    return _packed(table, crops, sums, of_asked, asked.shape[1], starts)


class _Sums:
    """Sums over the starts of every distinct unit: gradients, squares, live starts; in the space of the starts."""

    def __init__(self, network: "Network", starts: Starts, n_units: int) -> None:
        self.to_pixels = None
        if starts.in_pixels and isinstance(network.preprocess, Preprocessing):
            self.to_pixels = Backprojection(network.preprocess, starts.images)
        size = tuple(starts.images.shape[-2:])
        self.gradient = torch.zeros((n_units, 3, *size), dtype=torch.float64)
        self.square = torch.zeros((n_units, *size), dtype=torch.float64)
        self.live = torch.zeros(n_units, dtype=torch.int64)

    def add(self, units: np.ndarray, places: np.ndarray, gradients: torch.Tensor) -> None:
        """Add gradients to crops of network input, (gradient, 3, height, width), of units at places (y, x, start)."""
        gradients = gradients.cpu()
        self.live.index_add_(0, torch.tensor(units), gradients.abs().amax((1, 2, 3)).gt(0).long())
        for start in range(0, len(units), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            self._add(units[part], places[part], gradients[part])

    def _add(self, units: np.ndarray, places: np.ndarray, gradients: torch.Tensor) -> None:
        height, width = self.square.shape[-2:] if self.to_pixels else gradients.shape[-2:]
        if self.to_pixels:
            gradients = self.to_pixels(gradients, places)
        for unit in np.unique(units):
            own = np.flatnonzero(units == unit)
            top, left = (0, 0) if self.to_pixels else places[own[0], :2]
            box = slice(top, top + height), slice(left, left + width)
            self.gradient[unit, :, *box] += gradients[own].sum(0, dtype=torch.float64)
            self.square[unit, *box] += gradients[own].square().sum((0, 1), dtype=torch.float64)


def _located(network: "Network", units: Sequence[tuple[str, int]]) -> pd.DataFrame:
    """Table of the units: layer, unit_index, channel, unit_y, unit_x."""
    if len(units) == 0:
        raise SettingsError("units: expected (layer, unit) pairs, got none.")
    require_known(list(network.layers["name"]), [layer for layer, _ in units])
    layers = network.layers.set_index("name")
    rows = []
    for layer, unit in units:
        shape = tuple(int(layers.loc[layer, axis]) for axis in ("channels", "height", "width"))
        if not 0 <= unit < np.prod(shape):
            raise SettingsError(
                f"unit {unit} of layer {layer!r} does not exist: the layer has {np.prod(shape)} units, 0 to "
                f"{np.prod(shape) - 1}, in C order of (channel, y, x) = {shape}."
            )
        rows.append((layer, int(unit), *map(int, np.unravel_index(int(unit), shape))))
    return pd.DataFrame(rows, columns=["layer", "unit_index", "channel", "unit_y", "unit_x"])


def _selected(table: pd.DataFrame, n_starts: int, chosen: np.ndarray | None) -> np.ndarray:
    if chosen is None:
        return np.broadcast_to(np.arange(n_starts), (len(table), n_starts))
    chosen = np.asarray(chosen)
    fits = chosen.ndim == 2 and len(chosen) == len(table) and chosen.size > 0 and chosen.dtype.kind in "iu"
    if not fits or chosen.min() < 0 or chosen.max() >= n_starts:
        raise SettingsError(
            f"chosen: expected int (unit, start) with {len(table)} rows of indices from 0 to {n_starts - 1}, one row "
            f"for each unit, got {chosen.dtype} {chosen.shape}."
        )
    return chosen


def _fitting_inputs(network: "Network", starts: Starts, crop: Crop) -> torch.Tensor:
    inputs = starts.inputs(network)
    if tuple(inputs.shape[-2:]) != crop.field.input_size:
        raise SettingsError(
            f"starts reach {network.name} as images of {tuple(inputs.shape[-2:])} pixels, but its layers were listed "
            f"for {crop.field.input_size}. Give starts of that size, or the network another image_size."
        )
    device, dtype = home(network)
    return inputs.to(device, dtype)


def _distinct(table: pd.DataFrame, selected: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts of the distinct (unit, starts), where each comes first, and which of them every unit is."""
    keys = pd.DataFrame(selected).assign(layer=pd.factorize(table["layer"])[0], unit=table["unit_index"].to_numpy())
    _, first, of_asked = np.unique(keys.to_numpy(np.int64), axis=0, return_index=True, return_inverse=True)
    return selected[first], first, of_asked.reshape(-1)


def _add_group(network: "Network", group: Group, inputs: torch.Tensor, sums: _Sums, budget: int) -> None:
    held: dict[str, torch.Tensor] = {}
    layers = group.pairs["layer"].unique().tolist()
    with truncated(network, layers, held.__setitem__, differentiable=True) as run:
        n_rows = _batch_size(network, group, inputs, run, held, budget)
        for first in range(0, len(group.rows), n_rows):
            rows = group.rows[first : first + n_rows]
            batch = _cropped(inputs, rows, group.size).requires_grad_(True)
            run(batch)
            pairs = group.pairs[group.pairs["row"].between(first, first + len(rows) - 1)]
            for turn, readers in pairs.groupby("turn"):
                at = torch.from_numpy(readers["row"].to_numpy() - first)
                gradients = _gradients(network, batch, held, readers, at, keep=bool(turn < pairs["turn"].max()))
                for i, unit in enumerate(readers["unit"]):
                    if unit in group.masks:
                        gradients[i] *= group.masks[unit].to(gradients.device)
                sums.add(readers["unit"].to_numpy(), rows[at.numpy()], gradients)
            held.clear()


def _cropped(inputs: torch.Tensor, rows: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    # Not in channels-last order, quicker as that is on processors: other kernels round otherwise, which now and then
    # opens another rectifier than the reference, autograd on one image in the usual order.
    height, width = size
    return torch.stack([inputs[start, :, top : top + height, left : left + width] for top, left, start in rows])


def _gradients(
    network: "Network",
    batch: torch.Tensor,
    held: Mapping[str, torch.Tensor],
    readers: pd.DataFrame,
    at: torch.Tensor,
    *,
    keep: bool,
) -> torch.Tensor:
    """Gradients, (reader, 3, height, width), of each reader's unit in its own image: one backward pass."""
    outputs, cotangents = [], []
    rows = at.numpy()
    for layer in readers["layer"].unique():
        of_layer = (readers["layer"] == layer).to_numpy()
        maps = held[layer]
        if not maps.requires_grad:
            raise LayerError(
                f"no gradient reaches the input of {network.name} from layer {layer!r}: its forward pass detaches, or "
                "its output is a constant. Leave that layer out."
            )
        cotangent = torch.zeros_like(maps)
        places = readers.loc[of_layer, ["channel", "local_y", "local_x"]].to_numpy().T
        cotangent[(rows[of_layer], *places)] = 1
        outputs.append(maps)
        cotangents.append(cotangent)
    (gradient,) = torch.autograd.grad(outputs, batch, cotangents, retain_graph=keep, allow_unused=True)
    return torch.zeros_like(batch[at]) if gradient is None else gradient[at]


def _batch_size(
    network: "Network",
    group: Group,
    inputs: torch.Tensor,
    run: Callable[[torch.Tensor], None],
    held: dict[str, torch.Tensor],
    budget: int,
) -> int:
    """Images at a time: one is passed, and what autograd keeps of it is counted."""
    fixed = {
        tensor.untyped_storage().data_ptr() for tensor in [*network.module.parameters(), *network.module.buffers()]
    }
    kept: dict[int, int] = {}
    alive: list[torch.Tensor] = []

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in fixed:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # so that no later tensor gets the same address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        run(_cropped(inputs, group.rows[:1], group.size).requires_grad_(True))
    held.clear()
    image = 4 * 3 * group.size[0] * group.size[1]
    per_row = sum(kept.values()) + 3 * max([image, *kept.values()]) + 8 * image
    if per_row > budget:
        raise MemoryBudgetError(
            f"memory={format_bytes(budget)} is too little for the gradient of one image of {group.size} pixels up to "
            f"layer {group.pairs['layer'].iloc[-1]!r}, which takes {format_bytes(per_row)}. "
            f"Give memory={-(-per_row // 2**20)}MiB or more."
        )
    is_whole = group.size == tuple(inputs.shape[-2:])
    # Alone, a full image is rounded bit for bit as by autograd one by one: convolutions choose kernels by batch size.
    return 1 if is_whole else min(budget // per_row, len(group.rows))


def _packed(
    table: pd.DataFrame, crops: Mapping[str, Crop], sums: _Sums, of_asked: np.ndarray, n_starts: int, starts: Starts
) -> xr.Dataset:
    gradient = (sums.gradient / n_starts).float().numpy()[of_asked]
    rms = (sums.square / (3 * n_starts)).sqrt().float().numpy()[of_asked]
    fields = {
        f"field_{side}": (UNIT, [int(getattr(crops[u.layer].field, side)[getattr(u, at)]) for u in table.itertuples()])
        for side, at in (("top", "unit_y"), ("bottom", "unit_y"), ("left", "unit_x"), ("right", "unit_x"))
    }
    sizes = {
        name: (UNIT, [crops[layer].size[axis] for layer in table["layer"]])
        for axis, name in enumerate(("crop_height", "crop_width"))
    }
    return xr.Dataset(
        {
            "gradient": ((UNIT, COLOUR, Y, X), gradient),
            "rms": ((UNIT, Y, X), rms),
            "live": (UNIT, sums.live.numpy()[of_asked]),
            **fields,
            **sizes,
        },
        {name: (UNIT, table[name].to_numpy()) for name in table},
        {"starts": starts.kind, "n_starts": n_starts, "space": "pixels" if starts.in_pixels else "network input"},
    )
