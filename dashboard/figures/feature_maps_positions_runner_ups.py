"""Where in their feature maps do the best units of the sites of a region lie, runner-ups included?"""

from collections.abc import Sequence

import pandas as pd

from dashboard.figures import feature_maps_positions
from dashboard.figures.keys import Key
from dashboard.figures.marks import Drawing
from dashboard.figures.wording import plural, thousands

TITLE = "Best units by position"
HELP = """**What it shows.** For each position of the feature maps of the region's layer: how many of the best units of
all sites lie there, as many units for each site as the run keeps. Above and at the right the counts by column and row.

**How it is computed.** The best units of the layer are counted for each site, whatever their feature map; the cells sum
to ranks times sites. Row 0 is the top of the image.

**Chance.** Neighbouring positions respond alike, so one site fills several cells. Units at the edge see padding, and
respond more alike than their images do.

*Figure S11, below, of Arend et al. 2018.*"""

data = feature_maps_positions.data


def describe(
    data: pd.DataFrame,
    *,
    channel: int | None = None,
    site: str | None = None,
    regions: Sequence[str] = (),
    size: int = 430,
) -> Drawing:
    """Describe the map and its marginals as ``feature_maps_positions`` does."""
    return feature_maps_positions.describe(data, of="units", channel=channel, site=site, regions=regions, size=size)


def keys(data: pd.DataFrame) -> list[Key]:
    """Return the keys of the cells and of the marginals."""
    return feature_maps_positions.keys(data)


def caption(data: pd.DataFrame) -> str:
    """Say how many units of how many sites are counted."""
    about = data.attrs
    sites = plural(about["n_matched"], f"{about['region']} site")
    n_used = int((data["n_units"] > 0).sum())
    at = f"{thousands(n_used)} of {plural(len(data), 'position')}"
    return f"{thousands(about['n_units'])} best units of {sites}, at {at}"
