"""How does every unit of the network correlate with a site? All of them, from one forward pass over the stimuli.

Of a site a run keeps its best units, counts of all by r, and the best of every feature map; to look at the millions
between them takes all of their r. Arend et al. (2018) show the hundred best (figure 7).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from engine.analyses.pace import reselection_seconds
from engine.analyses.per_site import named_sites
from engine.schema import LAYER, SITE
from engine.store import Run

if TYPE_CHECKING:
    from engine.sources import Source

VERSION = 1
"""Raised whenever a number that is stored can change."""

IS_PER_SITE = True

UNIT = "unit"


def compute(run: Run, source: "Source", *, seed: int = 0, site: str = "", sites: Sequence[str] = ()) -> xr.Dataset:
    """Correlate every unit of every layer with sites.

    There is no held-out value: no unit is chosen here, so nothing is held out from a choice. Who picks a high one from
    the millions has chosen it on all stimuli; what it does on others say the held-out values of ``matches``.

    Parameters
    ----------
    run
        A run; its recording names the sites.
    source
        With the ``network`` and ``recording`` of the run, ``device``, ``memory`` and ``progress``.
    seed
        Not used: nothing is drawn.
    site, sites
        Ids; several share the pass, whose time hardly grows with them.

    Returns
    -------
    xr.Dataset
        ``correlation`` (site, unit) float32, Pearson's r over the stimuli that the site saw, exact to 1e-6 before it
        is rounded to float32; NaN for units without one: constant, varying by rounding only, or not finite.
        ``first_unit`` (layer), where the units of a layer begin along ``unit``; they follow in C order of
        (channel, y, x), layers in the order of execution.

    Raises
    ------
    SettingsError, MemoryBudgetError
        Before the forward pass.
    """
    from engine.correlating import correlate_units  # loads torch, which reading a result must not

    wanted = named_sites(run, site, sites)
    correlation = correlate_units(source, run.dataset("recording").sel({SITE: wanted}))
    layers = run.dataset("layers")
    return xr.Dataset(
        {
            "correlation": ((SITE, UNIT), correlation, {"meaning": "Pearson's r over all stimuli"}),
            "first_unit": (LAYER, first_units(layers)),
        },
        {SITE: wanted, LAYER: layers[LAYER].values},
    )


def first_units(layers: xr.Dataset) -> np.ndarray:
    """Return where the units of each layer begin among those of all layers: (layer) int64."""
    return np.concatenate([[0], np.cumsum(layers["units"].values.astype(np.int64))])[:-1]


def expected_seconds(run: Run, *, site: str = "", sites: Sequence[str] = ()) -> float:
    """Seconds that ``compute`` takes, roughly: a pass, and the products of its activations with the sites."""
    return reselection_seconds(run, columns=len(named_sites(run, site, sites)))
