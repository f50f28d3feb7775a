"""Which feature maps hold the units that match the sites of a region? A bar a map."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, boxes, line
from dashboard.figures.wording import fixed, known_of, plural, short, thousands
from dashboard.theme import region_token

TITLE = "Matches by feature map"
HELP = """**What it shows.** For each feature map of the layer that matches the region best: how many sites have their
best unit of the layer in it, or how many of the best units of all sites, as many as the run keeps for a site.

**How it is computed.** Each site is counted once, whatever the position of its unit in the map; the bars sum to the
sites, or to ranks times sites. Sorted, the maps without any are left out.

**Chance.** If each site drew a map at random, some would be drawn twice: the caption says how many maps there would be.
Fewer than that: sites share maps.

*Figures 8, above, and S11 of Arend et al. 2018.*"""
Counted = Literal["matches", "units"]
COLUMNS = {"matches": "n_matches", "units": "n_units"}
_MOST_TICKS = 7
_DIGIT_PX, _TURNED_PX = 6.2, 13


def data(map_counts: xr.Dataset, region: str) -> pd.DataFrame:
    """Return one row a feature map of the region's layer.

    Columns: ``channel``, ``n_matches`` (sites whose best unit of the layer lies in the map), ``n_units`` (of all their
    best units). ``attrs``: region, layer, n_sites, n_matched, n_units, n_maps_matched, n_maps_expected.
    """
    here = map_counts["map_region"].values == region
    frame = pd.DataFrame(
        {
            "channel": map_counts["channel"].values[here],
            "n_matches": map_counts["matches_in_map"].values[here],
            "n_units": map_counts["units_in_map"].values[here],
        }
    )
    frame.attrs = about(map_counts, region)
    return frame


def describe(
    data: pd.DataFrame,
    *,
    of: Counted = "matches",
    is_sorted: bool = False,
    channel: int | None = None,
    regions: Sequence[str] = (),
    width: int = 660,
) -> Drawing:
    """Describe the bars, of ``matches`` or of all best ``units``, in the layer's order or ``is_sorted`` by count.

    ``channel`` is the selected map; ``width`` in px decides whether sorted maps are named or counted.
    """
    shown = _sorted(data, COLUMNS[of]) if is_sorted else data
    n_maps = max(len(shown), 1)
    count = shown[COLUMNS[of]].to_numpy(dtype=float)
    x = np.arange(len(shown), dtype=float)
    top = max(count.max(initial=0) * 1.06, 1.0)
    unit = "site" if of == "matches" else "best unit"
    layer = data.attrs["layer"]
    names = shown["channel"].to_numpy()
    ticks, turn = _sorted_ticks(names, width - 64) if is_sorted else (_channels(n_maps), 0)
    left, right = x - 0.5 + _gap(n_maps), x + 0.5 - _gap(n_maps)
    at = names == channel
    return Drawing(
        [
            boxes("Match", left, 0, right, np.where(count > 0, count, np.nan)),
            boxes("MatchSelected", left[at], 0, right[at], np.where(count > 0, count, np.nan)[at]),
            line("Zero", [-0.5, n_maps - 0.5], [0, 0]),
            boxes("Hit", x - 0.5, 0, x + 0.5, top, key=names, told=[plural(int(n), unit) for n in count]),
        ],
        Axes(
            (-0.5, n_maps - 0.5),
            (0, top),
            ticks,
            counts_ticks(top),
            f"Feature map of {layer}" + (", by count" if is_sorted else ""),
            f"{unit.capitalize()}s per map",
            x_turn=turn,
            left=60,
            right=12,
            bottom=30 + int(_DIGIT_PX * max(len(name) for _, name in ticks)) if turn else 44,
        ),
        {"region": region_token(data.attrs["region"], regions)},
        Hit("Hit", _TOOLTIP),
    )


def keys(data: pd.DataFrame) -> list[Key]:
    """Return no keys: the axis says it all."""
    return []


def caption(data: pd.DataFrame) -> str:
    """Say how many maps hold all matches, and how many there would be by chance."""
    told = data.attrs
    sites = known_of(told["n_matched"], told["n_sites"], f"{told['region']} site")
    maps = f"{thousands(told['n_maps_matched'])} of {plural(len(data), 'map')} hold their best unit of the layer"
    return f"{sites}; {maps}, {fixed(told['n_maps_expected'], 0)} expected of random maps"


def about(map_counts: xr.Dataset, region: str) -> dict[str, object]:
    """Return what is told of the counts of a region."""
    one = map_counts.sel(region=region)
    names = ("n_sites", "n_matched", "n_units", "n_maps_matched")
    return {
        "region": region,
        "layer": str(one["layer"].values),
        **{name: int(one[name]) for name in names},
        "n_maps_expected": float(one["n_maps_expected"]),
    }


def counts_ticks(top: float, most: int = 5) -> list[tuple[float, str]]:
    """Return whole ticks of an axis of counts from 0."""
    sizes = (digit * 10**power for power in range(7) for digit in (1, 2, 5))
    step = next(size for size in sizes if top / size <= most)
    return [(float(at), short(at)) for at in range(0, int(top) + 1, step)]


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:240px'><b>map @key</b><br>@told</div>"
)


def _sorted(data: pd.DataFrame, column: str) -> pd.DataFrame:
    shown = data[data[column] > 0].sort_values(column, ascending=False, kind="stable", ignore_index=True)
    shown.attrs = data.attrs
    return shown


def _gap(n_maps: int) -> float:
    """Return the space at each side of a bar: none where bars are only a few pixels wide."""
    return 0.1 if n_maps < 100 else 0.0


def _channels(n_maps: int) -> list[tuple[float, str]]:
    return counts_ticks(n_maps - 1, _MOST_TICKS)


def _sorted_ticks(names: np.ndarray, width_px: float) -> tuple[list[tuple[float, str]], int]:
    """Name sorted maps where the names fit, turned if need be, else count them from 1; and the turn in degrees."""
    n_maps = len(names)
    written = [str(name) for name in names]
    named = [(float(place), name) for place, name in enumerate(written)]
    if n_maps * (_DIGIT_PX * max(map(len, written), default=1) + 6) <= width_px:
        return named, 0
    if n_maps * _TURNED_PX <= width_px:
        return named, 90
    step = int(counts_ticks(n_maps, _MOST_TICKS)[1][0])
    counted = [(float(at - 1), f"{thousands(at)}th") for at in range(step, n_maps + 1, step) if at > 1]
    return [(0.0, "1st"), *counted], 0
