"""Is each match better than the best of all units by chance? r of the sites against the null's distribution."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, boxes, line, nothing, points, segments
from dashboard.figures.scales import r_limits, r_ticks
from dashboard.figures.wording import UNKNOWN, fixed, plural, thousands
from dashboard.theme import CONTROL, region_token

TITLE = "Better than chance?"
HELP = """**What it shows.** Every site of the region, the best match first: r (filled) and held-out r (open). At the
left, in grey, what chance gives: the best r of all units once the images of a site are exchanged, as a histogram, and
held-out r of the units so chosen below it.

**How it is computed.** The responses of every site are permuted over the images, within their category where the
recording has categories, and all units of all layers are matched again. The best r of each permutation is pooled over
the sites of the region. p of a site counts the pooled values that reach its r; q corrects p for the number of sites
(Benjamini and Hochberg).

**Chance.** Filled dots are judged by the pale strip, which ends at the r with p = 0.05; open dots, which chose nothing
on the images that score them, by the darker strip, from a null of their own. The dotted line is the 95th percentile of
the best of as many independent Gaussian units, in closed form. Units of a network resemble each other, which lowers
the best of them; many answer to few images only, which raises it; and images exchanged within categories leave a site
its preference for categories, which raises it further.

*Not in Arend et al. 2018.*"""
KEYS = (
    Key("dot", "r"),
    Key("open", "held-out r"),
    Key("bar", "images exchanged: best of all units", "control"),
    Key("dash", "independent units, 95%", "axis"),
    Key("box", "chance: r", "band"),
    Key("box", "chance: held-out", "band2"),
)
N_BINS = 40
_SHARE = 0.22
"""Of the frame's width, for the null."""


def data(significance: xr.Dataset, recording: xr.Dataset, region: str) -> pd.DataFrame:
    """Return one row a site, best r first, and one a value of the null.

    Columns: ``kind`` ("site" or "null"), ``site``, ``correlation``, ``held_out``; of sites ``p``, ``q``,
    ``held_out_p``, ``held_out_q``. ``attrs``: region, n_sites, n_left_out, n_significant, n_held_out_significant,
    threshold, held_out_threshold, null_median, closed_form_median, closed_form_95, effective_units, null (what was
    exchanged), n_null, n_stimuli, level.
    """
    own = recording["region"].sel(site=significance["site"]).values == region
    names = ["correlation", "held_out", "p", "q", "held_out_p", "held_out_q"]
    sites = significance[names].isel(site=own).to_dataframe().reset_index()
    sites = sites[sites["correlation"].notna()].sort_values("correlation", ascending=False, kind="stable")
    drawn = (significance["null_region"] == region).values
    null = pd.DataFrame(
        {
            "site": significance["null_site"].values[drawn],
            "correlation": significance["null_correlation"].values[drawn],
            "held_out": significance["null_held_out"].values[drawn],
        }
    )
    both = pd.concat([sites.assign(kind="site"), null.assign(kind="null")], ignore_index=True)
    frame = both.reindex(columns=["kind", "site", *names])
    one = significance.sel(region=region)
    counts = ("n_sites", "n_left_out", "n_significant", "n_held_out_significant")
    values = ["threshold", "held_out_threshold", "null_median", "closed_form_median", "closed_form_95"]
    values.append("effective_units")
    frame.attrs = {
        "region": region,
        **{name: int(one[name]) for name in counts},
        **{name: float(one[name]) for name in values},
        **{name: significance.attrs[name] for name in ("null", "n_stimuli", "level")},
        "n_null": int(np.isfinite(null["correlation"]).sum()),
    }
    return frame


def describe(data: pd.DataFrame, *, site: str | None = None, regions: Sequence[str] = ()) -> Drawing:
    """Describe the null at the left and the sites at the right of it; ``site`` is selected."""
    about = data.attrs
    sites, null = data[data["kind"] == "site"], data[data["kind"] == "null"]
    r, held_out = sites["correlation"].to_numpy(dtype=float), sites["held_out"].to_numpy(dtype=float)
    low, high = r_limits(r, held_out, null["correlation"], null["held_out"], about["closed_form_95"])
    n = max(len(sites), 1)
    left, x = -n * _SHARE / (1 - _SHARE), np.arange(len(sites)) + 0.5
    wide, narrow = (histogram(null[name], low, high) for name in ("correlation", "held_out"))
    tallest = max(wide[1].max(initial=1), narrow[1].max(initial=1))
    end = n + 0.5
    at = np.flatnonzero(sites["site"].to_numpy() == site)
    note, closed = about["closed_form_95"], np.isfinite(about["closed_form_95"])
    return Drawing(
        [
            boxes("Chance", 0, 0, end, about["threshold"]),
            boxes("ChanceHeldOut", 0, 0, end, about["held_out_threshold"]),
            boxes("Control", left, wide[0][:-1], left * (1 - 0.85 * wide[1] / tallest), wide[0][1:]),
            line("ControlHeldOutLine", left * (1 - 0.85 * np.repeat(narrow[1], 2) / tallest), _doubled(narrow[0])),
            line("Zero", [left, end], [0, 0]),
            segments("ChanceEdge", left, about["threshold"], end, about["threshold"]),
            segments("Identity", left, note, end, note) if closed else nothing("segments", "Identity"),
            points("Match", x, r),
            points("HeldOutSmall", x, held_out),
            points("SelectionHalo", x[at], r[at]),
            points("Selection", x[at], r[at]),
            boxes(
                "Hit", x - 0.5, low, x + 0.5, high, key=sites["site"].to_numpy(dtype=object),
                r=_written(r), held_out=_written(held_out),
                **{name: _p(sites[name]) for name in ("p", "q", "held_out_p", "held_out_q")},
            ),
        ],
        Axes(
            (left, end), (low, high), [], r_ticks(low, high), f"{plural(len(sites), about['region'] + ' site')}, by r",
            "r", grid="y", left=54, right=12, bottom=34,
        ),
        {"region": region_token(about["region"], regions), "network": CONTROL},
        Hit("Hit", _TOOLTIP),
    )  # fmt: skip


def caption(data: pd.DataFrame) -> str:
    """Say how many sites pass, against how many exchanges of what."""
    about = data.attrs
    passed = (
        f"{about['n_significant']} of {plural(about['n_sites'], about['region'] + ' site')} at q ≤ {about['level']:g}"
    )
    held_out = f"{about['n_held_out_significant']} held-out"
    left_out = f", {about['n_left_out']} without a match left out" if about["n_left_out"] else ""
    return (
        f"{passed} ({held_out}){left_out}; {plural(about['n_stimuli'], 'image')} exchanged {about['null']}, "
        f"{thousands(about['n_null'])} times"
    )


def keys(data: pd.DataFrame) -> list[Key]:
    """Return the keys with the threshold in them."""
    limits = {"chance: r": data.attrs["threshold"], "chance: held-out": data.attrs["held_out_threshold"]}
    known = [key for key in KEYS if key.label not in limits or np.isfinite(limits[key.label])]
    return [
        replace(k, label=f"{k.label}, p = .05 at {fixed(limits[k.label])}") if k.label in limits else k for k in known
    ]


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:260px;overflow-wrap:anywhere'>"
    "<b>@key</b><br>r @r: p @p, q @q<br>held-out @held_out: p @held_out_p, q @held_out_q</div>"
)


def histogram(values: pd.Series, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Count values in equal bins over the axis: edges, and counts of the bins."""
    known = values.to_numpy(dtype=float)
    counts, edges = np.histogram(known[np.isfinite(known)], N_BINS, (low, high))
    return edges, counts


def _doubled(edges: np.ndarray) -> np.ndarray:
    return np.repeat(edges, 2)[1:-1]


def _written(values: np.ndarray) -> np.ndarray:
    return np.array([fixed(value) for value in values], dtype=object)


def _p(values: pd.Series) -> np.ndarray:
    known = values.to_numpy(dtype=float)
    return np.array([UNKNOWN if np.isnan(p) else f"{p:.2g}" for p in known], dtype=object)
