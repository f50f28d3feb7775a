"""Where in the image the best units of a site look."""

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, line, points
from dashboard.figures.scales import degree_ticks
from dashboard.figures.wording import degrees, fixed, plural

TITLE = "Where they look"
HELP = """**What it shows.** The position of each of the site's best units, as many as the run keeps, over the image,
in degrees of visual angle.

**How it is computed.** A unit at row y and column x of its feature map is drawn at the centre of that cell of the map,
the map laid over the whole image. That is the position in the map, not a measured receptive field. Units of dense
layers see the whole image and are counted in the caption, not drawn.

**Chance.** Matches of a retinotopic site should cluster. Sites without a match scatter.

*After figure 8 of Arend et al. 2018, for one site.*"""
KEYS = (Key("dot", "unit", "network"), Key("ring", "selected rank", "ink"))


def data(matches: xr.Dataset, layers: xr.Dataset, recording: xr.Dataset, site: str) -> pd.DataFrame:
    """Return one row a rank that has a unit.

    Columns: ``rank``, ``layer``, ``channel``, ``y``, ``x``, ``correlation``, ``azimuth`` and ``elevation`` of the
    centre of the unit's cell, right and up positive, in degrees, or in image sizes where ``size_deg`` is not known;
    NaN in layers of one position. ``attrs``: site, size (edge of the image), is_in_degrees, n_dense.
    """
    match = matches.sel(site=site)
    rows = np.flatnonzero((match["unit"] >= 0).values)
    names = match["layer"].values[rows].astype(object)
    size = float(recording.attrs.get("size_deg") or np.nan)
    is_in_degrees = bool(np.isfinite(size) and size > 0)
    size = size if is_in_degrees else 1.0
    extent = layers[["height", "width"]].sel(layer=names)
    height, width = extent["height"].values, extent["width"].values
    y, x = match["y"].values[rows], match["x"].values[rows]
    is_dense = height * width == 1
    frame = pd.DataFrame(
        {
            "rank": rows,
            "layer": names,
            "channel": match["channel"].values[rows],
            "y": y,
            "x": x,
            "correlation": match["correlation"].values[rows],
            "azimuth": np.where(is_dense, np.nan, ((x + 0.5) / width - 0.5) * size),
            "elevation": np.where(is_dense, np.nan, (0.5 - (y + 0.5) / height) * size),
        }
    )
    frame.attrs = {"site": site, "size": size, "is_in_degrees": is_in_degrees, "n_dense": int(is_dense.sum())}
    return frame


def describe(data: pd.DataFrame, *, rank: int = 0, network: str = "network1") -> Drawing:
    """Describe the positions over the image; ``rank`` is the selected unit."""
    half = data.attrs["size"] / 2
    x, y = data["azimuth"].to_numpy(dtype=float), data["elevation"].to_numpy(dtype=float)
    at = np.flatnonzero((data["rank"] == rank).to_numpy() & np.isfinite(x))
    ticks = degree_ticks(-half, half) if data.attrs["is_in_degrees"] else [(-0.5, "left"), (0, "0"), (0.5, "right")]
    rows = ticks if data.attrs["is_in_degrees"] else [(-0.5, "bottom"), (0, "0"), (0.5, "top")]
    return Drawing(
        [
            line("ImageEdge", half * np.array([-1, 1, 1, -1, -1]), half * np.array([-1, -1, 1, 1, -1])),
            line("Zero", [-half, half, np.nan, 0, 0], [0, 0, np.nan, -half, half]),
            points(
                "UnitPosition",
                x,
                y,
                key=data["rank"].to_numpy(),
                layer=data["layer"].to_numpy(dtype=object),
                place=_places(data),
            ),
            points("SelectionHalo", x[at], y[at]),
            points("Selection", x[at], y[at]),
        ],
        Axes(
            (-1.1 * half, 1.1 * half),
            (-1.1 * half, 1.1 * half),
            ticks,
            rows,
            grid="",
            left=44,
            right=12,
            bottom=28,
            is_square=True,
        ),
        {"network": network},
        Hit("UnitPosition", _TOOLTIP),
    )


def caption(data: pd.DataFrame) -> str:
    """Say what a position is, and which units have none."""
    unit = "degrees" if data.attrs["is_in_degrees"] else "image sizes"
    dense = data.attrs["n_dense"]
    return f"positions in the maps, {unit}" + (f"; {plural(dense, 'unit')} of dense layers not drawn" if dense else "")


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:260px;overflow-wrap:anywhere'>"
    "<b>rank @key</b><br>@layer<br>@place</div>"
)


def _places(data: pd.DataFrame) -> np.ndarray:
    rows = zip(*(data[name] for name in ("channel", "y", "x", "azimuth", "elevation", "correlation")), strict=True)
    sign = degrees if data.attrs["is_in_degrees"] else fixed
    return np.array(
        [f"map {c}, ({y}, {x}) at ({sign(a)}, {sign(e)}), r {fixed(r)}" for c, y, x, a, e, r in rows], dtype=object
    )
