"""Which part of its input can a unit see at all? Found by marking the input and looking which units show the mark.

The mark is NaN, which every sum, product and maximum hands on, whatever the weights and whichever rectifiers are open.
So nothing is assumed of the architecture: padding, dilation, asymmetric kernels, upsampling or a pool over the whole
map show in what is measured. What hides a mark (a comparison, a lookup) would make a field too small; therefore nothing
is computed on a crop before ``engine.crops`` has compared it with the full image.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from engine.layers import require_known
from engine.passes import probe_inputs, truncated

if TYPE_CHECKING:
    from engine.networks import Network

BATCH = 8
"""Marked images at a time."""

_FIRST_STEP = 16
_PROBE_SEED = 20181

Depths = dict[int, tuple[int, int]]
"""By how many rows and columns of the input are marked: how many rows and columns of the layer show it."""


@dataclass(frozen=True, eq=False)
class Field:
    """The rows and columns of the network's input that the units of a layer depend on.

    A unit at (y, x), of whatever channel, depends on rows ``top[y]`` to ``bottom[y]`` and columns ``left[x]`` to
    ``right[x]``, the last ones excluded, in pixels of the network's input, cut at the image's border.
    """

    top: np.ndarray
    bottom: np.ndarray
    left: np.ndarray
    right: np.ndarray
    input_size: tuple[int, int]
    """(height, width) of the network's input."""

    @classmethod
    def whole(cls, layer_size: tuple[int, int], input_size: tuple[int, int]) -> "Field":
        """Return the field of units that see everything, or of which nothing better is known."""
        (rows, columns), (height, width) = layer_size, input_size
        ends = np.full(rows, height), np.full(columns, width)
        return cls(np.zeros(rows, int), ends[0], np.zeros(columns, int), ends[1], input_size)

    @property
    def is_whole(self) -> bool:
        """Whether every unit sees the whole image."""
        height, width = self.input_size
        is_open = self.top.any() or self.left.any()
        return not is_open and bool((self.bottom == height).all() and (self.right == width).all())


def find_fields(network: "Network", layers: Collection[str]) -> dict[str, Field]:
    """Find the theoretical fields of all units of the layers.

    Rows and columns of a noise image are marked from a corner on, in steps refined where a layer's answer changes, down
    to single pixels. Some 100 to 500 images are passed, each only as far as it is asked for.

    Parameters
    ----------
    network
        Whose ``layers`` table has the layers.
    layers
        Their names, in any order.

    Returns
    -------
    dict
        A ``Field`` for each layer. It is the whole image where the marked units form no rectangle (attention, tokens)
        and for all layers of a network that fails on a marked image.

    Raises
    ------
    LayerError
        If a layer is unknown.
    """
    require_known(list(network.layers["name"]), layers)
    table = network.layers.set_index("name")
    sizes = {n: (int(table.loc[n, "height"]), int(table.loc[n, "width"])) for n in table.index if n in set(layers)}
    probe = probe_inputs(network, 1, _PROBE_SEED)[0]
    height, width = probe.shape[-2:]
    found = {name: Field.whole(size, (height, width)) for name, size in sizes.items()}
    try:
        if height == width:
            found |= _measured(network, list(sizes), probe, (True, True))
        lopsided = [name for name, field in found.items() if not _is_symmetric(field)]
        if height != width or lopsided:  # where one axis is all marked, the other can no longer be read
            by_row = _measured(network, lopsided or list(sizes), probe, (True, False))
            by_column = _measured(network, lopsided or list(sizes), probe, (False, True))
            found |= {name: _combined(by_row[name], by_column[name]) for name in by_row.keys() & by_column.keys()}
    except Exception:  # a network may refuse NaN in any way it likes; seeing everything is always right
        return {name: Field.whole(size, (height, width)) for name, size in sizes.items()}
    return found


def _measured(
    network: "Network", layers: Sequence[str], probe: torch.Tensor, axes: tuple[bool, bool]
) -> dict[str, Field]:
    """Fields of the layers whose marked units form rectangles; rows, columns or both are marked."""
    from_start = _sweep(network, layers, probe, axes, from_end=False)
    from_end = _sweep(network, layers, probe, axes, from_end=True)
    table, (height, width) = network.layers.set_index("name"), probe.shape[-2:]
    fields = {}
    for name in (name for name in layers if name in from_start and name in from_end):
        rows, columns = (np.arange(table.loc[name, axis]) for axis in ("height", "width"))
        fields[name] = Field(
            top=np.minimum(_unseen(from_start[name], 0, rows), height),
            bottom=np.maximum(height - _unseen(from_end[name], 0, rows[::-1]), 0),
            left=np.minimum(_unseen(from_start[name], 1, columns), width),
            right=np.maximum(width - _unseen(from_end[name], 1, columns[::-1]), 0),
            input_size=(height, width),
        )
    return fields


def _sweep(
    network: "Network", layers: Sequence[str], probe: torch.Tensor, axes: tuple[bool, bool], *, from_end: bool
) -> dict[str, Depths]:
    """What each layer shows of marks of every depth, but for layers where that is no rectangle."""
    longest = max(probe.shape[-2:])
    known: dict[str, Depths | None] = {name: {} for name in layers}
    for last in range(len(layers), 0, -1):  # what the deepest layer asks for answers those before it as well
        while wanted := _unresolved(known[layers[last - 1]], longest):
            for first in range(0, len(wanted), BATCH):
                _look(network, layers[:last], probe, axes, from_end, wanted[first : first + BATCH], known)
    return {name: depths for name, depths in known.items() if depths is not None}


def _unresolved(depths: Depths | None, longest: int) -> list[int]:
    if depths is None:
        return []
    if not depths.keys() >= {0, longest}:
        return [*range(0, longest, _FIRST_STEP), longest]
    steps = sorted(depths)
    return [(a + b) // 2 for a, b in pairwise(steps) if b - a > 1 and depths[a] != depths[b]]


def _look(
    network: "Network",
    layers: Sequence[str],
    probe: torch.Tensor,
    axes: tuple[bool, bool],
    from_end: bool,
    marks: Sequence[int],
    known: dict[str, Depths | None],
) -> None:
    def note(name: str, maps: torch.Tensor) -> None:
        clean = (~maps.sum(1).isnan()).cpu().numpy()  # a sum hands NaN on, and is quicker than any()
        for n_marked, rectangle in zip(marks, clean[:, ::-1, ::-1] if from_end else clean, strict=True):
            depths, depth = known[name], _depth(rectangle)
            is_broken = depth is None or (n_marked == 0 and depth != (0, 0))
            if depths is None or depth is None or is_broken:
                known[name] = None
            else:
                depths[n_marked] = depth

    with truncated(network, layers, note) as run:
        run(_marked(probe, marks, axes, from_end))


def _marked(probe: torch.Tensor, marks: Sequence[int], axes: tuple[bool, bool], from_end: bool) -> torch.Tensor:
    images = probe.repeat(len(marks), 1, 1, 1)
    for image, n_marked in zip(images, marks, strict=True):
        for axis, is_marked in zip((1, 2), axes, strict=True):
            n = min(n_marked, image.shape[axis])
            if is_marked and n:
                image.narrow(axis, image.shape[axis] - n if from_end else 0, n).fill_(torch.nan)
    return images.contiguous(memory_format=torch.channels_last)


def _depth(clean: np.ndarray) -> tuple[int, int] | None:
    """How many rows and columns show the mark, if those that do not form one rectangle in the far corner; else None."""
    rows, columns = clean.any(1), clean.any(0)
    if not rows.any():
        return clean.shape[0], clean.shape[1]
    n_rows, n_columns = int(rows.argmax()), int(columns.argmax())
    expected = np.zeros_like(clean)
    expected[n_rows:, n_columns:] = True
    return (n_rows, n_columns) if (clean == expected).all() else None


def _unseen(depths: Depths, axis: int, places: np.ndarray) -> np.ndarray:
    """How many rows (axis 0) or columns (1) can be marked before each place shows it."""
    marks = np.array(sorted(depths))
    shown = np.array([depths[n][axis] for n in marks])
    return np.array([marks[shown <= place].max() for place in places], int)


def _is_symmetric(field: Field) -> bool:
    return np.array_equal(field.top, field.left) and np.array_equal(field.bottom, field.right)


def _combined(by_row: Field, by_column: Field) -> Field:
    return Field(by_row.top, by_row.bottom, by_column.left, by_column.right, by_row.input_size)
