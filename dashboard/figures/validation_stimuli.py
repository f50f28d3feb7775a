"""Which stimuli would best test the feature maps that no site has validated? The most and the least driving ones."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.layers import in_order
from dashboard.figures.marks import Axes, Drawing, Hit, boxes, labels, line, points, segments
from dashboard.figures.wording import elided, fixed, plural, thousands, tick
from dashboard.theme import region_token
from engine.analyses.validation_stimuli import table

TITLE = "Images to test the unvalidated maps"
HELP = """**What it shows.** A row is a feature map without a site that matches it beyond chance, the best r on top: the
responses of its best unit to the images that drive it most (filled) and least (pale). The first favourite is named.
The exported table holds all maps and images.

**How it is computed.** The unit of the map with the highest r with any site; its activations to all images, in SD from
their mean. Show these images to new sites: one that shares the unit's tuning tells both ends apart. Where a unit is
silent on many images, the least are drawn from them by the seed; the table counts them.

**Chance.** A map can be unvalidated because no such site was recorded, or because brains have none: only the former
would change with new sites.

*After the discussion of Arend et al. 2018; it draws no such list.*"""
LIST_HELP = """**What it shows.** Feature maps without a site that matches them beyond chance, the best r first: the
images that drive the best unit of each map most, and those that drive it least, with the activation that the unit has
on them. The exported table holds all maps and images.

**How it is computed.** The unit of the map with the highest r with any site; its activations to all images, in SD from
their mean. Show these images to new sites: one that shares the unit's tuning tells both ends apart, and is predicted to
respond as the unit does. Where a unit is silent on many images, the least are drawn from them by the seed.

**Chance.** A map can be unvalidated because no such site was recorded, or because brains have none: only the former
would change with new sites.

*After the discussion of Arend et al. 2018; it draws no such list.*"""
MOST_ROWS = 12
_ROW_PX = 24


def data(validation_stimuli: xr.Dataset, only_region: str | None = None) -> pd.DataFrame:
    """Return one row a map and image, the map of highest r first; of one region or of all.

    Columns: those of ``engine.analyses.validation_stimuli.table``. ``attrs``: regions, n_maps, n_stimuli (of the
    recording).
    """
    frame = table(validation_stimuli)
    if only_region is not None:
        frame = frame[frame["region"] == only_region]
    frame = frame.sort_values("best_r", ascending=False, kind="stable", ignore_index=True)
    frame.attrs = {
        "regions": in_order(frame["region"]),
        "n_maps": len(frame[["region", "feature_map"]].drop_duplicates()),
        "n_stimuli": int(validation_stimuli.attrs["n_stimuli"]),
    }
    return frame


def describe(data: pd.DataFrame, *, regions: Sequence[str] = ()) -> Drawing:
    """Describe the rows of the first ``MOST_ROWS`` maps."""
    map_of_row = data[["region", "feature_map"]].apply(tuple, axis=1) if len(data) else pd.Series(dtype=object)
    names = list(dict.fromkeys(map_of_row))[:MOST_ROWS]
    shown = data[map_of_row.isin(names).to_numpy(dtype=bool)] if names else data
    place = {name: len(names) - i for i, name in enumerate(names)}
    row = np.array([place[name] for name in map_of_row[shown.index]], dtype=float)
    z = shown["z"].to_numpy(dtype=float)
    is_favourite = (shown["kind"] == "favourite").to_numpy()
    # least ones of a unit that is silent on many images coincide: one dot for all of them
    is_least = ~is_favourite & ~pd.DataFrame({"row": row, "z": z}).duplicated().to_numpy()
    first = is_favourite & (shown["place"] == 1).to_numpy()
    low, high = float(np.nanmin(z, initial=-1.0)), float(np.nanmax(z, initial=1.0))
    token = np.array([region_token(name, list(regions)) for name in shown["region"]], dtype=object)
    ends = np.array([[z[row == i].min(), z[row == i].max()] for i in range(1, len(names) + 1)]).reshape(-1, 2)
    top = len(names) + 0.6
    return Drawing(
        [
            line("Zero", [0, 0], [0.4, max(top, 1.0)]),
            segments(
                "CeilingStem", ends[:, 0], np.arange(1.0, len(names) + 1), ends[:, 1], np.arange(1.0, len(names) + 1)
            ),
            points("Units", z[is_least], row[is_least], token=token[is_least]),
            points("Site", z[is_favourite], row[is_favourite], token=token[is_favourite]),
            labels("PointName", z[first], row[first], [elided(str(name), 22) for name in shown["stimulus"][first]]),
            boxes(
                "Hit",
                low - 0.5,
                row[first] - 0.5,
                high + 0.5 * (high - low),
                row[first] + 0.5,
                key=shown["feature_map"].to_numpy()[first],
                told=_told(shown[first]),
            ),
        ],
        Axes(
            (low - 0.04 * (high - low), high + 0.35 * (high - low)),
            (0.4, max(top, 1.0)),
            _ticks(low, high),
            [(float(place[name]), _named(name, data)) for name in names],
            "Activation, SD from the mean over all images",
            "Feature map, best r on top",
            grid="x",
            tick_px=10,
            left=34 + int(6 * max((len(_named(name, data)) for name in names), default=2)),
            right=12,
            bottom=44,
            height=70 + _ROW_PX * max(len(names), 4),
        ),
        {"region": str(token[0]) if len(token) else "V4"},
        Hit("Hit", _TOOLTIP),
    )


def keys(data: pd.DataFrame) -> list[Key]:
    """Return the keys."""
    return [Key("dot", "drives the unit most"), Key("bar", "drives it least")]


def caption(data: pd.DataFrame) -> str:
    """Say how many maps there are, and how many are drawn."""
    n_maps = data.attrs["n_maps"]
    if not n_maps:
        return "every feature map of the layer is validated"
    drawn = f", the first {MOST_ROWS} drawn" if n_maps > MOST_ROWS else ""
    n = int(data["place"].max())
    layers = " and ".join(dict.fromkeys(data["layer"]))
    images = plural(data.attrs["n_stimuli"], "image")
    return f"{plural(n_maps, 'unvalidated map')} of {layers}{drawn}; {n} most and {n} least driving of {images}"


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:280px;overflow-wrap:anywhere'>"
    "<b>map @key</b><br>@told</div>"
)


def _named(name: tuple[str, int], data: pd.DataFrame) -> str:
    return str(name[1]) if len(data.attrs["regions"]) < 2 else f"{name[0]} {name[1]}"


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    step = next(size for size in (1, 2, 5, 10, 20, 50, 1000) if (high - low) / size <= 8)
    at = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    return [(float(value), tick(value)) for value in at]


def _told(shown: pd.DataFrame) -> np.ndarray:
    rows = zip(*(shown[name] for name in ("layer", "y", "x", "best_r", "best_site", "n_least")), strict=True)
    return np.array(
        [
            f"{layer}, ({y}, {x}), best r {fixed(r)} with {site}; lowest activation on {thousands(n)} images"
            for layer, y, x, r, site, n in rows
        ],
        dtype=object,
    )
