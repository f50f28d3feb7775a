"""How do matched units respond, at four sites of a region? The scatter of ``responses``, for sites 0, 25, 50 and 75."""

from collections.abc import Sequence

import pandas as pd
import xarray as xr

from dashboard.figures import responses
from dashboard.figures.marks import Drawing
from dashboard.figures.wording import fixed, plural

TITLE = "Responses at four sites"
HELP = responses.HELP
KEYS = responses.KEYS
PLACES = (0, 25, 50, 75)
"""Positions of the sites among those of the region, in the recording's order."""


def data(
    recording: xr.Dataset,
    matches: xr.Dataset,
    match_responses: xr.Dataset,
    region: str,
    *,
    places: Sequence[int] = PLACES,
) -> pd.DataFrame:
    """Return the rows of ``responses.data`` for each site, one below the other.

    Sites stand in the recording's order; a region with fewer sites has fewer panels.

    Columns: ``site``, then those of ``responses.data``. ``attrs``: region, n_sites, and ``of_site``, the attributes of
    ``responses.data`` by site.
    """
    regions = recording["region"].to_series()
    sites = [str(site) for site in regions.index[regions == region]]
    frames = {
        sites[place]: responses.data(recording, matches, match_responses, sites[place])
        for place in places
        if place < len(sites)
    }
    about = {site: dict(frame.attrs) for site, frame in frames.items()}
    for frame in frames.values():
        frame.attrs = {}
    table = pd.concat([frame.assign(site=site) for site, frame in frames.items()] or [pd.DataFrame({"site": []})])
    table = table[["site", *(name for name in table.columns if name != "site")]].reset_index(drop=True)
    table.attrs = {"region": region, "n_sites": len(sites), "of_site": about}
    return table


def describe(
    data: pd.DataFrame,
    site: str,
    *,
    stimulus: str | None = None,
    thumb_base: str = "img",
    network: str = "network1",
    regions: Sequence[str] = (),
) -> Drawing:
    """Describe the panel of one site, as ``responses.describe`` does."""
    frame = data[data["site"] == site].drop(columns="site").reset_index(drop=True)
    frame.attrs = data.attrs["of_site"][site]
    return responses.describe(frame, stimulus=stimulus, thumb_base=thumb_base, network=network, regions=regions)


def panels(data: pd.DataFrame) -> list[str]:
    """Return the sites that have a panel, in the order of the figure."""
    return list(data.attrs["of_site"])


def caption(data: pd.DataFrame) -> str:
    """Say which sites these are, and their r."""
    about = data.attrs
    told = [f"{site}: r {fixed(one['correlation'])}" for site, one in about["of_site"].items()]
    return f"{', '.join(told)}; of {plural(about['n_sites'], about['region'] + ' site')}, in the recording's order"
