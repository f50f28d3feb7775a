"""Where in their feature maps do the units lie that match the sites of a region?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.feature_maps import COLUMNS, Counted, about
from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, Mark, boxes, image, labels, line, nothing
from dashboard.figures.wording import known_of, plural, thousands
from dashboard.theme import region_token

TITLE = "Matches by position"
HELP = """**What it shows.** For each position of the feature maps of the region's layer: how many sites have their best
unit of the layer there, or how many of the best units of all sites. Above and at the right the counts by column and by
row. A position without any is left empty. Framed: the position of the selected site, and thinly those of all sites
that the selected map matches. A tap on a position goes through its sites.

**How it is computed.** Each site is counted once, whatever the feature map of its unit; the cells sum to the sites, or
to ranks times sites. Row 0 is the top of the image.

**Chance.** Sites whose fields lie together should share positions. Units at the edge see padding, and respond more
alike than their images do.

*Figures 8, below, and S11 of Arend et al. 2018.*"""
_MARGIN, _GAP = 0.22, 0.03
"""Height of the marginal counts and distance to them, as shares of the map."""
_DIGIT_PX, _WRITTEN_PX = 6.2, 13
_MOST_NAMES = 6


def data(map_counts: xr.Dataset, layer_matches: xr.Dataset, recording: xr.Dataset, region: str) -> pd.DataFrame:
    """Return one row a position of the region's layer.

    Columns: ``y``, ``x``, ``n_matches``, ``n_units``, ``sites`` (those whose best unit of the layer lies there, the
    highest r first). ``attrs``: as ``feature_maps.data``; height, width; matches (site, channel, y, x of each).
    """
    here = map_counts["position_region"].values == region
    frame = pd.DataFrame(
        {
            "y": map_counts["y"].values[here],
            "x": map_counts["x"].values[here],
            "n_matches": map_counts["matches_at"].values[here],
            "n_units": map_counts["units_at"].values[here],
        }
    )
    told = about(map_counts, region)
    found = matches(layer_matches, recording, region, str(told["layer"]))
    at = found.groupby(["y", "x"], sort=False)["site"].agg(", ".join)
    frame["sites"] = at.reindex(pd.MultiIndex.from_frame(frame[["y", "x"]])).fillna("").to_numpy()
    frame.attrs = {**told, "height": int(frame["y"].max()) + 1, "width": int(frame["x"].max()) + 1}
    frame.attrs["matches"] = tuple(found[["site", "channel", "y", "x"]].itertuples(index=False, name=None))
    return frame


def matches(layer_matches: xr.Dataset, recording: xr.Dataset, region: str, layer: str) -> pd.DataFrame:
    """Return the best unit of a layer for each site of a region, the highest r first.

    Columns: ``site``, ``channel``, ``y``, ``x``, ``correlation``, ``held_out``; sites without a unit are left out.
    """
    of_site = recording["region"].to_series()
    best = layer_matches.sel(layer=layer, site=of_site.index[of_site == region]).isel(rank=0)
    names = ("channel", "y", "x", "correlation", "held_out")
    frame = pd.DataFrame({"site": best["site"].values.astype(object), **{name: best[name].values for name in names}})
    frame = frame[best["unit"].values >= 0]
    return frame.sort_values("correlation", ascending=False, kind="stable", ignore_index=True)


def describe(
    data: pd.DataFrame,
    *,
    of: Counted = "matches",
    channel: int | None = None,
    site: str | None = None,
    regions: Sequence[str] = (),
    size: int = 430,
) -> Drawing:
    """Describe the map and its marginals, of ``matches`` or of all best ``units``; ``size`` of the figure in px.

    The cells of the selected ``site``, and of all sites that the selected ``channel`` matches, are framed.
    """
    n_rows, n_columns = data.attrs["height"], data.attrs["width"]
    y, x, n = (data[name].to_numpy() for name in ("y", "x", COLUMNS[of]))
    count = np.zeros((n_rows, n_columns))
    count[y, x] = n
    most = max(float(count.max()), 1.0)
    token = np.array([region_token(data.attrs["region"], regions)], dtype=object)
    side = float(max(n_rows, n_columns))
    end = side * (1 + _GAP + _MARGIN)
    by_column, by_row = _marginal(count.sum(axis=0)), _marginal(count.sum(axis=1))
    column, row = np.arange(n_columns), n_rows - np.arange(n_rows)
    base = (n_columns + _GAP * side, n_rows + _GAP * side)
    return Drawing(
        [
            # half of the ramp: counts are written on the darkest cell too
            image("Counts", np.where(count > 0, count, np.nan)[::-1], (0, 0, n_columns, n_rows), (0, 2 * most)),
            line("ImageEdge", [0, n_columns, n_columns, 0, 0], [0, 0, n_rows, n_rows, 0]),
            boxes(
                "Units",
                column + 0.1,
                base[1],
                column + 0.9,
                base[1] + side * by_column,
                token=np.repeat(token, n_columns),
            ),
            boxes("Units", base[0], row - 0.9, base[0] + side * by_row, row - 0.1, token=np.repeat(token, n_rows)),
            _written(count, (size - _LEFT - _RIGHT) / end),
            *_frames(data, channel, site),
            boxes(
                "Hit",
                x,
                n_rows - 1 - y,
                x + 1,
                n_rows - y,
                key=[f"({row}, {column})" for row, column in zip(y.tolist(), x.tolist(), strict=True)],
                told=_told(data.attrs["matches"], y, x, n, of),
            ),
        ],
        Axes(
            (0, end),
            (min(0.0, n_rows - side), n_rows + end - side),
            [(at + 0.5, str(at)) for at in _ticks(n_columns)],
            [(n_rows - at - 0.5, str(at)) for at in _ticks(n_rows)],
            f"Column in the maps of {data.attrs['layer']}",
            "Row",
            grid="",
            left=_LEFT,
            right=_RIGHT,
            bottom=44,
            is_square=True,
        ),
        {"region": str(token[0])},
        Hit("Hit", _TOOLTIP),
    )


def keys(data: pd.DataFrame) -> list[Key]:
    """Return the keys of the cells and of the marginals."""
    return [Key("dot", "at the position"), Key("bar", "by column, by row")]


def caption(data: pd.DataFrame) -> str:
    """Say what was counted; a dense layer has one position."""
    told = data.attrs
    sites = known_of(told["n_matched"], told["n_sites"], f"{told['region']} site")
    if len(data) == 1:
        return f"{sites}; {told['layer']} is a dense layer, its units have no position"
    n_used = int((data["n_matches"] > 0).sum())
    return f"{sites} at {thousands(n_used)} of {plural(len(data), 'position')}"


_LEFT, _RIGHT = 44, 12
_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:240px;overflow-wrap:anywhere'>"
    "row, column @key: @told</div>"
)


def _told(matches: Sequence[tuple], y: np.ndarray, x: np.ndarray, n: np.ndarray, of: Counted) -> list[str]:
    """Say how many, and name the sites of matches."""
    counts = list(map(thousands, n.tolist()))
    if of == "units":
        return counts
    at: dict[tuple[int, int], list[str]] = {}
    for site, _, row, column in matches:
        at.setdefault((row, column), []).append(str(site))
    named = [at.get(place, []) for place in zip(y.tolist(), x.tolist(), strict=True)]
    told = [", ".join(names[:_MOST_NAMES]) + (" …" if len(names) > _MOST_NAMES else "") for names in named]
    return [f"{count} · {names}" if names else count for count, names in zip(counts, told, strict=True)]


def _frames(data: pd.DataFrame, channel: int | None, site: str | None) -> list[Mark]:
    """Frame the cells of the selected map's matches, and that of the selected site."""
    found, n_rows = data.attrs["matches"], data.attrs["height"]
    marked = sorted({(y, x) for _, of_map, y, x in found if of_map == channel})
    own = [(y, x) for name, _, y, x in found if name == site]
    return [_framed("CellMarked", marked, n_rows), _framed("CellSelected", own, n_rows)]


def _framed(role: str, cells: Sequence[tuple[int, int]], n_rows: int) -> Mark:
    y, x = np.array(cells, dtype=float).reshape(-1, 2).T
    return boxes(role, x, n_rows - y - 1, x + 1, n_rows - y)


def _marginal(count: np.ndarray) -> np.ndarray:
    """Return the lengths of bars, as shares of the map, the longest filling the margin."""
    return _MARGIN * count / max(count.max(initial=0), 1)


def _ticks(n: int) -> list[int]:
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500) if n / size <= 8)
    return list(range(0, n, step))


def _written(count: np.ndarray, cell_px: float) -> Mark:
    """Write the counts into their cells where the digits fit."""
    digits = max(len(str(int(count.max()))), 1)
    if cell_px < max(_WRITTEN_PX, digits * _DIGIT_PX + 4):
        return nothing("labels", "NoteInkRight")
    rows, columns = np.nonzero(count)
    text = [str(int(n)) for n in count[rows, columns]]
    half = np.array([len(one) for one in text]) * _DIGIT_PX / 2 / cell_px
    return labels("NoteInkRight", columns + 0.5 + half, len(count) - rows - 0.5, text)
