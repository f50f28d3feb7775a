"""Does one network match the sites of a recording better than another, and how certain is that? A point a site."""

from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import site_by_site
from dashboard.figures.keys import Key
from dashboard.figures.marks import Drawing, boxes
from dashboard.figures.wording import fixed, plural, signed, thousands

TITLE = "Two networks, site by site"
HELP = """**What it shows.** Every site of the region: its r with the best unit of one network across, with that of the
other upwards. Above the dashed line the network on the vertical axis is better. Filled: selected and scored on all
images. Open: held out. A line joins the two of the selected site.

**How it is computed.** Sites are paired by their id within one recording. The median difference has a 95% interval over
images and sites, both drawn again 2,000 times, alike for both networks; the matched pairs are held fixed. p is
Wilcoxon's signed-rank test over the sites, which are not independent of each other: read it beside the interval.

**Chance.** The strips end, for each network by itself, at what its best unit (r) or a held-out unit reaches with
shuffled images, in 95% of shuffles. More units reach a higher r by chance: look at the held-out r, and at the score by
number of candidate units.

*Not in Arend et al. 2018, which compares medians.*"""
_CHANCE = {
    "correlation": Key("box", "chance: r", "band"),
    "held_out": Key("box", "chance: held-out", "band2"),
}
KEYS = (*site_by_site.KEYS, *_CHANCE.values())


def data(comparison: xr.Dataset, region: str) -> pd.DataFrame:
    """Return one row a site of the region.

    Parameters
    ----------
    comparison
        As ``engine.analyses.comparison`` gives it: the first run less the other one.

    Returns
    -------
    pd.DataFrame
        ``site``; ``first``, ``second`` and ``first_held_out``, ``second_held_out`` (r; ``second`` is the first run, on
        the vertical axis); ``difference`` and ``difference_held_out`` with ``_low`` and ``_high`` over images.
        ``attrs``: region, names, n_stimuli, n_resamples, held_out_status, and for each score ``median_SCORE``: the
        median difference, low and high with images and sites drawn again, p, number of sites, of sites above the line,
        and ``chance``: 95th percentile with shuffled images on the horizontal and the vertical axis, NaN where unknown.
    """
    here = comparison.isel(site=np.flatnonzero(comparison["region_of_site"].values == region))
    columns: dict[str, np.ndarray] = {"site": here["site"].values.astype(object)}
    for score, end in (("correlation", ""), ("held_out", "_held_out")):
        columns |= {f"second{end}": here[score].values[0], f"first{end}": here[score].values[1]}
        columns |= {f"difference{end}{of}": here[f"{score}_difference{of}"].values for of in ("", "_low", "_high")}
    frame = pd.DataFrame(columns)
    frame.attrs = {"region": region, "names": tuple(comparison["title"].values[::-1].tolist())}
    frame.attrs |= {name: comparison.attrs[name] for name in ("n_stimuli", "n_resamples", "held_out_status")}
    frame.attrs |= {f"median_{score}": _median(comparison, region, score) for score in _CHANCE}
    return frame


def describe(
    data: pd.DataFrame,
    *,
    site: str | None = None,
    tokens: tuple[str, str] = ("network1", "network2"),
    regions: tuple[str, ...] = (),
) -> Drawing:
    """Describe the scatter of r and of held-out r; ``tokens`` are the colours of the first and of the other network."""
    drawing = site_by_site.describe(data, site=site, tokens=tokens[::-1], regions=regions, notes=_notes(data))
    low, high = drawing.axes.xlim
    strips = []
    for score, roles in (("correlation", ("ChanceX", "ChanceY")), ("held_out", ("ChanceHeldOut", "ChanceHeldOut"))):
        across, upwards = data.attrs[f"median_{score}"]["chance"]
        strips += [boxes(roles[0], 0, low, across, high), boxes(roles[1], low, 0, high, upwards)]
    return replace(drawing, marks=[*strips, *drawing.marks])


def keys(data: pd.DataFrame) -> list[Key]:
    """Return the keys of the marks that are there."""
    absent = [key for score, key in _CHANCE.items() if not np.isfinite(data.attrs[f"median_{score}"]["chance"]).any()]
    if data.attrs["held_out_status"] != "ok":
        absent += [site_by_site.KEYS[1], _CHANCE["held_out"]]
    return [key for key in KEYS if key not in absent]


def caption(data: pd.DataFrame) -> str:
    """Say how many sites, images and resamples there are, and whether held-out values can be compared."""
    about = data.attrs
    told = [
        plural(len(data), f"{about['region']} site"),
        plural(about["n_stimuli"], "image"),
        f"{thousands(about['n_resamples'])} resamples",
    ]
    return ", ".join(told + ([f"held-out r {about['held_out_status']}"] if about["held_out_status"] != "ok" else []))


def _median(comparison: xr.Dataset, region: str, score: str) -> dict:
    one = comparison.sel(region=region, resampled="both")
    found = {end or "value": float(one[f"median_{score}_difference{end}"]) for end in ("", "_low", "_high")}
    n_better = one["n_better" if score == "correlation" else "n_better_held_out"]
    limits = tuple(one[f"chance_{score}"].values[::-1].tolist())
    counts = {"n": int(one[f"n_{score}"]), "n_better": int(n_better)}
    return {**found, **counts, "p": float(one[f"p_{score}"]), "chance": limits}


def _notes(data: pd.DataFrame) -> list[str]:
    """Return the count with its test, and the median differences with their intervals."""
    r, held_out = data.attrs["median_correlation"], data.attrs["median_held_out"]
    lines = [
        f"{r['n_better']} of {plural(r['n'], 'site')} above the line, p = {_p(r['p'])}",
        f"median difference {_interval(r)}",
    ]
    if data.attrs["held_out_status"] == "ok":
        lines.append(f"held-out {_interval(held_out)}, p = {_p(held_out['p'])}")
    return lines


def _interval(told: dict) -> str:
    return f"{signed(told['value'], 3)} ({signed(told['_low'], 3)} to {signed(told['_high'], 3)})"


def _p(p: float) -> str:
    if not np.isfinite(p):
        return fixed(p)
    return fixed(p, 3) if p >= 0.001 else f"{p:.0e}".replace("e-0", "e-").replace("e-", "e−")
