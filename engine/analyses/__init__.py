"""Which analyses there are, and how one is computed once and kept with its run.

An analysis is a module of this package, named in ``ANALYSES``, with ``compute(run, *, seed, **settings)``, a dataset.
The other modules hold single steps that several will share.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import xarray as xr

from engine.encoding import canonical_json
from engine.errors import SettingsError
from engine.manifests import sha256
from engine.store import Run, add_group, open_run

ANALYSES = ("neural_correlation", "reliability")
"""Names of the analyses; each is a module of this package."""

VERSION = 1
"""Raised whenever a number that an analysis stores can change."""


def analyse(run: Run | str, name: str, *, seed: int = 0, store: str | None = None, **settings: Any) -> xr.Dataset:
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
    **settings
        Of this analysis, see its ``compute``.

    Raises
    ------
    SettingsError
        If there is no such analysis, or it has no such setting.
    """
    run = open_run(run, store)
    compute = _compute(name)
    key = sha256(canonical_json({"analysis": name, "version": VERSION, "seed": seed, **settings}))
    if name in run.names and not run.verify(name) and run.attributes(name).get("key") == key:
        return run.dataset(name)
    try:
        dataset = compute(run, seed=seed, **settings)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise SettingsError(f"{name}: {error}. See help(engine.analyses.{name}.compute).") from error
    return add_group(run, name, dataset, {"key": key, "seed": seed, "analysis_settings": settings})


def _compute(name: str) -> Callable[..., xr.Dataset]:
    if name not in ANALYSES:
        raise SettingsError(f"no analysis {name!r}. There are: {', '.join(ANALYSES)}.")
    return import_module(f"engine.analyses.{name}").compute
