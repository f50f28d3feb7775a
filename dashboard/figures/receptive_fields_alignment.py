"""Do matched units look where their sites look? Distance of the centres, and energy inside the site's contour."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, labels, line, nothing, points, segments
from dashboard.figures.receptive_fields import kind_of
from dashboard.figures.scales import degree_ticks
from dashboard.figures.wording import degrees, fixed, plural
from dashboard.theme import region_token

TITLE = "Do units look where their sites look?"
HELP = """**What it shows.** A dot is a site: how far the centre of its matched unit's field lies from the centre of its
own field, and how much of the unit's squared gradient falls inside the site's contour. Lower right would be perfect.

**How it is computed.** Centres are centroids of the squared gradient and of the site's density inside its contour, in
degrees from the image's centre.

**Chance.** The dashed lines are the means over random pairs of units and sites of the region. p counts the random
pairings of all sites whose mean fits at least as well. Where all sites look at the same place, random pairs fit as well
as their own, and p is large although the fields align.

*The number that figure S2 of Arend et al. 2018 lacks.*"""
KEYS = (Key("dot", "site and its match"), Key("dash", "mean over random pairs", "control"))


def data(
    receptive_fields: xr.Dataset, recording: xr.Dataset, region: str, *, start: str = "driving images"
) -> pd.DataFrame:
    """Return one row a site that has both fields.

    Columns: ``site``, ``distance``, ``energy_inside``, ``distance_p``, ``energy_p``. ``attrs``: region, start,
    alignment (why there is none, else ""), n_aligned, n_starts, and of the region mean_distance, random_distance,
    mean_distance_p, mean_energy, random_energy, mean_energy_p.
    """
    names = ["distance", "energy_inside", "distance_p", "energy_p"]
    about = {"region": region, "start": start, "alignment": receptive_fields.attrs["alignment"]}
    if about["alignment"]:
        frame = pd.DataFrame(columns=["site", *names])
        frame.attrs = {**about, "n_aligned": 0}
        return frame
    own = recording["region"].sel(site=receptive_fields["site"]).values == region
    found = receptive_fields.sel(start=start)
    frame = found[names].isel(site=own).to_dataframe().reset_index()[["site", *names]]
    frame = frame[frame["distance"].notna()].reset_index(drop=True)
    values = ("mean_distance", "random_distance", "mean_distance_p", "mean_energy", "random_energy", "mean_energy_p")
    one = found.sel(region=region)
    frame.attrs = {
        **about,
        "n_aligned": int(one["n_aligned"]),
        "n_starts": int(one["n_starts"]),
        **{name: float(one[name]) for name in values},
    }
    return frame


def describe(data: pd.DataFrame, *, site: str | None = None, regions: Sequence[str] = ()) -> Drawing:
    """Describe the sites; ``site`` is selected."""
    about = data.attrs
    share, distance = (data[name].to_numpy(dtype=float) for name in ("energy_inside", "distance"))
    random = [about.get(name, np.nan) for name in ("random_energy", "random_distance")]
    top = 1.2 * float(np.nanmax([1.0, *distance, random[1]]))
    at = np.flatnonzero(data["site"].to_numpy() == site)
    is_judged = bool(np.isfinite(random).all())
    names = data["site"].to_numpy(dtype=object)
    return Drawing(
        [
            line("Zero", [0, 1], [0, 0]),
            segments("ChanceEdge", [random[0], 0], [0, random[1]], [random[0], 1], [top, random[1]])
            if is_judged
            else nothing("segments", "ChanceEdge"),
            points("Site", share, distance, key=names, share=_percent(share), distance=_degrees(distance)),
            points("SelectionHalo", share[at], distance[at]),
            points("Selection", share[at], distance[at]),
            labels("NoteRight", 1.0, top * 0.97, _judged(about)) if is_judged else nothing("labels", "NoteRight"),
            labels("Note", 0.02, top / 2, f"alignment {about['alignment']}")
            if about["alignment"]
            else nothing("labels", "Note"),
        ],
        Axes(
            (-0.02, 1.02),
            (-0.03 * top, top),
            [(value, f"{value:.0%}") for value in (0, 0.25, 0.5, 0.75, 1.0)],
            [tick for tick in degree_ticks(0, top) if tick[0] >= 0],
            "Squared gradient inside the site's contour",
            "Distance of the centres",
            grid="xy",
            left=54,
            right=16,
            bottom=46,
        ),
        {"region": region_token(about["region"], regions)},
        Hit("Site", "<b>@key</b>: @distance apart, @share inside"),
    )


def caption(data: pd.DataFrame) -> str:
    """Say how many sites have both fields, and at which starts gradients were taken."""
    about = data.attrs
    if about["alignment"]:
        return f"alignment {about['alignment']}"
    sites = plural(about["n_aligned"], f"{about['region']} site")
    return f"{sites} with both fields; gradients over {about['n_starts']} {kind_of(about['start'])}"


def _judged(about: dict) -> str:
    return (
        f"distance {degrees(about['mean_distance'])}, random pairs {degrees(about['random_distance'])}, "
        f"p = {about['mean_distance_p']:.2g}\ninside {about['mean_energy']:.0%}, random pairs "
        f"{about['random_energy']:.0%}, p = {about['mean_energy_p']:.2g}"
    )


def _percent(values: np.ndarray) -> np.ndarray:
    return np.array([f"{value:.0%}" for value in values], dtype=object)


def _degrees(values: np.ndarray) -> np.ndarray:
    return np.array([f"{fixed(value, 1)}°" for value in values], dtype=object)
