"""Which analyses there are: every one is computed once and kept with its run.

An analysis is a module of this package with ``VERSION``, raised whenever a number that it stores can change, and
``compute(run, *, seed, **settings)``, a dataset; ``compute(run, source, *, seed, **settings)`` where it needs the
network or the images (``engine.sources``), ``source=None`` where it can do without. Where it can take long also
``expected_seconds(run, **settings)``; where not every recording will do ``missing(run)``, one sentence or None. Its
name and a title stand in ``TITLES``. The other modules hold single steps that several share.

A run keeps one result of each. An analysis of single sites, with ``IS_PER_SITE``, has the settings ``site`` and
``sites``, and each site's result is a group of its own, beside the others (``engine.analyses.per_site``).
"""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import xarray as xr

from engine.analyses.per_site import PerSite
from engine.analyses.results import Analysis
from engine.errors import SettingsError
from engine.sources import Source
from engine.store import Run, open_run

if TYPE_CHECKING:
    from engine.networks import Network
    from engine.recordings import Recording

TITLES: Final[Mapping[str, str]] = {
    "neural_correlation": "Neural correlation of the network and its layers, with intervals over sites",
    "reliability": "Reliability and noise ceiling of every site",
    "intervals": "Bootstrap intervals of every site's r and of the median over sites",
    "significance": "Best of all units by chance, p of every site, false discovery rate",
    "layer_summary": "Layer of every match, best single layer, depth (figures 6, S7, S8)",
    "redundancy": "Runner-ups, and how many units are nearly as good (figures 7, S10)",
    "map_counts": "Sites by feature map and by position (figures 8, S11)",
    "validated_maps": "Feature maps that a site validates, beyond chance (figure S13)",
    "validation_stimuli": "Stimuli that would best test the unvalidated feature maps",
    "site_correlations": "Correlations among the sites (figure S12)",
    "assignment": "One-to-one assignment beside the greedy match",
    "pool_size": "Score as a function of the number of candidate units",
    "selection_curve": "How many stimuli choose the right unit (figure S1)",
    "stability": "Does the winner change when a category is left out",
    "rotation": "Random rotations of each region's best layer (figure 9)",
    "linear_metric": "All units of a layer, combined linearly, beside single units (figure S4)",
    "receptive_fields": "Receptive fields of matched units and of sites, and their alignment (figure S2)",
    "decoding": "Categories from sites, matched units and controls (figures 5, S5, S6)",
    "unit_correlations": "r of every unit of the network with a site: millions of points, to explore",
    "comparison": "Another network on the same sites, with an interval for the difference",
}
"""Title of every analysis, by the name of its module; one more analysis is one more line."""

ANALYSES: Final = tuple(TITLES)
"""Names of the analyses."""


def analyse(
    run: Run | str,
    name: str,
    *,
    seed: int = 0,
    store: str | None = None,
    network: "Network | str | None" = None,
    recording: "Recording | str | os.PathLike[str] | None" = None,
    device: str = "auto",
    memory: str | int = "4GiB",
    progress: bool = False,
    **settings: Any,
) -> xr.Dataset:
    """Return an analysis of a run: the stored one, or else computed now and stored.

    Parameters
    ----------
    run
        A run, its path, ``network@recording``, or a unique prefix of its digest.
    name
        One of ``engine.analyses.ANALYSES``.
    seed
        Of whatever the analysis draws.
    store
        Where ``run`` is looked up by name or digest.
    network, recording
        Those that were matched, or their names; by default they are opened by the names that the run recorded. Read by
        analyses that need activations or images, and only if the result is not stored.
    device, memory
        As for ``match``; no stored number depends on them beyond rounding.
    progress
        Whether to show a progress bar where the analysis passes stimuli through the network.
    **settings
        Of this analysis: the keyword arguments of ``engine.analyses.NAME.compute``.

    Returns
    -------
    xr.Dataset
        What ``compute`` of the analysis returns, as read from the store. Attributes: ``key``, ``seed``,
        ``analysis_settings``, ``analysis_version``, ``reads`` (other analyses that it was computed from, with their
        keys), ``without_source`` (computed without network and images), ``versions``, ``seconds``, ``computed`` (UTC).

    Raises
    ------
    SettingsError
        If there is no such analysis, it has no such setting, or network or recording are not the run's.
    NotAvailableError
        If the recording lacks what the analysis needs, or network or recording cannot be opened.
    """
    run = open_run(run, store)
    source = Source(run, network=network, recording=recording, device=device, memory=memory)
    return find_analysis(name).result(source, seed=seed, settings=settings, progress=progress)


def find_analysis(name: str) -> "Analysis":
    """Return the analysis of that name.

    Raises
    ------
    SettingsError
        If there is none, with those that there are.
    """
    if name not in ANALYSES:
        raise SettingsError(f"no analysis {name!r}. There are: {', '.join(ANALYSES)}.")
    module = import_module(f"engine.analyses.{name}")
    return PerSite(name, module) if getattr(module, "IS_PER_SITE", False) else Analysis(name, module)
