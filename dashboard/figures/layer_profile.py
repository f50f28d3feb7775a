"""How well the best unit of each layer matches this site, and how far above chance that is."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import chance
from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, Mark, area, boxes, labels, line, nothing, numbers, points
from dashboard.figures.scales import layer_ticks, r_limits, r_ticks
from dashboard.figures.wording import elided, fixed
from dashboard.theme import region_token

TITLE = "Best match in each layer"
HELP = """**What it shows.** For each layer, from input to output, the highest r of any of its units with this site.
Filled: selected and scored on all images. Open: selected on some images, scored on the others. The tinted band holds
the middle half of all sites of the region.

**How it is computed.** Pearson's r of every unit of the layer, over all images; the largest wins. Held-out values are
means over folds.

**Chance.** The pale strip with the dashed edge is what the best unit of the layer reaches when the images are
shuffled, in 95% of shuffles: a filled point below it says nothing. The darker strip is the same for open points, which
chose nothing on the images that score them.

*Figure 6, right, of Arend et al. 2018, for one site.*"""
KEYS = (
    Key("dot", "r"),
    Key("open", "held-out r"),
    Key("bar", "quartiles of the region"),
    Key("dash", "chance: r", "control"),
    Key("box", "chance: held-out", "band2"),
)


def data(layer_profile: xr.Dataset, null: xr.Dataset, recording: xr.Dataset, site: str) -> pd.DataFrame:
    """Return one row a layer, in execution order.

    Columns: ``layer``, ``correlation``, ``held_out``; ``quartile_low``, ``quartile_high`` of r over all sites of the
    site's region; ``chance`` and ``chance_held_out``, the 95th percentile over shuffles of that region within the
    layer. ``attrs``: site, region, n_sites (of the region).
    """
    regions = recording["region"].to_series()
    region = str(regions.loc[site])
    profile = layer_profile["correlation"]
    neighbours = profile.values[:, profile["site"].isin(regions.index[regions == region]).values]
    quartiles = _quartiles(neighbours)
    one = layer_profile.sel(site=site)
    frame = pd.DataFrame(
        {
            "layer": profile["layer"].values.astype(object),
            "correlation": one["correlation"].values,
            "held_out": one["held_out"].values,
            "quartile_low": quartiles[0],
            "quartile_high": quartiles[1],
            "chance": chance.in_layers(null, region),
            "chance_held_out": chance.held_out_in_layers(null, region),
        }
    )
    frame.attrs = {"site": site, "region": region, "n_sites": neighbours.shape[1]}
    return frame


def describe(
    data: pd.DataFrame,
    *,
    layer: str | None = None,
    regions: Sequence[str] = (),
    width: int = 540,
    limits: tuple[float, float] | None = None,
) -> Drawing:
    """Describe the profile.

    ``layer`` is the selected one, ``width`` the px that decide how many names fit; ``limits`` of r, where they shall be
    those of another profile too.
    """
    n_layers = len(data)
    x = np.arange(n_layers, dtype=float)
    names = data["layer"].to_numpy()
    r, held_out = data["correlation"].to_numpy(), data["held_out"].to_numpy()
    region = region_token(data.attrs["region"], regions)
    selected = np.flatnonzero(names == layer) if layer is not None else np.empty(0, dtype=int)
    edges, strip = _to_the_edges(x, data["chance"].to_numpy())
    _, held_out_strip = _to_the_edges(x, data["chance_held_out"].to_numpy())
    ticks, is_every_layer_named = layer_ticks(names, width - 70)
    is_noted = not is_every_layer_named and selected.size > 0 and bool(np.isfinite(r[selected[0]]))
    low, high = limits or limits_of(data, room=NOTE_ROOM if is_noted else 1)
    is_many = n_layers > _MANY
    return Drawing(
        [
            area("Chance", edges, 0, strip),
            area("ChanceHeldOut", edges, 0, held_out_strip),
            area("Quartiles", x, data["quartile_low"], data["quartile_high"]),
            line("Zero", [-0.5, n_layers - 0.5], [0, 0]),
            line("ChanceEdge", edges, strip),
            line("HeldOutLine", x, held_out),
            line("MatchLine", x, r),
            points("HeldOutDense" if is_many else "HeldOut", x, held_out),
            points("MatchDense" if is_many else "Match", x, r),
            points("SelectionHalo", x[selected], r[selected]),
            points("Selection", x[selected], r[selected]),
            *_layer_notes(names, r, selected if is_noted else selected[:0]),
            boxes(
                "Hit",
                x - 0.5,
                low,
                x + 0.5,
                high,
                key=names,
                r=np.array([fixed(value) for value in r], dtype=object),
                held_out=np.array([fixed(value) for value in held_out], dtype=object),
            ),
        ],
        Axes(
            (-0.5, n_layers - 0.5),
            (low, high),
            ticks,
            r_ticks(low, high),
            None,
            "Best r in layer",
            left=54,
            right=12,
            bottom=30,
        ),
        {"region": region},
        Hit("Hit", _TOOLTIP.format(region=region)),
    )


def limits_of(data: pd.DataFrame, *, room: float = 1) -> tuple[float, float]:
    """Return limits that hold every point, and the highest ones times ``room``."""
    r = data["correlation"].to_numpy()
    return r_limits(r * room, r, data["held_out"].to_numpy(), data["quartile_high"], data["chance"])


def caption(data: pd.DataFrame) -> str:
    """Say whose profile it is, and over how many layers."""
    return f"{data.attrs['site']}, {len(data)} layers"


def keys(data: pd.DataFrame) -> list[Key]:
    """Return the keys with the region's name in them."""
    named = Key("bar", f"{data.attrs['region']} quartiles")
    return [named if key.shape == "bar" else key for key in KEYS]


_MANY = 30
"""From here on the dots of two neighbouring layers would touch."""
NOTE_ROOM = 1.14
"""Room above the highest point for the name of the selected layer."""
_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:240px;overflow-wrap:anywhere'>"
    "<b>@key</b><br><span style='color:var(--us-{region})'>r</span> @r, held-out @held_out</div>"
)


def _layer_notes(names: np.ndarray, r: np.ndarray, selected: np.ndarray) -> tuple[Mark, Mark]:
    """Write the name of the selected layer at its ring, towards the middle of the frame."""
    right, left = nothing("labels", "LayerNote"), nothing("labels", "LayerNoteLeft")
    if len(selected) == 0:
        return right, left
    goes_right = selected[0] < 0.6 * len(names)
    note = labels(
        "LayerNote" if goes_right else "LayerNoteLeft", selected, r[selected], [elided(str(names[selected[0]]), 36)]
    )
    return (note, left) if goes_right else (right, note)


def _quartiles(values: np.ndarray) -> np.ndarray:
    if values.shape[1] and np.isfinite(values).all():
        return np.percentile(values, [25, 75], axis=1)
    rows = [row[np.isfinite(row)] for row in values]
    return np.array([np.percentile(row, [25, 75]) if row.size else (np.nan, np.nan) for row in rows]).reshape(-1, 2).T


def _to_the_edges(x: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Carry the first and the last value half a layer on, so that a strip fills the frame."""
    edges = np.concatenate([[-0.5], x, [len(x) - 0.5]])
    return edges, numbers(np.concatenate([values[:1], values, values[-1:]]))
