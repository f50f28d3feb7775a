"""How much of a score is due to the number of units? Each network at fewer candidates, and all at the same number."""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, Mark, labels, line, points, segments
from dashboard.figures.placement import apart
from dashboard.figures.scales import r_limits, r_ticks
from dashboard.figures.wording import elided, fixed, known_of, short, thousands
from dashboard.theme import CONTROL, network_token

TITLE = "Score by number of candidate units"
HELP = """**What it shows.** The neural correlation of each network if only so many of its units, drawn at random, were
candidates: the median over sites of the expected best r. The dot is the whole network. The vertical line is at the
largest number that all networks have: there they are compared like for like.

**How it is computed.** The expectation over all draws is exact for the 100 best units of a site; the others are known
to a bin of 0.01, which matters only left of the line's bend (the error is in the csv). The thin line is the held-out r
of the unit that such a draw selects, where it is nearly always among the ranked ones.

**Chance.** The dashed line is the best of as many independent random units: the closed form, for this number of images.

*Not in Arend et al. 2018, where networks of different size are compared as they are.*"""
KEYS = (
    Key("line", "r, median of the expected best", "network"),
    Key("dot", "whole network", "network"),
    Key("open", "held-out r", "network"),
    Key("dash", "as many random units", "control"),
    Key("dash", "common number of units", "axis"),
)
_VALUES = ("correlation", "rounding", "held_out")
_NAME_HEIGHT = 0.07
_NAME_WIDTH = 0.42
"""Room to the right of the curves for names, as a share of the axis."""


def data(pool_sizes: Mapping[str, xr.Dataset], region: str, *, controls: Collection[str] = ()) -> pd.DataFrame:
    """Return one row a network and number of candidates.

    Parameters
    ----------
    pool_sizes
        ``pool_size`` of each run, by the network's title, in the order of the page.
    region
        A network that has no value for it is left out.
    controls
        Titles of networks that are untrained: drawn in grey.

    Returns
    -------
    pd.DataFrame
        ``network``, ``pool``, ``correlation``, ``rounding`` (its largest error), ``held_out``, ``random``,
        ``is_control``, ``token``. ``attrs``: region; ``common``, the number of units that all networks have;
        ``at_common``, of each network r and held-out r there (between the grid's numbers along log m);
        n_sites, n_matched.
    """
    there = {title: found for title, found in pool_sizes.items() if region in found["region"].values}
    trained = [title for title in there if title not in controls]
    parts = []
    for title, found in there.items():
        one = found.sel(region=region)
        columns = {name: one[f"median_{name}"].values for name in _VALUES} | {"random": one["random"].values}
        part = pd.DataFrame({"network": title, "pool": one["pool"].values, **columns})
        is_control = title in controls
        part["is_control"] = is_control
        part["token"] = CONTROL if is_control else network_token(trained.index(title))
        parts.append(part[part["correlation"].notna()])
    columns_ = ["network", "pool", *_VALUES, "random", "is_control", "token"]
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns_)
    largest = frame.groupby("network")["pool"].max()
    common = int(largest.min()) if len(largest) else 1
    frame.attrs = {"region": region, "common": common}
    frame.attrs["at_common"] = {title: _at(part, common) for title, part in frame.groupby("network", sort=False)}
    for name in ("n_sites", "n_matched"):
        frame.attrs[name] = max((int(found[name].sel(region=region)) for found in there.values()), default=0)
    return frame


def describe(data: pd.DataFrame, *, selected: str | None = None) -> Drawing:
    """Describe the curves; ``selected`` is the title of a network."""
    about = data.attrs
    ends = data.loc[data.groupby("network", sort=False)["pool"].idxmax()] if len(data) else data
    x, end_x = (np.log10(frame["pool"].to_numpy(dtype=float)) for frame in (data, ends))
    low, high = r_limits(*(data[name].to_numpy(dtype=float) for name in ("correlation", "held_out", "random")))
    right = float(np.ceil(x.max(initial=1.0)))
    r, held_out = (ends[name].to_numpy(dtype=float) for name in ("correlation", "held_out"))
    token = {"token": ends["token"].to_numpy(dtype=object)}
    names = ends["network"].to_numpy(dtype=object)
    widest = data[data["network"] == _widest(data)]
    common = np.log10(about["common"])
    at = np.flatnonzero(names == selected)
    has_several = len(ends) > 1
    return Drawing(
        [
            line("Zero", [0, right], [0, 0]),
            line("Identity", [common] * 2, [0, high] if has_several else [np.nan] * 2),
            line("ChanceEdge", np.log10(widest["pool"].to_numpy(dtype=float)), widest["random"]),
            _pieces(data, x, "held_out", "NetworkHeldOutLine"),
            _pieces(data, x, "correlation", "NetworkLine"),
            points("NetworkLayerHeldOut", end_x, held_out, **token),
            points("NetworkLayer", end_x, r, **token, key=names, text=_tooltips(ends, about)),
            points("SelectionHalo", end_x[at], r[at]),
            points("Selection", end_x[at], r[at]),
            labels(
                "PointName", end_x, apart(r, _NAME_HEIGHT * (high - low)), [elided(str(name), 34) for name in names]
            ),
            labels(
                "Note",
                0.05,
                high - 0.03 * (high - low) - 0.06 * (high - low) * np.arange(len(_notes(about))),
                _notes(about),
            ),
            labels("ChanceNoteTop", *_random_note(widest, right)),
        ],
        Axes(
            (0, right * (1 + _NAME_WIDTH)),
            (low, high),
            [(float(power), short(10.0**power)) for power in range(int(right) + 1)],
            r_ticks(low, high, most=6),
            "Candidate units, drawn at random (log)",
            f"Expected best r, median over {about['region']} sites",
            left=52,
            right=16,
            bottom=46,
        ),
        {"network": str(token["token"][0]) if len(ends) else "network1"},
        Hit("NetworkLayer", _TOOLTIP),
    )


def caption(data: pd.DataFrame) -> str:
    """Say how many sites there are, and how exact a line is."""
    about = data.attrs
    if not len(data):
        return f"no network has this analysis for {about['region']} yet"
    sites = known_of(about["n_matched"], about["n_sites"], f"{about['region']} site")
    at_common = data.loc[data["pool"] <= about["common"]].groupby("network")["rounding"].last().max()
    exact = f"error at {thousands(about['common'])} units under {max(at_common, 0.0001):.4f}"
    return (
        f"{sites}, {len(about['at_common'])} networks, {exact}" if len(about["at_common"]) > 1 else f"{sites}, {exact}"
    )


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:280px;overflow-wrap:anywhere'>"
    "<b>@key</b><br>@text</div>"
)


def _at(part: pd.DataFrame, pool: int) -> tuple[float, float]:
    """R and held-out r of a network at ``pool`` candidates, between the grid's numbers along log m."""
    x = np.log10(part["pool"].to_numpy(dtype=float))
    values = (np.interp(np.log10(pool), x, part[name].to_numpy(dtype=float)) for name in ("correlation", "held_out"))
    return next(values), next(values)


def _widest(data: pd.DataFrame) -> str:
    return str(data.loc[data["pool"].idxmax(), "network"]) if len(data) else ""


def _pieces(data: pd.DataFrame, x: np.ndarray, name: str, role: str) -> Mark:
    """All curves as straight pieces, so that any number of networks is one mark."""
    y, network = data[name].to_numpy(dtype=float), data["network"].to_numpy()
    start = np.flatnonzero((network[1:] == network[:-1]) & np.isfinite(y[1:]) & np.isfinite(y[:-1]))
    token = data["token"].to_numpy(dtype=object)[start]
    return segments(role, x[start], y[start], x[start + 1], y[start + 1], token=token)


def _notes(about: dict) -> list[str]:
    if len(about["at_common"]) < 2:
        return []
    rows = sorted(about["at_common"].items(), key=lambda item: -item[1][0])
    told = [f"{elided(str(title), 44)}: r {fixed(r)}, held-out {fixed(held_out)}" for title, (r, held_out) in rows]
    return [f"at {thousands(about['common'])} units", *told]


def _random_note(widest: pd.DataFrame, right: float) -> tuple[float, float, str]:
    if not len(widest):
        return 0.0, 0.0, ""
    place = len(widest) // 2
    row = widest.iloc[place]
    return float(np.log10(row["pool"])), float(row["random"]), "as many random units"


def _tooltips(ends: pd.DataFrame, about: dict) -> np.ndarray:
    rows = zip(ends["network"], ends["pool"], ends["correlation"], ends["held_out"], strict=True)
    return np.array(
        [
            f"{thousands(pool)} units: r {fixed(r)}, held-out {fixed(out)}; at {thousands(about['common'])}: "
            f"r {fixed(about['at_common'][name][0])}"
            for name, pool, r, out in rows
        ],
        dtype=object,
    )
