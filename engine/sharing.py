"""Which units go through the network together, and on which part of which start?

Units of one layer are computed on crops of one size, so they go in one batch, in which each image selects its own unit.
Units that see the same crop of the same start, as all do that are computed on the full image, share its forward pass.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from engine.crops import Crop, field_mask

if TYPE_CHECKING:
    from engine.networks import Network


@dataclass(frozen=True, eq=False)
class Group:
    """Units computed on crops of one size: of one layer, or of any layer where the crop is the full image.

    ``rows`` (origin y, origin x, start) are the images of its batches; ``pairs`` say who reads them.
    """

    size: tuple[int, int]
    rows: np.ndarray
    pairs: pd.DataFrame
    """row, turn (which of the row's readers), unit, layer, channel, local_y, local_x; in order of row and turn."""
    masks: dict[int, torch.Tensor]
    """Of units whose crop is larger than their field: what of it lies in the field, bool (1, height, width)."""


def shared_groups(
    network: "Network", units: pd.DataFrame, selected: np.ndarray, crops: Mapping[str, Crop]
) -> Iterator[Group]:
    """Yield the groups that the units fall into.

    Parameters
    ----------
    network
        For the order of its layers.
    units
        layer, channel, unit_y, unit_x; its index is what ``Group.pairs`` calls ``unit``.
    selected
        Starts of each unit, int (unit, start).
    crops
        Of each layer.
    """
    order = {name: i for i, name in enumerate(network.layers["name"])}
    units = units.assign(depth=units["layer"].map(order), unit=units.index)
    units["group"] = ["" if crops[layer].is_whole else layer for layer in units["layer"]]
    for axis in ("y", "x"):
        cuts = [getattr(crops[layer], axis) for layer in units["layer"]]
        units[f"origin_{axis}"] = [cut.origin[at] for cut, at in zip(cuts, units[f"unit_{axis}"], strict=True)]
        units[f"local_{axis}"] = [cut.local[at] for cut, at in zip(cuts, units[f"unit_{axis}"], strict=True)]
    for _, members in units.groupby("group"):
        starts = selected[members.index.to_numpy()]
        pairs = members.loc[members.index.repeat(starts.shape[1])].assign(start=starts.reshape(-1))
        rows, pairs = _with_readers(pairs)
        yield Group(crops[members["layer"].iloc[0]].size, rows, pairs, _masks(members, crops))


def _with_readers(pairs: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """Distinct images, those with most readers first, so that batches hold images with as many; and who reads them."""
    places = pairs[["origin_y", "origin_x", "start"]].to_numpy()
    rows, row, n_readers = np.unique(places, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(-n_readers, kind="stable")
    rank = np.empty(len(rows), int)
    rank[order] = np.arange(len(rows))
    pairs = pairs.assign(row=rank[row.reshape(-1)]).sort_values(["row", "depth", "unit"], kind="stable")
    return rows[order], pairs.assign(turn=pairs.groupby("row").cumcount()).reset_index(drop=True)


def _masks(members: pd.DataFrame, crops: Mapping[str, Crop]) -> dict[int, torch.Tensor]:
    masks = {}
    for unit in members.itertuples():
        crop, at = crops[unit.layer], (np.array([unit.unit_y]), np.array([unit.unit_x]))
        mask = field_mask(crop.field, *at, (unit.origin_y, unit.origin_x), crop.size)[0]
        if not mask.all():
            masks[unit.unit] = mask
    return masks
