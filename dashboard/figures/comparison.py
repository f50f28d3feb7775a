"""Does one network match the sites of a recording better than another, and how certain is that? A point a site."""

from dataclasses import replace
from typing import Final, Literal

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import chance, site_by_site
from dashboard.figures.keys import Key
from dashboard.figures.marks import Drawing, Hit, Mark, boxes, labels
from dashboard.figures.wording import elided, fixed, plural, signed, thousands

TITLE = "Two networks, site by site"
HELP = """**What it shows.** Every site of the region: its r with the best unit of one network across, with that of the
other upwards. Above the dashed line the network on the vertical axis is better. Filled: selected and scored on all
images. Open: held out.

**How it is computed.** Sites are paired by their id within one recording. The median difference has a 95% interval over
images and sites, both drawn again 2,000 times, alike for both networks; the matched pairs are held fixed. p is
Wilcoxon's signed-rank test over the sites, which are not independent of each other: read it beside the interval.

**Chance.** The strips end, for each network by itself, at what its best unit (filled) or a held-out unit (open) reaches
with shuffled images, in 95% of shuffles. More units reach a higher r by chance: look at the held-out r, and at the
score by number of candidate units.

*Not in Arend et al. 2018, which compares medians.*"""
Score = Literal["correlation", "held_out"]
_DOT: Final[dict[str, str]] = {"correlation": "Site", "held_out": "HeldOut"}
_STRIPS: Final = {"correlation": ("ChanceX", "ChanceY"), "held_out": ("ChanceHeldOut", "ChanceHeldOut")}
_LABEL: Final[dict[str, str]] = {"correlation": "r", "held_out": "held-out r"}
KEYS = (Key("dot", "site, r"), Key("ring", "selected", "ink"), Key("box", "chance, of each network", "band"))


def data(
    comparison: xr.Dataset,
    region: str,
    *,
    titles: tuple[str, str] | None = None,
    nulls: tuple[xr.Dataset, xr.Dataset] | None = None,
) -> pd.DataFrame:
    """Return one row a site of the region.

    Parameters
    ----------
    comparison
        As ``engine.analyses.comparison`` gives it: the first run less the other one.
    titles
        Of the first and the other network; by default their names.
    nulls
        ``null`` of the first and the other run, for chance.

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
    run, other = titles or tuple(str(name) for name in comparison["network"].values)
    frame = pd.DataFrame(columns)
    frame.attrs = {"region": region, "names": (other, run)}
    frame.attrs |= {name: comparison.attrs[name] for name in ("n_stimuli", "n_resamples", "held_out_status")}
    for score, percentile in (("correlation", chance.best_of_all), ("held_out", chance.held_out)):
        limits = tuple(percentile(null, region) for null in reversed(nulls)) if nulls else (np.nan, np.nan)
        frame.attrs[f"median_{score}"] = {**_median(comparison, region, score), "chance": limits}
    return frame


def describe(
    data: pd.DataFrame,
    *,
    score: Score = "correlation",
    site: str | None = None,
    tokens: tuple[str, str] = ("network1", "network2"),
    regions: tuple[str, ...] = (),
) -> Drawing:
    """Describe the scatter of r, or of held-out r; ``tokens`` colour the labels of the two axes."""
    drawing = site_by_site.describe(_of_score(data, score), site=site, tokens=tokens, regions=regions)
    axes = drawing.axes
    (low, high), (across, upwards) = axes.xlim, data.attrs[f"median_{score}"]["chance"]
    across_name, upwards_name = (f"{_LABEL[score]}, {elided(name, 34)}" for name in data.attrs["names"])
    return replace(
        drawing,
        marks=[
            boxes(_STRIPS[score][0], 0, low, across, high),
            boxes(_STRIPS[score][1], low, 0, high, upwards),
            *(_retold(mark, data.attrs, score) for mark in drawing.marks),
        ],
        axes=replace(axes, xlabel=across_name, ylabel=upwards_name),
        hit=Hit(_DOT[score], drawing.hit.tooltip if drawing.hit else ""),
    )


def keys(data: pd.DataFrame, *, score: Score = "correlation") -> list[Key]:
    """Return the keys of the marks: filled for r, open for held-out r."""
    if score == "correlation":
        return list(KEYS)
    return [Key("open", "site, held-out r"), KEYS[1], Key("box", "chance, of each network", "band2")]


def caption(data: pd.DataFrame) -> str:
    """Say how many sites, images and resamples there are, and whether held-out values can be compared."""
    about = data.attrs
    told = [
        plural(len(data), f"{about['region']} site"),
        plural(about["n_stimuli"], "image"),
        f"{thousands(about['n_resamples'])} resamples",
    ]
    return ", ".join(told + ([f"held-out r {about['held_out_status']}"] if about["held_out_status"] != "ok" else []))


def _median(comparison: xr.Dataset, region: str, score: str) -> dict[str, float]:
    one = comparison.sel(region=region, resampled="both")
    found = {end or "value": float(one[f"median_{score}_difference{end}"]) for end in ("", "_low", "_high")}
    n_better = one["n_better" if score == "correlation" else "n_better_held_out"]
    return found | {"p": float(one[f"p_{score}"]), "n": int(one[f"n_{score}"]), "n_better": int(n_better)}


def _of_score(data: pd.DataFrame, score: Score) -> pd.DataFrame:
    """Bring the columns of a score to where ``site_by_site`` looks for them."""
    end = "" if score == "correlation" else "_held_out"
    frame = pd.DataFrame({"site": data["site"], "first": data[f"first{end}"], "second": data[f"second{end}"]})
    told = data.attrs[f"median_{score}"]
    frame.attrs = {"region": data.attrs["region"], "names": data.attrs["names"], "n_better": told["n_better"]}
    frame.attrs |= {"difference": told["value"], "difference_held_out": np.nan}
    return frame


def _retold(mark: Mark, about: dict, score: Score) -> Mark:
    """Give the mark of the sites its role, and the two lines of text the interval and the test."""
    if mark.role == "Site":
        return replace(mark, role=_DOT[score])
    told = about[f"median_{score}"]
    if mark.role in ("NoteInk", "NoteInkRight"):
        return _written(mark, f"{told['n_better']} of {plural(told['n'], 'site')} above the line, p = {_p(told['p'])}")
    if mark.role in ("Note", "NoteRight"):
        return _written(mark, f"median difference {_interval(told)}")
    return mark


def _written(mark: Mark, text: str) -> Mark:
    return labels(mark.role, mark.columns["x"][:1], mark.columns["y"][:1], text)


def _interval(told: dict) -> str:
    return f"{signed(told['value'], 3)} ({signed(told['_low'], 3)} to {signed(told['_high'], 3)})"


def _p(p: float) -> str:
    if not np.isfinite(p):
        return fixed(p)
    return fixed(p, 3) if p >= 0.001 else f"{p:.0e}".replace("e-0", "e-").replace("e-", "e−")
