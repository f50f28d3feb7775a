"""Where does each site's matched unit look, and does the site look at the same place?

Gradients of the unit's activation to the pixels, averaged over starts: the signed mean shows the pattern, the root of
the mean square the extent. Sites have fields where squares were flashed. Both are compared site by site, and against
sites that are paired at random (Arend et al. 2018, figure S2, which only says that they align).
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr

from engine.analyses.physiological_fields import above_blank, centroid, density, ellipse, is_inside
from engine.errors import SettingsError
from engine.schema import RANK, REGION, SITE, STIMULUS
from engine.store import Run

if TYPE_CHECKING:
    from engine.sources import Source

VERSION = 1
"""Raised whenever a number that is stored can change."""

N_NOISE, N_DRIVING = 64, 16
NOISE, DRIVING = "noise", "driving images"
START = "start"

MOST_DRIVING = 200
"""Driving images are drawn from so many images, or a sixth of all if that is fewer, to which a unit responds most."""

CELLS = 64
"""Rows and columns of a stored field; numbers are taken from whole gradients, before these are averaged."""

AT_ONCE = 32
"""Units whose gradients are computed together."""

N_PAIRINGS = 2000

NO_MAPS = "not available: the recording has no receptive-field maps (rf_map)"
NO_DEGREES = "not available: the size of the stimuli in degrees is unknown"
NO_PIXELS = "not available: the network's preprocessing is no engine.Preprocessing, so fields are in its input's pixels"
DEGREES, PIXELS, INPUT = "degrees", "stimulus pixels", "network input pixels"

_SECONDS_PER_GRADIENT = 1.4e-2


def compute(
    run: Run, source: "Source", *, seed: int = 0, starts: int = N_NOISE, driving: int = N_DRIVING
) -> xr.Dataset:
    """Take the gradients of every site's match, and compare them with the site's own field.

    Parameters
    ----------
    source
        The network and the recording of the run.
    seed
        Of the noise, of the driving images, and of the random pairs.
    starts
        Images of Gaussian noise, with the mean and SD of the stimuli, at which gradients are taken: as in the paper.
        A unit behind a rectifier that no noise opens has none.
    driving
        Stimuli at which they are taken as well, drawn for each unit among those that drive it most.

    Returns
    -------
    xr.Dataset
        For each ``start`` (``noise``, ``driving images``): ``gradient`` (start, site, field_y, field_x) float32, signed
        mean over starts and colours; ``rms`` likewise, root of the mean square over both; averaged over cells of at
        most 64 x 64 of the stimulus, whose centres are ``field_y`` (up) and ``field_x`` (right) from its centre.
        ``live`` (start, site), starts with a gradient other than zero, of ``n_starts`` (start). ``centroid_y``,
        ``centroid_x``, and ``sd_major``, ``sd_minor``, ``angle`` (start, site) of the ellipse of 1 SD, from the second
        moments of the squared gradient; ``box_top``, ``box_bottom``, ``box_left``, ``box_right`` (site), the unit's
        theoretical field; ``layer``, ``unit`` (site). NaN where there is no match or no live start.
        With maps: ``density`` (site, field_y, field_x), smoothed by 1 degree; ``site_y``, ``site_x``, ``site_radius``
        (site), centroid of what lies inside the contour at exp(-1/2) of the peak, and the radius of a circle of that
        area. ``distance`` (start, site), of the centroids; ``energy_inside`` (start, site), share of the squared
        gradient inside the site's contour; ``distance_p``, ``energy_p`` (start, site), share of the region's sites
        whose field fits the unit at least as well; and their means over the region's sites with the same for random
        pairs, ``mean_distance``, ``random_distance``, ``mean_distance_p``, ``mean_energy``, ``random_energy``,
        ``mean_energy_p``, with ``n_aligned`` (start, region), sites that have both. Attributes: ``unit_of_length``;
        ``alignment``, empty or why there is none.

    Notes
    -----
    In degrees of the stimulus, whose centre is taken to be where the maps have 0. In stimulus pixels where its size in
    degrees is unknown, and in pixels of the network's input where the preprocessing is an arbitrary callable.

    References
    ----------
    Arend et al. (2018), CBMM Memo 93, figure S2.
    """
    from engine.analyses.gradient_fields import gradients_of  # loads torch

    for name, value in (("starts", starts), ("driving", driving)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
            raise SettingsError(f"{name}={value!r}: a whole number of at least 1 is needed.")
    recording = run.dataset("recording")
    best = run.dataset("matches").isel({RANK: 0}).sel({SITE: recording[SITE]})
    is_matched = best["site_status"].values == "ok"
    chosen = driving_images(run, driving, np.random.default_rng([seed, 1]))
    units = list(zip(best["layer"].values.tolist(), best["unit"].values.tolist(), strict=True))
    fields = gradients_of(source, units, is_matched, chosen, starts=starts, seed=seed)
    frame = frame_of(fields.shape, float(recording.attrs.get("size_deg", np.nan)), fields.space)
    found = _gradients(fields, frame).assign(layer=(SITE, best["layer"].values), unit=(SITE, best["unit"].values))
    found = found.assign_coords({SITE: recording[SITE].values, START: [NOISE, DRIVING]})
    found = found.assign(n_starts=(START, [starts, driving]))
    why_not = NO_MAPS if "rf_map" not in recording else "" if frame.unit == DEGREES else _no_degrees(frame)
    if not why_not:
        found = found.merge(_alignment(found, fields.rms, frame, recording, np.random.default_rng([seed, 2])))
    return found.assign_attrs(unit_of_length=frame.unit, alignment=why_not)


def expected_seconds(run: Run, *, starts: int = N_NOISE, driving: int = N_DRIVING) -> float:
    """Expect so many seconds on two cores, for a network of the size of SqueezeNet."""
    return 10 + run.dataset("recording").sizes[SITE] * (starts + 2 * driving) * _SECONDS_PER_GRADIENT


def missing(run: Run) -> str | None:
    """Say what the run lacks: a site with a match. Without maps there are gradients, and ``alignment`` says so."""
    if (run.dataset("matches")["site_status"] == "ok").any():
        return None
    return f"no site of {run.recording} has a match with {run.network}; its responses or all units are constant."


class Fields(NamedTuple):
    """Gradients of the matches at whole size."""

    gradient: np.ndarray
    """(start, site, y, x) float32, mean over starts and colours."""
    rms: np.ndarray
    """(start, site, y, x) float32."""
    live: np.ndarray
    """(start, site) starts with a gradient."""
    box: np.ndarray
    """(site, 4): top, bottom, left, right of the theoretical field, in fractions of the image; NaN without a match."""
    space: str
    """``"pixels"`` of the stimulus or ``"network input"``."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the gradients."""
        return self.rms.shape[2], self.rms.shape[3]


class Frame(NamedTuple):
    """An image's size in a unit of length; its centre is the origin, y goes up and x to the right."""

    height: float
    width: float
    shape: tuple[int, int]
    unit: str

    def centres(self, n_y: int, n_x: int) -> tuple[np.ndarray, np.ndarray]:
        """Centres of rows, from the top down, and of columns."""
        return (0.5 - (np.arange(n_y) + 0.5) / n_y) * self.height, ((np.arange(n_x) + 0.5) / n_x - 0.5) * self.width


def frame_of(shape: tuple[int, int], size_deg: float, space: str) -> Frame:
    """Return the frame of gradients of (height, width) pixels, of stimuli ``size_deg`` wide."""
    height, width = shape
    if space != "pixels":
        return Frame(height, width, shape, INPUT)
    if not np.isfinite(size_deg):
        return Frame(height, width, shape, PIXELS)
    return Frame(size_deg * height / width, size_deg, shape, DEGREES)


def driving_images(run: Run, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw, for every site's match, ``n`` of the stimuli that drive it most: (site, n) ids; "" without a match."""
    recording, responses = run.dataset("recording"), run.dataset("match_responses")
    row = run.dataset("matches")["match_unit"].isel({RANK: 0}).sel({SITE: recording[SITE]}).values
    activation, ids = responses["activation"].values, responses[STIMULUS].values.astype(str)
    n_top = min(max(n, min(MOST_DRIVING, len(ids) // 6)), len(ids))
    if n > len(ids):
        raise SettingsError(f"driving={n}: the recording has {len(ids)} stimuli; choose at most as many.")
    drawn = np.full((len(row), n), "", ids.dtype)
    for site, own in enumerate(row):
        top = np.lexsort((ids, -activation[own]))[:n_top]
        if own >= 0:
            drawn[site] = ids[np.sort(rng.choice(top, n, replace=False))]
    return drawn


def averaged(values: np.ndarray) -> np.ndarray:
    """Average (..., y, x) over the cells of a coarser grid of at most 64 x 64 that covers the same image."""
    by_y, by_x = (_cells(length) for length in values.shape[-2:])
    return by_y @ values.astype(np.float64) @ by_x.T


def _cells(length: int) -> np.ndarray:
    """(cell, pixel), which share of a cell every pixel has; rows sum to 1."""
    n = min(length, CELLS)
    edges, pixels = np.arange(n + 1) * (length / n), np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(overlap, 0) * (n / length)


def _gradients(fields: Fields, frame: Frame) -> xr.Dataset:
    """Averaged gradients, and centroid, ellipse and box of the whole ones."""
    is_live = fields.live > 0
    y, x = frame.centres(*frame.shape)
    energy = fields.rms.astype(np.float64) ** 2
    at_y, at_x = centroid(energy, y, x)
    major, minor, angle = ellipse(energy, y, x)
    maps = {"gradient": averaged(fields.gradient), "rms": np.sqrt(averaged(energy))}
    cells = frame.centres(*maps["rms"].shape[-2:])
    of_sites = {"centroid_y": at_y, "centroid_x": at_x, "sd_major": major, "sd_minor": minor, "angle": angle}
    top, bottom, left, right = fields.box.T
    box = {"top": (0.5 - top) * frame.height, "bottom": (0.5 - bottom) * frame.height}
    box |= {"left": (left - 0.5) * frame.width, "right": (right - 0.5) * frame.width}
    return xr.Dataset(
        {
            **{
                k: ((START, SITE, "field_y", "field_x"), _where(is_live, v).astype(np.float32)) for k, v in maps.items()
            },
            "live": ((START, SITE), fields.live),
            **{name: ((START, SITE), np.where(is_live, value, np.nan)) for name, value in of_sites.items()},
            **{f"box_{name}": (SITE, value) for name, value in box.items()},
        },
        {"field_y": cells[0], "field_x": cells[1]},
    )


def _where(is_known: np.ndarray, maps: np.ndarray) -> np.ndarray:
    return np.where(is_known[..., None, None], maps, np.nan)


def _no_degrees(frame: Frame) -> str:
    return NO_PIXELS if frame.unit == INPUT else NO_DEGREES


def _alignment(
    found: xr.Dataset, rms: np.ndarray, frame: Frame, recording: xr.Dataset, rng: np.random.Generator
) -> xr.Dataset:
    """Compare gradients with the sites' fields; see ``compute``."""
    maps = recording["rf_map"].transpose(SITE, "rf_y", "rf_x")
    weights, centres = above_blank(maps.values), (maps["rf_y"].values, maps["rf_x"].values)
    grid = frame.centres(*frame.shape)
    whole = density(weights, centres, grid)
    inside = is_inside(whole)
    site_y, site_x = centroid(np.where(inside, whole, 0.0), *grid)
    area = inside.sum(axis=(1, 2)) * (frame.height * frame.width / np.prod(frame.shape))
    has_field = np.isfinite(site_y)
    of_sites = {"site_y": site_y, "site_x": site_x}
    of_sites["site_radius"] = np.where(has_field, np.sqrt(area / np.pi), np.nan)
    cells = (found["field_y"].values, found["field_x"].values)
    fields = {"density": ((SITE, "field_y", "field_x"), density(weights, centres, cells).astype(np.float32))}
    pairs = [_pairs(found.isel({START: k}), rms[k], inside, site_y, site_x) for k in range(len(rms))]
    aligned = [compare_pairs(*pair, recording[REGION].values, rng) for pair in pairs]
    both = xr.concat(aligned, found[START])
    return xr.Dataset({**fields, **{name: (SITE, value) for name, value in of_sites.items()}}).merge(both)


def _pairs(
    found: xr.Dataset, rms: np.ndarray, inside: np.ndarray, site_y: np.ndarray, site_x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distance and share of energy of every unit, a row, with every site's field, a column; NaN where none is."""
    distance = np.hypot(found["centroid_y"].values[:, None] - site_y, found["centroid_x"].values[:, None] - site_x)
    energy = rms.reshape(len(rms), -1).astype(np.float64) ** 2
    total = energy.sum(axis=1, keepdims=True)
    share = np.divide(energy @ inside.reshape(len(inside), -1).T, total, out=np.zeros_like(distance), where=total > 0)
    return distance, np.where(np.isfinite(distance), share, np.nan)


def compare_pairs(distance: np.ndarray, share: np.ndarray, region: np.ndarray, rng: np.random.Generator) -> xr.Dataset:
    """Compare every unit's fit to its own site with its fit to the other sites of the region.

    Parameters
    ----------
    distance, share
        (unit of a site, field of a site); NaN where either is missing.
    region
        (site,) of each.
    rng
        Draws 2000 pairings of the units of a region with its sites.

    Returns
    -------
    xr.Dataset
        ``distance``, ``energy_inside``, ``distance_p``, ``energy_p`` (site); ``mean_distance``, ``random_distance``,
        ``mean_distance_p``, ``mean_energy``, ``random_energy``, ``mean_energy_p``, ``n_aligned`` (region). p is
        (1 + pairings that fit at least as well) / (1 + pairings); NaN for fewer than two sites.
    """
    regions = sorted(set(region.tolist()))
    own = {"distance": np.diagonal(distance).copy(), "energy_inside": np.diagonal(share).copy()}
    p = {name: np.full(len(region), np.nan) for name in ("distance_p", "energy_p")}
    rows: dict[str, list[float]] = {"n_aligned": []}
    for name in regions:
        sites = np.flatnonzero((region == name) & np.isfinite(np.diagonal(distance)))
        rows["n_aligned"].append(len(sites))
        pairings = np.argsort(rng.random((N_PAIRINGS, len(sites))), axis=1)
        for what, fit, sign in (("distance", distance, -1), ("energy", share, 1)):
            table = fit[np.ix_(sites, sites)]
            mean, random, mean_p, site_p = _against_pairings(sign * table, pairings)
            p[f"{what}_p"][sites] = site_p
            for key, value in (
                (f"mean_{what}", sign * mean),
                (f"random_{what}", sign * random),
                (f"mean_{what}_p", mean_p),
            ):
                rows.setdefault(key, []).append(value)
    return xr.Dataset(
        {name: (SITE, value) for name, value in (own | p).items()} | {name: (REGION, v) for name, v in rows.items()},
        {REGION: regions},
    )


def _against_pairings(fit: np.ndarray, pairings: np.ndarray) -> tuple[float, float, float, np.ndarray]:
    """Mean fit of a table's diagonal, of random pairings, p of the mean, and p of each row; larger fits are better."""
    if len(fit) < 2:
        return (float(fit.mean()) if len(fit) else np.nan), np.nan, np.nan, np.full(len(fit), np.nan)
    own = np.diagonal(fit)
    means = fit[np.arange(len(fit)), pairings].mean(axis=1)
    mean_p = (1 + (means >= own.mean() - 1e-12).sum()) / (1 + len(means))
    return float(own.mean()), float(means.mean()), float(mean_p), (fit >= own[:, None]).mean(axis=1)
