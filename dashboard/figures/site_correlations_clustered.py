"""Which sites are alike? Every site against every other, like ones beside each other."""

import pandas as pd
import xarray as xr

from dashboard.figures import site_correlations
from dashboard.figures.site_correlations import caption, describe, keys

__all__ = ["HELP", "TITLE", "caption", "data", "describe", "keys"]

TITLE = "Sites among themselves, clustered"
HELP = site_correlations.HELP


def data(found: xr.Dataset) -> pd.DataFrame:
    """Return the rows of ``site_correlations.data``, clustered within each region."""
    return site_correlations.data(found, is_clustered=True)
