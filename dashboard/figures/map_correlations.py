"""Which feature maps, in which layers, respond like which sites? The best unit of every map with every site."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import chance
from dashboard.figures.keys import Key
from dashboard.figures.layer_strips import Strips, View
from dashboard.figures.marks import Axes, Drawing, Mark, boxes, image, line, points
from dashboard.figures.wording import elided, fixed, plural, thousands
from dashboard.theme import region_token

TITLE = "Every feature map with every site"
HELP = """**What it shows.** A row is a site, the best match on top; across are the maps of all layers, each layer as
wide as any other. The colour is the best r of a map's units with the site; where a cell holds several maps, of the best
of them. Below chance a cell is left empty. The dots are the matches.

**How to look.** Click the figure, then zoom with the wheel and drag to move; a double click shows everything again. A
tap selects site and layer, and the feature map where it is one of the region's layer.

**How it is computed.** Pearson's r over all images; of the positions of a map the best one is taken, for each site
anew. It is chosen on all images: there is no held-out value of a map.

**Chance.** Coloured is what passes the best of all units of the network in 95% of shuffles of the images, which is
strict for a single map.

*Figures 8 and S13 of Arend et al. 2018 show one layer of this.*"""
CELL_PX = 2
_HAIR = 1e-9
_LEFT, _RIGHT, _BOTTOM = 70, 16, 44
_ROW_LABEL_PX, _LEAST_STEPS = 12, 0.05


def data(
    feature_maps: xr.Dataset,
    layers: xr.Dataset,
    matches: xr.Dataset,
    null: xr.Dataset,
    recording: xr.Dataset,
    region: str,
    *,
    view: View | None = None,
    width: int = 940,
    height: int = 420,
) -> pd.DataFrame:
    """Return one row a site and cell.

    Columns: ``site``, ``layer``, ``first_map`` and ``last_map`` (feature maps across the cell), ``r`` (the best of
    them), ``channel``, ``y``, ``x`` of the unit that has it; ``column``, ``row`` of the cell from the lower left.
    ``attrs``: region, sites (best match first), layers, channels, chance, n_maps, n_above (pairs of a map and a site
    above chance), match_layer and match_channel of each site, limits, and size of the grid. ``view``: what is looked
    at; by default everything, in a figure of ``width`` x ``height`` px.
    """
    told = about(feature_maps, layers, matches, null, recording, region)
    n_sites = len(told["sites"])
    view = view or home(told, (width - _LEFT - _RIGHT, height - 6 - _BOTTOM))
    maps = feature_maps.sel(site=told["sites"]).transpose("feature_map", "site")
    rows = _in_order(maps, told["layers"])
    r = maps["correlation"].values[rows]
    edges = np.linspace(*view.x, max(view.width // CELL_PX, 1) + 1)
    frame = _cells(maps, rows, r, edges, told)
    frame.attrs = {
        **told,
        "x": list(view.x),
        "y": list(view.y),
        "size": [view.width, view.height],
        "grid": [n_sites, len(edges) - 1],
    }
    return frame


def home(about: Mapping[str, Any], size: tuple[int, int]) -> View:
    """Return the view of everything, in a frame of px."""
    return View(strips_of(about).limits, (0.0, float(len(about["sites"]))), *size)


def blank(about: Mapping[str, Any], view: View) -> pd.DataFrame:
    """Return the data of a view before its cells are known."""
    columns = ("site", "layer", "first_map", "last_map", "r", "channel", "y", "x", "column", "row")
    frame = pd.DataFrame({name: np.empty(0, int) for name in columns})
    limits = {"x": list(view.x), "y": list(view.y), "size": [view.width, view.height]}
    frame.attrs = {**about, **limits, "grid": [len(about["sites"]), 1]}
    return frame


def about(
    feature_maps: xr.Dataset,
    layers: xr.Dataset,
    matches: xr.Dataset,
    null: xr.Dataset,
    recording: xr.Dataset,
    region: str,
) -> dict[str, Any]:
    """Return what does not depend on the view, see ``data``."""
    regions = recording["region"].to_series().reindex(matches["site"].values)
    own = matches.isel(rank=0).sel(site=(regions == region).to_numpy())
    order = np.argsort(-np.nan_to_num(own["correlation"].values, nan=-np.inf), kind="stable")
    own = own.isel(site=order)
    names = [str(name) for name in layers["layer"].values]
    position = {name: k for k, name in enumerate(names)}
    limit = chance.best_of_all(null, region)
    r = feature_maps["correlation"].sel(site=own["site"].values).values
    return {
        "region": region,
        "sites": [str(name) for name in own["site"].values],
        "layers": names,
        "channels": layers["channels"].values.tolist(),
        "chance": limit,
        "n_above": int((r > limit).sum()),
        "n_pairs": int(np.isfinite(r).sum()),
        "most": float(np.nanmax(r, initial=0)),
        "match_layer": [position.get(str(name), -1) for name in own["layer"].values],
        "match_channel": own["channel"].values.tolist(),
        "n_maps": int(layers["channels"].sum()),
    }


def strips_of(about: Mapping[str, Any]) -> Strips:
    """Return where the feature maps lie."""
    return Strips(tuple(about["layers"]), tuple(about["channels"]))


def describe(data: pd.DataFrame, *, site: str | None = None, layer: str = "", regions: Sequence[str] = ()) -> Drawing:
    """Describe the cells and the matches; the row of ``site`` and the strip of ``layer`` are marked."""
    told, n_sites = data.attrs, len(data.attrs["sites"])
    view, strips = View(tuple(told["x"]), tuple(told["y"]), *told["size"]), strips_of(told)
    least = told["chance"] if np.isfinite(told["chance"]) else 0.0
    most = max(told["most"], least + _LEAST_STEPS)
    row = n_sites - 1 - told["sites"].index(site) if site in told["sites"] else np.nan
    at = told["layers"].index(layer) if layer in told["layers"] and view.x[1] - view.x[0] > 1.2 else np.nan
    matched = np.array(told["match_layer"]) >= 0
    chosen, channel = np.array(told["match_layer"])[matched], np.array(told["match_channel"])[matched]
    x, y = strips.at(chosen, channel), n_sites - 0.5 - np.flatnonzero(matched)
    inside = (view.x[0] <= x) & (x <= view.x[1]) & (view.y[0] <= y) & (y <= view.y[1])
    token = region_token(told["region"], regions)
    return Drawing(
        [
            boxes("SelectedLayer", at, view.y[0], at + 1, view.y[1]),
            boxes("SelectedLayer", view.x[0], row, view.x[1], row + 1),
            line("LayerEdge", *_edges(strips, view)),
            _image(data, (least, most)),
            points("MapMatch", x[inside], y[inside]),
            boxes("RowFrame", view.x[0], row, view.x[1], row + 1),
        ],
        Axes(
            view.x,
            view.y,
            strips.ticks(view, [1] * len(strips.names)),
            _row_ticks(told["sites"], view, row),
            strips.label(view, "its feature maps"),
            f"{told['region']} site, best match on top",
            y_token=token,
            grid="",
            tick_px=10,
            left=_LEFT,
            right=_RIGHT,
            bottom=_BOTTOM,
        ),
        {"region": token},
    )


def keys(data: pd.DataFrame) -> list[Key]:
    """Return the keys of cells and matches, with the r that has the deepest colour."""
    told = data.attrs
    return [
        Key("bar", f"best r of a map, from chance {fixed(told['chance'])} to {fixed(told['most'])}"),
        Key("open", "match of the site", "ink"),
    ]


def caption(data: pd.DataFrame) -> str:
    """Say how many pairs of a map and a site there are, and how many pass chance."""
    told = data.attrs
    size = f"{thousands(told['n_maps'])} maps of {plural(len(told['layers']), 'layer')}"
    above = f"{thousands(told['n_above'])} of {thousands(told['n_pairs'])} pairs above chance"
    return f"{size} × {plural(len(told['sites']), 'site')}; {above}"


def hit(data: pd.DataFrame, x: float, y: float) -> dict[str, Any] | None:
    """Return site, layer and feature map at a place of the frame: the best map of the cell; None beside all."""
    told = data.attrs
    column, row = (
        int((at - low) / (high - low) * n)
        for at, (low, high), n in ((x, told["x"], told["grid"][1]), (y, (0, told["grid"][0]), told["grid"][0]))
    )
    found = data[(data["column"] == column) & (data["row"] == row)]
    if found.empty:
        return None
    cell = found.iloc[0]
    return {"site": str(cell["site"]), "layer": str(cell["layer"]), "channel": int(cell["channel"])}


def _in_order(maps: xr.Dataset, layers: Sequence[str]) -> np.ndarray:
    """Return the rows of the group, layer by layer in order and by channel."""
    layer = pd.Index(layers).get_indexer(maps["layer"].values.astype(str))
    return np.lexsort((maps["channel"].values, layer))


def _cells(
    maps: xr.Dataset, rows: np.ndarray, r: np.ndarray, edges: np.ndarray, told: Mapping[str, Any]
) -> pd.DataFrame:
    """Take, of the maps that a cell covers, the best one for every site."""
    strips = strips_of(told)
    middle = (edges[:-1] + edges[1:]) / 2
    column = np.flatnonzero(strips.holds(middle))
    layer = strips.layer_at(middle[column])
    first = strips.item_at(edges[column], layer)
    last = np.maximum(first, strips.item_at(edges[column + 1] - _HAIR, layer))
    begin, end = strips.first[layer] + first, strips.first[layer] + last + 1
    known, site = np.nan_to_num(r, nan=-2.0), np.arange(r.shape[1])
    best = np.array([a + known[a:b].argmax(axis=0) for a, b in zip(begin, end, strict=True)], int)
    best = best.reshape(len(column), len(site))
    return pd.DataFrame(
        {
            "site": np.tile(np.array(told["sites"], dtype=object), len(column)),
            "layer": pd.Categorical.from_codes(np.repeat(layer, len(site)), categories=list(strips.names)),
            "first_map": np.repeat(first, len(site)),
            "last_map": np.repeat(last, len(site)),
            "r": r[best, site].ravel(),
            "channel": maps["channel"].values[rows[best]].ravel(),
            "y": maps["y"].values[rows[best], site].ravel(),
            "x": maps["x"].values[rows[best], site].ravel(),
            "column": np.repeat(column, len(site)),
            "row": np.tile(len(site) - 1 - site, len(column)),
        }
    )


def _image(data: pd.DataFrame, limits: tuple[float, float]) -> Mark:
    told = data.attrs
    values = np.full(told["grid"], np.nan, np.float32)
    above = data[data["r"] > limits[0]]
    values[above["row"], above["column"]] = above["r"]
    low = limits[0] - 0.25 * (limits[1] - limits[0])  # what just passes chance is seen
    return image("MapCorrelation", values, (told["x"][0], 0, told["x"][1], told["grid"][0]), (low, limits[1]))


def _edges(strips: Strips, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Lines between layers, the pen lifted in between."""
    at = np.arange(1, len(strips.names), dtype=float)
    at = at[(at > view.x[0]) & (at < view.x[1])]
    return np.repeat(at, 3), np.tile([view.y[0], view.y[1], np.nan], len(at))


def _row_ticks(sites: Sequence[str], view: View, row: float) -> list[tuple[float, str]]:
    low, high = view.y
    shown = [k for k in range(len(sites)) if low <= len(sites) - 0.5 - k <= high]
    step = max(int(np.ceil(_ROW_LABEL_PX * (high - low) / view.height)), 1)
    chosen = int(len(sites) - 1 - row) if np.isfinite(row) else -1
    kept = [k for k in shown if k == chosen or (k % step == 0 and (chosen < 0 or abs(k - chosen) >= step))]
    return [(len(sites) - 0.5 - k, elided(str(sites[k]), 10)) for k in kept]
