"""Which feature maps hold the best units of the sites of a region, runner-ups included? A bar a map."""

from collections.abc import Sequence

import pandas as pd

from dashboard.figures import feature_maps
from dashboard.figures.keys import Key
from dashboard.figures.marks import Drawing
from dashboard.figures.wording import plural, thousands

TITLE = "Best units by feature map"
HELP = """**What it shows.** For each feature map of the layer that matches the region best: how many of the best units
of all sites lie in it, as many units for each site as the run keeps.

**How it is computed.** The best units of the layer are counted for each site, whatever their position in the map; the
bars sum to ranks times sites.

**Chance.** Neighbouring positions of a map respond alike, so the best units of one site come in heaps: a high bar can
be a single site.

*Figure S11, above, of Arend et al. 2018.*"""

data = feature_maps.data


def describe(
    data: pd.DataFrame,
    *,
    is_sorted: bool = False,
    channel: int | None = None,
    regions: Sequence[str] = (),
    width: int = 660,
) -> Drawing:
    """Describe the bars as ``feature_maps`` does."""
    return feature_maps.describe(data, of="units", is_sorted=is_sorted, channel=channel, regions=regions, width=width)


def keys(data: pd.DataFrame) -> list[Key]:
    """Return no keys: the axis says it all."""
    return []


def caption(data: pd.DataFrame) -> str:
    """Say how many units of how many sites are counted."""
    about = data.attrs
    sites = plural(about["n_matched"], f"{about['region']} site")
    n_maps = int((data["n_units"] > 0).sum())
    return f"{thousands(about['n_units'])} best units of {sites}, in {thousands(n_maps)} of {plural(len(data), 'map')}"
