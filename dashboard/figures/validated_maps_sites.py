"""How many sites does each feature map match above fixed thresholds of r?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dashboard.figures import validated_maps as best_of_maps
from dashboard.figures.feature_maps import counts_ticks
from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, Mark, area, boxes, labels, line, points, segments
from dashboard.figures.validated_maps import TOOLTIP, frame_of, place_ticks
from dashboard.figures.wording import fixed, known_of, tick
from dashboard.theme import region_token

TITLE = "Sites above a threshold, by feature map"
HELP = """**What it shows.** For each feature map, in the order of its best r, the number of sites whose r with the best
position of the map passes a threshold. Higher thresholds are darker.

**How it is computed.** Pearson's r of every position of the map with each site, over all images; the largest counts.
Thresholds from 0.1 to 0.6 are exported; drawn are at most four of them, none below chance.

**Chance.** A threshold below the corrected one of the validated maps would count sites that random maps have as well.
Fixed thresholds say nothing of a single site's reliability.

*Figure S13, right, of Arend et al. 2018.*"""
MOST_THRESHOLDS = 4

data = best_of_maps.data


def describe(data: pd.DataFrame, *, channel: int | None = None, regions: Sequence[str] = ()) -> Drawing:
    """Describe the nested counts, the lowest threshold palest; ``channel`` is the selected map."""
    about = data.attrs
    shown = shown_thresholds(data)
    counts = {t: data[f"above_{t:g}"].to_numpy(dtype=float) for t in shown}
    n_maps = len(data)
    start, end = frame_of(n_maps)
    most = max((count.max(initial=0) for count in counts.values()), default=0)
    top = max(1.2 * most, 1.0)
    token = region_token(about["region"], regions)
    edges = np.repeat(np.arange(n_maps + 1) + 0.5, 2)[1:-1]
    return Drawing(
        [
            *(area("Units", edges, 0, np.repeat(count, 2), token=token) for count in counts.values()),
            line("Zero", [start, end], [0, 0]),
            *_legend(shown, (start, end), top, token),
            *_pin(data, channel, counts[shown[0]] if shown else np.zeros(n_maps), top),
            boxes(
                "Hit",
                data["place"] - 0.5,
                0,
                data["place"] + 0.5,
                top,
                key=data["channel"].to_numpy(),
                told=_told(data, about["thresholds"]),
            ),
        ],
        Axes(
            (start, end),
            (0, top),
            place_ticks(n_maps),
            counts_ticks(top),
            f"Feature map of {about['layer']}, by best r",
            "Sites above",
            left=60,
            right=12,
            bottom=44,
        ),
        {"region": token},
        Hit("Hit", TOOLTIP),
    )


def keys(data: pd.DataFrame) -> list[Key]:
    """Return no keys: the thresholds are named in the frame."""
    return []


def caption(data: pd.DataFrame) -> str:
    """Say over how many sites, and above which chance the thresholds lie."""
    about = data.attrs
    sites = known_of(about["n_matched"], about["n_sites"], f"{about['region']} site")
    return f"{sites}; thresholds above chance, {fixed(about['threshold'])}"


def shown_thresholds(data: pd.DataFrame) -> list[float]:
    """Return the thresholds that are drawn: the lowest four that chance does not reach and some site passes."""
    about = data.attrs
    passed = [t for t in about["thresholds"] if t > about["threshold"] and data[f"above_{t:g}"].any()]
    return passed[:MOST_THRESHOLDS]


def _pin(data: pd.DataFrame, channel: int | None, lowest: np.ndarray, top: float) -> list[Mark]:
    """Mark the selected map above its bar."""
    at = np.flatnonzero(data["channel"].to_numpy() == channel)
    x, y = data["place"].to_numpy(dtype=float)[at], lowest[at] + 0.1 * top
    return [
        segments("Pin", x, lowest[at], x, y),
        points("PinHead", x, y),
        labels("PinNoteRight", x, y, [f"map {channel}"] * len(at)),
    ]


def _legend(shown: list[float], frame: tuple[float, float], top: float, token: str) -> list[Mark]:
    """Draw a sample of each threshold: as many areas lie on one another there as in the counts."""
    width = frame[1] - frame[0]
    left = frame[1] - 0.14 * width
    row = np.array([place for place in range(len(shown)) for _ in range(place + 1)], dtype=float)
    upper = top * (0.97 - 0.1 * row)
    tokens = np.full(len(row), token, dtype=object)
    return [
        boxes("Units", left, upper - 0.07 * top, left + 0.025 * width, upper, token=tokens),
        labels(
            "Note",
            np.full(len(shown), left + 0.035 * width),
            top * (0.935 - 0.1 * np.arange(len(shown))),
            [f"r > {tick(t)}" for t in shown],
        ),
    ]


def _told(data: pd.DataFrame, thresholds: list[float]) -> np.ndarray:
    columns = {t: data[f"above_{t:g}"].to_numpy() for t in thresholds}
    return np.array(
        [", ".join(f"{column[i]} above {tick(t)}" for t, column in columns.items()) for i in range(len(data))],
        dtype=object,
    )
