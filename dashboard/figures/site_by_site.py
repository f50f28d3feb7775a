"""Does one network match the sites better than another? Both on the same sites, a point a site."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, labels, line, points, segments
from dashboard.figures.scales import r_limits, r_ticks
from dashboard.figures.wording import elided, fixed, plural, signed
from dashboard.theme import region_token

TITLE = "Site by site"
HELP = """**What it shows.** Every site of the region: its r with the best unit of one network across, with that of the
other upwards. Above the dashed line the second network is better. Filled: selected and scored on all images. Open:
held out. A line joins the two of the selected site.

**How it is computed.** Sites are paired by their id within one recording, never across recordings. The line below the
count gives the median difference, and that of the held-out r.

**Chance.** A network with more units reaches a higher r by chance alone, so look at the held-out difference too.

*Not in Arend et al. 2018, which compares medians.*"""
KEYS = (Key("dot", "site, r"), Key("open", "held-out r"), Key("ring", "selected", "ink"))


def data(
    first: xr.Dataset,
    second: xr.Dataset,
    recording: xr.Dataset,
    region: str,
    *,
    names: tuple[str, str] = ("first network", "second network"),
) -> pd.DataFrame:
    """Return one row a site of the region that both ``matches`` hold, in the recording's order.

    Columns: ``site``, ``first``, ``second`` (r), ``first_held_out``, ``second_held_out``. ``attrs``: region, names,
    n_better (sites with a higher r in the second), difference and difference_held_out (medians, second - first).
    """
    regions = recording["region"].to_series()
    both = first.indexes["site"].intersection(second.indexes["site"])
    sites = [site for site in regions.index[regions == region] if site in both]
    columns: dict[str, np.ndarray] = {"site": np.array(sites, dtype=object)}
    for name, matches in (("first", first), ("second", second)):
        best = matches[["correlation", "held_out"]].isel(rank=0).sel(site=sites)
        columns |= {name: best["correlation"].values, f"{name}_held_out": best["held_out"].values}
    frame = pd.DataFrame(columns)[["site", "first", "second", "first_held_out", "second_held_out"]]
    frame.attrs = {
        "region": region,
        "names": names,
        "n_better": int((frame["second"] > frame["first"]).sum()),
        "difference": float((frame["second"] - frame["first"]).median()),
        "difference_held_out": float((frame["second_held_out"] - frame["first_held_out"]).median()),
    }
    return frame


def describe(
    data: pd.DataFrame,
    *,
    site: str | None = None,
    tokens: tuple[str, str] = ("network1", "network2"),
    regions: tuple[str, ...] = (),
    notes: Sequence[str] = (),
) -> Drawing:
    """Describe the scatter; ``tokens`` colour the axis labels, ``site`` is selected, ``notes`` replace its own."""
    about = data.attrs
    first_note, *more_notes = notes or (_count(data), _differences(about))
    x, y, x_out, y_out = (data[f"{name}{end}"].to_numpy() for end in ("", "_held_out") for name in ("first", "second"))
    low, high = r_limits(x, y, x_out, y_out)
    at = np.flatnonzero(data["site"].to_numpy() == site)
    ticks = r_ticks(low, high)
    step = 0.06 * (high - low)
    is_free = _is_free_above(np.append(x, x_out), np.append(y, y_out), low, high)
    edge = low + (0.03 if is_free else 0.97) * (high - low)
    start = high - step if is_free else low + (1 + len(more_notes)) * step
    below = start - step * np.arange(1, 1 + len(more_notes))
    names = data["site"].to_numpy(dtype=object)[at]
    return Drawing(
        [
            line("Zero", [low, high, np.nan, 0, 0], [0, 0, np.nan, low, high]),
            line("Identity", [low, high], [low, high]),
            segments("MatchToHeldOut", x[at], y[at], x_out[at], y_out[at]),
            points("HeldOutSmall", x_out, y_out),
            points(
                "Site",
                x,
                y,
                key=data["site"].to_numpy(),
                first=_written(x),
                second=_written(y),
                first_held_out=_written(x_out),
                second_held_out=_written(y_out),
            ),
            points("SelectionHalo", x[at], y[at]),
            points("Selection", x[at], y[at]),
            labels("PointName" if at.size and x[at[0]] < 0.7 * high else "PointNameLeft", x[at], y[at], names),
            labels("NoteInk" if is_free else "NoteInkRight", edge, start, first_note),
            labels("Note" if is_free else "NoteRight", edge, below, more_notes),
        ],
        Axes(
            (low, high),
            (low, high),
            ticks,
            ticks,
            f"r, {elided(about['names'][0], 34)}",
            f"r, {elided(about['names'][1], 34)}",
            tokens[0] if tokens[0] != "control" else "text2",
            tokens[1] if tokens[1] != "control" else "text2",
            grid="xy",
            left=52,
            bottom=46,
            is_square=True,
        ),
        {"region": region_token(about["region"], regions)},
        Hit("Site", _TOOLTIP),
    )


def caption(data: pd.DataFrame) -> str:
    """Say what a point is."""
    return f"a point is a site ({len(data)})"


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:240px;overflow-wrap:anywhere'>"
    "<b>@key</b><br>r @first across, @second upwards<br>"
    "held-out r @first_held_out across, @second_held_out upwards</div>"
)


def _is_free_above(x: np.ndarray, y: np.ndarray, low: float, high: float) -> bool:
    """Say whether the notes meet fewer points above the line, at the left, than below it, at the right."""
    across, up = (x - low) / (high - low), (y - low) / (high - low)
    return int(((across < 0.7) & (up > 0.78)).sum()) <= int(((across > 0.3) & (up < 0.22)).sum())


def _count(data: pd.DataFrame) -> str:
    return f"{data.attrs['n_better']} of {plural(len(data), 'site')} above the line"


def _differences(about: dict) -> str:
    text = f"median difference {signed(about['difference'], 2)}"
    held_out = about["difference_held_out"]
    return f"{text}; held-out {signed(held_out, 2)}" if np.isfinite(held_out) else text


def _written(values: np.ndarray) -> np.ndarray:
    return np.array([fixed(value) for value in values], dtype=object)
