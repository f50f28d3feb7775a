"""Which networks did the paper compare, and which are compared here? Table 1 with its sources."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.marks import Axes, Drawing, labels, line
from dashboard.figures.wording import elided, fixed, short

TITLE = "Networks of the paper, and these"
HELP = """**What it shows.** The networks of Arend et al. 2018 with their ImageNet top-1 accuracy as printed in Table 1,
and below them the networks of this store with their own scores. A dash is a number that is not known. Figure 4 of the
paper speaks of top-5 accuracy, which it prints nowhere.

**How it is computed.** Parameters and units are counted where a network was run here, and unknown otherwise. The two
neural correlations of the paper are those that its text gives.

*Table 1 of Arend et al. 2018.*"""
KEYS = ()
COLUMNS = ("network", "top1", "top5", "parameters", "units", "r_V4", "r_IT")
_HEADS = ("network", "top-1 (%)", "top-5 (%)", "parameters", "units", "r, V4", "r, IT")
_AT = (0.0, 4.7, 5.7, 6.9, 8.0, 9.0, 10.0)
ROW_PX = 22


def data(table: xr.Dataset, networks: xr.Dataset | None = None) -> pd.DataFrame:
    """Return the rows of the paper's table, then those of ``networks``.

    Parameters
    ----------
    table
        As ``engine.analyses.published.table_1`` gives it.
    networks
        As ``engine.analyses.networks.gather`` gives it.

    Returns
    -------
    pd.DataFrame
        ``network``, ``top1``, ``top5`` (%), ``parameters``, ``units``, ``r_V4``, ``r_IT`` (neural correlation),
        ``source`` of the accuracy, ``is_published``; NaN where not known.
    """
    parts = [_rows(table, table["network"].values, "top1_source", is_published=True)]
    if networks is not None:
        parts.append(_rows(networks, networks["title"].values, "top1_source", is_published=False))
    return pd.concat(parts, ignore_index=True)


def describe(data: pd.DataFrame) -> Drawing:
    """Describe the table, a row of 22 px for each network."""
    n_rows = len(data)
    y = n_rows - np.arange(n_rows) - 0.5
    n_published = int(data["is_published"].sum())
    rule = n_rows - n_published
    written = [np.array([elided(str(name), 44) for name in data["network"]], dtype=object)]
    written += [_column(data[name], lambda value: fixed(value, 1)) for name in COLUMNS[1:3]]
    written += [_column(data[name], short) for name in COLUMNS[3:5]]
    written += [_column(data[name], lambda value: fixed(value, 3)) for name in COLUMNS[5:]]
    return Drawing(
        [
            line("Zero", [0, _AT[-1]], [n_rows, n_rows]),
            line("Zero", [0, _AT[-1]], [rule, rule] if 0 < rule < n_rows else [np.nan, np.nan]),
            labels("Note", 0, n_rows + 0.5, _HEADS[0]),
            labels("Numbers", _AT[1:], [n_rows + 0.5] * (len(_AT) - 1), _HEADS[1:]),
            labels("NoteInk", 0, y, written[0]),
            *(labels("Numbers", at, y, column) for at, column in zip(_AT[1:], written[1:], strict=True)),
        ],
        Axes(
            (0, _AT[-1]),
            (0, n_rows + 1),
            grid="",
            left=12,
            right=12,
            top=4,
            bottom=8,
            height=ROW_PX * (n_rows + 1) + 12,
        ),
    )


def caption(data: pd.DataFrame) -> str:
    """Say how many rows are the paper's, and what is not known."""
    n_published = int(data["is_published"].sum())
    n_counted = int(data.loc[data["is_published"], "units"].notna().sum())
    told = f"{n_published} networks as printed in Arend et al. 2018, {n_counted} of them run here"
    return told + (f", and {len(data) - n_published} of this store" if len(data) > n_published else "")


def _rows(table: xr.Dataset, names: np.ndarray, source: str, *, is_published: bool) -> pd.DataFrame:
    frame = pd.DataFrame({"network": names.astype(object)} | {name: table[name].values for name in COLUMNS[1:5]})
    for region in ("V4", "IT"):
        known = region in table["region"].values
        frame[f"r_{region}"] = table["correlation"].sel(region=region).values if known else np.nan
    return frame.assign(source=table[source].values.astype(object), is_published=is_published)


def _column(values: pd.Series, written: Callable[[float], str]) -> np.ndarray:
    return np.array([written(value) if np.isfinite(value) else "–" for value in values], dtype=object)
