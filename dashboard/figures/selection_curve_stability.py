"""How often do some images choose the same unit as all images? The share of sites, by sample size."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import selection_curve
from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, area, boxes, line, points
from dashboard.figures.selection_curve import size_ticks
from dashboard.figures.wording import plural, thousands
from dashboard.theme import region_token

TITLE = "How often the same unit wins"
HELP = """**What it shows.** The share of the region's sites for which a sample of images chooses the very unit that all
images choose. Mean over random draws; the band is one SD over the draws.

**How it is computed.** The samples are those of the selection curve. A unit that ties with the match in r over all
images (within 2e-6) counts as the same: networks hold copies of a unit. A sample shares its images with the whole, so
the share must rise to 1 as samples grow to all images; here they end at half.

**Chance.** A unit drawn at random is the match in one of as many cases as there are units.

*With figure S1 of Arend et al. 2018; not in it.*"""
KEYS = (Key("dot", "same unit as with all images"), Key("bar", "SD over draws"))


def data(dataset: xr.Dataset, region: str) -> pd.DataFrame:
    """Return the rows of ``selection_curve.data`` of the analysis ``selection_curve``."""
    return selection_curve.data(dataset, region)


def describe(data: pd.DataFrame, *, regions: Sequence[str] = ()) -> Drawing:
    """Describe the share of sites over the logarithm of the sample size."""
    about = data.attrs
    x = np.log10(data["size"].to_numpy(dtype=float))
    same, sd = data["same"].to_numpy(dtype=float), data["same_sd"].to_numpy(dtype=float)
    left, right = x[0] - 0.02 * (x[-1] - x[0] + 0.1), x[-1] + 0.03 * (x[-1] - x[0])
    edges = selection_curve.edges(x)
    return Drawing(
        [
            area("Quartiles", x, np.maximum(same - sd, 0), np.minimum(same + sd, 1)),
            line("Zero", [left, right], [0, 0]),
            line("MatchLine", x, same),
            points("Match", x, same),
            boxes("Hit", edges[:-1], 0, edges[1:], 1, key=data["size"].to_numpy(), same=_percent(same)),
        ],
        Axes(
            (left, right),
            (-0.02, 1.02),
            size_ticks(data["size"].to_numpy()),
            [(share, f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1.0)],
            "Images that choose the unit, log scale",
            f"Share of {plural(about['n_sites'], about['region'] + ' site')}",
            left=58,
            right=16,
            bottom=46,
        ),
        {"region": region_token(about["region"], regions)},
        Hit("Hit", "<b>@key images</b>: same unit for @same of the sites"),
    )


def caption(data: pd.DataFrame) -> str:
    """Say how many units there are to choose from, and how many images choose the match."""
    about = data.attrs
    return f"of {thousands(about['n_units'])} units; the match is chosen on all {plural(about['n_stimuli'], 'image')}"


def _percent(values: np.ndarray) -> np.ndarray:
    return np.array([f"{value:.0%}" for value in values], dtype=object)
