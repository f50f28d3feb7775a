"""Which feature maps of a layer have a site that responds like one of their units? Best r of each map, sorted."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.feature_maps import counts_ticks
from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, Mark, boxes, labels, line, nothing, points, segments
from dashboard.figures.scales import r_limits, r_ticks
from dashboard.figures.wording import fixed, known_of, plural, thousands
from dashboard.theme import region_token

TITLE = "Validated and unvalidated feature maps"
HELP = """**What it shows.** A dot is a feature map of the region's layer, at the best r that any of its units has with
any site, the best map first. Maps left of the rule are validated, those right of it are not.

**How it is computed.** Pearson's r of every position of the map with every site, over all images; the largest wins.
There is no held-out value: map, position and site are chosen on all images, for which the threshold pays.

**Chance.** The dashed line is corrected for all maps, positions and sites: with shuffled images even one map lies above
it in 5% of cases. It is the larger one of two: the closed form for independent random units, and a Gumbel
distribution fitted to the best r in the layer with shuffled sites.

*Figure S13, left, of Arend et al. 2018, which had no threshold.*"""


def data(validated_maps: xr.Dataset, region: str) -> pd.DataFrame:
    """Return one row a feature map of the region's layer, the best first; maps without a unit come last.

    Columns: ``place`` (1 = best), ``channel``, ``best`` r, ``best_site``, ``y``, ``x``, ``p_value`` (corrected),
    ``status``, and ``above_0.1`` ... (sites with an r above it). ``attrs``: region, layer, level, threshold,
    threshold_closed_form, threshold_shuffles, n_sites, n_matched, n_maps, n_validated, n_shuffles, thresholds.
    """
    maps = validated_maps.isel(feature_map=np.flatnonzero(validated_maps["map_region"].values == region))
    names = ("channel", "best", "best_site", "y", "x", "p_value", "status")
    frame = pd.DataFrame({name: maps[name].values for name in names})
    thresholds = validated_maps["threshold_of_r"].values.tolist()
    above = maps["n_above"].transpose("feature_map", "threshold_of_r").values
    for threshold, column in zip(thresholds, above.T, strict=True):
        frame[f"above_{threshold:g}"] = column
    frame = frame.sort_values("best", ascending=False, kind="stable", na_position="last", ignore_index=True)
    frame.insert(0, "place", np.arange(len(frame)) + 1)
    one = validated_maps.sel(region=region)
    frame.attrs = {
        "region": region,
        "layer": str(one["layer"].values),
        "level": validated_maps.attrs["level"],
        **{name: float(one[name]) for name in ("threshold", "threshold_closed_form", "threshold_shuffles")},
        **{name: int(one[name]) for name in ("n_sites", "n_maps", "n_validated", "n_shuffles")},
        "n_matched": int(one["n_sites"] - one["n_left_out"]),
        "thresholds": thresholds,
    }
    return frame


def describe(data: pd.DataFrame, *, channel: int | None = None, regions: Sequence[str] = ()) -> Drawing:
    """Describe the sorted maps, the threshold and the rule; ``channel`` is the selected map."""
    about = data.attrs
    x, best = data["place"].to_numpy(dtype=float), data["best"].to_numpy(dtype=float)
    limit, n_maps = about["threshold"], len(data)
    low, high = r_limits(best, limit, room=0.1)
    start, end = frame_of(n_maps)
    rule = about["n_validated"] + 0.5
    at = np.flatnonzero(data["channel"].to_numpy() == channel)
    is_valid = (data["status"] == "validated").to_numpy()
    return Drawing(
        [
            boxes("Chance", start, 0, end, limit),
            line("Zero", [start, end, np.nan, rule, rule], [0, 0, np.nan, 0, 0.97 * high]),
            line("ChanceEdge", [start, end], [limit, limit]),
            points("MatchDense", x[is_valid], best[is_valid]),
            points("Control", x[~is_valid], best[~is_valid]),
            segments("MatchStem", x[is_valid], limit, x[is_valid], best[is_valid]),
            points("SelectionHalo", x[at], best[at]),
            points("Selection", x[at], best[at]),
            labels("PointName", x[at], best[at] + 0.05 * (high - low), [f"map {channel}"] * len(at)),
            *_notes(data, rule, 0.93 * high),
            labels("Note", start + 0.01 * (end - start), limit - 0.045 * (high - low), _said(data)),
            boxes("Hit", x - 0.5, low, x + 0.5, high, key=data["channel"].to_numpy(), told=_told(data)),
        ],
        Axes(
            (start, end),
            (low, high),
            place_ticks(n_maps),
            r_ticks(low, high),
            f"Feature map of {about['layer']}, by best r",
            "Best r with any site",
            left=60,
            right=12,
            bottom=44,
        ),
        {"region": region_token(about["region"], regions)},
        Hit("Hit", TOOLTIP),
    )


def keys(data: pd.DataFrame) -> list[Key]:
    """Return the keys."""
    limit = f"chance for the best of all maps, positions and sites: {fixed(data.attrs['threshold'])}"
    return [Key("dot", "validated"), Key("dot", "not validated", "control"), Key("dash", limit, "control")]


def caption(data: pd.DataFrame) -> str:
    """Say how many maps are validated by how many sites."""
    about = data.attrs
    sites = known_of(about["n_matched"], about["n_sites"], f"{about['region']} site")
    validated = f"{thousands(about['n_validated'])} of {plural(about['n_maps'], 'map')} validated by {sites}"
    return f"{validated}, p < {about['level']:g} over all of them"


def frame_of(n_maps: int) -> tuple[float, float]:
    """Return the limits of the axis of maps, shared with the count of sites."""
    return 0.5 - 0.015 * n_maps, n_maps + 0.5


def place_ticks(n_maps: int) -> list[tuple[float, str]]:
    """Return ticks at the first map and at round places."""
    ticks = [tick for tick in counts_ticks(n_maps, 7) if tick[0] > 1]
    return [(1.0, "1"), *((at, thousands(at)) for at, _ in ticks)]


_NOTE_SHARE = 0.25
"""Room for a note, as a share of the frame."""
TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:260px'><b>map @key</b><br>@told</div>"
)


def _notes(data: pd.DataFrame, rule: float, y: float) -> list[Mark]:
    """Write the counts at both sides of the rule, or together where one side has no room."""
    validated, others = f"{plural(data.attrs['n_validated'], 'map')} validated", _others(data)
    share = rule / max(len(data), 1)
    if share > 1 - _NOTE_SHARE:
        return [labels("PinNoteLeft", rule, y, f"{validated}, {others}"), nothing("labels", "PinNoteRight")]
    if share < _NOTE_SHARE:
        return [nothing("labels", "PinNoteLeft"), labels("PinNoteRight", rule, y, f"{validated}, {others}")]
    return [labels("PinNoteLeft", rule, y, validated), labels("PinNoteRight", rule, y, others)]


def _others(data: pd.DataFrame) -> str:
    counts = data["status"].value_counts()
    none = counts.get("no unit", 0)
    return f"{thousands(counts.get('unvalidated', 0))} not" + (f", {thousands(none)} without a unit" if none else "")


def _said(data: pd.DataFrame) -> str:
    about = data.attrs
    if np.isnan(about["threshold_shuffles"]):
        return "chance, closed form: too few shuffles"
    larger = "shuffles" if about["threshold_shuffles"] >= about["threshold_closed_form"] else "closed form"
    return f"chance over maps, positions and sites ({larger})"


def _told(data: pd.DataFrame) -> np.ndarray:
    rows = zip(*(data[name] for name in ("best", "best_site", "y", "x", "p_value", "status")), strict=True)
    return np.array(
        [
            f"{status}: r {fixed(r)} with {site} at ({y}, {x}), corrected p {p:.1g}" if site else status
            for r, site, y, x, p, status in rows
        ],
        dtype=object,
    )
