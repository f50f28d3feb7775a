"""Does a network need all of its layers to match a region, or does one layer do as well?"""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.layers import in_order, tokens_of
from dashboard.figures.marks import Axes, Drawing, Hit, boxes, labels, line, points, segments
from dashboard.figures.scales import r_limits, r_ticks
from dashboard.figures.wording import elided, fixed, plural

TITLE = "Whole network and best layer"
HELP = """**What it shows.** The median over sites of the best unit's r: of all units of the network (pale bar), and of
the units of its best layer (solid bar). Open dots: held-out r of the same two. Lines are 95% intervals over sites.

**How it is computed.** The best layer is the one of highest median r. For the solid bar it was chosen on the data that
score it, which is optimistic. Its open dot is not: the unit was chosen on other images, the layer on the other sites
of the region.

**Chance.** The dashed marks are the median of the best r among as many independent random units, in closed form. They
are for the bars; the held-out r of random units lies about 0.

*Figure S8 of Arend et al. 2018.*"""
KEYS = (
    Key("bar", "whole network"),
    Key("dot", "best layer"),
    Key("open", "held-out"),
    Key("interval", "95% over sites"),
    Key("dash", "random units", "control"),
)
KINDS = ("whole network", "best layer")
_VALUES = ("correlation", "held_out", "control")
_INTERVALS = ("correlation_low", "correlation_high", "held_out_low", "held_out_high")


def data(
    layer_summaries: Mapping[str, xr.Dataset], neural_correlations: Mapping[str, xr.Dataset] | None = None
) -> pd.DataFrame:
    """Return two rows a network and region: the whole network, and its best layer.

    Parameters
    ----------
    layer_summaries
        ``layer_summary`` of each run, by the network's title, in the order of the page.
    neural_correlations
        For the intervals; NaN without. They resample sites, the layer held fixed.

    Returns
    -------
    pd.DataFrame
        ``network``, ``region``, ``kind`` (whole network or best layer), ``layer``, ``correlation``, ``held_out``,
        ``control``, ``held_out_same_sites`` (of a best layer: its held-out median where the layer was chosen on all
        sites), ``correlation_low`` and ``_high``, ``held_out_low`` and ``_high``, ``n_sites``, ``n_matched``.
        ``attrs``: regions.
    """
    rows = []
    for network, found in layer_summaries.items():
        intervals = (neural_correlations or {}).get(network)
        for region in in_order(found["region"].values):
            one = found.sel(region=region)
            for kind, prefix in zip(KINDS, ("network", "best"), strict=True):
                layer = "" if kind == KINDS[0] else str(one["best_layer"].values)
                row: dict[str, object] = {"network": network, "region": region, "kind": kind, "layer": layer}
                row |= {name: float(one[f"{prefix}_{name}"]) for name in _VALUES}
                row["held_out_same_sites"] = row["held_out"]
                if layer:
                    row["held_out"] = float(one["others_held_out"])
                row |= _interval(intervals, region, layer)
                row["n_sites"] = int(one["n_sites"])
                row["n_matched"] = int(one["n_sites"] - one["n_left_out"])
                rows.append(row)
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    frame.attrs = {"regions": in_order(frame["region"]) if rows else []}
    return frame


def describe(data: pd.DataFrame, *, regions: Collection[str] = (), width: int = 540) -> Drawing:
    """Describe the bars, two for each network and region; ``width`` in px decides how long names can be."""
    tokens = tokens_of(data.attrs["regions"], list(regions))
    x = _places(data)
    value = {name: data[name].to_numpy(dtype=float) for name in (*_VALUES, *_INTERVALS)}
    is_whole = (data["kind"] == KINDS[0]).to_numpy()
    token = data["region"].map(tokens).to_numpy(dtype=object)
    low, high = r_limits(*value.values(), room=0.12)
    above = np.fmax(value["correlation"], value["correlation_high"])
    right = max(float(x.max(initial=0)) + 1, 1.0)
    bars = [
        boxes(role, x[rows] - _HALF, 0, x[rows] + _HALF, value["correlation"][rows], token=token[rows])
        for role, rows in (("Units", is_whole), ("Match", ~is_whole))
    ]
    return Drawing(
        [
            *bars,
            line("Zero", [-1, right], [0, 0]),
            segments("ChanceEdge", x - _HALF, value["control"], x + _HALF, value["control"]),
            segments(
                "MatchToHeldOut", x + _ASIDE, value["held_out_low"], x + _ASIDE, value["held_out_high"], token=token
            ),
            segments("Pin", x - _ASIDE, value["correlation_low"], x - _ASIDE, value["correlation_high"]),
            points("HeldOut", x + _ASIDE, value["held_out"], token=token),
            labels("Note", x - _HALF, above + 0.04 * (high - low), [fixed(r) for r in value["correlation"]]),
            boxes("Hit", x - 0.5, low, x + 0.5, high, key=data["network"].to_numpy(dtype=object), told=_told(data)),
        ],
        Axes(
            (-1, right),
            (low, high),
            _ticks(data, x, width),
            r_ticks(low, high),
            None,
            "Median r over sites",
            left=54,
            right=12,
            bottom=44,
        ),
        {"region": next(iter(tokens.values()), "V4")},
        Hit("Hit", _TOOLTIP),
    )


def caption(data: pd.DataFrame) -> str:
    """Say over how many sites the medians are, and that the solid bar is optimistic."""
    sites = data.drop_duplicates("region").set_index("region")["n_matched"] if len(data) else {}
    told = " and ".join(plural(int(n), f"{region} site") for region, n in dict(sites).items())
    return f"median over {told}; the best layer was chosen on the data that its bar scores"


_COLUMNS = ["network", "region", "kind", "layer", *_VALUES, "held_out_same_sites", *_INTERVALS, "n_sites", "n_matched"]
_HALF, _ASIDE, _LETTER_PX = 0.42, 0.2, 6.2
_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:280px;overflow-wrap:anywhere'>"
    "<b>@key</b><br>@told</div>"
)


def _interval(intervals: xr.Dataset | None, region: str, layer: str) -> dict[str, float]:
    if intervals is None or region not in intervals["region"].values:
        return dict.fromkeys(_INTERVALS, np.nan)
    one = intervals.sel(region=region, layer=layer)
    found = {name: float(one[name]) for name in _INTERVALS}
    if layer:  # the interval is of the median in that layer, not of the one in layers chosen on other sites
        found |= dict.fromkeys(_INTERVALS[2:], np.nan)
    return found


def _places(data: pd.DataFrame) -> np.ndarray:
    """Put the two bars of a region side by side, regions apart, networks further apart."""
    is_network, is_region = (~data.duplicated(subset) for subset in (["network"], ["network", "region"]))
    gaps = 0.6 * np.cumsum(is_region) + 0.8 * np.cumsum(is_network) if len(data) else np.empty(0)
    return np.arange(len(data)) + np.asarray(gaps, dtype=float) - 1.4


def _ticks(data: pd.DataFrame, x: np.ndarray, width: int) -> list[tuple[float, str]]:
    """Name region and layer below the bars of a single network; of several, network and region below each pair."""
    if len(set(data["network"])) > 1:
        names = [f"{network}, {region}" for network, region in zip(data["network"], data["region"], strict=True)][::2]
        at = (x[::2] + x[1::2]) / 2
    else:
        rows = zip(data["region"], data["kind"], data["layer"], strict=True)
        names, at = [f"{region}, all" if kind == KINDS[0] else layer for region, kind, layer in rows], x
    room = float(np.diff(at).min(initial=np.inf)) / (float(x.max(initial=0)) + 2) * (width - 66)
    most = int(np.clip(room / _LETTER_PX - 1, 6, 30))
    return [(float(place), elided(name, most)) for place, name in zip(at, names, strict=True)]


def _told(data: pd.DataFrame) -> np.ndarray:
    rows = zip(*(data[name] for name in ("region", "kind", "layer", "correlation", "held_out", "control")), strict=True)
    return np.array(
        [
            f"{region}, {kind} {layer}: r {fixed(r)}, held-out {fixed(out)}, random {fixed(control)}"
            for region, kind, layer, r, out, control in rows
        ],
        dtype=object,
    )
