"""How far each site's match stays below what the site's reliability allows."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import site_rail
from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, boxes, line, points, segments
from dashboard.figures.placement import name_ticks
from dashboard.figures.scales import r_ticks
from dashboard.figures.wording import fixed, plural

TITLE = "Every site, and how far it could go"
HELP = """**What it shows.** Every site of the region, the best match first: r (filled), held-out r (open), the noise
ceiling (bar on its stem), and r with the untrained network (small grey dot) if that was run.

**How it is computed.** The ceiling is the square root of the reliability of the site's responses: the largest r to
expect of a predictor without noise. The caption names its method.

**Chance.** The pale strip is for filled dots: what the best of all units reaches with shuffled images, in 95% of
shuffles. The darker strip is for open dots, which chose nothing on the images that score them.

*Not in Arend et al. 2018.*"""
KEYS = (
    Key("dot", "r", "network"),
    Key("open", "held-out r", "network"),
    Key("dot", "untrained", "control"),
    Key("line", "noise ceiling", "text3"),
)


def data(
    matches: xr.Dataset,
    recording: xr.Dataset,
    null: xr.Dataset,
    reliability: xr.Dataset | None = None,
    *,
    region: str,
    control: xr.Dataset | None = None,
) -> pd.DataFrame:
    """Return the rows of ``site_rail.data``, best r first, and ``control``: r with the untrained network, else NaN."""
    frame = site_rail.data(matches, recording, null, reliability, region=region)
    about = frame.attrs
    frame["control"] = np.nan
    if control is not None:
        best = control["correlation"].isel(rank=0, drop=True).to_series()
        frame["control"] = best.reindex(frame["site"]).to_numpy()
    frame.attrs = about
    return frame


def describe(
    data: pd.DataFrame,
    *,
    site: str | None = None,
    network: str = "network1",
    regions: Sequence[str] = (),
    width: int = 660,
) -> Drawing:
    """Describe the sites from left to right; ``site`` is selected, ``width`` decides how many ids fit."""
    n_sites = len(data)
    x = np.arange(n_sites, dtype=float)
    names = data["site"].to_numpy()
    r, held_out, ceiling, control = (
        data[name].to_numpy(dtype=float) for name in ("correlation", "held_out", "noise_ceiling", "control")
    )
    left, right = -1.0, max(n_sites, 1) + 0.0
    limit, held_out_limit = (data[name].iloc[0] if n_sites else np.nan for name in ("chance", "chance_held_out"))
    low = float(np.floor(np.nanmin([0.0, *held_out, *r]) / 0.1) * 0.1)
    at = np.flatnonzero(names == site)
    return Drawing(
        [
            boxes("Chance", left, 0, right, limit),
            boxes("ChanceHeldOut", left, 0, right, held_out_limit),
            segments("CeilingStem", x, r, x, ceiling),
            line("Zero", [left, right], [0, 0]),
            segments("Ceiling", x - 0.36, ceiling, x + 0.36, ceiling),
            points("ControlSite", x, control),
            points("NetworkSiteHeldOut", x, held_out),
            points("NetworkSite", x, r),
            points("SelectionHalo", x[at], r[at]),
            points("Selection", x[at], r[at]),
            boxes(
                "Hit",
                x - 0.5,
                low,
                x + 0.5,
                1.0,
                key=names,
                r=_written(r),
                held_out=_written(held_out),
                ceiling=_written(ceiling),
            ),
        ],
        Axes(
            (left, right),
            (low, max(1.02, float(np.nanmax(r, initial=0)) + 0.07)),
            name_ticks(names, width - 70),
            r_ticks(low, 1.0, most=4),
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
    absent = {"untrained": "control", "noise ceiling": "noise_ceiling"}
    return [key for key in KEYS if key.label not in absent or data[absent[key.label]].notna().any()]


def caption(data: pd.DataFrame) -> str:
    """Say how many sites there are and how the ceiling was estimated."""
    method = data.attrs["ceiling_method"]
    ceiling = "no noise ceiling" if not data["noise_ceiling"].notna().any() else f"ceiling: {method}" if method else ""
    return ", ".join(text for text in (plural(len(data), f"{data.attrs['region']} site"), ceiling) if text)


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:240px;overflow-wrap:anywhere'>"
    "<b>@key</b><br>r @r, held-out @held_out<br>noise ceiling @ceiling</div>"
)


def _written(values: np.ndarray) -> np.ndarray:
    return np.array([fixed(value) for value in values], dtype=object)
