"""How far does the best single unit of every site stay below all units of a layer, combined linearly?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, area, boxes, labels, line
from dashboard.figures.scales import r_limits, r_ticks
from dashboard.figures.wording import fixed, plural, signed
from dashboard.theme import region_token

TITLE = "Single unit against linear combination"
HELP = """**What it shows.** Every site of the region, sorted by how well all units of a layer predict it together: that
r (black), the r of its best single unit (coloured), and single less linear (tinted, around 0).

**How it is computed.** The linear predictor is partial least squares with 25 components, fitted on some images and
scored on the others. "As in the paper" the single unit is the best of the whole network, chosen and scored on all
images, and the linear one is held out: not like for like. "Alike" both are fitted or chosen on the same images and
scored on the same others: the unit within the linear predictor's layer on ten splits of 90 %, or in the whole network
on the run's own parts.

**Chance.** A held-out r chose nothing on its images, so its chance is 0. A single unit chosen and scored on the same
images has a chance of its own, which other figures show; here it is in favour of the single unit.

*Figure S4, right, of Arend et al. 2018.*"""
KEYS = (
    Key("line", "single unit"),
    Key("line", "linear combination", "ink"),
    Key("bar", "single less linear"),
)
COMPARISONS = {
    "paper": "as in the paper, not like for like",
    "layer": "alike: same 10 splits, unit of the layer",
    "network": "alike: same parts of the run, unit of the network",
}


def data(linear_metric: xr.Dataset, region: str, *, comparison: str = "paper") -> pd.DataFrame:
    """Return one row a site, the one that is predicted best linearly first.

    Parameters
    ----------
    linear_metric
        The analysis ``linear_metric`` of a run.
    region
        Of the recording.
    comparison
        "paper": the network's best unit on all stimuli against PLS on held-out ones; "layer": the layer's best unit
        against PLS on the same 10 splits; "network": the network's best unit against PLS on the run's own folds.

    Returns
    -------
    pd.DataFrame
        ``site``, ``single``, ``linear``, ``difference``. ``attrs``: region, comparison, layer, n_sites, n_stimuli,
        n_components, n_splits (that a held-out r is the mean of), n_single_higher, status.
    """
    found = linear_metric.sel(region=region) if region in linear_metric["region"].values else None
    sites = linear_metric["site"].values
    single, linear, n_splits = _values(linear_metric, comparison)
    if found is None or str(found["region_status"].values) != "ok":
        linear = np.full(len(sites), np.nan)
    own = np.isfinite(linear) & (linear_metric["site_region"].values == region)
    table = pd.DataFrame({"site": sites[own].astype(object), "single": single[own], "linear": linear[own]})
    table["difference"] = table["single"] - table["linear"]
    table = table.sort_values("linear", ascending=False, kind="stable", ignore_index=True)
    table.attrs = {
        "region": region,
        "comparison": comparison,
        "layer": "" if found is None else str(found["layer"].values),
        "n_sites": len(table),
        "n_stimuli": 0 if found is None else int(found["n_stimuli"]),
        "n_components": 0 if found is None else int(found["n_components"]),
        "n_splits": n_splits,
        "n_single_higher": int((table["difference"] > 0).sum()),
        "status": "no such region" if found is None else str(found["region_status"].values),
    }
    return table


def describe(data: pd.DataFrame, *, regions: Sequence[str] = (), width: int = 540) -> Drawing:
    """Describe the sites from left to right; ``width`` in px is that of the page."""
    n = len(data)
    x = np.arange(n, dtype=float)
    single, linear, difference = (data[name].to_numpy(dtype=float) for name in ("single", "linear", "difference"))
    low, high = r_limits(single, linear, difference, least=0.3)
    top = high + 0.13 * (high - low)
    strip = (high + top) / 2
    region = region_token(data.attrs["region"], regions)
    right = max(n - 1, 1) + 0.5
    median = float(np.nanmedian(difference)) if n else float("nan")
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500) if n / size <= 8 or size == 500)
    return Drawing(
        [
            area("Quartiles", x, np.minimum(difference, 0), np.maximum(difference, 0)),
            line("Zero", [-0.5, right], [0, 0]),
            line("HeldOutLine", x, difference),
            line("Step", x, linear),
            line("MatchLine", x, single),
            labels("LineNote", -0.5, strip, "single unit"),
            labels("NoteInk", -0.5 + 84 / max(width - 64, 100) * (right + 0.5), strip, "linear combination"),
            labels("NoteRight", right, strip, f"median difference {signed(median, 2)}"),
            boxes(
                "Hit",
                x - 0.5,
                low,
                x + 0.5,
                high,
                key=data["site"].to_numpy(dtype=object),
                single=_written(single),
                linear=_written(linear),
                difference=np.array([signed(value, 2) for value in difference], dtype=object),
            ),
        ],
        Axes(
            (-0.5, right),
            (low, top),
            [(float(at), str(at + 1)) for at in range(0, n, step)],
            r_ticks(low, high, most=6),
            "Site, by r of the linear combination",
            "r",
            left=52,
            right=12,
            bottom=44,
        ),
        {"region": region},
        Hit("Hit", _TOOLTIP.format(region=region)),
    )


def caption(data: pd.DataFrame) -> str:
    """Say what is compared, on which stimuli."""
    about = data.attrs
    if about["status"] != "ok":
        return about["status"]
    held_out = f"held out: mean of {about['n_splits']} {'splits' if about['comparison'] != 'network' else 'parts'}"
    return (
        f"{COMPARISONS[about['comparison']]}; PLS-{about['n_components']} of {about['layer']}, {held_out}; "
        f"{plural(about['n_stimuli'], 'image')}; single higher at {about['n_single_higher']} of "
        f"{plural(about['n_sites'], about['region'] + ' site')}"
    )


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:240px;overflow-wrap:anywhere'>"
    "<b>@key</b><br><span style='color:var(--us-{region})'>single unit</span> @single<br>linear @linear<br>"
    "difference @difference</div>"
)


def _values(found: xr.Dataset, comparison: str) -> tuple[np.ndarray, np.ndarray, int]:
    if comparison not in COMPARISONS:
        raise ValueError(f"comparison={comparison!r}: expected one of {', '.join(COMPARISONS)}.")
    name, over = ("fold_correlation", "fold") if comparison == "network" else ("correlation", "split")
    held_out = found[name].mean(over, skipna=True)
    single = found["single"] if comparison == "paper" else held_out.sel(predictor=f"{comparison}_unit")
    return single.values, held_out.sel(predictor="pls").values, found.sizes[over]


def _written(values: np.ndarray) -> np.ndarray:
    return np.array([fixed(value) for value in values], dtype=object)
