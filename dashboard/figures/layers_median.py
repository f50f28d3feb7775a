"""How well does each layer match the sites, site by site, and what would random units reach?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.layers import in_order, region_names, spread, tokens_of
from dashboard.figures.marks import Axes, Drawing, Hit, boxes, line, points
from dashboard.figures.scales import r_limits, r_ticks, turned_layer_ticks
from dashboard.figures.wording import fixed, known_of, plural

TITLE = "Best r in each layer"
HELP = """**What it shows.** For each layer and each site the highest r of any unit of the layer (pale dots), and their
median over the sites of each region (filled, thick line). Open, thin line: the median of the held-out r.

**How it is computed.** Pearson's r of every unit of the layer, over all images; the largest wins. Held-out values
choose the unit on some images and score it on the others, mean over folds.

**Chance.** The dashed line is the median of the best r among as many independent random units as the layer has, in
closed form; related units reach less, units that are active on few images more. It is for the filled dots; the held-out
r of random units lies about 0.

*Figure 6, right, and S9 of Arend et al. 2018.*"""


def data(
    layer_profile: xr.Dataset, layer_summary: xr.Dataset, recording: xr.Dataset, only_region: str | None = None
) -> pd.DataFrame:
    """Return one row a layer and site, by region, layer and the recording's order; of one region or of all.

    Columns: ``region``, ``layer``, ``layer_index``, ``site``, ``correlation``, ``held_out`` of the site, and of its
    region ``median_correlation``, ``median_held_out``, ``median_control``. Sites without a match are left out.
    ``attrs``: regions, layers, n_sites and n_matched (by region), n_stimuli.
    """
    names = layer_summary["layer"].values.astype(object)
    of_site = recording["region"].to_series()
    regions = in_order(of_site) if only_region is None else [only_region]
    is_matched = layer_summary["correlation"].to_series().notna()
    parts = []
    for one in regions:
        sites = [site for site in of_site.index[of_site == one] if is_matched[site]]
        profile = layer_profile.sel(site=sites, layer=names)
        medians = layer_summary.sel(region=one)
        columns: dict[str, object] = {
            "region": np.full(len(names) * len(sites), one, dtype=object),
            "layer": np.repeat(names, len(sites)),
            "layer_index": np.repeat(np.arange(len(names)), len(sites)),
            "site": np.tile(np.array(sites, dtype=object), len(names)),
        }
        columns |= {
            name: profile[name].transpose("layer", "site").values.ravel() for name in ("correlation", "held_out")
        }
        columns |= {name: np.repeat(medians[name].values, len(sites)) for name in _MEDIANS}
        parts.append(pd.DataFrame(columns))
    frame = pd.concat(parts, ignore_index=True)
    frame.attrs = {
        "regions": regions,
        "layers": names.tolist(),
        "n_sites": {one: int((of_site == one).sum()) for one in regions},
        "n_matched": {one: int(part["site"].nunique()) for one, part in zip(regions, parts, strict=True)},
        "n_stimuli": recording.sizes["stimulus"],
    }
    return frame


def describe(data: pd.DataFrame, *, layer: str | None = None, regions: Sequence[str] = (), width: int = 660) -> Drawing:
    """Describe the dots and the lines; ``layer`` is the selected one, ``width`` decides how many names fit."""
    about = data.attrs
    names, n_layers = about["layers"], len(about["layers"])
    tokens = tokens_of(about["regions"], regions)
    r = data["correlation"].to_numpy(dtype=float)
    low, high = r_limits(r, *(data[name] for name in _MEDIANS), room=0.08)
    x = np.arange(n_layers, dtype=float)
    lines = {one: _lines(data, one) for one in about["regions"]}
    selected = np.flatnonzero(np.array(names) == layer)
    dense = "Dense" if n_layers > _MANY else ""
    ticks, turn, bottom = turned_layer_ticks(names, width - 70)
    marks = [
        points(
            "Units",
            data["layer_index"].to_numpy() + spread(data["region"], about["regions"]),
            r,
            token=data["region"].map(tokens).to_numpy(dtype=object),
        ),
        line("Zero", [-0.5, n_layers - 0.5], [0, 0]),
    ]
    for one, found in lines.items():
        marks += [
            line("ChanceEdge", x, found["median_control"]),
            line("HeldOutLine", x, found["median_held_out"], token=tokens[one]),
            line("MatchLine", x, found["median_correlation"], token=tokens[one]),
            points("HeldOutDense", x, found["median_held_out"], token=np.full(n_layers, tokens[one], dtype=object)),
            points(f"Match{dense}", x, found["median_correlation"], token=np.full(n_layers, tokens[one], dtype=object)),
        ]
    return Drawing(
        [
            *marks,
            *region_names(about["regions"], about["n_matched"], tokens, high, 0.06 * (high - low)),
            boxes("SelectedRow", selected - 0.5, low, selected + 0.5, high),
            boxes("Hit", x - 0.5, low, x + 0.5, high, key=np.array(names, dtype=object), told=_told(lines, n_layers)),
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
        {"region": next(iter(tokens.values()), "V4")},
        Hit("Hit", _TOOLTIP),
    )


def keys(data: pd.DataFrame) -> list[Key]:
    """Return the keys, one for each region."""
    tokens = tokens_of(data.attrs["regions"])
    return [
        *(Key("dot", f"{name} median", token) for name, token in tokens.items()),
        Key("open", "held-out median"),
        Key("bar", "sites"),
        Key("dash", "random units, closed form", "control"),
    ]


def caption(data: pd.DataFrame) -> str:
    """Say what is drawn over how many sites and images."""
    about = data.attrs
    sites = [known_of(about["n_matched"][one], about["n_sites"][one], f"{one} site") for one in about["regions"]]
    return f"{' and '.join(sites)}, {plural(about['n_stimuli'], 'image')}, {plural(len(about['layers']), 'layer')}"


_MANY = 30
"""From here on the dots of two neighbouring layers would touch."""
_MEDIANS = ("median_correlation", "median_held_out", "median_control")
_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:280px;overflow-wrap:anywhere'>"
    "<b>@key</b><br>@told</div>"
)


def _lines(data: pd.DataFrame, region: str) -> dict[str, np.ndarray]:
    """Return the medians of a region, each (layer,)."""
    n_layers = len(data.attrs["layers"])
    of_layer = data[data["region"] == region].groupby("layer_index")[list(_MEDIANS)].first().reindex(range(n_layers))
    return {name: of_layer[name].to_numpy(dtype=float) for name in _MEDIANS}


def _told(lines: dict[str, dict[str, np.ndarray]], n_layers: int) -> np.ndarray:
    written = [
        "; ".join(
            f"{one} median r {fixed(found['median_correlation'][i])}, held-out {fixed(found['median_held_out'][i])}, "
            f"random {fixed(found['median_control'][i])}"
            for one, found in lines.items()
        )
        for i in range(n_layers)
    ]
    return np.array(written, dtype=object)
