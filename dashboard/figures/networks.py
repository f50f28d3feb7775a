"""Do networks that classify better, or are larger, match a region better? A point a network."""

from typing import Final, Literal

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, boxes, labels, line, points, segments
from dashboard.figures.placement import apart
from dashboard.figures.scales import r_limits, r_ticks
from dashboard.figures.wording import elided, fixed, plural, short, tick
from dashboard.theme import CONTROL, network_token, region_token

TITLE = "Score against accuracy and size"
HELP = """**What it shows.** The neural correlation of each network with a region, the median over sites of the best
unit's r, against its ImageNet accuracy, its number of units or of parameters. Filled: selected and scored on all
images. Open: held out. Bars are 95% intervals over sites. Grey: not trained.

**How it is computed.** Accuracies are those that the networks' makers publish; a network without one is left out of
that panel, and counted. With four trained networks or more, Spearman's and Pearson's correlation stand in the frame,
each with its 95% interval; size enters as its logarithm. The paper draws figure 4 against top-5 accuracy and prints
top-1: they are two choices here, never one column.

**Chance.** The strip ends at the median r that the best unit reaches with shuffled images, for the network where it is
highest. It is for filled dots. More units mean a higher chance: see the score by number of candidate units.

*Figures 4 and S3 of Arend et al. 2018.*"""
KEYS = (
    Key("dot", "r", "network"),
    Key("open", "held-out r", "network"),
    Key("interval", "95% interval over sites", "network"),
    Key("dot", "not trained", "control"),
    Key("box", "chance: median r with shuffled images", "band2"),
)
Against = Literal["top1", "top5", "parameters", "units"]
LABELS: Final = {
    "top1": "ImageNet top-1 accuracy (%)",
    "top5": "ImageNet top-5 accuracy (%)",
    "parameters": "Parameters (log)",
    "units": "Units (log)",
}
_ON_LOG: Final = ("parameters", "units")
_VALUES = ("correlation", "correlation_low", "correlation_high", "held_out", "chance_median")
_NAME_HEIGHT = 0.06
MOST_NAMED = 8
"""Of more networks only the selected one has its name, its held-out r and its interval."""


def data(networks: xr.Dataset, region: str, *, against: Against = "top1") -> pd.DataFrame:
    """Return one row a network that has a value for the region and for ``against``.

    Columns: ``network`` (its title), ``top1``, ``top5`` (%), ``parameters``, ``units``, ``correlation`` with ``_low``
    and ``_high``, ``held_out``, ``chance_median``, ``is_control``, ``token``. ``attrs``: region, against, n_sites,
    n_left_out (networks without a value), n_networks, and ``association``: of each score and statistic the value and
    the ends of its interval.
    """
    one = networks.sel(region=region)
    frame = pd.DataFrame({"network": one["title"].values.astype(object)} | {name: one[name].values for name in LABELS})
    frame = frame.assign(**{name: one[name].values for name in _VALUES}, is_control=one["is_control"].values)
    trained = np.cumsum(~frame["is_control"].to_numpy()) - 1
    frame["token"] = [
        network_token(int(place), is_control=bool(control))
        for place, control in zip(trained, frame["is_control"], strict=True)
    ]
    known = frame[against].notna() & frame["correlation"].notna()
    about = one.sel(quantity=against)
    frame = frame[known].reset_index(drop=True)
    frame.attrs = {
        "region": region,
        "against": against,
        "n_sites": int(np.nan_to_num(one["n_sites"].item())),
        "n_left_out": int((~known).sum()),
        "n_networks": int(about["n_networks"].sel(score="correlation")),
        "association": {
            f"{score} {statistic}": tuple(
                float(about[f"association{end}"].sel(score=score, statistic=statistic)) for end in ("", "_low", "_high")
            )
            for score in ("correlation", "held_out")
            for statistic in ("spearman", "pearson")
        },
    }
    return frame


def describe(data: pd.DataFrame, *, selected: str | None = None, regions: tuple[str, ...] = ()) -> Drawing:
    """Describe the scatter of one region; ``selected`` is the title of a network."""
    about, against = data.attrs, data.attrs["against"]
    data = last(data, selected)
    values = {name: data[name].to_numpy(dtype=float) for name in _VALUES}
    x = data[against].to_numpy(dtype=float)
    x = np.log10(x) if against in _ON_LOG else x
    left, right, ticks = _x_axis(x, against)
    low, high = r_limits(*values.values(), least=0.3)
    notes = _notes(about)
    top = high + 0.09 * (high - low) * (len(notes) + 0.3)
    names, token = data["network"].to_numpy(dtype=object), data["token"].to_numpy(dtype=object)
    r, held_out = values["correlation"], values["held_out"]
    ends = values["correlation_low"], values["correlation_high"]
    at, told = np.flatnonzero(names == selected), named(names, selected)
    is_right = told & (x > left + 0.6 * (right - left))
    is_left = told & ~is_right
    y_names = np.where(told, r, np.nan)
    y_names[told] = apart(r[told], _NAME_HEIGHT * (top - low))
    written = np.array([elided(str(name), 42) for name in names], dtype=object)
    region = region_token(about["region"], regions)
    return Drawing(
        [
            boxes("Chance", left, 0, right, np.max(values["chance_median"], initial=-np.inf)),
            line("Zero", [left, right], [0, 0]),
            segments("IntervalY", x[told], ends[0][told], x[told], ends[1][told], token=token[told]),
            segments("ToHeldOut", x[told], held_out[told], x[told], r[told], token=token[told]),
            points("NetworkHeldOut", x[told], held_out[told], token=token[told]),
            points("NetworkMatch", x, r, token=token, key=names, text=_tooltips(data)),
            points("SelectionHalo", x[at], r[at]),
            points("Selection", x[at], r[at]),
            labels("PointName", x[is_left], y_names[is_left], written[is_left]),
            labels("PointNameLeft", x[is_right], y_names[is_right], written[is_right]),
            labels("Note", left, top - 0.085 * (high - low) * (np.arange(len(notes)) + 0.6), notes),
        ],
        Axes(
            (left, right),
            (low, top),
            ticks,
            [at for at in r_ticks(low, high, most=6) if at[0] <= high],
            LABELS[against],
            f"Neural correlation, {about['region']}",
            y_token=region,
            left=52,
            right=16,
            bottom=46,
        ),
        {"network": str(token[0]) if len(token) else CONTROL},
        Hit("NetworkMatch", _TOOLTIP),
    )


def caption(data: pd.DataFrame) -> str:
    """Say how many networks there are, how many are left out and why, and over how many sites."""
    about = data.attrs
    what = LABELS[about["against"]].split(" (")[0]
    told = [plural(len(data), "network"), plural(about["n_sites"], f"{about['region']} site")]
    left_out = about["n_left_out"]
    told += ["held-out r and interval of the selected one"] if len(data) > MOST_NAMED else []
    return ", ".join(told + ([f"{plural(left_out, 'network')} left out: {what} not known"] if left_out else []))


def last(data: pd.DataFrame, selected: str | None) -> pd.DataFrame:
    """Return the rows, of many networks the selected one at the end, where it lies above the others."""
    if len(data) <= MOST_NAMED:
        return data
    return data.iloc[np.argsort((data["network"] == selected).to_numpy(), kind="stable")]


def named(names: np.ndarray, selected: str | None) -> np.ndarray:
    """Return which networks are named: all, or of many the selected one."""
    return np.full(len(names), True) if len(names) <= MOST_NAMED else names == selected


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:280px;overflow-wrap:anywhere'>"
    "<b>@key</b><br>@text</div>"
)


def _x_axis(x: np.ndarray, against: str) -> tuple[float, float, list[tuple[float, str]]]:
    """Limits that leave room beside the points, and three to six ticks."""
    if not x.size:
        x = np.array([6.0, 7.0]) if against in _ON_LOG else np.array([50.0, 80.0])
    if against in _ON_LOG:
        left, right = np.floor((x.min() - 0.15) * 4) / 4, np.ceil((x.max() + 0.15) * 4) / 4
        at = [power + np.log10(digit) for power in range(int(left) - 1, int(right) + 2) for digit in (1, 2, 5)]
        ticks = [(float(value), short(round(10.0**value))) for value in at if left <= value <= right]
        return float(left), float(right), ticks if len(ticks) <= 6 else ticks[::3]
    room = max(0.25 * np.ptp(x), 4.0)
    left, right = np.floor((x.min() - room) / 5) * 5, min(np.ceil((x.max() + room) / 5) * 5, 100.0)
    step = 5 if right - left <= 30 else 10
    return (
        float(left),
        float(right),
        [(float(v), tick(v)) for v in np.arange(np.ceil(left / step) * step, right + 1, step)],
    )


def _notes(about: dict) -> list[str]:
    n = about["n_networks"]
    if not np.isfinite(about["association"]["correlation spearman"][0]):
        return [f"{plural(n, 'trained network')} with both values: a correlation takes four"]
    return [
        f"{label}, {plural(n, 'trained network')}: "
        + ", ".join(
            f"{statistic.capitalize()} {_interval(about['association'][f'{score} {statistic}'])}"
            for statistic in ("spearman", "pearson")
        )
        for score, label in (("correlation", "r"), ("held_out", "held-out r"))
        if np.isfinite(about["association"][f"{score} spearman"][0])
    ]


def _interval(told: tuple[float, float, float]) -> str:
    return f"{fixed(told[0])} ({fixed(told[1])} to {fixed(told[2])})" if np.isfinite(told[1]) else fixed(told[0])


def _tooltips(data: pd.DataFrame) -> np.ndarray:
    rows = zip(data["correlation"], data["held_out"], data["units"], data["parameters"], data["top1"], strict=True)
    return np.array(
        [
            f"r {fixed(r)}, held-out {fixed(out)}; {_count(units)} units, {_count(parameters)} parameters, "
            f"top-1 {fixed(top1, 1)}%"
            for r, out, units, parameters, top1 in rows
        ],
        dtype=object,
    )


def _count(value: float) -> str:
    return short(value) if np.isfinite(value) else "n/a"
