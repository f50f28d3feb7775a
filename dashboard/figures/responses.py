"""How does the matched unit respond to every image, beside the site? A point is an image."""

from collections.abc import Sequence
from urllib.parse import quote

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, Mark, labels, line, nothing, numbers, points
from dashboard.figures.wording import elided, fixed, signed, thousands, tick
from dashboard.theme import region_token

TITLE = "Response to every image"
HELP = """**What it shows.** Every image as a point: the response of the site across, the activation of its matched unit
upwards. Both are in standard deviations from their mean over the images, so the slope of the line is Pearson's r.

**How it is computed.** The unit was chosen among all units of the network, by its r with this site over these same
images. Rings mark the images that drive the site, and the unit, most. A unit behind a ReLU is silent on many images:
they lie on the floor.

**Chance.** Even with shuffled images the best of a million units reaches an r: see chance in the header, and the
held-out r, which was scored on images that chose nothing.

*Figure 2 of Arend et al. 2018.*"""
N_FAVOURITES = 10
_SILENT_FROM = 0.01
_WIDE = 9
_STEEP = 0.55
"""From this slope on, the note above its line would meet y = x."""
NOTE_WIDTH, _NOTE_HEIGHT = 0.34, 0.08
"""Room for the note on the slope, as shares of the frame."""


def data(
    recording: xr.Dataset,
    matches: xr.Dataset,
    match_responses: xr.Dataset,
    site: str,
    *,
    rank: int = 0,
    n_favourites: int = N_FAVOURITES,
) -> pd.DataFrame:
    """Return one row an image, in the recording's order.

    Columns: ``stimulus``; ``site_sd`` and ``unit_sd``, standardised over the images that the site saw (divisor n);
    ``site_rank`` and ``unit_rank``, 1 = strongest; ``is_site_favourite``, ``is_unit_favourite``; ``is_silent``, the
    unit at an exact floor of 0. ``attrs``: site, region, rank, correlation, layer, channel, y, x, silent (share).
    Without a unit at that rank, ``unit_sd`` is NaN.
    """
    response = recording["response"].sel(site=site)
    match = matches.sel(site=site).isel(rank=rank)
    seen = np.isfinite(response.values)
    activation = _activation(match_responses, int(match["match_unit"]), response["stimulus"].values)
    silent = (activation == 0) & (np.nanmin(activation, initial=np.inf) == 0) & seen
    site_sd, unit_sd = _standardised(response.values, seen), _standardised(activation, seen)
    site_rank, unit_rank = _ranks(site_sd), _ranks(unit_sd)
    frame = pd.DataFrame(
        {
            "stimulus": response["stimulus"].values.astype(object),
            "site_sd": site_sd,
            "unit_sd": unit_sd,
            "site_rank": site_rank,
            "unit_rank": unit_rank,
            "is_site_favourite": (site_rank > 0) & (site_rank <= n_favourites),
            "is_unit_favourite": (unit_rank > 0) & (unit_rank <= n_favourites),
            "is_silent": silent,
        }
    )
    frame.attrs = {
        "site": site,
        "region": str(response["region"].values),
        "rank": rank,
        "correlation": float(match["correlation"]),
        "layer": str(match["layer"].values),
        **{name: int(match[name]) for name in ("channel", "y", "x")},
        "silent": float(silent.sum() / max(seen.sum(), 1)),
    }
    return frame


def describe(
    data: pd.DataFrame,
    *,
    stimulus: str | None = None,
    thumb_base: str = "img",
    network: str = "network1",
    regions: Sequence[str] = (),
    limits: tuple[float, float] | None = None,
    note_width: float = NOTE_WIDTH,
) -> Drawing:
    """Describe the scatter.

    ``stimulus`` is the selected image, ``thumb_base`` the address of the thumbnails; ``limits`` of both axes, where
    they shall be those of another scatter too; ``note_width`` the room for the note on the slope, a share of the frame.
    """
    about = data.attrs
    x, y = data["site_sd"].to_numpy(), data["unit_sd"].to_numpy()
    low, high = limits or limits_of(data)
    ids = data["stimulus"].to_numpy()
    site_favourite, unit_favourite = data["is_site_favourite"].to_numpy(), data["is_unit_favourite"].to_numpy()
    selected = np.flatnonzero(ids == stimulus) if stimulus is not None else np.empty(0, dtype=int)
    slope = about["correlation"]
    floor = y[data["is_silent"].to_numpy()]
    region = region_token(about["region"], regions)
    ticks = [(at, tick(at)) for at in _ticks(low, high)]
    return Drawing(
        [
            line("Zero", [low, high, np.nan, 0, 0], [0, 0, np.nan, low, high]),
            line("Identity", [low, high], [low, high]),
            points(
                "Image",
                x,
                y,
                key=ids,
                thumb=_addresses(ids),
                site_text=_with_rank(x, data["site_rank"].to_numpy()),
                unit_text=_with_rank(y, data["unit_rank"].to_numpy()),
            ),
            line("Slope", [low, high], numbers([low, high]) * slope),
            points("UnitFavourite", x[unit_favourite], y[unit_favourite]),
            points("SiteFavourite", x[site_favourite], y[site_favourite]),
            points("SelectionHalo", x[selected], y[selected]),
            points("Selection", x[selected], y[selected]),
            labels("IdentityNote", high - 0.05 * (high - low), high - 0.05 * (high - low), "y = x"),
            *_slope_notes(slope, (low, high), x, y, float(floor[0]) if len(floor) else low, note_width),
            labels("SilentNote", high, floor[0], f"unit silent on {100 * about['silent']:.0f}% of images")
            if about["silent"] >= _SILENT_FROM
            else nothing("labels", "SilentNote"),
        ],
        Axes(
            (low, high),
            (low, high),
            ticks,
            ticks,
            f"{elided(about['site'], 32)}, response (SD)",
            f"{'Matched unit' if about['rank'] == 0 else 'Unit of rank ' + str(about['rank'])}, activation (SD)",
            region,
            network,
            grid="xy",
            left=54,
            bottom=48,
            is_square=True,
        ),
        {"region": region, "network": network},
        Hit("Image", _tooltip(thumb_base, region, network)),
    )


def limits_of(data: pd.DataFrame) -> tuple[float, float]:
    """Return limits that hold every point."""
    return _limits(data["site_sd"].to_numpy(), data["unit_sd"].to_numpy())


def keys(data: pd.DataFrame) -> list[Key]:
    """Return what the rings mean."""
    return [
        Key("open", f"{data['is_site_favourite'].sum()} favourites of the site"),
        Key("ring", f"{data['is_unit_favourite'].sum()} of the unit", "network"),
        Key("ring", "selected", "ink"),
    ]


KEYS = (Key("open", "favourites of the site"), Key("ring", "of the unit", "network"), Key("ring", "selected", "ink"))


def caption(data: pd.DataFrame) -> str:
    """Say what a mark is, and how many there are."""
    return f"a point is an image ({thousands(np.isfinite(data['site_sd']).sum())})"


def _slope_notes(
    slope: float, limits: tuple[float, float], x: np.ndarray, y: np.ndarray, floor: float, share: float
) -> tuple[Mark, Mark]:
    """Write the slope at the right edge: above its line, or below it where the fewest images lie.

    One of the two marks is empty, so that every site has the same marks and none makes the page draw anew.
    """
    low, high = limits
    above, below = nothing("labels", "SlopeNote"), nothing("labels", "SlopeNoteBelow")
    if not np.isfinite(slope):
        return above, below
    text = f"slope = r = {fixed(slope)}"
    if slope < _STEEP:
        return labels("SlopeNote", high, high * slope, text), below
    width, height = share * (high - low), _NOTE_HEIGHT * (high - low)
    first = (high - width) * slope
    tops = np.arange(first, min(floor + height, first - 1e-9), -height / 2)
    beside = y[x > high - width]
    n_hidden = [np.sum((beside < top) & (beside > top - height)) for top in tops]
    return above, labels("SlopeNoteBelow", high, tops[int(np.argmin(n_hidden))], text)


def _activation(match_responses: xr.Dataset, row: int, stimuli: np.ndarray) -> np.ndarray:
    if row < 0:
        return np.full(len(stimuli), np.nan)
    activation = match_responses["activation"].isel(match_unit=row)
    if not np.array_equal(activation["stimulus"].values, stimuli):
        activation = activation.sel(stimulus=stimuli)
    return activation.values.astype(np.float64)


def _standardised(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    chosen = np.where(seen, values, np.nan)
    if not np.isfinite(chosen).any():
        return chosen
    centred = chosen - np.nanmean(chosen)
    spread = np.sqrt(np.nanmean(centred**2))
    return centred / spread if spread > 0 else np.full_like(chosen, np.nan)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return 1 for the strongest, ties in the recording's order, 0 where there is no value."""
    order = np.argsort(-values, kind="stable")  # NaN goes last
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = np.arange(1, len(values) + 1)
    return np.where(np.isfinite(values), ranks, 0)


def _limits(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    both = np.concatenate([x, y])
    both = both[np.isfinite(both)]
    if not both.size:
        return -2.0, 2.0
    room = 0.04 * (both.max() - both.min())
    return float(np.floor(2 * (both.min() - room)) / 2), float(np.ceil(2 * (both.max() + room)) / 2)


def _ticks(low: float, high: float) -> np.ndarray:
    step = 2 if high - low <= _WIDE + 3 and high <= _WIDE else 4
    while (high - low) / step > 7:
        step *= 2
    return np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step


def _addresses(ids: np.ndarray) -> np.ndarray:
    """Return the ids as parts of an address: "a/b#1" must not leave its folder."""
    return np.array([quote(str(name), safe="") for name in ids], dtype=object)


def _with_rank(values: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Write "+1.5 SD, rank 12" of each; few numbers with one decimal are different, so each is written once."""
    tenths, place = np.unique(np.round(values, 1), return_inverse=True)
    written = [f"{signed(value)} SD, rank " for value in tenths.tolist()]
    pairs = zip(place.tolist(), ranks.tolist(), strict=True)
    return np.array([f"{written[k]}{rank}" for k, rank in pairs], dtype=object)


def _tooltip(thumb_base: str, region: str, network: str) -> str:
    return (
        "<div style='width:144px;font:400 12px/16px var(--us-font);color:var(--us-ink)'>"
        f"<img src='{thumb_base}/@thumb.jpg' width='144' height='144' alt='' "
        "style='display:block;border-radius:4px;margin-bottom:6px;background:var(--us-fill)'>"
        "<b style='overflow-wrap:anywhere'>@key</b><br>"
        f"<span style='color:var(--us-{region})'>site</span> @site_text<br>"
        f"<span style='color:var(--us-{network})'>unit</span> @unit_text</div>"
    )
