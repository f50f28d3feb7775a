"""How many images does it take to choose the right unit? r on the images that chose, r on others, and their gap."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, Ticks, area, boxes, labels, line, nothing, points, segments
from dashboard.figures.scales import r_limits, r_ticks
from dashboard.figures.wording import fixed, known_of, plural, short, thousands
from dashboard.theme import region_token

TITLE = "How many images choose a unit"
HELP = """**What it shows.** Units are chosen on samples of images, from a few to half of all. Filled: r on the sample
that chose the unit. Open: r of the same unit on images that no sample holds. The thin line is their difference. Values
are medians over the sites of the region, means over random draws; bands are one SD over the draws.

**How it is computed.** In each draw the images are put in a random order, balanced by category and object where these
are known; the second half scores, samples are beginnings of the first half. The pin marks where the held-out curve
reaches 95% of its asymptote, by the fit r = a / (1 + (h / n)^c); where the curve has not levelled off there is none.

**Chance.** The dashed line is what the best of as many independent random units reaches on a sample (median, closed
form): a filled dot on it says nothing. Held-out r chose nothing on the images that score it: by chance it is 0.

*Figure S1 of Arend et al. 2018.*"""
KEYS = (
    Key("dot", "r on the images that chose"),
    Key("open", "held-out r"),
    Key("line", "their difference", "ink"),
    Key("bar", "SD over draws"),
    Key("dash", "chance: best of all units", "control"),
)
_NAMES = ("selected", "held_out", "rest", "gap")


def data(selection_curve: xr.Dataset, region: str) -> pd.DataFrame:
    """Return one row a sample size.

    Columns: ``size``; ``selected``, ``held_out``, ``rest`` (r on all images outside the sample), ``gap``, medians over
    sites, mean over draws, and their ``_sd``; ``same``, ``same_sd``, share of sites with the unit that all images
    choose; ``silent``, share of sites whose unit does not vary on the images that score; ``chance``. ``attrs``: region,
    n_sites, n_left_out, n_draws, n_stimuli, n_evaluation, n_units, stratified_by, asymptote, n_95, fit_status.
    """
    one = selection_curve.sel(region=region)
    columns = {"size": one["size"].values}
    for name in _NAMES:
        columns |= {name: one[f"{name}_median"].values, f"{name}_sd": one[f"{name}_sd"].values}
    columns |= {name: one[name].values for name in ("same", "same_sd", "silent", "chance")}
    frame = pd.DataFrame(columns)
    frame.attrs = {
        "region": region,
        "n_sites": int(one["n_sites"]),
        "n_left_out": int(one["n_left_out"]),
        "n_draws": one.sizes["draw"],
        **{name: selection_curve.attrs[name] for name in ("n_stimuli", "n_evaluation", "n_units", "stratified_by")},
        **{name: float(one[name]) for name in ("asymptote", "n_95")},
        "fit_status": str(one["fit_status"].values),
    }
    return frame


def describe(data: pd.DataFrame, *, regions: Sequence[str] = ()) -> Drawing:
    """Describe the curves over the logarithm of the sample size."""
    about = data.attrs
    x = np.log10(data["size"].to_numpy(dtype=float))
    value = {name: data[name].to_numpy(dtype=float) for name in data.columns if name != "size"}
    bands = [(value[n] - value[f"{n}_sd"], value[n] + value[f"{n}_sd"]) for n in ("selected", "held_out")]
    low, high = r_limits(*bands[0], *bands[1], value["gap"], value["chance"])
    end = x[-1] + 0.03 * (x[-1] - x[0])
    pin = np.log10(about["n_95"]) if np.isfinite(about["n_95"]) and x[0] <= np.log10(about["n_95"]) <= end else np.nan
    plateau = about["asymptote"] if np.isfinite(pin) else np.nan
    middle, note = (x[0] + end) / 2, f"{short(about['n_95'])} images: 95% of the asymptote"
    token, at = region_token(about["region"], regions), edges(x)
    return Drawing(
        [
            area("Quartiles", x, *bands[0]),
            area("NetworkQuartiles", x, *bands[1]),
            line("Zero", [x[0], end], [0, 0]),
            line("ChanceEdge", x, value["chance"]),
            segments("Identity", pin, plateau, end, plateau) if plateau == plateau else nothing("segments", "Identity"),
            segments("Pin", pin, low, pin, 0.95 * plateau) if pin == pin else nothing("segments", "Pin"),
            line("Slope", x, value["gap"]),
            line("HeldOutLine", x, value["held_out"]),
            line("MatchLine", x, value["selected"]),
            points("HeldOut", x, value["held_out"]),
            points("Match", x, value["selected"]),
            *(
                labels(role, pin, low + 0.2 * (high - low), note) if is_here else nothing("labels", role)
                for role, is_here in (("PinNoteRight", pin <= middle), ("PinNoteLeft", pin > middle))
            ),
            boxes(
                "Hit",
                at[:-1],
                low,
                at[1:],
                high,
                key=data["size"].to_numpy(),
                **{name: np.array([fixed(v) for v in value[name]], dtype=object) for name in (*_NAMES, "chance")},
            ),
        ],
        Axes(
            (x[0] - 0.02 * (x[-1] - x[0] + 0.1), end),
            (low, high),
            size_ticks(data["size"].to_numpy()),
            r_ticks(low, high),
            "Images that choose the unit, log scale",
            f"Median r over {plural(about['n_sites'], about['region'] + ' site')}",
            left=54,
            right=16,
            bottom=46,
        ),
        {"region": token, "network": token},
        Hit("Hit", _TOOLTIP),
    )


def caption(data: pd.DataFrame) -> str:
    """Say what was drawn, how often, and on how many images it is scored."""
    about = data.attrs
    by = f", balanced by {about['stratified_by']}" if about["stratified_by"] != "nothing" else ""
    total = about["n_sites"] + about["n_left_out"]
    fit = {
        "ok": "",
        "extrapolated": f"; 95% of the asymptote at some {short(about['n_95'])} images, by extrapolation",
    }.get(about["fit_status"], f"; 95% of an asymptote: {about['fit_status']}")
    return (
        f"{known_of(about['n_sites'], total, about['region'] + ' site')}, {about['n_draws']} draws{by}; held-out r on "
        f"{thousands(about['n_evaluation'])} of {plural(about['n_stimuli'], 'image')}{fit}"
    )


def size_ticks(sizes: np.ndarray) -> Ticks:
    """Return a tick at every sample size, on an axis of its logarithm."""
    return [(float(np.log10(size)), thousands(size)) for size in sizes]


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:260px'><b>@key images</b><br>"
    "r @selected, held-out @held_out<br>on all others @rest, chance @chance</div>"
)


def edges(x: np.ndarray) -> np.ndarray:
    """Halfway between neighbouring positions, and as far beyond the outer ones."""
    if len(x) == 1:
        return np.array([x[0] - 0.5, x[0] + 0.5])
    middle = (x[1:] + x[:-1]) / 2
    return np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]])
