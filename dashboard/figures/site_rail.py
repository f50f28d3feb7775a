"""Which site is looked at, among all sites of its region? Every site in one row; the rail is the navigator."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import chance
from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, boxes, labels, line, points, segments
from dashboard.figures.wording import elided, fixed, plural, tick
from dashboard.theme import region_token

TITLE = "Sites"
HELP = """**What it shows.** Every site of the region in a row: its r with its match, selected and scored on all images
(filled), its held-out r (open) and its noise ceiling (tick). Tap a row, or use the arrow keys, to open a site.

**How it is computed.** See the site's own page. The ceiling is the largest r to expect of a noiseless predictor: the
square root of the reliability of the site's responses.

**Chance.** The pale strip is what the best of all units reaches with shuffled images, in 95% of shuffles: it is for
filled dots. The darker strip is for open dots."""
KEYS = (Key("dot", "r"), Key("open", "held-out"), Key("tick", "ceiling", "text3"))
ROW_PX = 14
TOP_PX = 22
WIDTH_PX = 212
_PX_PER_LETTER = 6.1


def data(
    matches: xr.Dataset,
    recording: xr.Dataset,
    null: xr.Dataset,
    reliability: xr.Dataset | None = None,
    *,
    region: str,
    order: str = "correlation",
) -> pd.DataFrame:
    """Return one row a site of the region, the best r first (``order`` "held_out" or "site" on request).

    Columns: ``site``, ``region``, ``correlation``, ``held_out``, ``noise_ceiling`` (NaN where not known), ``chance``,
    ``chance_held_out`` (95th percentiles; the same in every row). ``attrs``: region, ceiling_method.
    """
    regions = recording["region"].to_series()
    sites = regions.index[regions == region]
    best = matches[["correlation", "held_out"]].isel(rank=0, drop=True).sel(site=sites)
    ceiling = pd.Series(np.nan, index=sites)
    if reliability is not None:
        ceiling = reliability["noise_ceiling"].to_series().reindex(sites)
    frame = pd.DataFrame(
        {
            "site": sites.astype(object),
            "region": region,
            "correlation": best["correlation"].values,
            "held_out": best["held_out"].values,
            "noise_ceiling": ceiling.to_numpy(),
            "chance": chance.best_of_all(null, region),
            "chance_held_out": chance.held_out(null, region),
        }
    )
    if order != "site":
        frame = frame.sort_values(order, ascending=False, kind="stable", na_position="last", ignore_index=True)
    frame.attrs = {"region": region, "ceiling_method": "" if reliability is None else str(reliability.attrs["method"])}
    return frame


def describe(
    data: pd.DataFrame,
    *,
    site: str | None = None,
    beside: str = "",
    regions: Sequence[str] = (),
    width: int = WIDTH_PX,
) -> Drawing:
    """Describe the rail, first row on top, 14 px each; ``site`` is the selected one, ``beside`` the one beside it."""
    n_sites = len(data)
    row = np.arange(n_sites, 0, -1, dtype=float)
    names = data["site"].to_numpy()
    r, held_out, ceiling = (data[name].to_numpy() for name in ("correlation", "held_out", "noise_ceiling"))
    is_selected = (names == site) | (names == (beside or site))
    selected = row[is_selected]
    region = region_token(data.attrs["region"], regions)
    written = np.array([elided(str(name), 12) for name in names], dtype=object)
    values = np.concatenate([r, held_out, ceiling])
    low = min(0.0, float(np.min(values, initial=0, where=np.isfinite(values))))
    start, end, label_at = _frame(low, written, width)
    left = start + (end - start) / width  # one px: Bokeh leaves the outermost half of the canvas above uncleared
    limit, held_out_limit = (data[name].iloc[0] if n_sites else np.nan for name in ("chance", "chance_held_out"))
    top, bottom = n_sites + 0.5, 0.5
    return Drawing(
        [
            boxes("Chance", 0, bottom, limit, top),
            boxes("ChanceHeldOut", 0, bottom, held_out_limit, top),
            line("Zero", [0, 0], [bottom, top]),
            segments("Ceiling", ceiling, row - 0.32, ceiling, row + 0.32),
            segments("MatchToHeldOut", held_out, row, r, row),
            points("HeldOutDense", held_out, row),
            points("MatchDense", r, row),
            labels("RowLabel", label_at, row, written),
            boxes("RowLabelCover", left, selected - 0.5, label_at, selected + 0.5),
            boxes("SelectedRow", left, selected - 0.5, end, selected + 0.5),
            labels("RowLabelSelected", label_at, selected, written[is_selected]),
            boxes(
                "Hit",
                left,
                row - 0.5,
                end,
                row + 0.5,
                key=names,
                r=np.array([fixed(value) for value in r], dtype=object),
                held_out=np.array([fixed(value) for value in held_out], dtype=object),
                ceiling=np.array([fixed(value) for value in ceiling], dtype=object),
            ),
        ],
        Axes(
            (start, end),
            (bottom, top),
            [(at, tick(at)) for at in (0.0, 0.5, 1.0)],
            grid="x",
            is_x_on_top=True,
            left=0,
            right=0,
            top=TOP_PX,
            bottom=0,
            height=TOP_PX + ROW_PX * max(n_sites, 1),
        ),
        {"region": region},
        Hit("Hit", _TOOLTIP.format(region=region), frame="SelectedRow"),
    )


def caption(data: pd.DataFrame) -> str:
    """Say how many sites there are."""
    return f"{data.attrs['region']} · {plural(len(data), 'site')}"


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:240px;overflow-wrap:anywhere'>"
    "<b>@key</b><br><span style='color:var(--us-{region})'>r</span> @r, held-out @held_out<br>"
    "noise ceiling @ceiling</div>"
)


def _frame(low: float, written: np.ndarray, width: int) -> tuple[float, float, float]:
    """Return start and end of the x range and where the labels end, so that no label meets a mark."""
    label_px = 8 + _PX_PER_LETTER * max((len(text) for text in written), default=2) + 6
    unit_per_px = (1.0 - low) / (width - label_px - 8 - 8)
    start = low - (label_px + 8) * unit_per_px
    return start, 1.0 + 8 * unit_per_px, start + (label_px - 4) * unit_per_px
