"""Which network, and which of its layers, has the single units most like the sites of a region."""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, boxes, labels, line, points, segments
from dashboard.figures.scales import r_limits, r_ticks
from dashboard.figures.wording import elided, fixed, plural, thousands
from dashboard.theme import CONTROL, network_token

TITLE = "Networks"
HELP = """**What it shows.** The neural correlation of each network with the region, and of each of its
layers: the median over sites of the best unit's r. Filled: selected and scored on all images, the number of the paper.
Open: selected on some images, scored on the others. Bars are 95% intervals over sites.

**How it is computed.** For every site the unit with the largest r is taken, in the whole network or in one layer; then
the median over the sites of the region. The interval resamples sites; the selected pairs are held fixed.

**Chance.** The grey zone ends at the median r that the best unit reaches when the images are shuffled. It is for
filled dots: a median over sites is judged against the median of the shuffles.

*Figures 3, 4 and S8 of Arend et al. 2018 rest on these numbers.*"""
KEYS = (
    Key("dot", "r", "network"),
    Key("open", "held-out r", "network"),
    Key("interval", "95% interval over sites", "network"),
    Key("box", "chance: median r with shuffled images", "band2"),
)
MOST_LAYERS = 16
MOST_NETWORKS = 12
"""More than so many are a long list: rows keep their height, and the axis stands on top."""
_ROW_PX, _EDGE_PX = 20, 46
_VALUES = ("correlation", "correlation_low", "correlation_high", "held_out", "held_out_low", "held_out_high")
_NAME_PX, _NUMBERS_PX = 6.6, 96


def data(
    correlations: Mapping[str, xr.Dataset],
    region: str,
    *,
    controls: Collection[str] = (),
    expanded: Collection[str] | None = None,
    n_sites: int | None = None,
) -> pd.DataFrame:
    """Return one row a network, and one a layer of the networks that are ``expanded``.

    Parameters
    ----------
    correlations
        ``neural_correlation`` of each run, by the network's title, in the order of the page.
    region
        A network that has no value for it is left out.
    controls
        Titles of networks that are untrained or random: drawn in grey.
    expanded
        Titles of networks whose layers are shown. By default the only network that is no control, if its layers are
        16 at most: with several networks layers fold away.
    n_sites
        Of the region, for the caption.

    Returns
    -------
    pd.DataFrame
        ``network``, ``layer`` ("" = the whole network), ``correlation`` and ``held_out`` with ``_low`` and ``_high``,
        ``chance_median``, ``is_control``, ``token``. ``attrs``: region, n_sites, n_correlation and n_held_out (the
        fewest and the most sites that have such a value, over the networks; () in runs that do not tell).
    """
    there = {title: found for title, found in correlations.items() if region in found["region"].values}
    trained = [title for title in there if title not in controls]
    if expanded is None:
        expanded = [title for title in trained if len(trained) == 1 and there[title].sizes["layer"] <= MOST_LAYERS + 1]
    parts = []
    for title, found in there.items():
        one = found.sel(region=region)
        frame = pd.DataFrame({name: one[name].values for name in (*_VALUES, "chance_median")})
        frame.insert(0, "layer", one["layer"].values.astype(object))
        frame.insert(0, "network", title)
        is_control = title in controls
        frame["is_control"] = is_control
        frame["token"] = CONTROL if is_control else network_token(trained.index(title))
        parts.append(frame if title in expanded else frame[frame["layer"] == ""])
    columns = ["network", "layer", *_VALUES, "chance_median", "is_control", "token"]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    table.attrs = {"region": region, "n_sites": n_sites}
    for name in ("n_correlation", "n_held_out"):
        known = [int(found[name].sel(region=region, layer="")) for found in there.values() if name in found]
        table.attrs[name] = (min(known), max(known)) if known else ()
    return table


def describe(data: pd.DataFrame, *, width: int = 940, selected: str | None = None) -> Drawing:
    """Describe the rows, first network on top; ``width`` in px decides the room for names, ``selected`` a title."""
    is_network = (data["layer"] == "").to_numpy()
    height = np.where(is_network, 1.5, 1.0)
    top = -0.9 - np.concatenate([[0.0], np.cumsum(height)])[:-1]
    y = top - height / 2
    bottom = min(float((top - height).min(initial=-0.9)) - 0.2, -6.0)
    values = {name: data[name].to_numpy(dtype=float) for name in (*_VALUES, "chance_median")}
    low, high = r_limits(*values.values(), least=0.3)
    names = np.where(is_network, data["network"], data["layer"])
    written = np.array([elided(str(name), 34) for name in names], dtype=object)
    start, end = _frame(low, high, written, width)
    token, keys = data["token"].to_numpy(dtype=object), data["network"].to_numpy(dtype=object)
    network, layer = ({"token": token[rows]} for rows in (is_network, ~is_network))
    r, held_out = values["correlation"], values["held_out"]
    numbers = np.array([f"{fixed(a)} · {fixed(b)}" for a, b in zip(r, held_out, strict=True)], dtype=object)
    chosen = is_network & (keys == selected)
    is_long = int(is_network.sum()) > MOST_NETWORKS
    spans = [(values[f"{name}_low"], values[f"{name}_high"]) for name in ("correlation", "held_out")]
    return Drawing(
        [
            boxes("Chance", 0, top - height, values["chance_median"], top),
            line("Zero", [0, 0], [bottom, 0]),
            boxes("SelectedRow", start, (top - height)[chosen], end, top[chosen]),
            segments("HeldOutInterval", spans[1][0], y, spans[1][1], y, token=token),
            segments("NetworkInterval", *_ends(spans[0], y, is_network), **network),
            segments("LayerInterval", *_ends(spans[0], y, ~is_network), **layer),
            points("NetworkHeldOut", held_out[is_network], y[is_network], **network),
            points("LayerHeldOut", held_out[~is_network], y[~is_network], **layer),
            points("NetworkMatch", r[is_network], y[is_network], **network),
            points("LayerMatch", r[~is_network], y[~is_network], **layer),
            labels("NetworkName", start, y[is_network], written[is_network]),
            labels("LayerName", start, y[~is_network], written[~is_network]),
            labels("Numbers", end, np.append(y, -0.45), np.append(numbers, "r · held-out r")),
            boxes("Hit", start, top - height, end, top, key=keys, name=names, numbers=numbers),
        ],
        Axes(
            (start, end),
            (bottom, 0),
            r_ticks(low, high, most=7),
            (),
            _label(data),
            grid="x",
            is_x_on_top=is_long,
            left=4,
            right=8,
            top=_EDGE_PX if is_long else 4,
            bottom=8 if is_long else 44,
            height=int(-bottom * _ROW_PX) + _EDGE_PX + 8 if is_long else None,
        ),
        {"network": str(token[0]) if len(token) else "network1"},
        Hit("Hit", _TOOLTIP),
    )


def caption(data: pd.DataFrame) -> str:
    """Say what a tap does."""
    return "tap a row to open it" if len(data) else f"no network was run on {data.attrs['region']} yet"


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:280px;overflow-wrap:anywhere'>"
    "<b>@name</b><br>r · held-out r: @numbers</div>"
)


def _ends(span: tuple[np.ndarray, np.ndarray], y: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    return span[0][rows], y[rows], span[1][rows], y[rows]


def _label(data: pd.DataFrame) -> str:
    about = data.attrs
    n_sites, known, held_out = (about[name] for name in ("n_sites", "n_correlation", "n_held_out"))
    over = f"{about['region']} sites" if n_sites is None else plural(n_sites, f"{about['region']} site")
    if n_sites is not None and known and known != (n_sites, n_sites):
        over = f"{_range(known)} of {over}"
    is_other = held_out and held_out != known and held_out[1] > 0
    return f"Neural correlation, median over {over}" + (f" (held-out: {_range(held_out)})" if is_other else "")


def _range(ends: tuple[int, int]) -> str:
    return "–".join(thousands(end) for end in dict.fromkeys(ends))


def _frame(low: float, high: float, written: np.ndarray, width: int) -> tuple[float, float]:
    """Make room for names to the left of 0 and for numbers to the right."""
    name_px = 28 + _NAME_PX * max((len(text) for text in written), default=8)
    per_px = (high - low) / max(width - name_px - _NUMBERS_PX - 12, 120)
    return low - name_px * per_px, high + _NUMBERS_PX * per_px
