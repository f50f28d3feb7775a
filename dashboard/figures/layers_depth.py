"""At which depth do sites find their matches, over several networks?"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.layers import in_order, region_names, tokens_of
from dashboard.figures.marks import Axes, Drawing, Hit, points, segments
from dashboard.figures.wording import elided, fixed, plural
from engine.analyses.layer_summary import depth_over_networks

TITLE = "Depth of the matches over networks"
HELP = """**What it shows.** A row is a site: the median over networks of the depth of its match (dot), and the SD over
networks (line to both sides). 0 is the first layer of a network, 1 the last. Sites are sorted by their median.

**How it is computed.** Depth is the index of the layer of the best unit in the whole network, over the number of layers
less one. SD with n - 1. A network in which a site has no match does not count for it.

**Chance.** Layers with more units hold the best unit more often by chance alone, and a unit within chance can lie
anywhere: read it together with the r of the matches.

*Figure S7 of Arend et al. 2018.*"""
_ROW_PX = 10


def data(layer_summaries: Mapping[str, xr.Dataset], recording: xr.Dataset) -> pd.DataFrame:
    """Return one row a site that has a match in some network, the earliest median first.

    Columns: ``site``, ``region``, ``depth_median``, ``depth_sd`` (NaN for one network), ``n_networks``, and ``depth of
    NETWORK`` for each. ``attrs``: regions, networks, n_sites (by region).
    """
    over = depth_over_networks(layer_summaries)
    region = recording["region"].to_series().reindex(over["site"].values)
    frame = pd.DataFrame(
        {
            "site": over["site"].values.astype(object),
            "region": region.to_numpy(dtype=object),
            **{name: over[name].values for name in ("depth_median", "depth_sd", "n_networks")},
            **{f"depth of {name}": over["depth"].sel(network=name).values for name in layer_summaries},
        }
    )
    frame = frame[frame["n_networks"] > 0].sort_values("depth_median", kind="stable", ignore_index=True)
    regions = in_order(region)
    frame.attrs = {
        "regions": regions,
        "networks": list(layer_summaries),
        "n_sites": {name: int((frame["region"] == name).sum()) for name in regions},
    }
    return frame


def describe(data: pd.DataFrame, *, site: str | None = None, regions: Sequence[str] = (), height: int = 650) -> Drawing:
    """Describe the rows, the earliest below; ``height`` in px decides how many ids fit."""
    about, n_sites = data.attrs, len(data)
    tokens = tokens_of(about["regions"], regions)
    token = data["region"].map(tokens).to_numpy(dtype=object)
    row = np.arange(n_sites, dtype=float)
    depth, sd = data["depth_median"].to_numpy(dtype=float), data["depth_sd"].to_numpy(dtype=float)
    names = data["site"].to_numpy(dtype=object)
    at = np.flatnonzero(names == site)
    top = max(n_sites, 1) - 0.5
    step = max(int(np.ceil(n_sites * _ROW_PX / max(height - 60, 1))), 1)
    written = np.array([f"{fixed(d)} ± {fixed(s)}" for d, s in zip(depth, sd, strict=True)], dtype=object)
    return Drawing(
        [
            segments("MatchToHeldOut", depth - sd, row, depth + sd, row, token=token),
            points("MatchDense", depth, row, token=token, key=names, depth=written),
            points("SelectionHalo", depth[at], row[at]),
            points("Selection", depth[at], row[at]),
            *region_names(about["regions"], about["n_sites"], tokens, 1.03 * top, 0.03 * top, x=-0.03),
        ],
        Axes(
            (
                min(-0.05, float(np.nanmin(depth - sd, initial=0)) - 0.02),
                max(1.05, float(np.nanmax(depth + sd, initial=0)) + 0.02),
            ),
            (-0.5, 1.03 * top),
            [(value, fixed(value, 1)) for value in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)],
            [(float(i), elided(str(names[i]), 14)) for i in range(0, n_sites, step)],
            "Depth of the match, first layer 0, last 1",
            "Site, by depth",
            grid="x",
            tick_px=10,
            left=30 + int(6 * max((len(elided(str(name), 14)) for name in names), default=2)),
            bottom=44,
        ),
        {"region": next(iter(tokens.values()), "V4")},
        Hit("MatchDense", _TOOLTIP),
    )


def keys(data: pd.DataFrame) -> list[Key]:
    """Return the keys, one for each region; no SD, no key for it."""
    tokens = tokens_of(data.attrs["regions"])
    sd = [Key("interval", "SD over networks")] if data["depth_sd"].notna().any() else []
    return [*(Key("dot", f"{name} site, median", token) for name, token in tokens.items()), *sd]


def caption(data: pd.DataFrame) -> str:
    """Name the networks, or say how many there are."""
    networks = data.attrs["networks"]
    told = " and ".join(networks) if len(networks) < 3 else plural(len(networks), "network")
    return f"{plural(len(data), 'site')}, {told}" + ("; one network has no SD" if len(networks) == 1 else "")


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:240px;overflow-wrap:anywhere'>"
    "<b>@key</b><br>depth @depth</div>"
)
