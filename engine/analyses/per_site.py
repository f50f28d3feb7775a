"""How are results kept that are computed for single sites? Each in a group of its own, beside those of other sites.

The group is named after the analysis and the position of the site in the recording, ``unit_correlations.12``: a site's
id may be any text. Several sites asked for at once share what they can, such as a pass of the stimuli.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from engine.analyses.results import Analysis
from engine.errors import SettingsError
from engine.identifiers import first_three
from engine.schema import SITE
from engine.sources import Source
from engine.store import Run, add_group

if TYPE_CHECKING:
    from engine.matching import Progress


def group_of_site(name: str, sites: Sequence[str], site: str) -> str:
    """Return the group that holds an analysis of one of a recording's sites, which are given in its order."""
    return f"{name}.{list(sites).index(site)}"


def analysis_of(group: str) -> str:
    """Return the analysis whose result a group holds: its own name, or that before the position of the site."""
    name, _, position = group.rpartition(".")
    return name if name and position.isdigit() else group


def named_sites(run: Run, site: str, sites: Sequence[str]) -> list[str]:
    """Return the sites that the settings ``site`` and ``sites`` name, each once.

    Raises
    ------
    SettingsError
        If one of them is no site of the recording.
    """
    named = list(dict.fromkeys(([site] if site else []) + ([sites] if isinstance(sites, str) else list(sites))))
    known = run.dataset("recording")[SITE].values.astype(str).tolist()
    unknown = [name for name in named if name not in known]
    if unknown:
        raise SettingsError(
            f"{run.recording} has no site {unknown[0]!r}; it has {len(known)}, the first are {first_three(known)}."
        )
    return named


class PerSite(Analysis):
    """An analysis with a result for each site; its ``compute`` gives those of ``sites``, along that dim."""

    def lacking(self, settings: Mapping[str, Any]) -> list[str]:
        """Return ``site`` if no site is named, and other settings that have no default and are not given."""
        is_named = settings.get("site") or settings.get("sites")
        return [*([] if is_named else ["site"]), *super().lacking(settings)]

    def is_stored(self, source: Source, seed: int, settings: Mapping[str, Any]) -> bool:
        """Say whether the run holds the results of all sites that the settings name."""
        return not self._absent(source, seed, settings)

    def stored_with(self, run: Run) -> str:
        """Say for how many sites a run holds a result; "" for none."""
        count = sum(name.startswith(f"{self.name}.") for name in run.names)
        return f"{count} site{'s' * (count != 1)}" if count else ""

    def result(
        self,
        source: Source,
        *,
        seed: int = 0,
        settings: Mapping[str, Any] | None = None,
        progress: "bool | Progress" = False,
    ) -> xr.Dataset:
        """Return the results along ``site``: the stored ones, and the others computed together and stored."""
        run, settings = source.run, self.filled(settings or {})
        absent = self._absent(source, seed, settings)
        if absent:
            dataset, about = self.computed(source, seed, {**settings, "site": "", "sites": absent}, progress=progress)
            for site in absent:
                own = _of_site(settings, site)
                made_with = {"key": self.key(seed, own), "seed": seed, "analysis_settings": own}
                add_group(run, self._group(run, site), dataset.sel({SITE: [site]}), {**made_with, **about})
        stored = [run.dataset(self._group(run, site)) for site in _sites(run, settings)]
        return (
            stored[0]
            if len(stored) == 1
            else xr.concat(stored, SITE, data_vars="minimal", combine_attrs="drop_conflicts")
        )

    def _absent(self, source: Source, seed: int, settings: Mapping[str, Any]) -> list[str]:
        """Return the sites whose results the run does not hold, or not as they would be computed now."""
        run = source.run
        return [
            site
            for site in _sites(run, settings)
            if not self.is_group(source, self._group(run, site), seed, _of_site(settings, site))
        ]

    def _group(self, run: Run, site: str) -> str:
        return group_of_site(self.name, run.dataset("recording")[SITE].values.astype(str).tolist(), site)


def _sites(run: Run, settings: Mapping[str, Any]) -> list[str]:
    return named_sites(run, settings["site"], settings["sites"])


def _of_site(settings: Mapping[str, Any], site: str) -> dict[str, Any]:
    """Return the settings that ask for this site alone: what its result is keyed by."""
    return {**{name: value for name, value in settings.items() if name != "sites"}, "site": site}
