"""Is the match one of many units that are nearly as good? The best units of every site."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import chance
from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, Mark, boxes, image, labels, line, nothing, points
from dashboard.figures.scales import r_ticks
from dashboard.figures.wording import elided, fixed, short, tick
from dashboard.theme import region_token
from engine.analyses.runner_ups import N_BINS, count_by_r, shared_bins

TITLE = "The best units of every site"
HELP = """**What it shows.** A row is a site, the best match on top; its best units, as many as the title says, are
counted in 100 equal bins of r. The stepped line is the match. Open dots are the match's held-out r.

**How it is computed.** Pearson's r of every unit of the network over all images; the largest are kept. A dark bin
far left of the line: the match stands alone. A dark bin at the line: many units do as well, which is redundancy.

**Chance.** The pale strip with the dashed edge is what the best of all units reaches with shuffled images, in 95% of
shuffles: it is for the line. The darker strip is for open dots.

*Figure 7 of Arend et al. 2018.*"""
KEYS = (
    Key("line", "match", "ink"),
    Key("open", "its held-out r"),
    Key("bar", "units per bin"),
    Key("dash", "chance: r", "control"),
    Key("box", "chance: held-out", "band2"),
)
_ROW_PX = 10
_NOTE_WIDTH = 0.22
"""Width of the note on chance, as a share of the frame."""


def data(matches: xr.Dataset, recording: xr.Dataset, null: xr.Dataset, region: str) -> pd.DataFrame:
    """Return one row a site and bin, sites by their best r, 100 bins each.

    Columns: ``site``, ``correlation`` and ``held_out`` of its match, ``r_low``, ``r_high``, ``count`` (ranked
    units in the bin; the last bin holds its upper edge too). The bins run from the smallest r of all sites of all
    regions, rounded down to 0.05, to the largest, rounded up, so that panels of two regions share them. ``attrs``:
    region, n_sites, n_ranks (units that are kept for a site), chance, chance_held_out.
    """
    r = matches["correlation"].values
    edges = shared_bins(r) if np.isfinite(r).any() else np.linspace(0, 1, N_BINS + 1)
    regions = recording["region"].to_series().reindex(matches["site"].values)
    chosen = np.flatnonzero((regions == region).to_numpy())
    order = chosen[np.argsort(-np.nan_to_num(r[chosen, 0], nan=-np.inf), kind="stable")]
    counts = count_by_r(r, edges)[order]
    n_sites = len(order)
    frame = pd.DataFrame(
        {
            "site": np.repeat(matches["site"].values[order].astype(object), N_BINS),
            "correlation": np.repeat(r[order, 0], N_BINS),
            "held_out": np.repeat(matches["held_out"].values[order, 0], N_BINS),
            "r_low": np.tile(edges[:-1], n_sites),
            "r_high": np.tile(edges[1:], n_sites),
            "count": counts.reshape(-1),
        }
    )
    frame.attrs = {
        "region": region,
        "n_sites": n_sites,
        "n_ranks": matches.sizes["rank"],
        "chance": chance.best_of_all(null, region),
        "chance_held_out": chance.held_out(null, region),
    }
    return frame


def describe(
    data: pd.DataFrame,
    *,
    site: str | None = None,
    regions: Sequence[str] = (),
    height: int = 650,
    n_units: int | None = None,
) -> Drawing:
    """Describe the rows; ``site`` is framed, ``height`` decides how many ids fit, ``n_units`` is written at chance."""
    about, n_sites = data.attrs, data.attrs["n_sites"]
    first = slice(None, None, N_BINS)
    names, r, held_out = (data[name].to_numpy()[first] for name in ("site", "correlation", "held_out"))
    counts = data["count"].to_numpy(dtype=float).reshape(n_sites, N_BINS)
    bounds = (float(data["r_low"].iloc[0]), float(data["r_high"].iloc[N_BINS - 1])) if n_sites else (0.0, 1.0)
    known = np.concatenate([held_out[np.isfinite(held_out)], [0.0, bounds[0]]])
    low = float(known.min()) - 0.05 * (bounds[1] - known.min())
    high = bounds[1] + 0.05 * (bounds[1] - low)
    edge = 0.001 * (high - low)
    top, row = n_sites + 0.5, np.arange(n_sites, 0, -1, dtype=float)
    at = np.flatnonzero(names == site)
    most = _full_colour(counts)
    limit = about["chance"]
    region = region_token(about["region"], regions)
    return Drawing(
        [
            boxes("Chance", 0, 0.5, limit, top),
            boxes("ChanceHeldOut", 0, 0.5, about["chance_held_out"], top),
            line("Zero", [0, 0], [0.5, top]),
            line("ChanceEdge", [limit, limit], [0.5, top]),
            image("Counts", _rows_upwards(counts), (bounds[0], 0.5, bounds[1], max(top, 1.0)), (0, most)),
            line("Step", np.repeat(r, 2), np.repeat(np.arange(n_sites, -1, -1) + 0.5, 2)[1:-1]),
            points("HeldOutSmall", held_out, row),
            boxes("RowFrame", low + edge, row[at] - 0.5, high - edge, row[at] + 0.5),
            _chance_note(data, counts, held_out, (low, high), n_units),
            image("ScaleBar", np.linspace(0, most, 64)[:, None], _scale_bounds(low, high, top), (0, most)),
            _scale_labels(low, high, top, most),
            boxes("Hit", low, row - 0.5, high, row + 0.5, key=names, r=_written(r), held_out=_written(held_out)),
        ],
        Axes(
            (low, high),
            (0.5, top),
            r_ticks(low, high, most=8),
            _row_ticks(names, row, at, height),
            f"r of the {_best_units(data)}",
            "Site, best match on top",
            grid="",
            tick_px=10,
            left=30 + int(6 * max((len(elided(str(name), 14)) for name in names), default=2)),
            right=12,
            bottom=44,
        ),
        {"region": region},
        Hit("Hit", _TOOLTIP.format(region=region)),
    )


def keys(data: pd.DataFrame) -> list[Key]:
    """Return the keys, with the width of a bin and the level of chance."""
    width = tick(round(float(data["r_high"].iloc[0] - data["r_low"].iloc[0]), 6)) if len(data) else ""
    named = {"bar": f"units per bin of {width}", "dash": f"chance: r {fixed(data.attrs['chance'])}"}
    return [replace(key, label=named.get(key.shape, key.label)) for key in KEYS]


def title(data: pd.DataFrame) -> str:
    """Say how many units are counted."""
    return f"The {_best_units(data)} of every site"


def caption(data: pd.DataFrame) -> str:
    """Say what a row is."""
    return f"a row is a site and sums to {data.attrs['n_ranks']}; tap a row to open it"


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:240px;overflow-wrap:anywhere'>"
    "<b>@key</b><br><span style='color:var(--us-{region})'>match</span> r @r, held-out @held_out</div>"
)


def _best_units(data: pd.DataFrame) -> str:
    n_ranks = data.attrs["n_ranks"]
    return "best unit" if n_ranks == 1 else f"{n_ranks} best units"


def _full_colour(counts: np.ndarray) -> int:
    """Return the count at the end of the ramp: nearly all bins lie below it, a few single heaps above."""
    filled = counts[counts > 0]
    return max(int(np.ceil(np.percentile(filled, 98))), 4) if filled.size else 4


def _rows_upwards(counts: np.ndarray) -> np.ndarray:
    """Turn the first site to the top, and leave empty bins transparent."""
    shown = np.where(counts > 0, counts, np.nan)[::-1]
    return shown if shown.size else np.full((1, N_BINS), np.nan)


def _chance_note(
    data: pd.DataFrame, counts: np.ndarray, held_out: np.ndarray, limits: tuple[float, float], n_units: int | None
) -> Mark:
    """Write the chance beside its line, where five rows hold nothing else; else the key alone says it."""
    limit, n_sites = data.attrs["chance"], data.attrs["n_sites"]
    if not np.isfinite(limit) or limit - limits[0] < _NOTE_WIDTH * (limits[1] - limits[0]):
        return nothing("labels", "ChanceNote")
    is_left = data["r_low"].to_numpy()[:N_BINS] < limit
    is_taken = (counts[:, is_left] > 0).any(axis=1) | (held_out < limit)
    free = [i for i in range(2, n_sites - 2) if not is_taken[i - 2 : i + 3].any()]
    if not free:
        return nothing("labels", "ChanceNote")
    of = "best of all units" if n_units is None else f"best of {short(n_units)}"
    return labels("ChanceNote", limit, n_sites - free[min(4, len(free) - 1)], f"{of}, 95%: {fixed(limit)}")


def _scale_bounds(low: float, high: float, top: float) -> tuple[float, float, float, float]:
    x, rows = high - 0.045 * (high - low), top - 0.5
    return x, 0.5 + 0.01 * rows, x + 0.012 * (high - low), 0.5 + 0.24 * rows


def _scale_labels(low: float, high: float, top: float, most: int) -> Mark:
    _, bottom, right, upper = _scale_bounds(low, high, top)
    step = next(size for size in (1, 2, 5, 10, 20, 25, 50) if most / size <= 5)
    at = np.arange(step, most + 1, step)
    return labels("ScaleNote", right, bottom + at / most * (upper - bottom), [str(count) for count in at])


def _row_ticks(names: np.ndarray, row: np.ndarray, selected: np.ndarray, height: int) -> list[tuple[float, str]]:
    step = max(int(np.ceil(len(names) * _ROW_PX / max(height - 50, 1))), 1)
    shown = [i for i in range(0, len(names), step) if not len(selected) or abs(i - selected[0]) >= step]
    return [(float(row[i]), elided(str(names[i]), 14)) for i in sorted({*shown, *(int(i) for i in selected)})]


def _written(values: np.ndarray) -> np.ndarray:
    return np.array([fixed(value) for value in values], dtype=object)
