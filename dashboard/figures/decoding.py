"""Can categories be read from the sites, from their matched units, and from one with what was learned on the other?"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, boxes, labels, line, points, segments
from dashboard.figures.scales import r_ticks
from dashboard.figures.wording import elided, fixed, plural
from dashboard.theme import CONTROL, network_token, region_token

TITLE = "Categories decoded"
HELP = """**What it shows.** The share of images whose category a linear classifier names rightly. Bars are the paper's
three conditions: (i) trained and tested within a population, on different images; (ii) trained on the matched units,
tested on the sites; (iii) trained on the sites, tested on the units. Whiskers are SDs over runs. Open dots are the same
on disjoint images: units and classifier chosen on some, tested on the others.

**How it is computed.** One linear support vector machine for each category against the rest, C chosen on random splits
of the training images, features z-scored for each population. In (ii) and (iii) the bars train and test on the same
images, which the match was chosen on too: read the open dots beside them. The SD over runs of (ii) and (iii) is that of
the choice of C only, and of the random units.

**Chance.** The dashed line is one over the number of categories. Grey: a random unit of the layer of each match, in
front of the network's bars; the pixel with the highest r for each site, a group of its own.

*Figure 5 of Arend et al. 2018.*"""
KEYS = (
    Key("box", "mean, same images", "network"),
    Key("interval", "SD over runs", "ink"),
    Key("open", "disjoint images", "ink"),
    Key("box", "random units of the same layers", "control"),
    Key("dash", "chance", "control"),
)
CONDITIONS = {"within": "i", "to_neural": "ii", "from_neural": "iii"}
SITES, PIXELS = "Sites", "Best pixels"
_GAP = 0.9
_TITLES = 0.1
"""Room above the bars for the names of their groups, as a share of the axis."""
_LEFT, _RIGHT, _INSET, _DOT = 0.42, 0.22, 0.13, 0.37
"""Edges of a bar and of the bar in front of it, and the place of its dot, beside it."""


def data(decodings: Mapping[str, xr.Dataset], region: str) -> pd.DataFrame:
    """Return one row a bar: the sites, each network's matched units in three conditions, then pixels.

    Parameters
    ----------
    decodings
        The analysis ``decoding`` of each run, by the network's title, of one recording. Sites and pixels are those of
        the first: all have the same.
    region
        A network without values for it is left out.

    Returns
    -------
    pd.DataFrame
        ``group`` (Sites, a network's title, Best pixels), ``condition`` (i, ii, iii), ``accuracy`` and ``sd`` on the
        same images, ``disjoint`` and ``disjoint_sd``, ``random`` and ``random_sd`` of the random units (NaN for sites
        and pixels), ``disjoint_random``, ``n_runs``, ``disjoint_runs``, ``token``. ``attrs``: region, chance,
        n_stimuli, n_sites, n_categories, status (why there are no values, or "").
    """
    there = {title: found.sel(region=region) for title, found in decodings.items() if region in found["region"].values}
    known = {title: found for title, found in there.items() if str(found["region_status"].values) == "ok"}
    rows = []
    for index, (title, found) in enumerate(known.items()):
        if index == 0:
            rows.append(_row(found, SITES, "within", "neural", "region"))
        token = network_token(index)
        rows += [_row(found, title, condition, "matched", token) for condition in CONDITIONS]
    for found in list(known.values())[:1]:
        rows += [_row(found, PIXELS, condition, "pixels", CONTROL) for condition in CONDITIONS]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    first = next(iter(known.values()), None)
    statuses = [str(found["region_status"].values) for found in there.values()]
    table.attrs = {
        "region": region,
        "chance": float("nan") if first is None else float(first.attrs["chance"]),
        "n_stimuli": 0 if first is None else int(first["n_stimuli"]),
        "n_sites": 0 if first is None else int(first["n_sites"]),
        "n_categories": 0 if first is None else first.sizes["category"],
        "status": "" if first is not None else (statuses or ["no network was decoded"])[0],
    }
    return table


def describe(data: pd.DataFrame, *, regions: Sequence[str] = (), width: int = 660) -> Drawing:
    """Describe the bars, group by group; ``width`` in px decides how much of a name fits."""
    region = region_token(data.attrs["region"], regions)
    group = data["group"].to_numpy(dtype=object)
    x = np.arange(len(data)) + _GAP * np.cumsum(np.r_[0, group[1:] != group[:-1]])[: len(data)]
    token = np.where(data["token"] == "region", region, data["token"]).astype(object)
    accuracy, sd, disjoint, disjoint_sd, random, random_sd = (data[name].to_numpy(dtype=float) for name in _VALUES)
    chance = data.attrs["chance"]
    highest = np.nanmax(np.r_[0.3, accuracy + np.nan_to_num(sd), disjoint + np.nan_to_num(disjoint_sd)])
    top = float(np.ceil((highest * 1.02 + 0.01) / 0.05) * 0.05)
    left, right = -0.8, max(len(x) and x[-1], 1) + 0.8
    centre = x + (_RIGHT - _LEFT) / 2
    titles, at = _groups(group, x)
    room = int(max((width - 70) / max(right - left, 1) * 3 / 6.4, 6))
    return Drawing(
        [
            boxes("NetworkBar", x - _LEFT, 0, x + _RIGHT, accuracy, token=token),
            boxes("BarInset", centre - _INSET, 0, centre + _INSET, random),
            segments("BarError", centre, accuracy - sd, centre, accuracy + sd),
            line("ChanceEdge", [left, right], [chance, chance]),
            segments(
                "HeldOutInterval", x + _DOT, disjoint - disjoint_sd, x + _DOT, disjoint + disjoint_sd, token=token
            ),
            points("NetworkLayerHeldOut", x + _DOT, disjoint, token=token),
            line("Zero", [left, right], [0, 0]),
            labels("PanelTitle", at, np.full(len(at), top), [elided(title, room) for title in titles]),
            boxes(
                "Hit",
                x - 0.5,
                0,
                x + 0.5,
                top,
                key=group,
                condition=data["condition"].to_numpy(dtype=object),
                accuracy=_written(accuracy, sd),
                disjoint=_written(disjoint, disjoint_sd),
                random=_written(random, random_sd),
            ),
        ],
        Axes(
            (left, right),
            (0, top * (1 + _TITLES)),
            [(float(place), f"({text})") for place, text in zip(centre, data["condition"], strict=True)],
            r_ticks(0, top, most=6),
            "Condition: (i) within, (ii) learned on units, tested on sites, (iii) the reverse",
            "Share of images decoded",
            left=52,
            right=12,
            top=6,
            bottom=44,
        ),
        {"region": region, "network": str(token[1]) if len(token) > 1 else "network1"},
        Hit("Hit", _TOOLTIP),
    )


def caption(data: pd.DataFrame) -> str:
    """Say what was decoded from what."""
    about = data.attrs
    if about["status"]:
        return about["status"]
    return (
        f"{plural(about['n_categories'], 'category').replace('categorys', 'categories')}, "
        f"{plural(about['n_stimuli'], 'image')}, {plural(about['n_sites'], about['region'] + ' site')}; "
        f"chance {fixed(about['chance'], 3)}"
    )


_VALUES = ("accuracy", "sd", "disjoint", "disjoint_sd", "random", "random_sd")
_COLUMNS = ("group", "condition", *_VALUES, "disjoint_random", "n_runs", "disjoint_runs", "token")
_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:260px;overflow-wrap:anywhere'>"
    "<b>@key</b> (@condition)<br>same images @accuracy<br>disjoint images @disjoint<br>random units @random</div>"
)


def _row(found: xr.Dataset, group: str, condition: str, population: str, token: str) -> tuple:
    one = found.sel(condition=condition)
    mean, sd, runs = (one[name] for name in ("mean_accuracy", "sd_accuracy", "accuracy"))
    is_network = population == "matched"

    def of(values: xr.DataArray, images: str, name: str) -> float:
        return float(values.sel(images=images, population=name))

    n_runs = [int(np.isfinite(runs.sel(images=images, population=population)).sum()) for images in _IMAGES]
    random = [of(values, "shared", "random") if is_network else np.nan for values in (mean, sd)]
    return (
        group,
        CONDITIONS[condition],
        *(of(values, images, population) for images in _IMAGES for values in (mean, sd)),
        *random,
        of(mean, "disjoint", "random") if is_network else np.nan,
        *n_runs,
        token,
    )


_IMAGES = ("shared", "disjoint")


def _groups(group: np.ndarray, x: np.ndarray) -> tuple[list[str], np.ndarray]:
    titles = list(dict.fromkeys(group.tolist()))
    return titles, np.array([x[group == title].mean() for title in titles])


def _written(values: np.ndarray, sd: np.ndarray) -> np.ndarray:
    return np.array([f"{fixed(a)} ± {fixed(b)}" for a, b in zip(values, sd, strict=True)], dtype=object)
