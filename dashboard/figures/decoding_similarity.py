"""Do the sites and the network take the same categories for one another?"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, boxes, labels, line, points, segments
from dashboard.figures.scales import r_limits, r_ticks
from dashboard.figures.wording import elided, fixed, plural
from dashboard.theme import CONTROL, network_token, region_token

TITLE = "Alike in what they confuse"
HELP = """**What it shows.** Pearson's r between two confusion matrices over the cells off their diagonals: that of the
sites within themselves, and that of the matched units within themselves (i), of a classifier learned on the units and
tested on the sites (ii), or the reverse (iii). Filled: training and test on the same images in (ii) and (iii). Open:
disjoint images, compared with the sites on disjoint images.

**How it is computed.** Confusions are means over runs, rows as shares. The p beside a row is for the filled dot.

**Chance.** p is the share of 10,000 orders of the categories, permuted in rows and columns together, that reach an r as
high. Grey: random units of the same layers, and the best pixels. In (ii) the sites' own responses are what is tested,
so a classifier that favours some categories resembles them without any match: compare with grey.

*Figure S6 of Arend et al. 2018.*"""
KEYS = (
    Key("dot", "same images", "network"),
    Key("open", "disjoint images", "network"),
    Key("dot", "random units", "control"),
)
CONDITIONS = {
    "within": "within (i)",
    "to_neural": "units → sites (ii)",
    "from_neural": "sites → units (iii)",
}
PIXELS = "Best pixels"
_NAME_PX, _NUMBERS_PX, _ROW_PX = 6.6, 110, 22


def data(decodings: Mapping[str, xr.Dataset], region: str) -> pd.DataFrame:
    """Return one row a condition of each network, then of the pixels.

    Parameters
    ----------
    decodings
        The analysis ``decoding`` of each run, by the network's title, of one recording.
    region
        A network without values for it is left out.

    Returns
    -------
    pd.DataFrame
        ``network`` (a title, or Best pixels), ``condition``, ``r`` and ``p`` on the same images, ``disjoint_r`` and
        ``disjoint_p``, ``random_r`` and ``random_p`` of random units on the same images, ``token``. ``attrs``: region,
        n_cells, n_stimuli, n_sites.
    """
    known = {
        title: found.sel(region=region)
        for title, found in decodings.items()
        if region in found["region"].values and str(found["region_status"].sel(region=region).values) == "ok"
    }
    rows = [
        (
            title,
            CONDITIONS[name],
            *_values(found, name, "matched"),
            *_values(found, name, "random")[:2],
            network_token(k),
        )
        for k, (title, found) in enumerate(known.items())
        for name in CONDITIONS
    ]
    first = next(iter(known.values()), None)
    if first is not None:
        rows += [(PIXELS, CONDITIONS[n], *_values(first, n, "pixels"), np.nan, np.nan, CONTROL) for n in CONDITIONS]
    columns = ["network", "condition", "r", "p", "disjoint_r", "disjoint_p", "random_r", "random_p", "token"]
    table = pd.DataFrame(rows, columns=columns)
    k = 0 if first is None else first.sizes["category"]
    table.attrs = {
        "region": region,
        "n_cells": k * (k - 1),
        "n_stimuli": 0 if first is None else int(first["n_stimuli"]),
        "n_sites": 0 if first is None else int(first["n_sites"]),
    }
    return table


def describe(data: pd.DataFrame, *, regions: Sequence[str] = (), width: int = 660) -> Drawing:
    """Describe the rows under the names of their networks; ``width`` in px decides the room for names."""
    network = data["network"].to_numpy(dtype=object)
    is_first = np.r_[True, network[1:] != network[:-1]][: len(data)]
    y = -np.arange(len(data)) - 1.15 * np.cumsum(is_first) - 0.7
    bottom = min(float(y.min(initial=0)) - 0.9, -4.0)
    r, disjoint, random = (data[name].to_numpy(dtype=float) for name in ("r", "disjoint_r", "random_r"))
    low, high = r_limits(r, disjoint, random, least=0.5)
    names = [elided(str(name), 34) for name in data["condition"]]
    name_px = 36 + _NAME_PX * max(map(len, [*names, "x" * 18]))
    per_px = (high - low) / max(width - name_px - _NUMBERS_PX, 120)
    start, end = low - name_px * per_px, high + _NUMBERS_PX * per_px
    token = data["token"].to_numpy(dtype=object)
    numbers = np.array([f"{fixed(a)} · {_p(p)}" for a, p in zip(r, data["p"], strict=True)], dtype=object)
    return Drawing(
        [
            line("Zero", [0, 0], [bottom, -0.9]),
            segments("HeldOutInterval", r, y, disjoint, y, token=token),
            points("ControlSite", random, y),
            points("LayerHeldOut", disjoint, y, token=token),
            points("LayerMatch", r, y, token=token),
            labels("NetworkName", start, y[is_first] + 1, [elided(str(name), 40) for name in network[is_first]]),
            labels("LayerName", start, y, names),
            labels("Numbers", end, np.append(y, -0.45), np.append(numbers, "r · p")),
            boxes(
                "Hit",
                start,
                y - 0.5,
                end,
                y + 0.5,
                key=network,
                condition=data["condition"].to_numpy(dtype=object),
                same=numbers,
                disjoint=np.array([f"{fixed(a)} · {_p(p)}" for a, p in _pairs(data, "disjoint")], dtype=object),
                random=np.array([f"{fixed(a)} · {_p(p)}" for a, p in _pairs(data, "random")], dtype=object),
            ),
        ],
        Axes(
            (start, end),
            (bottom, 0),
            r_ticks(low, high, most=7),
            (),
            "r of confusions with those of the sites",
            grid="x",
            left=4,
            right=8,
            top=4,
            bottom=44,
            height=int(-bottom * _ROW_PX + 48),
        ),
        {"region": region_token(data.attrs["region"], regions), "network": str(token[0]) if len(token) else "network1"},
        Hit("Hit", _TOOLTIP),
    )


def caption(data: pd.DataFrame) -> str:
    """Say over how many cells r is."""
    about = data.attrs
    sites = plural(about["n_sites"], f"{about['region']} site")
    return f"{plural(about['n_cells'], 'cell')} off the diagonal; {plural(about['n_stimuli'], 'image')}, {sites}"


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:260px;overflow-wrap:anywhere'>"
    "<b>@key</b>, @condition<br>r · p<br>same images @same<br>disjoint images @disjoint<br>random units @random</div>"
)


def _values(found: xr.Dataset, condition: str, population: str) -> list[float]:
    one = found.sel(condition=condition, population=population)
    return [float(one[name].sel(images=of)) for of in ("shared", "disjoint") for name in ("similarity", "similarity_p")]


def _pairs(data: pd.DataFrame, which: str) -> zip:
    return zip(data[f"{which}_r"], data[f"{which}_p"], strict=True)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else fixed(value, 3)
