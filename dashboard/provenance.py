"""Where does a figure come from? Its runs, its analyses with their settings, and the commands that make it again."""

import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

from dashboard.registry import Figure, plain_name
from engine.analyses import ANALYSES
from engine.analyses.per_site import group_of_site
from engine.interchange import analyse_again
from engine.schema import SITE
from engine.sources import match_command
from engine.store import Run

_OF_RUN: Final = ("settings", "seed", "versions", "digests", "created")
_OF_ANALYSIS: Final = ("seed", "analysis_settings", "analysis_version", "versions", "seconds", "computed", "key")


def provenance(run: Run, figure: Figure, others: Sequence[Run] = (), site: str | None = None) -> dict[str, Any]:
    """Return which runs and which analyses of the first one a figure, of a site, shows, JSON-like."""
    shown = {name: run.attributes(group) for name, group in _analyses(run, figure, site).items()}
    return {
        "figure": figure.name,
        "unitscope": version("unitscope"),
        "runs": [_about(one) for one in (run, *others)],
        "analyses": {name: {key: about[key] for key in _OF_ANALYSIS if key in about} for name, about in shown.items()},
    }


def commands(run: Run, figure: Figure, others: Sequence[Run], chosen: Mapping[str, str], file_name: str) -> list[str]:
    """Return what makes a figure again, from nothing: match, analyse, export; runs are named by their digests."""
    matched = [command for one in (run, *others) if (command := match_command(one))]
    site = chosen.get("site")
    groups = [(one, group) for one in (run, *others) for group in _analyses(one, figure, site).values()]
    analysed = [analyse_again(one, group) for one, group in groups]
    options = [f"--{option}={value}" for option, value in chosen.items()]
    options += [f"--with={other.digest[:12]}" for other in others]
    exported = shlex.join(["unitscope", "export", run.digest[:12], figure.name, *options, "-o", file_name])
    return [*matched, *analysed, exported]


def group_in(run: Run, name: str, site: str | None) -> str:
    """Return the group of a run that an entry of ``Figure.reads`` names, for a figure of ``site``; "" for no site."""
    if not name.endswith("@"):
        return plain_name(name)
    sites = run.dataset("recording")[SITE].values.astype(str).tolist()
    return group_of_site(plain_name(name), sites, site) if site is not None and site in sites else ""


def _analyses(run: Run, figure: Figure, site: str | None) -> dict[str, str]:
    """Return the analyses that a figure shows and the run holds, with their groups."""
    groups = {plain_name(name): group_in(run, name, site) for name in figure.reads}
    return {name: group for name, group in groups.items() if name in ANALYSES and group in run.names}


def _about(run: Run) -> dict[str, Any]:
    names = {"digest": run.digest, "network": run.network, "recording": run.recording}
    return {**names, **{key: run.manifest[key] for key in _OF_RUN if key in run.manifest}}
