"""Is a match alone, or one of many units that do the same? The best units of every site, with two numbers for it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import runner_ups
from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Mark, boxes, labels, line
from dashboard.figures.wording import fixed, plural, short, tick

TITLE = "How redundant are the best units?"
HELP = """**What it shows.** Left, a row is a site, the best match on top, and its best units are counted in 100 equal
bins of r; the stepped line is the match. Middle: units of the whole network whose r is less than 0.05 below the match,
the match included, on a logarithmic scale; where they are more than the ranked units, the pale end of the bar is what
the count leaves open. Right: the effective rank of the ranked units, from 1, copies of one unit, to their number.

**How it is computed.** Near-ties are counted among the ranked units as long as one of them is further away, else in the
counts of all units by r. The effective rank is exp of the entropy of the eigenvalues of the units' correlation matrix
(Roy and Vetterli 2007).

**Chance.** The pale strip with the dashed edge is what the best of all units reaches with shuffled images, in 95% of
shuffles: many near-ties within it are chance, not redundancy. The darker strip is for open dots, the held-out r.

*Figures 7 and S10 of Arend et al. 2018, with measures of redundancy that the paper lacked.*"""
_SUMMARY = ("near_ties", "near_ties_most", "near_ties_status", "effective_rank", "participation_ratio", "n_ranked")
_STRIP, _GAP = 0.3, 0.06
"""Widths of a strip and of the gap before it, as shares of the frame of r."""
_HEADING_PX = 22


def data(
    matches: xr.Dataset, recording: xr.Dataset, null: xr.Dataset, redundancy: xr.Dataset, region: str
) -> pd.DataFrame:
    """Return the rows of ``runner_ups.data``, a site and bin each, with the site's redundancy.

    Columns in addition: ``near_ties``, ``near_ties_most``, ``near_ties_status`` (exact or at least),
    ``effective_rank``, ``participation_ratio``, ``n_ranked``. ``attrs`` in addition: within, n_stimuli.
    """
    frame = runner_ups.data(matches, recording, null, region)
    about = frame.attrs
    of_site = redundancy[list(_SUMMARY)].to_dataframe().reindex(frame["site"])
    for name in _SUMMARY:
        frame[name] = of_site[name].to_numpy()
    frame.attrs = {**about, "within": redundancy.attrs["within"], "n_stimuli": recording.sizes["stimulus"]}
    return frame


def describe(data: pd.DataFrame, *, site: str | None = None, regions: Sequence[str] = (), height: int = 650) -> Drawing:
    """Describe the rows and both strips; ``site`` is framed, ``height`` decides how many ids fit."""
    base = runner_ups.describe(data, site=site, regions=regions, height=height)
    (low, high), (bottom, top) = base.axes.xlim, base.axes.ylim
    sites = data.drop_duplicates("site")
    row = np.arange(len(sites), 0, -1, dtype=float)
    span = high - low
    starts = [high + _GAP * span, high + (2 * _GAP + _STRIP) * span]
    end = high + 2 * (_GAP + _STRIP) * span + 0.02 * span
    token = np.full(len(sites), base.colours["region"], dtype=object)
    ties, ticks_of_ties = _near_ties(sites, row, token, starts[0], _STRIP * span)
    ranks, ticks_of_ranks = _effective_ranks(sites, row, starts[1], _STRIP * span)
    heading = top + 0.4 * _HEADING_PX * (top - bottom) / max(height - 50, 1)
    headings = [
        runner_ups.title(data).removeprefix("The ").split(" of")[0],
        f"units within {tick(data.attrs['within'])}",
        "effective rank",
    ]
    marks = [_widened(mark, end) if mark.role in ("Hit", "RowFrame") else mark for mark in base.marks]
    return replace(
        base,
        marks=[
            *marks[:-1],
            *(line("Zero", [start, start], [bottom, top]) for start in starts),
            *ties,
            *ranks,
            labels("NoteInk", [low, *starts], [heading] * 3, headings),
            marks[-1],
        ],
        axes=_axes(
            base.axes,
            (low, end),
            top + _HEADING_PX * (top - bottom) / max(height - 50, 1),
            [*ticks_of_ties, *ticks_of_ranks],
        ),
    )


def keys(data: pd.DataFrame) -> list[Key]:
    """Return the keys of the runner-ups."""
    return runner_ups.keys(data)


def caption(data: pd.DataFrame) -> str:
    """Say how many sites there are and what is typical of them."""
    sites = data.drop_duplicates("site")
    about = data.attrs
    if sites.empty:
        return f"no {about['region']} site"
    n_open = int((sites["near_ties_status"] == "at least").sum())
    at_least = f" ({n_open} sites: at least)" if n_open else ""
    over = f"{plural(len(sites), about['region'] + ' site')}, {plural(about['n_stimuli'], 'image')}"
    ties = f"{sites['near_ties'].median():g} near-ties within {tick(about['within'])}{at_least}"
    return f"{over}; median of {ties}, effective rank {fixed(sites['effective_rank'].median(), 1)}"


def _near_ties(
    sites: pd.DataFrame, row: np.ndarray, token: np.ndarray, start: float, width: float
) -> tuple[list[Mark], list]:
    """Draw the counts on a logarithmic scale from 1."""
    least, most = (sites[name].to_numpy(dtype=float) for name in ("near_ties", "near_ties_most"))
    decades = max(float(np.ceil(np.log10(max(most.max(initial=1), 10)) - 1e-9)), 1.0)
    at = [start + width * np.log10(np.maximum(count, 1)) / decades for count in (least, most)]
    # a bar of one unit, which is the match alone, would have no length: a sliver shows that it was counted
    shown = np.maximum(at[0], start + 0.015 * width)
    bars = [
        boxes("Match", start, row - _HALF, np.where(least > 0, shown, np.nan), row + _HALF),
        boxes("Units", shown, row - _HALF, np.where(most > least, at[1], np.nan), row + _HALF, token=token),
    ]
    step = int(np.ceil(decades / 3))
    return bars, [(start + width * power / decades, short(10.0**power)) for power in range(0, int(decades) + 1, step)]


def _effective_ranks(sites: pd.DataFrame, row: np.ndarray, start: float, width: float) -> tuple[list[Mark], list]:
    most = max(int(sites["n_ranked"].max()) if len(sites) else 1, 1)
    rank = start + width * sites["effective_rank"].to_numpy(dtype=float) / most
    ticks = [(start + width * share, f"{share * most:g}") for share in (0.0, 0.5, 1.0)]
    return [boxes("Match", start, row - _HALF, rank, row + _HALF)], ticks


_HALF = 0.36


def _widened(mark: Mark, end: float) -> Mark:
    return replace(mark, columns={**mark.columns, "right": np.full_like(mark.columns["right"], end)})


def _axes(axes: Axes, xlim: tuple[float, float], top: float, ticks: list[tuple[float, str]]) -> Axes:
    return replace(axes, xlim=xlim, ylim=(axes.ylim[0], top), xticks=[*axes.xticks, *ticks], xlabel=None, bottom=28)
