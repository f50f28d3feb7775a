"""Where along the network the sites of a region find their best units, all sites together."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import chance
from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, area, boxes, line, points
from dashboard.figures.scales import r_limits, r_ticks, turned_layer_ticks
from dashboard.figures.wording import fixed, known_of

TITLE = "Layer by layer"
HELP = """**What it shows.** For each layer the median, over the sites of the region, of the best r in that
layer (filled), its quartiles (band), and the median held-out r (open). Grey: the same layers of the untrained network,
if it was run.

**How it is computed.** For every site the largest r among the units of the layer; then the median over sites.

**Chance.** The grey zone with the dashed edge is the median r that the best unit of the layer reaches with shuffled
images. It is for filled dots; held-out medians of shuffled images lie about 0.

*Figure 6, right, of Arend et al. 2018.*"""
KEYS = (
    Key("dot", "r", "network"),
    Key("open", "held-out r", "network"),
    Key("dot", "untrained", "control"),
    Key("dash", "chance: median r with shuffled images", "control"),
)


def data(
    layer_profile: xr.Dataset,
    null: xr.Dataset,
    recording: xr.Dataset,
    region: str,
    *,
    control: xr.Dataset | None = None,
) -> pd.DataFrame:
    """Return one row a layer, in execution order.

    Columns: ``layer``, ``correlation`` and ``held_out`` (medians over the region's sites), ``quartile_low``,
    ``quartile_high``, ``chance_median``; ``control``, ``control_low``, ``control_high``, ``control_held_out`` from the
    ``layer_profile`` of an untrained network, NaN where there is none or its layers have other names. ``attrs``:
    region, n_sites, n_known (sites that have an r).
    """
    layers = layer_profile["layer"].values.astype(object)
    regions = recording["region"].to_series()
    sites = regions.index[regions == region]
    frame = pd.DataFrame({"layer": layers, **_over_sites(layer_profile, sites, "correlation", "quartile", "held_out")})
    frame["chance_median"] = chance.in_layers(null, region, 50)
    there = pd.DataFrame({"layer": np.empty(0, dtype=object)})
    if control is not None:
        found = _over_sites(
            control, sites.intersection(control.indexes["site"]), "control", "control", "control_held_out"
        )
        there = pd.DataFrame({"layer": control["layer"].values.astype(object), **found})
    for name in ("control", "control_low", "control_high", "control_held_out"):
        frame[name] = there.set_index("layer")[name].reindex(layers).to_numpy() if name in there else np.nan
    n_known = int(np.isfinite(layer_profile["correlation"].sel(site=list(sites)).values).any(axis=0).sum())
    frame.attrs = {"region": region, "n_sites": len(sites), "n_known": n_known}
    return frame


def describe(data: pd.DataFrame, *, network: str = "network1", layer: str | None = None, width: int = 660) -> Drawing:
    """Describe the lines; ``layer`` is the selected one, ``network`` the token of its colour."""
    n_layers, names = len(data), data["layer"].to_numpy()
    x = np.arange(n_layers, dtype=float)
    column = {name: data[name].to_numpy(dtype=float) for name in data.columns.drop("layer")}
    low, high = r_limits(*(column[name] for name in column))
    edges = np.concatenate([[-0.5], x, [n_layers - 0.5]])
    strip = np.concatenate([column["chance_median"][:1], column["chance_median"], column["chance_median"][-1:]])
    at = np.flatnonzero(names == layer)
    r = column["correlation"]
    ticks, turn, bottom = turned_layer_ticks(names, width - 70)
    dense = "Dense" if n_layers > _MANY else ""
    return Drawing(
        [
            area("Chance", edges, 0, strip),
            area("ControlQuartiles", x, column["control_low"], column["control_high"]),
            area("NetworkQuartiles", x, column["quartile_low"], column["quartile_high"]),
            line("Zero", [-0.5, n_layers - 0.5], [0, 0]),
            line("ChanceEdge", edges, strip),
            line("ControlHeldOutLine", x, column["control_held_out"]),
            line("ControlLine", x, column["control"]),
            line("NetworkHeldOutLine", x, column["held_out"]),
            line("NetworkLine", x, r),
            points("ControlHeldOut", x, column["control_held_out"]),
            points("Control", x, column["control"]),
            points(f"NetworkLayerHeldOut{dense}", x, column["held_out"]),
            points(f"NetworkLayer{dense}", x, r),
            points("SelectionHalo", x[at], r[at]),
            points("Selection", x[at], r[at]),
            boxes(
                "Hit",
                x - 0.5,
                low,
                x + 0.5,
                high,
                key=names,
                r=np.array([fixed(value) for value in r], dtype=object),
                held_out=np.array([fixed(value) for value in column["held_out"]], dtype=object),
            ),
        ],
        Axes(
            (-0.5, n_layers - 0.5),
            (low, high),
            ticks,
            r_ticks(low, high),
            None,
            "Best r in layer",
            x_turn=turn,
            left=60,
            right=12,
            bottom=bottom,
        ),
        {"network": network},
        Hit("Hit", _TOOLTIP),
    )


def keys(data: pd.DataFrame) -> list[Key]:
    """Return the keys of what is there: no untrained network, no key for it."""
    return [key for key in KEYS if key.label != "untrained" or data["control"].notna().any()]


def caption(data: pd.DataFrame) -> str:
    """Say what is drawn over how many sites."""
    about = data.attrs
    return f"median and quartiles of {known_of(about['n_known'], about['n_sites'], about['region'] + ' site')}"


_MANY = 30
"""From here on the dots of two neighbouring layers would touch."""
_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:240px;overflow-wrap:anywhere'>"
    "<b>@key</b><br>median r @r, held-out @held_out</div>"
)


def _over_sites(profile: xr.Dataset, sites: Sequence[str], r: str, quartile: str, held_out: str) -> dict:
    chosen = profile[["correlation", "held_out"]].sel(site=list(sites))
    quartiles = _percentiles(chosen["correlation"].values, (25, 50, 75))
    return {
        r: quartiles[1],
        f"{quartile}_low": quartiles[0],
        f"{quartile}_high": quartiles[2],
        held_out: _percentiles(chosen["held_out"].values, (50,))[0],
    }


def _percentiles(values: np.ndarray, percentiles: tuple[int, ...]) -> np.ndarray:
    """Return (percentile, layer) over the known values of each layer; NaN where none is known."""
    known = [row[np.isfinite(row)] for row in values]
    none = np.full(len(percentiles), np.nan)
    return np.array([np.percentile(row, percentiles) if row.size else none for row in known]).T.reshape(-1, len(values))
