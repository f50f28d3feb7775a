"""Gradients of the sites' matches, at noise and at images that drive them, in the space of the stimulus's pixels."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from engine.analyses.receptive_fields import AT_ONCE, Fields
from engine.crops import Crop, find_crops
from engine.gradients import receptive_fields
from engine.matching import choose_device
from engine.passes import on_device
from engine.planning import parse_memory
from engine.preprocessing import Preprocessing
from engine.starts import Starts, noise_starts, stimulus_starts

if TYPE_CHECKING:
    from engine.networks import Network
    from engine.sources import Source

MOST_MEMORY = 2**30
"""Bytes of a batch of gradients; more makes nothing faster."""


def gradients_of(
    source: "Source",
    units: Sequence[tuple[str, int]],
    is_matched: np.ndarray,
    driving: np.ndarray,
    *,
    starts: int,
    seed: int,
) -> Fields:
    """Take the gradients of every site's unit at noise, and at stimuli of its own.

    Parameters
    ----------
    units
        (layer, unit) of each site.
    is_matched
        (site,) which sites have one.
    driving
        (site, start) ids of the stimuli of each site's unit.
    starts, seed
        Number of noise images, and what they are drawn with.
    """
    network, stimuli = source.network, source.recording.stimuli
    sites = sorted(np.flatnonzero(is_matched).tolist(), key=units.__getitem__)  # units of a layer share passes
    noise = noise_starts(network, stimuli, n=starts, seed=seed)
    memory = min(parse_memory(source.memory), MOST_MEMORY)
    parts: list[tuple[np.ndarray, list[xr.Dataset]]] = []
    with on_device(network, choose_device(str(source.device))):
        crops = find_crops(network, {units[k][0] for k in sites})
        for first in range(0, len(sites), AT_ONCE):
            own = np.array(sites[first : first + AT_ONCE])
            asked = [units[k] for k in own.tolist()]
            ids, chosen = np.unique(driving[own], return_inverse=True)
            shown = stimulus_starts(network, stimuli, ids.tolist())
            at_shown = _lean(network, asked, shown, crops, memory, chosen.reshape(len(own), -1))
            parts.append((own, [_lean(network, asked, noise, crops, memory), at_shown]))
            if source.progress is not None:
                source.progress("gradients", first + len(own), len(sites))
    return _packed(parts, network, noise, len(units))


def _lean(
    network: "Network",
    units: Sequence[tuple[str, int]],
    starts: Starts,
    crops: Mapping[str, Crop],
    memory: int,
    chosen: np.ndarray | None = None,
) -> xr.Dataset:
    """Gradients without colours."""
    found = receptive_fields(network, units, starts=starts, chosen=chosen, crops=crops, memory=memory)
    return found.assign(gradient=found["gradient"].mean("colour", dtype=np.float64))


def _packed(
    parts: Sequence[tuple[np.ndarray, list[xr.Dataset]]], network: "Network", noise: Starts, n_sites: int
) -> Fields:
    height, width = noise.images.shape[-2:]
    gradient, rms = np.zeros((2, 2, n_sites, height, width), np.float32)
    live, box = np.zeros((2, n_sites), np.int64), np.full((n_sites, 4), np.nan)
    for own, by_start in parts:
        for start, found in enumerate(by_start):
            gradient[start, own], rms[start, own] = found["gradient"].values, found["rms"].values
            live[start, own] = found["live"].values
        box[own] = _box(by_start[0], network, (height, width))
    return Fields(gradient, rms, live, box, "pixels" if noise.in_pixels else "network input")


def _box(found: xr.Dataset, network: "Network", stimulus_size: tuple[int, int]) -> np.ndarray:
    """Theoretical fields, (unit, 4): top, bottom, left, right as fractions of the image that gradients are taken to."""
    top, bottom, left, right = (found[f"field_{side}"].values for side in ("top", "bottom", "left", "right"))
    if isinstance(network.preprocess, Preprocessing):
        corners = [(top, left), (bottom, right)]  # pixels have their centre at 0, their edges half a pixel aside
        (top, left), (bottom, right) = (
            network.preprocess.to_stimulus(y - 0.5, x - 0.5, stimulus_size=stimulus_size) for y, x in corners
        )
        return np.stack([top, bottom, left, right], axis=1)
    height, width = stimulus_size
    return np.stack([top / height, bottom / height, left / width, right / width], axis=1)
