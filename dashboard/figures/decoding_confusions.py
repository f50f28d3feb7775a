"""Which categories are taken for which, by the sites and by the network?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, Mark, boxes, image, labels
from dashboard.figures.wording import elided, fixed, plural
from dashboard.theme import network_token, region_token

TITLE = "Categories taken for one another"
HELP = """**What it shows.** A row is the true category of the images, a column the one that the classifier names; rows
sum to one. The first panel is the sites within themselves, then each network: its matched units within themselves (i),
learned on the units and tested on the sites (ii), and the reverse (iii). The scale runs from 0 to 1 in every panel; an
empty cell never happened.

**How it is computed.** Predictions on the test images, as shares of each row, mean over the runs.

**Chance.** Without anything to decode every cell is one over the number of categories.

*Figure S5 of Arend et al. 2018.*"""
KEYS = (Key("bar", "share of the row, 0 to 1"),)
PANELS = {
    "within": "matched units (i)",
    "to_neural": "units → sites (ii)",
    "from_neural": "sites → units (iii)",
}
SITES = "sites (i)"
_GAP = 1.0
_ROW_GAP = 2.4


def data(decodings: Mapping[str, xr.Dataset], region: str, *, images: str = "shared") -> pd.DataFrame:
    """Return one row a cell of each panel.

    Parameters
    ----------
    decodings
        The analysis ``decoding`` of each run, by the network's title, of one recording.
    region
        A network without values for it is left out.
    images
        "shared" as in the paper, or "disjoint".

    Returns
    -------
    pd.DataFrame
        ``network`` ("" for the sites), ``panel``, ``category``, ``predicted``, ``share``, ``accuracy`` (of the panel).
        ``attrs``: region, images, n_stimuli, n_sites, categories.
    """
    known = {
        title: found.sel(region=region, images=images)
        for title, found in decodings.items()
        if region in found["region"].values and str(found["region_status"].sel(region=region).values) == "ok"
    }
    parts = []
    for index, (title, found) in enumerate(known.items()):
        if index == 0:
            parts.append(_panel(found, "", SITES, "within", "neural"))
        parts += [_panel(found, title, panel, condition, "matched") for condition, panel in PANELS.items()]
    first = next(iter(known.values()), None)
    columns = ["network", "panel", "category", "predicted", "share", "accuracy"]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    table.attrs = {
        "region": region,
        "images": images,
        "n_stimuli": 0 if first is None else int(first["n_stimuli"]),
        "n_sites": 0 if first is None else int(first["n_sites"]),
        "categories": [] if first is None else first["category"].values.tolist(),
    }
    return table


def describe(data: pd.DataFrame, *, regions: Sequence[str] = (), width: int = 940) -> Drawing:
    """Describe the panels, a row a network with the sites first; ``width`` in px decides how large a cell is."""
    names = data.attrs["categories"]
    k = max(len(names), 1)
    panels = list(data.groupby(["network", "panel"], sort=False)) if len(data) else []
    networks = [title for title in dict.fromkeys(data["network"]) if title]
    region = region_token(data.attrs["region"], regions)
    right, n_rows = 4 * k + 3 * _GAP + 1.6, max(len(networks), 1)
    top = n_rows * (k + _ROW_GAP)
    marks, titles, corners = [], [], []
    for (network, panel), cells in panels:
        row = networks.index(network) if network else 0
        column = 0 if not network else 1 + list(PANELS.values()).index(panel)
        left, upper = column * (k + _GAP), top - row * (k + _ROW_GAP) - _ROW_GAP
        shares = cells["share"].to_numpy(dtype=float).reshape(k, k)
        shown = image("Counts", np.where(shares > 0, shares, np.nan)[::-1], (left, upper - k, left + k, upper), (0, 1))
        marks.append(replace(shown, token=network_token(row) if network else region))
        written = f"{panel}: {fixed(float(cells['accuracy'].iloc[0]))}"
        titles.append((left, upper, written))
        corners.append((left, upper, network or "sites", panel, cells))
    return Drawing(
        [
            *(marks or [image("Counts", np.zeros((1, 1)), (0, 0, 1, 1), (0, 1))]),
            _edges(corners, k),
            labels("PanelTitle", *_columns([(x + k / 2, y, text) for x, y, text in titles])),
            labels(
                "PanelTitleBold",
                *_columns(
                    [
                        (k + _GAP, top - row * (k + _ROW_GAP) - 1.2, elided(title, 60))
                        for row, title in enumerate(networks)
                    ]
                ),
            ),
            *_scale(right, top, k, region),
            _hit(corners, k),
        ],
        Axes(
            (0, right),
            (0, top),
            [(column * (k + _GAP) + i + 0.5, str(i + 1)) for column in range(4) for i in range(k)] if names else [],
            [
                (top - row * (k + _ROW_GAP) - _ROW_GAP - i - 0.5, f"{elided(name, 14)}  {i + 1}")
                for row in range(n_rows)
                for i, name in enumerate(names)
            ],
            "Category named",
            "True category",
            grid="",
            tick_px=10,
            left=44 + int(6 * max((len(elided(name, 14)) + 3 for name in names), default=4)),
            right=6,
            top=4,
            bottom=44,
            height=_height(width, k, right, top, n_rows),
        ),
        {"region": region},
        Hit("Hit", _TOOLTIP),
    )


def caption(data: pd.DataFrame) -> str:
    """Say what the panels are over."""
    about = data.attrs
    images = "training and test share their images in (ii) and (iii)"
    return (
        f"{plural(about['n_stimuli'], 'image')}, {plural(about['n_sites'], about['region'] + ' site')}; "
        f"{images if about['images'] == 'shared' else 'disjoint images'}; number: share decoded"
    )


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:260px;overflow-wrap:anywhere'>"
    "<b>@key</b>, @panel<br>@category taken for @predicted: @share</div>"
)


def _panel(found: xr.Dataset, network: str, panel: str, condition: str, population: str) -> pd.DataFrame:
    one = found.sel(condition=condition, population=population)
    share = one["confusion"].transpose("category", "predicted")
    names = share["category"].values.astype(object)
    return pd.DataFrame(
        {
            "network": network,
            "panel": panel,
            "category": np.repeat(names, len(names)),
            "predicted": np.tile(names, len(names)),
            "share": share.values.ravel(),
            "accuracy": float(one["mean_accuracy"]),
        }
    )


def _columns(rows: list[tuple]) -> tuple[list, list, list]:
    x, y, text = zip(*rows, strict=True) if rows else ((), (), ())
    return list(x), list(y), list(text)


def _edges(corners: list[tuple], k: int) -> Mark:
    left = np.array([corner[0] for corner in corners])
    upper = np.array([corner[1] for corner in corners])
    return boxes("ImageEdge", left, upper - k, left + k, upper)


def _scale(right: float, top: float, k: int, region: str) -> tuple[Mark, Mark]:
    """The colours of the shares, 0 to 1."""
    low, x = top - _ROW_GAP - k, right - 1.5
    bar = image("ScaleBar", np.linspace(0, 1, 64)[:, None], (x, low, x + 0.4, low + k), (0, 1))
    written = labels("ScaleNote", [x + 0.4] * 3, low + k * np.array([0.03, 0.5, 0.97]), ["0", "0.5", "1"])
    return replace(bar, token=region), written


def _hit(corners: list[tuple], k: int) -> Mark:
    rows = [
        (left + j, upper - i - 1, network, panel, cell.category, cell.predicted, fixed(cell.share))
        for left, upper, network, panel, cells in corners
        for place, cell in enumerate(cells.itertuples(index=False))
        for i, j in [divmod(place, k)]
    ]
    columns = [np.array(column, dtype=object) for column in zip(*rows, strict=True)] if rows else [np.empty(0)] * 7
    left, bottom = (column.astype(float) for column in columns[:2])
    names = ("key", "panel", "category", "predicted", "share")
    return boxes("Hit", left, bottom, left + 1, bottom + 1, **dict(zip(names, columns[2:], strict=True)))


def _height(width: int, k: int, right: float, top: float, n_rows: int) -> int:
    cell = min(max((width - 130) / right, 8), 30)
    return int(cell * top + 48 + 4)
