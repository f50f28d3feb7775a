"""Where in the network are the units that respond like a site, and what do all the others do? Every unit, counted."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import chance
from dashboard.figures.keys import Key
from dashboard.figures.layer_strips import Strips, View
from dashboard.figures.marks import Axes, Drawing, Mark, boxes, image, labels, line, nothing, points
from dashboard.figures.scales import r_limits, r_ticks
from dashboard.figures.wording import elided, fixed, thousands, tick
from dashboard.theme import region_token

TITLE = "Every unit, layer by layer"
HELP = """**What it shows.** Every unit of the network: across, its layer, and within the layer its feature map and
position; up, its r with the site. A cell's colour counts the units in it, on a logarithmic scale; an empty cell holds
none. The dot is the match, the ring the unit that is selected.

**How to look.** Click the figure, then zoom with the wheel and drag to move; the units are counted again for what is
seen. A double click shows everything again. A tap on a unit selects it where it is among the ranked, else its layer.

**How it is computed.** Pearson's r over all images, of every unit of every layer, in one pass. Units that are constant,
that vary by rounding only, or that are not finite have none. Nothing is chosen here, so nothing is held out.

**Chance.** Between the pale edges lies what the best of all units reaches in 95% of shuffles of the images. A single
unit that was not picked for its r stays far closer to zero.

*Not in Arend et al. 2018: figure 7 shows the hundred best of these.*"""
KEYS = (
    Key("bar", "units, log scale", "network"),
    Key("dot", "match", "network"),
    Key("ring", "selected", "ink"),
    Key("box", "within chance for the best of all", "band"),
)
CELL_PX = 2
LARGER = ((6, 1_500), (4, 10_000))
"""Size of a cell where at most so many units are seen, so that a single one is."""
_LEFT, _RIGHT, _BOTTOM = 54, 16, 44
_NOTE_PX = 230


def data(
    unit_correlations: xr.Dataset,
    layers: xr.Dataset,
    matches: xr.Dataset,
    null: xr.Dataset,
    recording: xr.Dataset,
    site: str,
    *,
    view: View | None = None,
    width: int = 940,
    height: int = 320,
) -> pd.DataFrame:
    """Return one row a cell that holds a unit.

    Columns: ``layer``, ``first_map`` and ``last_map`` (feature maps across the cell), ``r_low``, ``r_high``, ``count``,
    and ``column``, ``row`` of the cell from the lower left. ``attrs``: as ``about``, and the limits and the size of the
    grid. ``view``: what is looked at; by default everything, in a figure of ``width`` x ``height`` px.
    """
    told = about(layers, matches, null, recording, site)
    r = unit_correlations["correlation"].sel(site=site).values
    size = (width - _LEFT - _RIGHT, height - 6 - _BOTTOM)
    return cells(r, told, view or home(told, np.nanmin(r, initial=0), np.nanmax(r, initial=0), size))


def about(
    layers: xr.Dataset, matches: xr.Dataset, null: xr.Dataset, recording: xr.Dataset, site: str
) -> dict[str, Any]:
    """Return what is known without r of the units.

    ``site``, ``region``, ``chance``; ``layers`` with ``channels``, ``heights``, ``widths``, ``n_units``, ``n_without``
    an r; of the ranked units ``ranked_layer`` (position of the layer), ``ranked_unit``, ``ranked_r``.
    """
    region = str(recording["region"].sel(site=site).values)
    ranked = matches.sel(site=site)
    known = np.isfinite(ranked["correlation"].values)
    names = [str(name) for name in layers["layer"].values]
    return {
        "site": site,
        "region": region,
        "chance": chance.best_of_all(null, region),
        "layers": names,
        "channels": layers["channels"].values.tolist(),
        "heights": layers["height"].values.tolist(),
        "widths": layers["width"].values.tolist(),
        "n_units": int(layers["units"].sum()),
        "n_without": int((layers["units"] - layers["n_ok"]).sum()),
        "ranked_layer": [names.index(str(name)) for name in ranked["layer"].values[known]],
        "ranked_unit": ranked["unit"].values[known].tolist(),
        "ranked_r": ranked["correlation"].values[known].tolist(),
    }


def strips_of(about: Mapping[str, Any]) -> Strips:
    """Return where the units lie."""
    shapes = zip(about["channels"], about["heights"], about["widths"], strict=True)
    return Strips(tuple(about["layers"]), tuple(c * h * w for c, h, w in shapes))


def cells(r: np.ndarray, about: Mapping[str, Any], view: View) -> pd.DataFrame:
    """Count the units, (unit,) r in float32, in the cells of a view; see ``data``. It takes some ms a million."""
    strips = strips_of(about)
    seen = strips.between(*view.x)
    x, r = _positions(strips)[seen], r[seen]
    count = _counted(x, r, view, CELL_PX)
    total = int(count.sum())
    larger = next((px for px, most in LARGER if total <= most), None)
    return _tidy(count if larger is None else _counted(x, r, view, larger), about, view)


def blank(about: Mapping[str, Any], view: View) -> pd.DataFrame:
    """Return the data of a view whose units are not counted yet."""
    return _tidy(np.zeros((1, 1), int), about, view)


def home(about: Mapping[str, Any], lowest: float, highest: float, size: tuple[int, int]) -> View:
    """Return the view of everything: all layers, and every r from the lowest to the highest, in a frame of px."""
    return View(strips_of(about).limits, r_limits(lowest, highest, about["chance"]), *size)


def _tidy(count: np.ndarray, about: Mapping[str, Any], view: View) -> pd.DataFrame:
    strips, shape = strips_of(about), count.shape
    row, column = np.nonzero(count)
    x, y = (np.linspace(*limits, n + 1) for limits, n in ((view.x, shape[1]), (view.y, shape[0])))
    layer = strips.layer_at((x[:-1] + x[1:]) / 2)
    area = (np.array(about["heights"]) * np.array(about["widths"]))[layer]
    ends = [strips.item_at(edge, layer) // area for edge in (x[:-1], x[1:])]
    frame = pd.DataFrame(
        {
            "layer": pd.Categorical.from_codes(layer[column], categories=list(about["layers"])),
            "first_map": ends[0][column],
            "last_map": ends[1][column],
            "r_low": y[row],
            "r_high": y[row + 1],
            "count": count[row, column].astype(np.int64),
            "column": column,
            "row": row,
        }
    )
    size = [view.width, view.height]
    frame.attrs = {**about, "x": list(view.x), "y": list(view.y), "size": size, "grid": list(shape)}
    return frame


def describe(
    data: pd.DataFrame,
    *,
    rank: int | None = None,
    layer: str = "",
    unit: tuple[int, int, float] | None = None,
    network: str = "network1",
    regions: Sequence[str] = (),
) -> Drawing:
    """Describe the counts, the match, and what is selected.

    The selected unit is that of ``rank``, or ``unit``: position of its layer, its index there, and its r.
    """
    told = data.attrs
    view, strips = View(tuple(told["x"]), tuple(told["y"]), *told["size"]), strips_of(told)
    limit, (low, high) = told["chance"], view.x
    chosen = unit or _ranked(told, rank)
    match = _ranked(told, 0)
    at = told["layers"].index(layer) if layer in told["layers"] and high - low > 1.2 else np.nan
    return Drawing(
        [
            boxes("Chance", low, -limit, high, limit),
            boxes("SelectedLayer", at, view.y[0], at + 1, view.y[1]),
            line("Zero", [low, high], [0, 0]),
            _counts(data, view),
            _note(limit, view),
            _points("UnitMatch", [match], strips, view),
            _points("SelectionHalo", [chosen], strips, view),
            _points("Selection", [chosen], strips, view),
            *_name(chosen, rank, told, strips, view, is_ranked=unit is None),
        ],
        Axes(
            view.x,
            view.y,
            strips.ticks(view, [h * w for h, w in zip(told["heights"], told["widths"], strict=True)]),
            _r_ticks(*view.y),
            strips.label(view, "units by feature map"),
            f"r with {elided(told['site'], 40)}",
            y_token=region_token(told["region"], regions),
            left=_LEFT,
            right=_RIGHT,
            bottom=_BOTTOM,
        ),
        {"region": region_token(told["region"], regions), "network": network},
    )


def caption(data: pd.DataFrame) -> str:
    """Say how many units there are, and how many have no r."""
    told = data.attrs
    without = f", {thousands(told['n_without'])} without r" if told["n_without"] else ""
    return f"{thousands(told['n_units'])} units{without}"


def nearest(r: np.ndarray, about: Mapping[str, Any], view: View, x: float, y: float, radius_px: float = 10) -> Any:
    """Return the unit at a place of the frame: position of its layer, its index there, its r; None for none near."""
    strips = strips_of(about)
    per_px = [(high - low) / px for (low, high), px in ((view.x, view.width), (view.y, view.height))]
    near = strips.between(x - radius_px * per_px[0], x + radius_px * per_px[0])
    distance = np.hypot((_positions(strips)[near] - x) / per_px[0], (r[near] - y) / per_px[1])
    if not np.isfinite(distance).any() or np.nanmin(distance) > radius_px:
        return None
    found = near.start + int(np.nanargmin(distance))
    layer = int(np.searchsorted(strips.first, found, side="right")) - 1
    return layer, found - int(strips.first[layer]), float(r[found])


def place_of(layer: int, unit: int, about: Mapping[str, Any]) -> str:
    """Say in words where a unit is."""
    height, width = about["heights"][layer], about["widths"][layer]
    channel, position = divmod(unit, height * width)
    where = f" ({position // width}, {position % width})" if height * width > 1 else ""
    return f"{elided(about['layers'][layer], 30)}, map {channel}{where}"


@lru_cache(maxsize=8)
def _positions(strips: Strips) -> np.ndarray:
    x = strips.all()
    x.flags.writeable = False
    return x


def _counted(x: np.ndarray, r: np.ndarray, view: View, px: int) -> np.ndarray:
    import datashader  # takes seconds: only who counts units loads it

    n_columns, n_rows = max(view.width // px, 1), max(view.height // px, 1)
    canvas = datashader.Canvas(n_columns, n_rows, tuple(map(float, view.x)), tuple(map(float, view.y)))
    frame = pd.DataFrame({"x": x, "r": r}, copy=False)
    return canvas.points(frame, "x", "r", datashader.count()).values


def _counts(data: pd.DataFrame, view: View) -> Mark:
    values = np.full(data.attrs["grid"], np.nan, np.float32)
    values[data["row"], data["column"]] = np.log10(data["count"])
    most = max(float(np.nanmax(values, initial=0)), 1.0)
    bounds = (view.x[0], view.y[0], view.x[1], view.y[1])
    return image("UnitDensity", values, bounds, (-0.5 * most, most))


def _ranked(told: Mapping[str, Any], rank: int | None) -> tuple[int, int, float] | None:
    if rank is None or rank >= len(told["ranked_r"]):
        return None
    return told["ranked_layer"][rank], told["ranked_unit"][rank], told["ranked_r"][rank]


def _points(role: str, units: Sequence[tuple[int, int, float] | None], strips: Strips, view: View) -> Mark:
    shown = [(float(strips.at(*unit[:2])), unit[2]) for unit in units if unit is not None]
    shown = [(x, y) for x, y in shown if _is_inside(x, y, view)]
    return points(role, *np.array(shown).T) if shown else nothing("points", role)


def _name(
    unit: tuple[int, int, float] | None,
    rank: int | None,
    told: Mapping[str, Any],
    strips: Strips,
    view: View,
    *,
    is_ranked: bool,
) -> list[Mark]:
    """Write beside the selected unit which it is, on the side that has room."""
    marks = [nothing("labels", "UnitName"), nothing("labels", "UnitNameLeft")]
    if unit is None or not _is_inside(x := float(strips.at(*unit[:2])), unit[2], view):
        return marks
    which = ("match" if rank == 0 else f"rank {rank}") if is_ranked else "not ranked"
    is_left = (view.x[1] - x) / (view.x[1] - view.x[0]) * view.width < _NOTE_PX
    text = f"{which}: {place_of(*unit[:2], told)}, r {fixed(unit[2])}"
    marks[is_left] = labels(marks[is_left].role, x, unit[2], text)
    return marks


def _note(limit: float, view: View) -> Mark:
    if not np.isfinite(limit) or not view.y[0] < limit < view.y[1]:
        return nothing("labels", "ChanceNoteAbove")
    return labels("ChanceNoteAbove", view.x[1], limit, f"chance: best of all units, 95% ({fixed(limit)})")


def _r_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return ticks of r as on every axis of r, and finer ones where so little of it is seen."""
    ticks = r_ticks(low, high)
    if len(ticks) >= 3:
        return ticks
    size = 10.0 ** np.floor(np.log10((high - low) / 3))
    step = next(k * size for k in (5, 2, 1) if (high - low) / (k * size) >= 3)
    return [(float(at), tick(at)) for at in np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step]


def _is_inside(x: float, y: float, view: View) -> bool:
    return view.x[0] <= x <= view.x[1] and view.y[0] <= y <= view.y[1]
