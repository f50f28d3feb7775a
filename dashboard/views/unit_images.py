"""Which images drive a unit most? Small pictures in a row, cut to the unit's field where it was computed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dashboard.figures.wording import signed
from dashboard.results import Chosen
from dashboard.runs import OpenRun
from dashboard.thumbnails import address
from dashboard.views.markup import Markup, tag

REACH_SD = 2.8
"""SD of a Gaussian field at which its energy has fallen to 2% of its peak."""
_LEAST_SHARE = 0.12


@dataclass(frozen=True)
class Cut:
    """The part of an image that a unit sees: its centre from the upper left and its size, as shares of the image."""

    x: float
    y: float
    size: float


def row_of(run: OpenRun, layer: str, channel: int, y: int, x: int) -> int | None:
    """Return the row of a unit in ``match_responses``; None where its responses are not stored."""
    stored = run.dataset("match_responses")
    is_it = (stored["channel"].values == channel) & (stored["y"].values == y) & (stored["x"].values == x)
    found = [row for row in np.flatnonzero(is_it) if str(stored["layer"].values[row]) == layer]
    return int(found[0]) if found else None


def field_of(run: OpenRun, site: str, layer: str, channel: int, y: int, x: int) -> Cut | None:
    """Return the field of a site's matched unit, measured at images that drive it; None where there is none."""
    if not run.has("receptive_fields"):
        return None
    fields, size = run.dataset("receptive_fields"), float(run.attrs.get("size_deg") or np.nan)
    shape = run.dataset("layers").sel(layer=layer)
    unit = (channel * int(shape["height"]) + y) * int(shape["width"]) + x
    one = fields.sel(site=site)
    if str(one["layer"].item()) != layer or int(one["unit"]) != unit or fields.attrs["unit_of_length"] != "degrees":
        return None
    driven = one.sel(start="driving images")
    at_x, at_y, sd = (float(driven[name]) for name in ("centroid_x", "centroid_y", "sd_major"))
    if not np.isfinite([at_x, at_y, sd, size]).all() or size <= 0:
        return None
    share = float(np.clip(2 * REACH_SD * sd / size, _LEAST_SHARE, 1))
    return Cut(0.5 + at_x / size, 0.5 - at_y / size, share)


def favourites(chosen: Chosen, unit: int, n: int, cut: Cut | None = None) -> Markup:
    """Return the images with the highest activation of a unit of ``match_responses``; a tap selects one."""
    activation = chosen.run.dataset("match_responses")["activation"].values[unit].astype(float)
    sd = activation.std()
    if not sd:
        return tag("p", "The unit's activation never varies.", class_="quiet")
    z = (activation - activation.mean()) / sd
    first = np.argsort(-z, kind="stable")[:n]
    stimuli = chosen.run.dataset("match_responses")["stimulus"].values
    return images(chosen, [str(stimuli[i]) for i in first], [float(z[i]) for i in first], cut)


def images(
    chosen: Chosen, stimuli: Sequence[str], z: Sequence[float], cut: Cut | None = None, *, told: bool = False
) -> Markup:
    """Return images in a row with their activation in SD, written below where ``told``, else on hover."""
    items = [
        tag(
            "button",
            tag(
                "span",
                tag("img", src=address(chosen.run, name), alt="", style=_style(cut), loading="lazy"),
                class_="pane",
            ),
            tag("span", signed(value), class_="sd") if told else None,
            class_="thumb in-field" if cut else "thumb",
            data_do="select",
            data_stimulus=name,
            aria_pressed="true" if name == chosen.shown_stimulus else "false",
            aria_label=f"Image {name}, {signed(value)} SD",
            title=f"{name}, {signed(value)} SD",
        )
        for name, value in zip(stimuli, z, strict=True)
    ]
    return tag("div", items, class_="unit-images", style=f"--columns:{len(items)}")


def _style(cut: Cut | None) -> str | None:
    """Enlarge the picture and move it so that the cut fills its pane."""
    if cut is None:
        return None
    left, top = (np.clip(centre - cut.size / 2, 0, 1 - cut.size) for centre in (cut.x, cut.y))
    scale = 100 / cut.size
    return f"width:{scale:.0f}%;left:{-left * scale:.1f}%;top:{-top * scale:.1f}%"
