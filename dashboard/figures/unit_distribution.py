"""How special is the match among all units of the network? Their r with the site, counted."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import chance
from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Mark, area, boxes, labels, line, nothing, points, segments
from dashboard.figures.wording import elided, fixed, short, thousands, tick
from dashboard.theme import region_token
from engine.schema import R_EDGES

TITLE = "All units of the network"
HELP = """**What it shows.** How many units of the network have which r with this site, on a logarithmic scale. The pin
is the match, or the runner-up that is selected.

**How it is computed.** Every unit of every layer is counted, in bins of 0.01. Units that are constant, that vary by
rounding only, or that have NaN or infinite activations have no r and are left out.

**Chance.** Most units respond to something else, so the mass lies about 0. The pale zone is where the best of all
units falls in 95% of shuffles of the images: a pin inside it says nothing.

*Not in Arend et al. 2018: it shows what figure 7 leaves out.*"""
KEYS = (Key("bar", "units", "network"), Key("box", "within chance for the best of all", "band2"))
_NOTE_SHARE, _PIN_SHARE = 0.24, 0.16
"""Widths of the two notes, as shares of the frame."""
_HIGH_R = 0.75
"""From here on there is more room to the left of the pin than below r = 1."""
_LEFT_OUT = {"n_constant": "constant", "n_low_variation": "vary by rounding only", "n_nonfinite": "not finite"}
"""Counts of units that have no r -> words of the caption."""
_FLOOR = -0.12
"""Bottom of the frame in decades, a little below one unit."""


def data(
    unit_counts: xr.Dataset,
    matches: xr.Dataset,
    null: xr.Dataset,
    recording: xr.Dataset,
    layers: xr.Dataset,
    site: str,
    *,
    rank: int = 0,
    layer: str | None = None,
) -> pd.DataFrame:
    """Return one row a bin of r, 200 bins over [-1, 1].

    Columns: ``r_low``, ``r_high``, ``count`` (units of all layers, or of ``layer``), ``is_match`` (the bin that holds
    the unit of that rank). ``attrs``: site, region, rank, correlation, chance (best of all units, 95th percentile),
    n_units, n_constant, n_low_variation, n_nonfinite, layer.
    """
    counts = unit_counts["count"].sel(site=site)
    counts = counts.sum("layer") if layer is None else counts.sel(layer=layer)
    correlation = float(matches["correlation"].sel(site=site).isel(rank=rank))
    region = str(recording["region"].sel(site=site).values)
    counted = layers if layer is None else layers.sel(layer=[layer])
    low, high = R_EDGES[:-1], R_EDGES[1:]
    frame = pd.DataFrame(
        {
            "r_low": low,
            "r_high": high,
            "count": counts.values.astype(np.int64),
            "is_match": (low <= correlation) & (correlation < high),
        }
    )
    frame.attrs = {
        "site": site,
        "region": region,
        "rank": rank,
        "correlation": correlation,
        "chance": chance.best_of_all(null, region),
        "n_units": int(counted["units"].sum()),
        **{name: int(counted[name].sum()) for name in _LEFT_OUT},
        "layer": layer,
    }
    return frame


def describe(data: pd.DataFrame, *, network: str = "network1", regions: Sequence[str] = ()) -> Drawing:
    """Describe the histogram, the zone of chance and the pin."""
    about = data.attrs
    low, high = _limits(data)
    counts = data["count"].to_numpy()
    decades = np.log10(np.maximum(counts, 1e-9)).clip(_FLOOR - 1)
    edges = np.append(data["r_low"].to_numpy(), data["r_high"].to_numpy()[-1])
    x, y = np.repeat(edges, 2)[1:-1], np.repeat(decades, 2)
    inside = (x >= low) & (x <= high)
    top = max(float(np.log10(max(counts.max(initial=1), 10))) * 1.12, 1.3)
    r, limit = about["correlation"], about["chance"]
    pin = 0.6 * top if np.isfinite(r) else np.nan
    note = f"{'match' if about['rank'] == 0 else 'rank ' + str(about['rank'])} {fixed(r)}"
    is_left = r >= _HIGH_R
    pinned = (r, pin, note) if np.isfinite(r) else None
    return Drawing(
        [
            boxes("Chance", -limit, _FLOOR, limit, top),
            line("Zero", [0, 0], [_FLOOR, top]),
            area("Units", x[inside], _FLOOR, y[inside].clip(_FLOOR)),
            line("UnitsOutline", x[inside], y[inside]),
            segments("Pin", r, _FLOOR, r, pin) if pinned else nothing("segments", "Pin"),
            points("PinHead", r, pin) if pinned else nothing("points", "PinHead"),
            labels("PinNoteLeft", r, pin, note) if pinned and is_left else nothing("labels", "PinNoteLeft"),
            labels("PinNoteRight", r, pin, note) if pinned and not is_left else nothing("labels", "PinNoteRight"),
            _note(limit, top),
        ],
        Axes(
            (low, high),
            (_FLOOR, top),
            [(at, tick(at)) for at in np.arange(np.ceil(low / 0.2 - 1e-9), np.floor(high / 0.2 + 1e-9) + 1) * 0.2],
            [(float(at), short(10**at)) for at in range(0, int(top) + 1, 2 if top > 4 else 1)],
            f"r with {elided(about['site'], 40)}",
            "Units per 0.01",
            left=54,
            bottom=46,
        ),
        {"region": region_token(about["region"], regions), "network": network},
    )


def caption(data: pd.DataFrame) -> str:
    """Say how many units were counted, and how many have no r."""
    about = data.attrs
    left_out = [f"{thousands(about[name])} {what}" for name, what in _LEFT_OUT.items() if about[name]]
    where = "" if about["layer"] is None else f" in {about['layer']}"
    return f"{thousands(about['n_units'])} units{where}, {', '.join(left_out) or 'none constant'}"


def _note(limit: float, top: float) -> Mark:
    if not np.isfinite(limit):
        return nothing("labels", "ChanceNoteTop")
    return labels("ChanceNoteTop", limit, top, f"chance: best of all\nunits, 95% ({fixed(limit)})")


def _limits(data: pd.DataFrame) -> tuple[float, float]:
    """Return limits that hold every unit, the zone and the pin, and both notes to the right of what they name."""
    filled = data.loc[data["count"] > 0]
    r, chance_r = data.attrs["correlation"], data.attrs["chance"]
    known = [value for value in (r, chance_r) if np.isfinite(value)]
    low = min([-0.2, *filled["r_low"].head(1), *(-value for value in known if value == chance_r)])
    low = float(np.floor((low - 0.03) / 0.1) * 0.1)
    noted = [(chance_r, _NOTE_SHARE), *([(r, _PIN_SHARE)] if r < _HIGH_R else [])]
    ends = [(at - share * low) / (1 - share) for at, share in noted if np.isfinite(at)]
    high = max([0.2, *filled["r_high"].tail(1), *(value + 0.03 for value in known), *ends])
    return low, float(np.ceil(high / 0.05 - 1e-9) * 0.05)
