"""How certain is each site's r? Sites sorted by r, with 95 % intervals over the images, under their noise ceilings."""

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import chance
from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, Mark, boxes, labels, line, points, segments
from dashboard.figures.placement import name_ticks
from dashboard.figures.scales import r_ticks
from dashboard.figures.wording import fixed, known_of, plural, thousands
from dashboard.theme import CONTROL

TITLE = "How certain each site is"
HELP = """**What it shows.** Every site of the region, the best match first: r (filled) and held-out r (open), each with
its 95% interval over images, and the noise ceiling. Grey sites are unreliable: most of their variance is noise.

**How it is computed.** Images are drawn again 2,000 times, within objects or categories where these are known, and r of
the same pair is computed on each draw. The pair is held fixed: choosing again on every draw would be biased upward.
The line of text gives the median over the sites; there the sites are drawn again as well.

**Chance.** The pale strip is for filled dots: what the best of all units reaches with shuffled images, in 95% of
shuffles. The darker strip is for open dots. An interval of a filled dot says how far that r moves with other images;
how much of it is luck of the choice is what the open dot tells.

*Not in Arend et al. 2018.*"""
KEYS = (
    Key("dot", "r", "network"),
    Key("open", "held-out r", "network"),
    Key("interval", "95% interval over images", "network"),
    Key("dot", "unreliable site", "control"),
    Key("line", "noise ceiling", "text3"),
    Key("box", "chance, r", "band"),
    Key("box", "chance, held-out", "band2"),
)
_ASIDE = 0.2
_NOTES_TO = 1.27
_COLUMNS = (
    "correlation",
    "correlation_low",
    "correlation_high",
    "held_out",
    "held_out_low",
    "held_out_high",
    "reliability",
    "noise_ceiling",
    "is_unreliable",
    "correlation_status",
    "held_out_status",
)


def data(intervals: xr.Dataset, null: xr.Dataset, region: str) -> pd.DataFrame:
    """Return one row a site of the region, best r first.

    Columns: ``site``, the site's variables of the analysis, ``chance`` and ``chance_held_out`` (95th percentiles, the
    same in every row). ``attrs``: region, n_stimuli, n_resamples, strata, reliable_from, ceiling_method, and for each
    score ``median_SCORE``: median over sites, low and high with images and sites drawn again, number of sites.
    """
    here = intervals.isel(site=np.flatnonzero(intervals["region_of_site"].values == region))
    frame = pd.DataFrame({"site": here["site"].values.astype(object)} | {name: here[name].values for name in _COLUMNS})
    frame["chance"], frame["chance_held_out"] = chance.best_of_all(null, region), chance.held_out(null, region)
    frame = frame.sort_values("correlation", ascending=False, kind="stable", na_position="last", ignore_index=True)
    frame.attrs = {"region": region, **{name: intervals.attrs[name] for name in _ABOUT}}
    for name in ("correlation", "held_out"):
        frame.attrs[f"median_{name}"] = _median(intervals, region, name)
    return frame


def describe(data: pd.DataFrame, *, site: str | None = None, network: str = "network1", width: int = 940) -> Drawing:
    """Describe the sites from left to right; ``site`` is selected, ``width`` in px decides how many ids fit."""
    n_sites = len(data)
    x = np.arange(n_sites, dtype=float)
    names = data["site"].to_numpy()
    r, held_out, ceiling = (data[name].to_numpy(dtype=float) for name in ("correlation", "held_out", "noise_ceiling"))
    token = {"token": np.where(data["is_unreliable"].to_numpy(dtype=bool), CONTROL, network).astype(object)}
    left, right = -1.0, max(n_sites, 1) + 0.0
    limit, held_out_limit = (data[name].iloc[0] if n_sites else np.nan for name in ("chance", "chance_held_out"))
    low = _lowest(data)
    at = np.flatnonzero(names == site)
    return Drawing(
        [
            boxes("Chance", left, 0, right, limit),
            boxes("ChanceHeldOut", left, 0, right, held_out_limit),
            line("Zero", [left, right], [0, 0]),
            segments("Ceiling", x - 0.36, ceiling, x + 0.36, ceiling),
            _bars("HeldOutInterval", data, "held_out", x + _ASIDE, token),
            _bars("IntervalY", data, "correlation", x - _ASIDE, token),
            points("NetworkLayerHeldOutDense", x + _ASIDE, held_out, **token),
            points("NetworkSite", x - _ASIDE, r, **token),
            points("SelectionHalo", x[at] - _ASIDE, r[at]),
            points("Selection", x[at] - _ASIDE, r[at]),
            labels("NoteInk", left + 0.4, 1.22, _medians(data.attrs)),
            labels("Note", left + 0.4, 1.13, _unreliable(data)),
            boxes(
                "Hit",
                x - 0.5,
                low,
                x + 0.5,
                1.0,
                key=names,
                r=_written(data, "correlation"),
                held_out=_written(data, "held_out"),
                reliability=np.array([fixed(value) for value in data["reliability"]], dtype=object),
            ),
        ],
        Axes(
            (left, right),
            (low, _NOTES_TO),
            name_ticks(names, width - 70),
            r_ticks(low, 1.0, most=6),
            "Site, by r",
            "r",
            left=46,
            right=10,
            bottom=44,
        ),
        {"network": network},
        Hit("Hit", _TOOLTIP),
    )


def keys(data: pd.DataFrame) -> list[Key]:
    """Return the keys of what is there."""
    absent = {
        "unreliable site": not data["is_unreliable"].any(),
        "noise ceiling": not data["noise_ceiling"].notna().any(),
    }
    absent["held-out r"] = absent["chance, held-out"] = not data["held_out"].notna().any()
    return [key for key in KEYS if not absent.get(key.label)]


def caption(data: pd.DataFrame) -> str:
    """Say how many sites and images there are, how images were drawn, and how the ceiling was estimated."""
    about = data.attrs
    within = f"drawn within each {about['strata']}" if about["strata"] else "drawn from all images"
    method = about["ceiling_method"]
    told = [
        known_of(about["median_correlation"][3], len(data), f"{about['region']} site"),
        plural(about["n_stimuli"], "image"),
        f"{thousands(about['n_resamples'])} resamples {within}",
        f"ceiling: {method}" if data["noise_ceiling"].notna().any() else "no noise ceiling",
    ]
    stand_ins = int((data["held_out_status"] == "stand-in").sum())
    return ", ".join(told + ([f"held-out interval by a stand-in at {plural(stand_ins, 'site')}"] if stand_ins else []))


_ABOUT = ("n_stimuli", "n_resamples", "strata", "reliable_from", "ceiling_method")
_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:260px;overflow-wrap:anywhere'>"
    "<b>@key</b><br>r @r<br>held-out @held_out<br>reliability @reliability</div>"
)


def _median(intervals: xr.Dataset, region: str, name: str) -> tuple[float, float, float, int]:
    one = intervals.sel(region=region, resampled="both")
    ends = (float(one[f"median_{name}{end}"]) for end in ("", "_low", "_high"))
    return (*ends, int(one[f"n_{name}"]))  # type: ignore[return-value]


def _bars(role: str, data: pd.DataFrame, name: str, x: np.ndarray, token: dict[str, np.ndarray]) -> Mark:
    ends = (data[f"{name}_{end}"].to_numpy(dtype=float) for end in ("low", "high"))
    low, high = ends
    return segments(role, x, low, x, high, **token)


def _lowest(data: pd.DataFrame) -> float:
    values = data[list(_COLUMNS[:6])].to_numpy(dtype=float)
    return float(np.floor(np.min(values, initial=0, where=np.isfinite(values)) / 0.1) * 0.1)


def _medians(about: dict) -> str:
    texts = []
    for name, label in (("correlation", "r"), ("held_out", "held-out r")):
        value, low, high, n_sites = about[f"median_{name}"]
        if n_sites:
            texts.append(f"{label} {fixed(value)} ({fixed(low)} to {fixed(high)}, {plural(n_sites, 'site')})")
    return f"median {', '.join(texts)}; intervals over images and sites" if texts else "no site has a match"


def _unreliable(data: pd.DataFrame) -> str:
    if not data["reliability"].notna().any():
        return f"reliability {data.attrs['ceiling_method']}"
    n_grey = int(data["is_unreliable"].sum())
    return f"grey: reliability below {fixed(data.attrs['reliable_from'])}, {n_grey} of {plural(len(data), 'site')}"


def _written(data: pd.DataFrame, name: str) -> np.ndarray:
    rows = zip(*(data[f"{name}{end}"] for end in ("", "_low", "_high")), strict=True)
    return np.array([f"{fixed(r)} ({fixed(low)} to {fixed(high)})" for r, low, high in rows], dtype=object)
