"""Does the winner change when a category is left out? r of the new winner on what it never saw, and how often."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, boxes, labels, line, points, segments
from dashboard.figures.scales import r_limits, r_ticks
from dashboard.figures.wording import elided, fixed, known_of, plural, signed
from dashboard.theme import region_token

TITLE = "Without one category"
HELP = """**What it shows.** A row is a category of images that was left out while units were chosen. Open: r on it of
the unit that the other images choose. Filled: r there of the match, which was chosen with it. Medians over sites of the
region; thin lines are the quartiles of the open dots. At right: for how many sites the winner stayed the same unit, and
how alike the new winner and the match are (r of their activations over all images, median).

**How it is computed.** All units of all layers are matched again without the category. Recordings without categories
are cut into seeded parts instead, and the axis says so.

**Chance.** The open dots chose nothing on the images that score them: by chance they lie about 0. Within one category
images differ less than among all, so r is lower than over all images, for both dots alike; compare the two.

*Not in Arend et al. 2018.*"""
KEYS = (
    Key("dot", "match, chosen with it"),
    Key("open", "chosen without it"),
    Key("line", "quartiles over sites"),
)
_NUMBERS_PX, _NAME_PX = 150, 6.6


def data(stability: xr.Dataset, recording: xr.Dataset, region: str) -> pd.DataFrame:
    """Return one row a category or part.

    Columns: ``part``, ``n_stimuli``; medians over the region's matched sites ``left_out`` (of the new winner),
    ``match_left_out``, ``similarity``, quartiles ``left_out_low``, ``left_out_high``; ``share_same``,
    ``share_same_layer``. ``attrs``: region, n_sites, n_left_out, left_out (what was); other, other_share_same_layer,
    other_difference, other_similarity, n_other_known ("" and NaN without another run).
    """
    own = recording["region"].sel(site=stability["site"]).values == region
    one, values = stability.sel(region=region), stability["left_out"].transpose("part", "site").values[:, own]
    low, high = (_percentile(values, at) for at in (25, 75))
    frame = pd.DataFrame(
        {
            "part": one["part"].values.astype(object),
            "n_stimuli": one["n_stimuli"].values,
            **{name: one[f"{name}_median"].values for name in ("left_out", "match_left_out", "similarity")},
            "left_out_low": low,
            "left_out_high": high,
            **{name: one[name].values for name in ("share_same", "share_same_layer")},
        }
    )
    others = {"other_share_same_layer": "other_share_same_layer", "other_difference_median": "other_difference"}
    others["other_similarity_median"] = "other_similarity"
    frame.attrs = {
        "region": region,
        "n_sites": int(one["n_sites"]),
        "n_left_out": int(one["n_left_out"]),
        "left_out": stability.attrs["left_out"],
        "other": stability.attrs["other"],
        **{name: float(one[stored]) if stored in one else np.nan for stored, name in others.items()},
    }
    return frame


def title(data: pd.DataFrame) -> str:
    """Name what was left out."""
    return TITLE if data.attrs["left_out"] == "one category" else "Without one part of the images"


def describe(data: pd.DataFrame, *, regions: Sequence[str] = (), width: int = 660) -> Drawing:
    """Describe the parts from top to bottom; ``width`` in px decides the room for names."""
    about, n = data.attrs, len(data)
    y = -np.arange(n) - 0.5
    new, match = data["left_out"].to_numpy(dtype=float), data["match_left_out"].to_numpy(dtype=float)
    low, high = r_limits(new, match, data["left_out_low"], data["left_out_high"])
    names = np.array(
        [f"{elided(str(p), 18)} ({k})" for p, k in zip(data["part"], data["n_stimuli"], strict=True)], object
    )
    name_px = 16 + _NAME_PX * max(map(len, names), default=6)
    per_px = (high - low) / max(width - name_px - _NUMBERS_PX - 20, 120)
    start, end = low - name_px * per_px, high + _NUMBERS_PX * per_px
    numbers = [f"{same:.0%} · {fixed(r)}" for same, r in zip(data["share_same"], data["similarity"], strict=True)]
    return Drawing(
        [
            line("Zero", [0, 0], [-n - 0.2, 0.1]),
            segments("HeldOutLine", data["left_out_low"], y, data["left_out_high"], y),
            segments("MatchToHeldOut", match, y, new, y),
            points("Match", match, y),
            points("HeldOutSmall", new, y),
            labels("Note", start, y, names),
            labels("Numbers", end, np.append(y, 0.5), [*numbers, "same unit · alike"]),
            boxes(
                "Hit", start, y - 0.5, end, y + 0.5, key=data["part"].to_numpy(dtype=object), r=_written(match),
                held_out=_written(new), same=np.array([f"{v:.0%}" for v in data["share_same"]], dtype=object),
                layer=np.array([f"{v:.0%}" for v in data["share_same_layer"]], dtype=object),
            ),
        ],
        Axes(
            (start, end), (-n - 0.2, 1.0), r_ticks(low, high), (),
            f"r on the images left out, median over {plural(about['n_sites'], about['region'] + ' site')}", grid="x",
            left=8, right=12, bottom=44, height=70 + 26 * n,
        ),
        {"region": region_token(about["region"], regions)},
        Hit("Hit", _TOOLTIP),
    )  # fmt: skip


def caption(data: pd.DataFrame) -> str:
    """Say what was left out, and how the other run compares."""
    about = data.attrs
    sites = known_of(about["n_sites"], about["n_sites"] + about["n_left_out"], f"{about['region']} site")
    told = f"{sites}, {about['left_out']} left out at a time, images in brackets"
    if not about["other"]:
        return told
    return (
        f"{told}; {about['other']}: same layer for {about['other_share_same_layer']:.0%} of the sites, "
        f"r {signed(about['other_difference'], 2)}, alike {fixed(about['other_similarity'])} (medians)"
    )


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:260px'><b>without @key</b><br>"
    "r there @held_out, of the match @r<br>same unit @same, same layer @layer</div>"
)


def _percentile(values: np.ndarray, at: float) -> np.ndarray:
    return np.array([np.percentile(row[np.isfinite(row)], at) if np.isfinite(row).any() else np.nan for row in values])


def _written(values: np.ndarray) -> np.ndarray:
    return np.array([fixed(value) for value in values], dtype=object)
