"""How much is gained, network by network, by combining a layer's units linearly instead of taking the best one?"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, boxes, labels, line, segments
from dashboard.figures.scales import r_limits, r_ticks
from dashboard.figures.wording import elided, fixed, plural
from dashboard.theme import network_token, region_token

TITLE = "Single unit and linear metric"
HELP = """**What it shows.** The median r over the sites of the region: solid bars are single units, pale ones linear
combinations of all units of one layer. The first pair of a network is the paper's and not like for like; the groups
below it score every bar on the same held-out images.

**How it is computed.** Partial least squares with 25 components as in Brain-Score: ten random splits, 90% of the images
for training, median over sites, mean over splits; ridge regression with a penalty for each site by leave-one-out. The
single unit of a split is the one with the highest r on its training images. Whiskers are the SD over splits, divided by
the root of their number.

**Chance.** Held-out values chose nothing on their images: their chance is 0. The paper's single unit is chosen and
scored on the same images.

*Figure S4, left, of Arend et al. 2018.*"""
KEYS = (
    Key("box", "single unit", "network"),
    Key("bar", "linear combination", "network"),
    Key("interval", "SD over splits / √splits", "ink"),
)
_PREDICTORS = {
    "network_unit": "best unit of the network",
    "layer_unit": "best unit of the layer",
    "pls": "PLS of the layer",
    "ridge": "ridge of the layer",
}
_NAME_PX, _NUMBERS_PX, _ROW_PX = 6.4, 48, 19
_HALF = 0.36


def data(linear_metrics: Mapping[str, xr.Dataset], region: str) -> pd.DataFrame:
    """Return one row a bar, in three groups for each network.

    Parameters
    ----------
    linear_metrics
        The analysis ``linear_metric`` of each run, by the network's title.
    region
        A network without values for it is left out.

    Returns
    -------
    pd.DataFrame
        ``network``, ``layer``, ``group`` (what the bars of a group share), ``predictor``, ``score``, ``error`` (NaN for
        the paper's single unit), ``is_single``, ``token``. ``attrs``: region, n_sites, n_stimuli (of the first).
    """
    known = {
        title: found.sel(region=region)
        for title, found in linear_metrics.items()
        if region in found["region"].values and str(found["region_status"].sel(region=region).values) == "ok"
    }
    rows = [row for index, (title, found) in enumerate(known.items()) for row in _rows(title, found, region, index)]
    columns = ["network", "layer", "group", "predictor", "score", "error", "is_single", "token"]
    table = pd.DataFrame(rows, columns=columns)
    first = next(iter(known.values()), None)
    table.attrs = {
        "region": region,
        "n_sites": 0 if first is None else int(first["n_sites"]),
        "n_stimuli": 0 if first is None else int(first["n_stimuli"]),
    }
    return table


def describe(data: pd.DataFrame, *, regions: Sequence[str] = (), width: int = 660) -> Drawing:
    """Describe the bars under the names of their networks; ``width`` in px decides the room for names."""
    network, group = (data[name].to_numpy(dtype=object) for name in ("network", "group"))
    new_network = np.r_[True, network[1:] != network[:-1]][: len(data)]
    new_group = np.r_[True, group[1:] != group[:-1]][: len(data)] | new_network
    y = -np.arange(len(data)) - 1.1 * np.cumsum(new_group) - 1.6 * np.cumsum(new_network) + 0.1
    bottom = min(float(y.min(initial=0)) - 0.8, -4.0)
    score, error = (data[name].to_numpy(dtype=float) for name in ("score", "error"))
    low, high = r_limits(score, score + np.nan_to_num(error), least=0.3)
    names = data["predictor"].to_numpy(dtype=object)
    name_px = 40 + _NAME_PX * max(map(len, [*names, "x" * 24]))
    per_px = (high - low) / max(width - name_px - _NUMBERS_PX, 120)
    start, end = low - name_px * per_px, high + _NUMBERS_PX * per_px
    token, is_single = data["token"].to_numpy(dtype=object), data["is_single"].to_numpy(dtype=bool)
    numbers = np.array([fixed(value) for value in score], dtype=object)
    about = [f"{title} · {layer}" for title, layer in zip(network, data["layer"], strict=True)]
    written = np.array([elided(text, 60) for text in about], dtype=object)
    return Drawing(
        [
            boxes(
                "NetworkBar",
                0,
                (y - _HALF)[is_single],
                score[is_single],
                (y + _HALF)[is_single],
                token=token[is_single],
            ),
            boxes(
                "NetworkBarFaint",
                0,
                (y - _HALF)[~is_single],
                score[~is_single],
                (y + _HALF)[~is_single],
                token=token[~is_single],
            ),
            segments("BarError", score - error, y, score + error, y),
            line("Zero", [0, 0], [bottom, 0]),
            labels("NetworkName", start, y[new_network] + 2.2, written[new_network]),
            labels("BarHeading", start + 8 * per_px, y[new_group] + 1, group[new_group]),
            labels("LayerName", start + 4 * per_px, y, names),
            labels("Numbers", end, y, numbers),
            boxes("Hit", start, y - 0.5, end, y + 0.5, key=network, name=names, group=group, score=_with_error(data)),
        ],
        Axes(
            (start, end),
            (bottom, 0),
            r_ticks(low, high, most=7),
            (),
            f"Median r over {plural(data.attrs['n_sites'], data.attrs['region'] + ' site')}",
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
    """Say over what."""
    if not len(data):
        return f"no network has this analysis for {data.attrs['region']} yet"
    return f"{plural(data.attrs['n_stimuli'], 'image')}; the layer is the region's best on all images"


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:280px;overflow-wrap:anywhere'>"
    "<b>@key</b>, @name<br>@group<br>r @score</div>"
)


def _rows(title: str, found: xr.Dataset, region: str, index: int) -> list[tuple]:
    own = found["site_region"].values == region
    about = (title, str(found["layer"].values))
    token, n_splits, n_folds = network_token(index), found.sizes["split"], found.sizes["fold"]
    single, pls = float(np.nanmedian(found["single"].values[own])), found.sel(predictor="pls")
    paper = "as in the paper, not like for like"
    rows: list[tuple] = [
        (*about, paper, "best unit of the network, all images", single, np.nan, True, token),
        (*about, paper, "PLS of the layer, held out", float(pls["score"]), float(pls["error"]), False, token),
    ]
    alike = {
        "": f"held out, the same {n_splits} splits of 90%",
        "fold_": f"held out, the same {n_folds} parts of the run",
    }
    for prefix, group in alike.items():
        for name, written in _PREDICTORS.items():
            values = [float(found[f"{prefix}{what}"].sel(predictor=name)) for what in ("score", "error")]
            if np.isfinite(values[0]):
                rows.append((*about, group, written, *values, name.endswith("unit"), token))
    return rows


def _with_error(data: pd.DataFrame) -> np.ndarray:
    written = [
        fixed(score, 3) + (f" ± {fixed(error, 3)}" if np.isfinite(error) else "")
        for score, error in zip(data["score"], data["error"], strict=True)
    ]
    return np.array(written, dtype=object)
