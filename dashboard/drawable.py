"""Which figures can be drawn of a run, of which region and site, and what is missing for the others?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dashboard.figure_files import absent_analyses, command_for
from dashboard.registry import Asked, Figure
from dashboard.runs import OpenRun
from engine.analyses import ANALYSES
from engine.errors import SettingsError

OF_STIMULI = frozenset({"gallery"})
"""Figures that show the stimuli themselves."""


@dataclass(frozen=True)
class Absent:
    """One figure that is not drawn, why, and the command that would mend it, if one would."""

    figure: Figure
    why: str
    command: str = ""


def chosen_sites(run: OpenRun, wanted: Sequence[str]) -> dict[str, list[str]]:
    """Return the sites of each region that the figures of one site show."""
    there = {region: list(run.sites(region).index) for region in run.regions}
    unknown = [site for site in wanted if not any(site in sites for sites in there.values())]
    if unknown:
        best = next(iter(there[run.regions[0]]), "")
        raise SettingsError(f"{run.recording} has no site {unknown[0]!r}; the best match is {best}.")
    chosen = {region: [site for site in dict.fromkeys(wanted) if site in sites] for region, sites in there.items()}
    return chosen if wanted else {region: sites[:1] for region, sites in there.items()}


def lack_of(run: OpenRun, others: list[OpenRun], figure: Figure) -> Absent | None:
    """Say why a figure cannot be drawn; None where it can."""
    names = absent_analyses(run.stored, figure)
    if names:
        return Absent(figure, f"not computed: {', '.join(names)}", command_for(run.stored, names))
    gone = [name for name in figure.groups if not run.has(name) and name not in ANALYSES]
    if gone:
        return Absent(figure, f"the run does not hold {', '.join(gone)}")
    if len(others_for(figure, others)) < figure.n_others:
        return Absent(figure, "compares networks: name another run, --with RUN")
    if len(run.regions) < figure.n_regions:
        return Absent(figure, f"compares two regions; recorded was {run.regions[0]} alone")
    return None


def others_for(figure: Figure, others: list[OpenRun]) -> list[OpenRun]:
    """Return the other runs that a figure can compare with."""
    if not figure.compares:
        return []
    return [other for other in others if not absent_analyses(other.stored, figure, is_other=True)]


def questions(run: OpenRun, others: list[OpenRun], figure: Figure, sites: dict[str, list[str]]) -> Iterator[Asked]:
    """Yield what the figure is asked to show: once, for each region, or for each chosen site."""
    stored = [run.stored, *(other.stored for other in others)]
    for region in run.regions if figure.takes else run.regions[:1]:
        best = next(iter(run.sites(region).index), "")
        asked = Asked(run, region, best, others, region if figure.takes else None, stored)
        for site in sites[region] if "site" in figure.takes else [best]:
            yield replace(asked, site=site)
