"""How is an analysis computed once, and known again? By its module, its settings and what it was computed from.

The digest of a run holds all that the run was written with, so a result is keyed, within its run, by name, version,
seed and settings; and it counts only as long as the other analyses that it was computed from are the same.
"""

import inspect
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import xarray as xr
from tqdm import tqdm

from engine.encoding import as_json, canonical_json
from engine.errors import EngineError, NotAvailableError, SettingsError
from engine.manifests import sha256
from engine.sources import Source
from engine.store import Run, add_group, open_run

if TYPE_CHECKING:
    from engine.matching import Progress

_PACKAGES: Final = {"numpy": "numpy", "scipy": "scipy", "sklearn": "scikit-learn", "torch": "torch"}
"""Whose versions are stored if an analysis has loaded them: module and distribution."""


@dataclass(frozen=True)
class Analysis:
    """One analysis: what its module says of itself, and its result for a run."""

    name: str
    module: ModuleType

    @cached_property
    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.module.compute).parameters

    @property
    def defaults(self) -> dict[str, Any]:
        """Its settings with their default values; ``inspect.Parameter.empty`` for one that must be given."""
        named = (p for p in self._parameters.values() if p.kind is p.KEYWORD_ONLY and p.name != "seed")
        return {parameter.name: parameter.default for parameter in named}

    @property
    def takes_source(self) -> bool:
        """Whether it reads the network or the images."""
        return "source" in self._parameters

    @property
    def needs_source(self) -> bool:
        """Whether it can do nothing without them: its ``source`` has no default."""
        return self.takes_source and self._parameters["source"].default is inspect.Parameter.empty

    def is_text(self, setting: str) -> bool:
        """Say whether a setting is a name, by its annotation."""
        return "str" in str(self._parameters[setting].annotation)

    def filled(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return all of its settings: those given, and defaults for the others.

        Raises
        ------
        SettingsError
            If one is unknown, or one without a default is not given; says which settings there are.
        """
        defaults = self.defaults
        unknown = [name for name in settings if name not in defaults]
        if unknown:
            raise SettingsError(f"{self.name} has no setting {unknown[0]!r}; it has {self._told()}.")
        filled = {name: _as_default(settings.get(name, default), default) for name, default in defaults.items()}
        lacking = self.lacking(settings)
        if lacking:
            raise SettingsError(f"{self.name} needs the setting {lacking[0]!r}; it has {self._told()}.")
        return filled

    def lacking(self, settings: Mapping[str, Any]) -> list[str]:
        """Return its settings that have no default and are not given."""
        return [
            name
            for name, default in self.defaults.items()
            if default is inspect.Parameter.empty and name not in settings
        ]

    def identified(self, run: Run, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings as a result is keyed by them: another run by its digest, whatever it was named by."""
        named = settings.get("other")
        return {**settings, "other": open_run(named, str(run.path.parent.parent)).digest} if named else dict(settings)

    def key(self, seed: int, settings: Mapping[str, Any]) -> str:
        """Return what a result is keyed by within its run, whose digest holds everything else that it reads."""
        plain = as_json(settings, f"settings of {self.name}")
        return sha256(
            canonical_json({"analysis": self.name, "version": self.module.VERSION, "seed": int(seed), **plain})
        )

    def is_stored(self, source: Source, seed: int, settings: Mapping[str, Any]) -> bool:
        """Say whether the run holds, intact, just this result, and what it was computed from has not changed since.

        ``settings`` as ``identified`` gives them. One that was computed without network and images, by an analysis that
        can, counts until these can be had.
        """
        return self.is_group(source, self.name, seed, settings)

    def is_group(self, source: Source, group: str, seed: int, settings: Mapping[str, Any]) -> bool:
        """Say of a group of the run what ``is_stored`` says of the result."""
        run = source.run
        if group not in run.names or run.verify(group):
            return False
        about = run.attributes(group)
        reads = about.get("reads", {})
        is_same = about.get("key") == self.key(seed, settings) and reads == {name: key_in(run, name) for name in reads}
        return is_same and (not about.get("without_source") or source.missing() is not None)

    def stored_with(self, run: Run) -> str:
        """Say what the result that a run holds was made with; "" if it holds none."""
        if self.name not in run.names:
            return ""
        try:
            about = run.attributes(self.name)
        except EngineError:
            return "damage"
        if about.get("analysis_version", self.module.VERSION) != self.module.VERSION:
            return f"version {about['analysis_version']} of the analysis"
        made_with = {"seed": about.get("seed", 0), **about.get("analysis_settings", {})}
        return ", ".join(f"{name}={made_with[name]}" for name in ("seed", *self.defaults) if name in made_with)

    def missing(self, source: Source) -> str | None:
        """Say in a sentence what the run, or this machine, lacks for the analysis; None if it can be computed."""
        lacking = getattr(self.module, "missing", lambda run: None)(source.run)
        return lacking or (source.missing() if self.needs_source else None)

    def expected_seconds(self, run: Run, settings: Mapping[str, Any]) -> float:
        """Return roughly how long it takes on a machine like ours; 0 if its module does not say: no time at all."""
        estimate: Callable[..., float] | None = getattr(self.module, "expected_seconds", None)
        if estimate is None:
            return 0.0
        parameters = inspect.signature(estimate).parameters.values()
        takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        known = {parameter.name for parameter in parameters}
        return float(estimate(run, **{name: v for name, v in settings.items() if takes_all or name in known}))

    def result(
        self,
        source: Source,
        *,
        seed: int = 0,
        settings: Mapping[str, Any] | None = None,
        progress: "bool | Progress" = False,
    ) -> xr.Dataset:
        """Return the result for the source's run: stored, or computed now and stored; as ``analyse`` says."""
        run, settings = source.run, self.filled(settings or {})
        identified = self.identified(run, settings)
        if self.is_stored(source, seed, identified):
            return run.dataset(self.name)
        dataset, about = self.computed(source, seed, settings, progress=progress)
        made_with = {"key": self.key(seed, identified), "seed": seed, "analysis_settings": identified}
        return add_group(run, self.name, dataset, {**made_with, **about})

    def computed(
        self, source: Source, seed: int, settings: Mapping[str, Any], *, progress: "bool | Progress"
    ) -> tuple[xr.Dataset, dict[str, Any]]:
        """Compute the result, and return what is stored of how that was done.

        Raises
        ------
        NotAvailableError
            If the run, or this machine, lacks what it needs.
        """
        run, lacking = source.run, self.missing(source)
        if lacking:
            raise NotAvailableError(f"{self.name} of {run.network}@{run.recording} cannot be computed: {lacking}")
        watched, started = _WatchedRun(run.path), time.monotonic()
        if self.takes_source:
            with _bar(self.name, show=progress) as source.progress:
                dataset = self.module.compute(watched, source, seed=seed, **settings)
        else:
            dataset = self.module.compute(watched, seed=seed, **settings)
        return dataset, {
            "analysis_version": self.module.VERSION,
            "reads": watched.read,
            "without_source": self.takes_source and source.missing() is not None,
            "versions": _versions(),
            "seconds": round(time.monotonic() - started, 2),
            "computed": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _told(self) -> str:
        empty = inspect.Parameter.empty
        told = [name if value is empty else f"{name}={value!r}" for name, value in self.defaults.items()]
        return ", ".join([*told, "seed=0"])


def key_in(run: Run, name: str) -> str:
    """Return the key of an analysis that a run holds, "" if it holds none of that name."""
    return str(run.attributes(name).get("key", "")) if name in run.names else ""


class _WatchedRun(Run):
    """A run that remembers which of its analyses were read: a result is no longer valid once one of them changed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self.read: dict[str, str] = {}

    def dataset(self, name: str) -> xr.Dataset:
        dataset = super().dataset(name)
        if name not in self.manifest["groups"]:
            self.read[name] = key_in(self, name)
        return dataset


def _as_default(value: Any, default: Any) -> Any:
    """Return a whole number as a float where the default is one, so that 1 and 1.0 are the same setting."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if is_whole and isinstance(default, float) else value


def _versions() -> dict[str, str]:
    loaded = {name: version(name) for module, name in _PACKAGES.items() if module in sys.modules}
    return {"unitscope": version("unitscope"), "python": platform.python_version(), **loaded}


@contextmanager
def _bar(label: str, *, show: "bool | Progress") -> "Iterator[Progress | None]":
    if show is not True:
        yield show or None
        return
    with tqdm(desc=label, unit="image", leave=False) as bar:

        def told(step: str, done: int, total: int) -> None:
            if bar.total != total:
                bar.reset(total)
            bar.set_postfix_str(step, refresh=False)
            bar.update(done - bar.n)

        yield told
