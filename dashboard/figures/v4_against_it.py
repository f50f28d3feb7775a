"""Do networks that match one region match the other? One point a network."""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, boxes, labels, line, points, segments
from dashboard.figures.networks import last, named
from dashboard.figures.placement import apart
from dashboard.figures.scales import r_limits, r_ticks
from dashboard.figures.wording import elided, fixed, plural
from dashboard.theme import CONTROL, network_token, region_token

TITLE = "One region against another"
HELP = """**What it shows.** The neural correlation of each network with the two regions: the median over sites of the
best unit's r. Filled: selected and scored on all images. Open: held out. Bars are 95% intervals over sites.

**How it is computed.** As in the list of networks, for each region by itself. The regions have different sites, so
nothing is paired.

**Chance.** Each strip ends at the median r that the best unit reaches with shuffled images, for its region. It is for
filled dots.

*Figure 3 of Arend et al. 2018.*"""
KEYS = (
    Key("dot", "r", "network"),
    Key("open", "held-out r", "network"),
    Key("interval", "95% interval over sites", "network"),
    Key("box", "chance: median r with shuffled images", "band2"),
)
_NAME_HEIGHT = 0.05
"""Height of a name, as a share of the frame."""
_VALUES = ("correlation", "correlation_low", "correlation_high", "held_out", "chance_median")


def data(
    correlations: Mapping[str, xr.Dataset],
    regions: tuple[str, str] = ("V4", "IT"),
    *,
    controls: Collection[str] = (),
) -> pd.DataFrame:
    """Return one row a network that has a value for both regions.

    Columns: ``network``, ``is_control``, ``token``, and for each region ``correlation_V4``, ``correlation_low_V4``,
    ``correlation_high_V4``, ``held_out_V4``, ``chance_median_V4`` (with the region's name). ``attrs``: regions.
    """
    rows = []
    trained = [title for title in correlations if title not in controls]
    for title, found in correlations.items():
        if not set(regions) <= set(found["region"].values):
            continue
        whole = found.sel(layer="")
        token = CONTROL if title in controls else network_token(trained.index(title))
        row = {"network": title, "is_control": title in controls, "token": token}
        for region in regions:
            row |= {f"{name}_{region}": float(whole[name].sel(region=region)) for name in _VALUES}
        rows.append(row)
    columns = ["network", "is_control", "token", *(f"{name}_{region}" for region in regions for name in _VALUES)]
    frame = pd.DataFrame(rows, columns=columns)
    frame.attrs = {"regions": regions}
    return frame


def describe(data: pd.DataFrame, *, selected: str | None = None, all_regions: tuple[str, ...] = ()) -> Drawing:
    """Describe the scatter, square; ``selected`` is the title of a network."""
    first, second = data.attrs["regions"]
    data = last(data, selected)

    def of(name: str, region: str) -> np.ndarray:
        return data[f"{name}_{region}"].to_numpy(dtype=float)

    x, y = of("correlation", first), of("correlation", second)
    held_x, held_y = of("held_out", first), of("held_out", second)
    ends_x, ends_y = ((of("correlation_low", name), of("correlation_high", name)) for name in (first, second))
    low, high = r_limits(*(of(name, region) for name in _VALUES for region in (first, second)))
    names, token = data["network"].to_numpy(dtype=object), data["token"].to_numpy(dtype=object)
    limit_x, limit_y = (np.max(of("chance_median", region), initial=-np.inf) for region in (first, second))
    at = np.flatnonzero(names == selected)
    told = named(names, selected)
    is_right = told & (x > low + 0.6 * (high - low))
    is_left = told & ~is_right
    written = np.array([elided(str(name), 24) for name in names], dtype=object)
    ticks, least = r_ticks(low, high), _NAME_HEIGHT * (high - low)
    above = y + 0.8 * least  # of the interval, which would strike a name through
    return Drawing(
        [
            boxes("ChanceX", 0, low, limit_x, high),
            boxes("ChanceY", low, 0, high, limit_y),
            line("Zero", [low, high, np.nan, 0, 0], [0, 0, np.nan, low, high]),
            line("Identity", [low, high], [low, high]),
            segments("ToHeldOut", held_x[told], held_y[told], x[told], y[told], token=token[told]),
            segments("IntervalX", ends_x[0][told], y[told], ends_x[1][told], y[told], token=token[told]),
            segments("IntervalY", x[told], ends_y[0][told], x[told], ends_y[1][told], token=token[told]),
            points("NetworkHeldOut", held_x[told], held_y[told], token=token[told]),
            points("NetworkMatch", x, y, token=token, key=names, first=_written(x, held_x), second=_written(y, held_y)),
            points("SelectionHalo", x[at], y[at]),
            points("Selection", x[at], y[at]),
            labels("PointName", x[is_left], apart(above[is_left], least), written[is_left]),
            labels("PointNameLeft", x[is_right], apart(above[is_right], least), written[is_right]),
        ],
        Axes(
            (low, high),
            (low, high),
            ticks,
            ticks,
            f"Neural correlation, {first}",
            f"Neural correlation, {second}",
            region_token(first, all_regions or (first, second)),
            region_token(second, all_regions or (first, second)),
            grid="xy",
            left=52,
            bottom=46,
            is_square=True,
        ),
        {"network": str(token[0]) if len(token) else "network1"},
        Hit("NetworkMatch", _TOOLTIP.format(first=_markup_free(first), second=_markup_free(second))),
    )


def title(data: pd.DataFrame) -> str:
    """Name both regions, that of the x axis first."""
    return "{} against {}".format(*data.attrs["regions"])


def caption(data: pd.DataFrame) -> str:
    """Say what a point is."""
    return f"a point is a network ({plural(len(data), 'network')})"


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:280px;overflow-wrap:anywhere'>"
    "<b>@key</b><br>{first}: @first<br>{second}: @second</div>"
)


def _written(r: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    return np.array([f"r {fixed(a)}, held-out {fixed(b)}" for a, b in zip(r, held_out, strict=True)], dtype=object)


def _markup_free(name: str) -> str:
    """Keep a region's name, which a user chose, from being read as markup or as a field of the tooltip."""
    signs = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&#39;", '"': "&quot;", "@": "&#64;", "$": "&#36;"}
    return "".join(signs.get(letter, letter) for letter in name).replace("{", "&#123;").replace("}", "&#125;")
