"""How do matched units respond, along the ranking of a region's sites? The scatter of ``responses``, for four sites."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import responses
from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, labels, line, points
from dashboard.figures.wording import elided, fixed, plural, signed, tick
from dashboard.theme import region_token

TITLE = "Responses at four sites"
HELP = """**What it shows.** Every image as a point, for four sites of the region: the best match, and those a quarter,
half and three quarters down the ranking by r. Across the response of the site, upwards the activation of its matched
unit, both in standard deviations from their mean over the images, so the slope of each line is Pearson's r.

**How it is computed.** Each unit was chosen among all units of the network, by its r with its site over these same
images. Rings mark the images that drive the site, and the unit, most. All panels have the same scale.

**Chance.** Even with shuffled images the best of a million units reaches an r: see the held-out r of the site.

*Figure 2 of Arend et al. 2018.*"""
KEYS = (
    Key("dot", "image", "ink"),
    Key("open", "favourites of the site"),
    Key("ring", "of the unit", "network"),
    Key("line", "slope = r", "ink"),
)
PLACES = (0.0, 0.25, 0.5, 0.75)
"""How far down the ranking by r the sites stand, as shares of the sites that have a match."""
_GAP, _HEAD = 0.12, 0.16
"""Room between panels and above them, as shares of a panel."""


def data(
    recording: xr.Dataset,
    matches: xr.Dataset,
    match_responses: xr.Dataset,
    region: str,
    *,
    places: Sequence[float] = PLACES,
) -> pd.DataFrame:
    """Return the rows of ``responses.data`` for each site, one below the other.

    A region with fewer matched sites than places has fewer panels.

    Columns: ``site``, then those of ``responses.data``. ``attrs``: region, n_sites (with a match), and ``of_site``, the
    attributes of ``responses.data`` by site.
    """
    ranked = _ranked(recording, matches, region)
    chosen = dict.fromkeys(ranked[int(place * len(ranked))] for place in places if ranked)
    frames = {site: responses.data(recording, matches, match_responses, site) for site in chosen}
    about = {site: dict(frame.attrs) for site, frame in frames.items()}
    for frame in frames.values():
        frame.attrs = {}
    table = pd.concat([frame.assign(site=site) for site, frame in frames.items()] or [_nothing()])
    table = table[["site", *(name for name in table.columns if name != "site")]].reset_index(drop=True)
    table.attrs = {"region": region, "n_sites": len(ranked), "of_site": about}
    return table


def describe(data: pd.DataFrame, *, network: str = "network1", regions: Sequence[str] = ()) -> Drawing:
    """Describe the panels side by side, each with the same limits."""
    sites = panels(data)
    low, high = _limits(data)
    width = high - low
    left = np.array([panel * (1 + _GAP) * width for panel in range(max(len(sites), 1))])
    panel = data["site"].map({site: place for place, site in enumerate(sites)}).to_numpy(dtype=int)
    x, y = data["site_sd"].to_numpy(dtype=float) + left[panel], data["unit_sd"].to_numpy(dtype=float)
    site_favourite, unit_favourite = (data[f"is_{of}_favourite"].to_numpy(dtype=bool) for of in ("site", "unit"))
    slope = np.array([about["correlation"] for about in data.attrs["of_site"].values()], dtype=float)
    ticks = _ticks(low, high)
    region, lines = region_token(data.attrs["region"], regions), left[: len(sites)]
    return Drawing(
        [
            line("Zero", *_crosses(lines, low, high)),
            line("Identity", *_straight(lines, low, high, np.ones(len(sites)))),
            points(
                "Image",
                x,
                y,
                key=data["stimulus"].to_numpy(dtype=object),
                site=data["site"].to_numpy(dtype=object),
                text=_written(data),
            ),
            line("Slope", *_straight(lines, low, high, slope)),
            points("UnitFavourite", x[unit_favourite], y[unit_favourite]),
            points("SiteFavourite", x[site_favourite], y[site_favourite]),
            labels("NoteInk", lines + low, np.full(len(sites), high + 0.11 * width), _headings(data)),
            labels("Note", lines + low, np.full(len(sites), high + 0.04 * width), _below(data)),
        ],
        Axes(
            (low, float(left[-1]) + high),
            (low, high + _HEAD * width),
            [(float(start + at), tick(at)) for start in left for at in ticks],
            [(float(at), tick(at)) for at in ticks],
            "Response of the site (SD)",
            "Activation of its unit (SD)",
            region,
            network,
            grid="",
            left=54,
            right=16,
            bottom=48,
        ),
        {"region": region, "network": network},
        Hit("Image", _TOOLTIP),
    )


def panels(data: pd.DataFrame) -> list[str]:
    """Return the sites that have a panel, in the order of the figure."""
    return list(data.attrs["of_site"])


def caption(data: pd.DataFrame) -> str:
    """Say where in the ranking the sites stand, and how many there are."""
    about = data.attrs
    return f"best match, then further down the ranking of {plural(about['n_sites'], about['region'] + ' site')} by r"


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:240px;overflow-wrap:anywhere'>"
    "<b>@key</b><br>@site: @text</div>"
)


def _nothing() -> pd.DataFrame:
    names = ("site", "stimulus", "site_sd", "unit_sd", "is_site_favourite", "is_unit_favourite")
    return pd.DataFrame({name: [] for name in names})


def _ranked(recording: xr.Dataset, matches: xr.Dataset, region: str) -> list[str]:
    r = matches["correlation"].isel(rank=0).to_series()
    own = recording["region"].to_series().reindex(r.index) == region
    return [str(site) for site in r[own].dropna().sort_values(ascending=False, kind="stable").index]


def _limits(data: pd.DataFrame) -> tuple[float, float]:
    values: Any = data[["site_sd", "unit_sd"]].to_numpy(dtype=float)
    known = values[np.isfinite(values)]
    return float(np.floor(known.min(initial=-2) - 0.3)), float(np.ceil(known.max(initial=2) + 0.3))


def _ticks(low: float, high: float) -> np.ndarray:
    step = next(step for step in (2, 4, 8, 16, 32, 1000) if (high - low) / step <= 5)
    return np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step


def _crosses(left: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """The two zero lines of every panel, the pen lifted between."""
    x = [value for at in left for value in (at + low, at + high, np.nan, at, at, np.nan)]
    y = [0, 0, np.nan, low, high, np.nan] * len(left)
    return np.array(x, dtype=float), np.array(y, dtype=float)


def _straight(left: np.ndarray, low: float, high: float, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A line through each panel's origin."""
    x = [value for at in left for value in (at + low, at + high, np.nan)]
    y = [value for k in slope for value in (low * k, high * k, np.nan)]
    return np.array(x, dtype=float), np.array(y, dtype=float)


def _headings(data: pd.DataFrame) -> list[str]:
    return [f"{elided(site, 14)}: r {fixed(one['correlation'])}" for site, one in data.attrs["of_site"].items()]


def _below(data: pd.DataFrame) -> list[str]:
    return [f"{elided(one['layer'], 16)}, map {one['channel']}" for one in data.attrs["of_site"].values()]


def _written(data: pd.DataFrame) -> np.ndarray:
    rows = zip(data["site_sd"], data["unit_sd"], strict=True)
    return np.array([f"site {signed(a)} SD, unit {signed(b)} SD" for a, b in rows], dtype=object)
