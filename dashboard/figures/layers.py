"""In which layer does each site find its match? Every site at the layer of its best unit."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import chance
from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, Mark, boxes, labels, line, nothing, points, segments
from dashboard.figures.scales import r_limits, r_ticks, turned_layer_ticks
from dashboard.figures.wording import fixed, known_of, plural
from dashboard.theme import REGION_TOKENS, region_token

TITLE = "Layers of the matches"
HELP = """**What it shows.** A dot is a site, at the layer of the unit that matches it best in the whole network, and
at the r of that match. Open: the held-out r, of the unit that some images chose, on the others. The bars above count
the sites of each layer; the number of the tallest is written on it.

**How it is computed.** Pearson's r of every unit of every layer, over all images; the largest wins. Dots of one layer
are spread sideways so that they can be told apart.

**Chance.** The pale strip with the dashed edge is what the best of all units reaches with shuffled images, in 95% of
shuffles; the darker strip is the same for open dots. With two regions each is the larger one. A layer with more units
also gets more sites by chance: compare with the medians of the layers.

*Figure 6, left, and S9 of Arend et al. 2018.*"""
LANES = 0.8
"""Share of a layer's width that its marks take."""
_GOLDEN = 0.6180339887498949


def data(layer_summary: xr.Dataset, layers: xr.Dataset, null: xr.Dataset, recording: xr.Dataset) -> pd.DataFrame:
    """Return one row a site that has a match, by region and in the recording's order.

    Columns: ``site``, ``region``, ``layer``, ``layer_index``, ``depth``, ``correlation``, ``held_out``. ``attrs``:
    regions, layers (names), n_sites and n_matched (by region), n_stimuli, chance and chance_held_out (the largest of
    the regions), v4_before_it, best_layers (by region).
    """
    names = layers["layer"].values.astype(object)
    region = recording["region"].to_series().reindex(layer_summary["site"].values)
    every = pd.DataFrame(
        {
            "site": layer_summary["site"].values.astype(object),
            "region": region.to_numpy(dtype=object),
            "layer": layer_summary["layer_of_match"].values.astype(object),
            **{name: layer_summary[name].values for name in ("layer_index", "depth", "correlation", "held_out")},
        }
    )
    regions = in_order(every["region"])
    matched = every[every["layer_index"] >= 0]
    frame = pd.concat([matched[matched["region"] == one] for one in regions], ignore_index=True)
    frame.attrs = {
        "regions": regions,
        "layers": names.tolist(),
        "n_sites": {one: int((every["region"] == one).sum()) for one in regions},
        "n_matched": {one: int((frame["region"] == one).sum()) for one in regions},
        "n_stimuli": recording.sizes["stimulus"],
        "chance": max((chance.best_of_all(null, one) for one in regions), default=np.nan),
        "chance_held_out": max((chance.held_out(null, one) for one in regions), default=np.nan),
        "v4_before_it": str(layer_summary["v4_before_it"].values),
        "best_layers": layer_summary["best_layer"].to_series().to_dict(),
    }
    return frame


def describe(
    data: pd.DataFrame,
    *,
    site: str | None = None,
    layer: str | None = None,
    regions: Sequence[str] = (),
    width: int = 660,
) -> Drawing:
    """Describe sites over layers; ``site`` and ``layer`` are selected, ``width`` decides how many names fit."""
    about = data.attrs
    n_layers = len(about["layers"])
    tokens = tokens_of(about["regions"], regions)
    token = data["region"].map(tokens).to_numpy(dtype=object)
    x = data["layer_index"].to_numpy(dtype=float) + spread(data["region"], about["regions"])
    r, held_out = data["correlation"].to_numpy(dtype=float), data["held_out"].to_numpy(dtype=float)
    low, high = r_limits(r, held_out, about["chance"])
    top = high + 0.34 * (high - low)
    edges = [-0.5, n_layers - 0.5]
    at = np.flatnonzero(data["site"].to_numpy() == site)
    ticks, turn, bottom = turned_layer_ticks(about["layers"], width - 70)
    selected = np.flatnonzero(np.array(about["layers"], dtype=object) == layer)
    return Drawing(
        [
            boxes("Chance", edges[0], 0, edges[1], about["chance"]),
            boxes("ChanceHeldOut", edges[0], 0, edges[1], about["chance_held_out"]),
            boxes("SelectedRow", selected - 0.5, low, selected + 0.5, top),
            *_histogram(data, tokens, high + 0.05 * (high - low), top - 0.05 * (high - low)),
            line("Zero", edges, [0, 0]),
            line("ChanceEdge", edges, [about["chance"]] * 2),
            segments("MatchToHeldOut", x, held_out, x, r, token=token),
            points("HeldOutSmall", x, held_out, token=token),
            points(
                "Site",
                x,
                r,
                token=token,
                key=data["site"].to_numpy(dtype=object),
                layer=data["layer"].to_numpy(dtype=object),
                r=written(r),
                held_out=written(held_out),
            ),
            points("SelectionHalo", x[at], r[at]),
            points("Selection", x[at], r[at]),
            *region_names(about["regions"], about["n_matched"], tokens, top, 0.08 * (high - low)),
        ],
        Axes(
            (edges[0], edges[1]),
            (low, top),
            ticks,
            r_ticks(low, high),
            None,
            "r of the match",
            x_turn=turn,
            left=60,
            right=12,
            bottom=bottom,
        ),
        {"region": next(iter(tokens.values()), "V4")},
        Hit("Site", _TOOLTIP),
    )


def keys(data: pd.DataFrame) -> list[Key]:
    """Return the keys, one for each region."""
    tokens = tokens_of(data.attrs["regions"])
    return [
        *(Key("dot", f"{name} site", token) for name, token in tokens.items()),
        Key("open", "held-out r"),
        Key("bar", "sites per layer"),
        Key("dash", "chance: r", "control"),
        Key("box", "chance: held-out", "band2"),
    ]


def caption(data: pd.DataFrame) -> str:
    """Say how many sites are shown, and whether the V4-like layer precedes the IT-like one."""
    about = data.attrs
    sites = [known_of(about["n_matched"][one], about["n_sites"][one], f"{one} site") for one in about["regions"]]
    told = f"{' and '.join(sites)}, {plural(about['n_stimuli'], 'image')}"
    check = order_of_layers(about["v4_before_it"], about["best_layers"])
    return f"{told}; {check}" if check else told


def order_of_layers(v4_before_it: str, best_layers: dict) -> str:
    """Say whether the V4-like layer precedes the IT-like one; nothing where one of them is not recorded."""
    layers = [best_layers.get(name, "") for name in ("V4", "IT")]
    told = {
        "yes": "V4-like layer {} precedes IT-like layer {}",
        "no": "warning: V4-like layer {} follows IT-like layer {}",
        "same layer": "warning: {} is both the V4-like and the IT-like layer",
    }.get(v4_before_it, "")
    return told.format(*layers)


def in_order(regions: Iterable[str]) -> list[str]:
    """Return each region once, those with a colour of their own first, from early to late."""
    there = list(dict.fromkeys(str(name) for name in regions))
    return [name for name in REGION_TOKENS if name in there] + [name for name in there if name not in REGION_TOKENS]


def tokens_of(regions: Sequence[str], all_regions: Sequence[str] = ()) -> dict[str, str]:
    """Return the colour of each region."""
    return {name: region_token(name, all_regions or regions) for name in regions}


def lane(region: str, regions: Sequence[str]) -> tuple[float, float]:
    """Return where, left and right of a layer's middle, the marks of a region stand beside those of the others."""
    width = LANES / max(len(regions), 1)
    left = width * list(regions).index(region) - LANES / 2
    return left, left + width


def spread(region_of_site: Sequence[str], regions: Sequence[str]) -> np.ndarray:
    """Spread the sites of each region evenly over its lane, neighbours apart: offsets, (site,)."""
    of_site = np.asarray(region_of_site, dtype=object)
    offset = np.zeros(len(of_site))
    for name in regions:
        here = np.flatnonzero(of_site == name)
        left, right = lane(name, regions)
        offset[here] = left + (0.1 + 0.8 * ((np.arange(len(here)) + 0.5) * _GOLDEN % 1)) * (right - left)
    return offset


def region_names(
    regions: Sequence[str],
    n_sites: dict[str, int],
    tokens: dict[str, str],
    top: float,
    step: float,
    *,
    x: float = -0.4,
) -> list[Mark]:
    """Write the regions' names and numbers of sites in their colours, one ``step`` below the other."""
    return [
        replace(
            labels("Match", x, top - (0.5 + i) * step, f"{name}, {plural(n_sites[name], 'site')}"), token=tokens[name]
        )
        for i, name in enumerate(regions)
    ]


def written(values: np.ndarray) -> np.ndarray:
    """Write r for a tooltip."""
    return np.array([fixed(value) for value in values], dtype=object)


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:240px;overflow-wrap:anywhere'>"
    "<b>@key</b><br>@layer<br>r @r, held-out @held_out</div>"
)


def _histogram(data: pd.DataFrame, tokens: dict[str, str], floor: float, top: float) -> list[Mark]:
    """Count the sites of each layer in bars between ``floor`` and ``top``, and write the count of the tallest."""
    rows = data.groupby(["region", "layer_index"]).size().reset_index(name="n")
    note = labels("NoteRight", len(data.attrs["layers"]) - 0.6, top, "sites per layer")
    if rows.empty:
        return [nothing("boxes", "Units"), nothing("labels", "Note"), note]
    lanes = np.array([lane(name, data.attrs["regions"]) for name in rows["region"]])
    left, right = lanes.T + rows["layer_index"].to_numpy()
    height = 0.75 * (top - floor) * rows["n"].to_numpy() / rows["n"].max()
    tallest = int(rows["n"].argmax())
    return [
        boxes("Units", left, floor, right, floor + height, token=rows["region"].map(tokens).to_numpy(dtype=object)),
        labels("Note", left[tallest], floor + 0.9 * (top - floor), str(rows["n"].max())),
        note,
    ]
