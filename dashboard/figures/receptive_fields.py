"""Where do matched units look, and where their sites? Gradients as images, the sites' fields as contours."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, Mark, boxes, image, labels, line, segments
from dashboard.figures.wording import UNKNOWN, elided, fixed, plural, tick
from dashboard.theme import region_token
from engine.analyses.physiological_fields import LEVEL, contour

TITLE = "Where units and sites look"
HELP = """**What it shows.** For sites of the region, the best match first, where the matched unit looks: the root mean
square of the gradient of its activation to the image's pixels, over starts and colours, each tile from 0 to its own
peak. Ink: the ellipse of one SD of the squared gradient. Dashed: all that the unit can see. In the region's colour: the
site's own field, where it was recorded. The selected site is drawn large.

**How it is computed.** Gradients are taken at images that drive the unit, or at Gaussian noise as in the paper, at
which units behind a rectifier are often silent; silent starts count as zero and their number is told. The site's field
is a kernel density (Gaussian of 1 degree) of its responses to flashed squares, its contour at exp(−1/2) of the peak.

**Chance.** A unit of the same layer at another place would have the same gradient there; how well the places fit is
judged against random pairs of units and sites, in the panel beside.

*Figure S2 of Arend et al. 2018.*"""
KEYS = (
    Key("box", "gradient of the unit", "network"),
    Key("ring", "its 1-SD ellipse", "ink"),
    Key("dash", "all it can see", "axis"),
    Key("line", "field of the site"),
)
COLUMNS, ROWS = 4, 3
_PITCH, _LARGE, _GAP, _EDGE = 1.26, 3.36, 0.1, 0.03
"""Of a tile and its name, of the large tile, between tiles, around them: in widths of a small tile."""
_FAINT = 0.02
"""Of the peak: what is fainter is not drawn, so that nothing looks like nothing."""


def data(
    receptive_fields: xr.Dataset,
    matches: xr.Dataset,
    recording: xr.Dataset,
    region: str,
    *,
    start: str = "driving images",
    most: int = COLUMNS * ROWS + 1,
) -> pd.DataFrame:
    """Return one row a cell of the field of each of the ``most`` sites of the region with the best match.

    Columns: ``site``, ``y``, ``x`` (up and right from the image's centre), ``rms``, ``gradient`` (signed mean),
    ``density`` (of the site, NaN where unknown). ``attrs``: region, start, unit_of_length, alignment (why there is
    none), height and width of the image, n_sites (of the region with a match), n_starts, and ``sites``: one record a
    site with site, layer, correlation, live, centroid, ellipse, box, distance and energy_inside (NaN where unknown).
    """
    own = recording["region"].sel(site=receptive_fields["site"]).values == region
    found = receptive_fields.sel(start=start).isel(site=own)
    r = matches["correlation"].isel(rank=0).sel(site=found["site"]).values
    order = np.argsort(-np.nan_to_num(r, nan=-2), kind="stable")[: int(np.isfinite(r).sum())]
    shown = found.isel(site=order[:most])
    records = [_record(shown.isel(site=k), float(r[order[k]])) for k in range(shown.sizes["site"])]
    names = [name for name in ("rms", "gradient", "density") if name in shown]
    frame = shown[names].to_dataframe().reset_index().rename(columns={"field_y": "y", "field_x": "x"})
    frame = frame.reindex(columns=["site", "y", "x", "rms", "gradient", "density"])
    y, x = shown["field_y"].values, shown["field_x"].values
    frame.attrs = {
        "region": region,
        "start": start,
        "unit_of_length": receptive_fields.attrs["unit_of_length"],
        "alignment": receptive_fields.attrs["alignment"],
        "height": float((y[0] - y[-1]) * len(y) / max(len(y) - 1, 1)),
        "width": float((x[-1] - x[0]) * len(x) / max(len(x) - 1, 1)),
        "shape": (len(y), len(x)),
        "n_sites": len(order),
        "n_starts": int(found["n_starts"]),
        "sites": records,
    }
    return frame


def describe(
    data: pd.DataFrame,
    *,
    site: str | None = None,
    network: str = "network1",
    regions: Sequence[str] = (),
    width: int = 940,
) -> Drawing:
    """Describe one site large, ``site`` or else the best one, and the others small beside it."""
    about = data.attrs
    records = about["sites"]
    large = next((k for k, one in enumerate(records) if one["site"] == site), 0)
    others = [k for k in range(len(records)) if k != large][: COLUMNS * ROWS]
    places = {k: _place(i) for i, k in enumerate(others)} | ({large: (0.0, -_LARGE, _LARGE)} if records else {})
    maps = {k: _map(data, records[k]["site"], "rms", about["shape"]) for k in places}
    right, bottom = _LARGE + _GAP + COLUMNS * (1 + _GAP), -(ROWS * _PITCH)
    tiles = [_tile(about, records[k], place) for k, place in places.items()]
    fields = [_field(data, about, records[k]["site"], place) for k, place in places.items()]
    lines = {name: np.concatenate([np.empty((0, 2)), *(tile[name] for tile in tiles)]) for name in ("ellipse", "box")}
    pieces = np.concatenate([np.empty((0, 4)), *fields])
    corners = np.array(list(places.values())).reshape(-1, 3)
    edges = corners[:, 0], corners[:, 1], corners[:, 0] + corners[:, 2], corners[:, 1] + corners[:, 2]
    width_px = (width - 16) / (right + 2 * _EDGE)
    marks = [_image(maps[large], places[large], network)] if records else []
    marks += [_image(_mosaic({places[k]: maps[k] for k in others}, about["shape"], bottom), _area(bottom), network)]
    return Drawing(
        [
            *marks,
            boxes("ImageEdge", *edges),
            line("Identity", *lines["box"].T),
            segments("MatchLine", *pieces.T),
            line("Slope", *lines["ellipse"].T),
            labels("Note", corners[:-1, 0], corners[:-1, 1] + 1.1, _names(records, others)),
            labels("NoteInk", [0.0], [-_LARGE - 0.22], [_told(about, records[large])] if records else [""]),
            boxes("Hit", *edges, key=np.array([records[k]["site"] for k in places], object),
                  layer=np.array([records[k]["layer"] for k in places], object)),
        ],
        Axes((-_EDGE, right + _EDGE), (bottom - _EDGE, _EDGE), (), (), grid="", left=8, right=8, top=8, bottom=4,
             height=round(width_px * (2 * _EDGE - bottom)) + 20),
        {"region": region_token(about["region"], regions), "network": network},
        Hit("Hit", "<b>@key</b>: @layer"),
    )  # fmt: skip


def caption(data: pd.DataFrame) -> str:
    """Say what the tiles are, at which starts, and what is not known."""
    about = data.attrs
    shown = min(len(about["sites"]), COLUMNS * ROWS + 1)
    size = f"{tick(round(about['width'], 1))}°" if about["unit_of_length"] == "degrees" else _pixels(about)
    why_not = "; fields of the sites not available" if about["alignment"] else ""
    return (
        f"{shown} of {plural(about['n_sites'], about['region'] + ' site')} with a match; gradients over "
        f"{about['n_starts']} {kind_of(about['start'])}; tiles {size} wide{why_not}"
    )


def kind_of(start: str) -> str:
    """Name the starts in the plural."""
    return "noise images" if start == "noise" else start


def keys(data: pd.DataFrame) -> list[Key]:
    """Return the keys of what is there."""
    return [key for key in KEYS if key.label != "field of the site" or data["density"].notna().any()]


def _record(one: xr.Dataset, r: float) -> dict:
    names = (
        "centroid_y",
        "centroid_x",
        "sd_major",
        "sd_minor",
        "angle",
        "box_top",
        "box_bottom",
        "box_left",
        "box_right",
    )
    values = {name: float(one[name]) for name in names}
    values |= {name: float(one[name]) if name in one else np.nan for name in ("distance", "energy_inside")}
    told = {
        "site": str(one["site"].values),
        "layer": str(one["layer"].values),
        "correlation": r,
        "live": int(one["live"]),
    }
    return told | values


def _place(i: int) -> tuple[float, float, float]:
    """Left, bottom and side of the i-th small tile."""
    row, column = divmod(i, COLUMNS)
    return _LARGE + 2 * _GAP + column * (1 + _GAP), -(row + 1) * _PITCH, 1.0


def _map(data: pd.DataFrame, site: str, name: str, shape: tuple[int, int]) -> np.ndarray:
    """One site's cells, (y upwards, x)."""
    return data.loc[data["site"] == site, name].to_numpy(dtype=float).reshape(shape)[::-1]


def _image(values: np.ndarray, place: tuple[float, ...], network: str) -> Mark:
    left, bottom, *size = place
    wide, high = (size[0], size[0]) if len(size) == 1 else size
    peak = np.nanmax(values, initial=0)
    if len(size) == 1 and peak > 0:
        values = _relative(values)
    return replace(image("Counts", values, (left, bottom, left + wide, bottom + high), (0, 1)), token=network)


def _relative(values: np.ndarray) -> np.ndarray:
    """Share of the peak; NaN where too faint to be drawn."""
    peak = np.nanmax(values, initial=0)
    share = values / peak if peak > 0 else np.full(values.shape, np.nan)
    return np.where(share > _FAINT, share, np.nan)


def _area(bottom: float) -> tuple[float, float, float, float]:
    return _LARGE + 2 * _GAP, bottom, COLUMNS * (1 + _GAP), -bottom


def _mosaic(tiles: dict[tuple[float, float, float], np.ndarray], shape: tuple[int, int], bottom: float) -> np.ndarray:
    """All small tiles in one image, NaN between them."""
    left, low, wide, high = _area(bottom)
    per_y, per_x = shape
    whole = np.full((round(high * per_y), round(wide * per_x)), np.nan)
    for (x, y, _), values in tiles.items():
        row, column = round((y - low) * per_y), round((x - left) * per_x)
        whole[row : row + per_y, column : column + per_x] = _relative(values)
    return whole


def _tile(about: dict, one: dict, place: tuple[float, float, float]) -> dict[str, np.ndarray]:
    """Lines of a tile, (point, 2) in widths of a tile, that end with a lifted pen."""
    turn = np.linspace(0, 2 * np.pi, 49)
    u, v = one["sd_major"] * np.cos(turn), one["sd_minor"] * np.sin(turn)
    cos, sin = np.cos(one["angle"]), np.sin(one["angle"])
    ellipse = one["centroid_x"] + u * cos - v * sin, one["centroid_y"] + u * sin + v * cos
    left, right, top, bottom = (one[f"box_{side}"] for side in ("left", "right", "top", "bottom"))
    box = np.array([left, right, right, left, left]), np.array([bottom, bottom, top, top, bottom])
    drawn = {"ellipse": ellipse, "box": box}
    return {name: np.append(_in_tile(about, place, *xy), [[np.nan] * 2], axis=0) for name, xy in drawn.items()}


def _in_tile(about: dict, place: tuple[float, float, float], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Positions in a field as positions in the frame, cut at the tile's edge."""
    left, bottom, side = place
    share = np.stack([x / about["width"] + 0.5, y / about["height"] + 0.5], axis=-1)
    return np.array([left, bottom]) + side * np.clip(share, 0, 1)


def _field(data: pd.DataFrame, about: dict, site: str, place: tuple[float, float, float]) -> np.ndarray:
    """Contour of the site's own field, (piece, 4) in widths of a tile."""
    values = _map(data, site, "density", about["shape"])
    if not np.isfinite(values).all():
        return np.empty((0, 4))
    rows, columns = about["shape"]
    y = ((np.arange(rows) + 0.5) / rows - 0.5) * about["height"]
    x = ((np.arange(columns) + 0.5) / columns - 0.5) * about["width"]
    pieces = contour(values, y, x, LEVEL * values.max())
    ends = [_in_tile(about, place, pieces[:, k], pieces[:, k + 1]) for k in (0, 2)]
    return np.concatenate(ends, axis=1)


def _names(records: list[dict], others: list[int]) -> list[str]:
    return [f"{elided(records[k]['site'], 10)} {_degrees(records[k]['distance'])}".rstrip() for k in others]


def _degrees(distance: float) -> str:
    return f"{fixed(distance, 1)}°" if np.isfinite(distance) else ""


def _told(about: dict, one: dict) -> str:
    fit = ""
    if np.isfinite(one["distance"]):
        fit = f", {_degrees(one['distance'])} apart, {one['energy_inside']:.0%} inside"
    live = f"{one['live']} of {about['n_starts']} starts live"
    return f"{elided(one['site'], 16)} · {elided(one['layer'], 22)}, r {fixed(one['correlation'])}\n{live}{fit}"


def _pixels(about: dict) -> str:
    return f"{about['width']:.0f} {about['unit_of_length']}" if about["width"] else UNKNOWN
