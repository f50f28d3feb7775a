"""How alike are the sites among themselves? Every site against every other."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.layers import in_order
from dashboard.figures.marks import Axes, Drawing, Hit, Mark, boxes, image, labels, line
from dashboard.figures.wording import elided, fixed, plural, tick

TITLE = "Sites among themselves"
HELP = """**What it shows.** The correlation of every site with every other over the images, warm where it is positive,
cool where it is negative, without colour at 0. Lines part the regions.

**How it is computed.** Pearson's r of the averaged responses, over the images that both sites have. Sites stand in the
order of the recording, or, within each region, clustered so that like ones are neighbours. Noise-corrected: divided by
the root of both reliabilities, on the assumption that noise is independent between sites. Of more sites than the frame
has room for, a cell is the mean over a block of neighbours, pairs of a site with itself left out; every single pair is
in the dataset: unitscope export RUN site_correlations -o FILE.csv.

**Chance.** Sites that were recorded together share noise, which raises r. Between unrelated sites 95% of r lie within
two over the root of the number of images.

*Figure S12 of Arend et al. 2018.*"""
_ROW_PX = 11
_LIMIT = 1.0
_MOST_ROWS = 200
"""Rows of cells, of some 2 px each, and a few more, since every region begins a new one; smaller ones are not seen."""


def data(
    site_correlations: xr.Dataset,
    only_region: str | None = None,
    *,
    is_clustered: bool = False,
    is_corrected: bool = False,
) -> pd.DataFrame:
    """Return one row a pair of sites, in the order that is drawn; of one region or of all.

    Columns: ``site``, ``other_site``, ``region``, ``other_region``, ``correlation``, ``noise_corrected``,
    ``n_stimuli``. Of more than ``_MOST_ROWS`` sites one row a pair of blocks of neighbours within a region: the first
    site of each, ``last_site`` and ``other_last_site``, means over the pairs of different sites, the fewest stimuli.
    ``attrs``: sites (the first of each row of cells), n_sites, per_cell (sites a block), regions, is_clustered,
    is_corrected, median_r (of pairs of different sites), n_images, reliability_method, n_left_out.
    """
    found = site_correlations
    place = found["cluster_order" if is_clustered else "recording_order"].values
    order = np.argsort(place, kind="stable")
    region_of = found["region"].values.astype(object)
    if only_region is not None:
        order = order[region_of[order] == only_region]
    regions = in_order(region_of[order])
    order = np.concatenate([order[region_of[order] == name] for name in regions])
    sites, region = found["site"].values[order].astype(object), region_of[order]
    n, per_cell = len(sites), -(-len(sites) // _MOST_ROWS) or 1
    names = ("correlation", "noise_corrected", "n_stimuli")
    matrices = {name: found[name].transpose("site", "other_site").values[np.ix_(order, order)] for name in names}
    drawn = matrices["noise_corrected" if is_corrected else "correlation"][~np.eye(n, dtype=bool)]
    n_images = int(matrices["n_stimuli"].max(initial=0))
    starts = _starts(region, per_cell)
    if per_cell > 1:
        matrices = _in_blocks(matrices, starts)
    firsts, m = sites[starts], len(starts)
    lasts = sites[np.append(starts[1:], n) - 1]
    ends = {"last_site": np.repeat(lasts, m), "other_last_site": np.tile(lasts, m)} if per_cell > 1 else {}
    frame = pd.DataFrame(
        {
            "site": np.repeat(firsts, m),
            "other_site": np.tile(firsts, m),
            **ends,
            "region": np.repeat(region[starts], m),
            "other_region": np.tile(region[starts], m),
            **{name: matrix.ravel() for name, matrix in matrices.items()},
        }
    )
    frame.attrs = {
        "sites": firsts.tolist(),
        "n_sites": n,
        "per_cell": per_cell,
        "regions": regions,
        "is_clustered": is_clustered,
        "is_corrected": is_corrected,
        "median_r": float(np.nanmedian(drawn)) if np.isfinite(drawn).any() else np.nan,
        "n_images": n_images,
        "reliability_method": found.attrs["reliability_method"],
        "n_left_out": int(found["n_left_out"]),
    }
    return frame


def describe(data: pd.DataFrame, *, size: int = 520) -> Drawing:
    """Describe the matrix, first site at the upper left; ``size`` of the figure in px decides how many ids fit."""
    about = data.attrs
    sites, n = about["sites"], len(about["sites"])
    column = "noise_corrected" if about["is_corrected"] else "correlation"
    r = data[column].to_numpy(dtype=float).reshape(n, n)
    shown = np.clip(r, -_LIMIT, _LIMIT)[::-1]
    bounds = (0.0, 0.0, float(n), float(n))
    arms = [np.where(shown > 0, shown, np.nan), np.where(shown < 0, -shown, np.nan)]
    edges = _edges(data, n)
    row = n - 1 - np.repeat(np.arange(n), n)
    across = np.tile(np.arange(n), n)
    return Drawing(
        [
            replace(image("Counts", arms[0], bounds, (0, _LIMIT)), token=_WARM),
            replace(image("ScaleBar", arms[1], bounds, (0, _LIMIT)), token=_COOL),
            line("ImageEdge", [0, n, n, 0, 0], [0, 0, n, n, 0]),
            line("MatchLine", *_parting(edges, n), token="ink"),
            *_scale(n),
            *_region_labels(data, n),
            boxes(
                "Hit",
                across,
                row,
                across + 1,
                row + 1,
                key=data["site"].to_numpy(dtype=object),
                name=_names(data, "site", "last_site"),
                other=_names(data, "other_site", "other_last_site"),
                told=np.array([fixed(value) for value in r.ravel()], dtype=object),
            ),
        ],
        Axes(
            (0, n * (1 + _SCALE)),
            (-0.1 * n * _SCALE, n * (1 + 0.9 * _SCALE)),
            (),
            _ticks(sites, n, size),
            None,
            None,
            grid="",
            tick_px=10,
            left=20 + int(6 * max((len(elided(str(name), 14)) for name in sites), default=2)),
            right=8,
            top=8,
            bottom=8,
            is_square=True,
        ),
        {"region": _WARM},
        Hit("Hit", _TOOLTIP),
    )


def keys(data: pd.DataFrame) -> list[Key]:
    """Return the keys of both arms."""
    return [Key("box", "r above 0", _WARM), Key("box", "r below 0", _COOL)]


def caption(data: pd.DataFrame) -> str:
    """Say which sites, in which order, and what was corrected by which estimate."""
    about = data.attrs
    kind = f"noise-corrected r ({about['reliability_method']})" if about["is_corrected"] else "r"
    order = "clustered within each region" if about["is_clustered"] else "in the order of the recording"
    images = plural(about["n_images"], "image") if len(data) else "no image"
    left_out = f", {about['n_left_out']} left out" if about["n_left_out"] else ""
    sites, per_cell = plural(about["n_sites"], "site"), about["per_cell"]
    cells = f", a cell is the mean of up to {per_cell} × {per_cell} pairs" if per_cell > 1 else ""
    return f"{sites}{left_out}, {images}, {order}{cells}; median {kind} {fixed(about['median_r'])}"


_WARM, _COOL = "V4", "IT"
"""The two arms; the colours of the regions, whose names stand at the blocks in ink."""
_SCALE = 0.12
"""Room for the scale at the right and for the names, as a share of the matrix."""
_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:240px;overflow-wrap:anywhere'>"
    "<b>@name</b> and @other<br>r @told</div>"
)


def _starts(region: np.ndarray, per_cell: int) -> np.ndarray:
    """Return the first site of each block; none holds sites of two regions."""
    edges = [0, *np.flatnonzero(region[1:] != region[:-1]) + 1, len(region)]
    return np.concatenate([np.arange(a, b, per_cell) for a, b in pairwise(edges)])


def _in_blocks(matrices: Mapping[str, np.ndarray], starts: np.ndarray) -> dict[str, np.ndarray]:
    """Return of every pair of blocks the means, and the fewest stimuli."""
    fewest = np.minimum.reduceat(np.minimum.reduceat(matrices["n_stimuli"], starts, axis=0), starts, axis=1)
    means = {name: _mean_of_blocks(r.astype(float), starts) for name, r in matrices.items() if name != "n_stimuli"}
    return {**means, "n_stimuli": fewest}


def _mean_of_blocks(r: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Mean over the known pairs of different sites of two blocks; NaN where there is none."""
    known = np.isfinite(r) & ~np.eye(len(r), dtype=bool)

    def total(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(np.add.reduceat(values, starts, axis=0), starts, axis=1)

    n = total(known.astype(float))
    return np.divide(total(np.where(known, r, 0.0)), n, out=np.full(n.shape, np.nan), where=n > 0)


def _names(data: pd.DataFrame, first: str, last: str) -> np.ndarray:
    """Return the site of each cell, or the block of sites."""
    if last not in data:
        return data[first].to_numpy(dtype=object)
    return np.array([a if a == b else f"{a} to {b}" for a, b in zip(data[first], data[last], strict=True)], object)


def _edges(data: pd.DataFrame, n: int) -> list[int]:
    """Return the first site of each region but the first."""
    region = data["region"].to_numpy()[:: max(n, 1)]
    return [i for i in range(1, n) if region[i] != region[i - 1]]


def _parting(edges: list[int], n: int) -> tuple[np.ndarray, np.ndarray]:
    x = [value for at in edges for value in (at, at, np.nan, 0, n, np.nan)]
    y = [value for at in edges for value in (0, n, np.nan, n - at, n - at, np.nan)]
    return np.array(x or [np.nan], dtype=float), np.array(y or [np.nan], dtype=float)


def _region_labels(data: pd.DataFrame, n: int) -> list[Mark]:
    """Write each region's name above its first column."""
    starts = [0, *_edges(data, n)]
    names = data.attrs["regions"]
    return [labels("NoteInk", starts[: len(names)], np.full(len(names), n * (1 + _SCALE / 3)), names)]


def _scale(n: int) -> list[Mark]:
    """Draw both arms from -1 to 1 at the right, with their values."""
    left, right, middle, half = n * (1 + _SCALE * 0.25), n * (1 + _SCALE * 0.45), n / 2, n / 4
    steps = np.linspace(0, _LIMIT, 64)[:, None]
    at = [middle - half, middle - half / 2, middle, middle + half / 2, middle + half]
    return [
        replace(image("Counts", steps, (left, middle, right, middle + half), (0, _LIMIT)), token=_WARM),
        replace(image("ScaleBar", steps[::-1], (left, middle - half, right, middle), (0, _LIMIT)), token=_COOL),
        labels("ScaleNote", np.full(5, right), at, [tick(value) for value in (-1, -0.5, 0, 0.5, 1)]),
    ]


def _ticks(sites: Sequence[str], n: int, size: int) -> list[tuple[float, str]]:
    step = max(int(np.ceil(n * _ROW_PX / max(0.75 * size, 1))), 1)
    return [(n - i - 0.5, elided(str(sites[i]), 14)) for i in range(0, n, step)]
