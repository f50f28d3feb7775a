"""What did the stimuli look like? One image of each category, drawn at random with a seed."""

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, boxes, image, labels
from dashboard.figures.wording import elided, plural
from dashboard.theme import oklab

TITLE = "One image of each category"
HELP = """**What it shows.** Of each category of images one that was drawn at random, in grey. Tap it to open it.

**How it is computed.** A seeded draw among the images of the category; another seed shows others.

*Figure 1 of Arend et al. 2018.*"""
KEYS: tuple[Key, ...] = ()
_GAP, _NAMES = 0.06, 0.2
"""Between pictures, and room for names below them, in widths of a picture."""
_EDGE_PX, _FOOTER_PX = 8, 16
_DARKEST = 0.27
"""OKLab lightness of the end of the ramp on a light ground."""


def data(recording: xr.Dataset, thumbnails: xr.Dataset, *, seed: int = 0) -> pd.DataFrame:
    """Return one row a category, by name.

    Parameters
    ----------
    recording
        With the coordinate ``category`` (stimulus); without it there is no row, and the caption says why.
    thumbnails
        ``pixels`` (stimulus, pixel_y, pixel_x, colour), uint8 sRGB.
    seed
        Of the draw. It is made over the sorted ids, so the order of the stimuli changes nothing.

    Returns
    -------
    pd.DataFrame
        ``category``, ``stimulus``, ``n_stimuli`` (of the category). ``attrs``: seed, licence, and ``pixels``, a list of
        (pixel_y, pixel_x) uint8 arrays, gray, in the order of the rows.
    """
    rng = np.random.default_rng(seed)
    category = recording["category"].to_series().astype(str) if "category" in recording.coords else pd.Series(dtype=str)
    rows = []
    for name in sorted(set(category)):
        members = sorted(str(stimulus) for stimulus in category.index[category == name])
        rows.append((name, members[rng.integers(len(members))], len(members)))
    frame = pd.DataFrame(rows, columns=["category", "stimulus", "n_stimuli"])
    chosen = thumbnails["pixels"].sel(stimulus=frame["stimulus"].tolist()).transpose("stimulus", ..., "colour").values
    frame.attrs = {"seed": seed, "licence": str(thumbnails.attrs.get("licence", "")), "pixels": list(_gray(chosen))}
    return frame


def describe(data: pd.DataFrame, *, stimulus: str | None = None, width: int = 940) -> Drawing:
    """Describe the strip for a light ground, as paper has it; the page shows the pictures themselves.

    Gray levels keep their lightness (OKLab) down to that of the darkest ink. ``stimulus`` is framed. Pictures are
    square at ``width`` px with one line of text below the figure.
    """
    n = max(len(data), 1)
    left = np.arange(len(data)) * (1 + _GAP)
    ids = data["stimulus"].to_numpy(dtype=object)
    at = ids == stimulus
    right = n * (1 + _GAP) - _GAP
    return Drawing(
        [
            image("Counts", _strip(data.attrs["pixels"]), (0, 0, right, 1), (0.0, 1.0)),
            boxes("ImageEdge", left, 0, left + 1, 1),
            boxes("RowFrame", left[at], 0, left[at] + 1, 1),
            labels("Note", left, -_NAMES / 2, [elided(str(name), 16) for name in data["category"]]),
            boxes("Hit", left, 0, left + 1, 1, key=ids),
        ],
        Axes(
            (0, right),
            (-_NAMES, 1.0),
            grid="",
            left=_EDGE_PX,
            right=_EDGE_PX,
            top=_EDGE_PX,
            bottom=4,
            height=round((width - 2 * _EDGE_PX) / right * (1 + _NAMES)) + _EDGE_PX + 4 + _FOOTER_PX,
        ),
        {"region": "ink"},
        Hit("Hit", _TOOLTIP),
    )


def caption(data: pd.DataFrame) -> str:
    """Say how many categories there are, and which draw this is."""
    if not len(data):
        return "this recording names no categories of its images"
    total = int(data["n_stimuli"].sum())
    return f"{len(data)} categories, {plural(total, 'image')}, drawn with seed {data.attrs['seed']}, shown in grey"


_TOOLTIP = "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink)'><b>@key</b></div>"


def _gray(pixels: np.ndarray) -> np.ndarray:
    """(stimulus, y, x) uint8 of (stimulus, y, x, colour): Rec. 709 luma where there are colours."""
    if pixels.shape[-1] == 1:
        return pixels[..., 0]
    return np.rint(pixels[..., :3].astype(float) @ [0.2126, 0.7152, 0.0722]).astype(np.uint8)


def _strip(pictures: list[np.ndarray]) -> np.ndarray:
    """(pixel_y upwards, pixel_x) places in the ramp from paper (0) to ink (1); NaN between the pictures."""
    if not pictures:
        return np.zeros((1, 1))
    lightness = np.array([oklab(f"#{level:02X}{level:02X}{level:02X}")[0] for level in range(256)])
    place = np.clip((1 - lightness) / (1 - _DARKEST), 0, 1)
    height, width = pictures[0].shape
    gap = np.full((height, max(round(_GAP * width), 1)), np.nan)
    parts = [part for picture in pictures for part in (place[picture], gap)][:-1]
    return np.concatenate(parts, axis=1)[::-1]
