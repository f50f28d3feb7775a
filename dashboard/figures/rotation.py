"""Do sites agree with the very units of a layer, or as well with random mixtures of its channels?"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import chance
from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Mark, boxes, labels, line, segments
from dashboard.figures.scales import r_limits, r_ticks
from dashboard.figures.wording import elided, fixed, known_of, plural, thousands
from dashboard.theme import region_token

TITLE = "Units against random mixtures of their channels"
HELP = """**What it shows.** The median over the sites of a region of the best unit's r, in the layer that matches the
region best: with the units as they are (dark), and after random rotations of the layer's channels (light, mean and SD
over the rotations). Leftmost the population of sites against itself, where every site is its own best match, and
against rotations of itself.

**How it is computed.** At every position and for every image the channels are multiplied by the same random rotation;
then the best unit of the rotated layer is taken anew for every site. Raw: activations as they are. Standardised: each
channel divided by its SD first, since a rotation of unequal variances mixes scale with basis. Filled: selected and
scored on all images. Open: selected on some images, scored on the others.

**Chance.** The dashed lines are medians, over shuffles of the images, of the best r in the layer, and of a held-out r
there.

*Figure 9 of Arend et al. 2018, whose bars are the filled, raw ones.*"""
KEYS = (
    Key("box", "units as they are"),
    Key("bar", "rotated: raw, then standardised; mean and SD"),
    Key("open", "open: held out"),
    Key("dash", "chance: median r with shuffled images", "control"),
)
POPULATION, LAYER = "population", "layer"
BASES = ("natural", "raw", "standardised")
ALL, HELD_OUT = "all images", "held out"

_BAR_ROLES = {
    (ALL, "natural"): "Basis",
    (ALL, "raw"): "BasisRotated",
    (ALL, "standardised"): "BasisStandardised",
    (HELD_OUT, "natural"): "BasisHeldOut",
    (HELD_OUT, "raw"): "BasisRotatedHeldOut",
    (HELD_OUT, "standardised"): "BasisStandardisedHeldOut",
}
_GAP, _REGION_GAP, _BAR = 0.9, 0.7, 0.86
_LETTER_PX = 6.4


def data(rotation: xr.Dataset, recording: xr.Dataset, null: xr.Dataset) -> pd.DataFrame:
    """Return one row a bar: for each region the population, the layer, and the layer held out, in three bases each.

    Columns: ``region``, ``of`` ("population" or "layer"), ``layer`` (its name, "" for the population), ``split`` ("all
    images" or "held out"), ``basis`` ("natural", "raw", "standardised"), ``correlation``, ``sd`` over the rotations
    (NaN for the natural basis), ``chance`` (median over shuffles of the best r in that layer; NaN for the population).
    ``attrs``: n_stimuli, n_rotations, and by region n_sites, n_matched, n_channels.
    """
    regions = _regions(rotation, recording)
    rows = [row for region in regions for row in _rows(rotation.sel(region=region), null)]
    table = pd.DataFrame(rows, columns=["region", "of", "layer", "split", "basis", "correlation", "sd", "chance"])
    table.attrs = {
        "n_stimuli": int(recording.sizes["stimulus"]),
        "n_rotations": int(rotation.sizes["rotation"]),
        **{
            name: {region: int(rotation[name].sel(region=region)) for region in regions}
            for name in ("n_sites", "n_matched", "n_channels")
        },
    }
    return table


def describe(data: pd.DataFrame, *, regions: Sequence[str] = (), width: int = 660) -> Drawing:
    """Describe the bars, grouped by what was rotated; ``width`` in px decides how long names may be."""
    x, groups = _places(data)
    r, sd = data["correlation"].to_numpy(dtype=float), data["sd"].to_numpy(dtype=float)
    token = np.array([region_token(name, regions) for name in data["region"]], dtype=object)
    spread = np.nan_to_num(sd)
    low, high = r_limits(r + spread, r - spread, groups["chance"], room=0.08)
    end = float(groups["right"].max()) if len(groups) else 1.0
    per_group = (width - 90) / max(len(groups), 1)
    ticks = [(float(group.at), elided(group.label, int(per_group // _LETTER_PX))) for group in groups.itertuples()]
    is_held_out = (groups["split"] == HELD_OUT).to_numpy() if len(groups) else np.empty(0, dtype=bool)
    first = str(token[0]) if len(token) else "V4"
    return Drawing(
        [
            _strip("Chance", groups[~is_held_out]),
            _strip("ChanceHeldOut", groups[is_held_out]),
            *_bars(data, x, r, token),
            segments("ChanceEdge", groups["left"] - 0.15, groups["chance"], groups["right"] + 0.15, groups["chance"]),
            line("Zero", [-0.7, end + 0.2], [0, 0]),
            segments("BasisError", x, r - sd, x, r + sd),
            labels("BasisValue", x, np.maximum(r + spread, 0), [fixed(value) for value in r]),
        ],
        Axes(
            (-0.7, end + 0.2),
            (low, high),
            ticks,
            r_ticks(low, high),
            None,
            "Median over sites of the best r",
            left=54,
            right=12,
            bottom=30,
        ),
        {"region": first},
    )


def caption(data: pd.DataFrame) -> str:
    """Say how many rotations, images and sites there are."""
    about = data.attrs
    sites = ", ".join(
        known_of(about["n_matched"][region], count, f"{region} site") for region, count in about["n_sites"].items()
    )
    rotations = plural(about["n_rotations"], "rotation")
    return f"{rotations} of {_channels(about)}; {sites}, {thousands(about['n_stimuli'])} images"


def _regions(rotation: xr.Dataset, recording: xr.Dataset) -> list[str]:
    """Return the regions in the order of the recording."""
    there = rotation["region"].values.tolist()
    return [name for name in dict.fromkeys(recording["region"].values.tolist()) if name in there]


def _rows(rotation: xr.Dataset, null: xr.Dataset) -> Iterator[tuple]:
    """Yield the bars of one region."""
    region, layer = str(rotation["region"].item()), str(rotation["layer"].item())
    at = null["layer"].values.tolist().index(layer)
    limits = {
        ALL: float(chance.in_layers(null, region, 50)[at]),
        HELD_OUT: float(chance.held_out_in_layers(null, region, 50)[at]),
    }
    itself = 1.0 if np.isfinite(rotation["mean_population"].values).any() else np.nan
    for of, name, split, natural, rotated in (
        (POPULATION, "", ALL, itself, "population"),
        (LAYER, layer, ALL, float(rotation["median_natural"]), "correlation"),
        (LAYER, layer, HELD_OUT, float(rotation["median_natural_held_out"]), "held_out"),
    ):
        limit = limits[split] if of == LAYER else np.nan
        yield region, of, name, split, "natural", natural, np.nan, limit
        for basis in BASES[1:]:
            one = rotation.sel(scaling=basis)
            yield region, of, name, split, basis, float(one[f"mean_{rotated}"]), float(one[f"sd_{rotated}"]), limit


def _places(data: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """Return where each bar stands, and of each group of bars its label, ends and chance."""
    n_bases = len(BASES)
    of_group = np.arange(len(data)) // n_bases
    new_region = (data["region"] != data["region"].shift()).to_numpy() & (np.arange(len(data)) > 0)
    x = np.arange(len(data)) + _GAP * of_group + _REGION_GAP * np.cumsum(new_region)
    first = data.iloc[::n_bases]
    left = x[::n_bases]
    groups = pd.DataFrame(
        {
            "label": [_label(row) for row in first.itertuples()],
            "split": first["split"].to_numpy(),
            "left": left - 0.5,
            "at": left + (n_bases - 1) / 2,
            "right": left + n_bases - 0.5,
            "chance": np.maximum(first["chance"].to_numpy(dtype=float), 0),  # below 0 there is nothing to exceed
        }
    )
    return x, groups


def _label(row: object) -> str:
    region, of, layer, split = (getattr(row, name) for name in ("region", "of", "layer", "split"))
    if of == POPULATION:
        return f"{region} population"
    return layer if split == ALL else "held out"


def _bars(data: pd.DataFrame, x: np.ndarray, r: np.ndarray, token: np.ndarray) -> list[Mark]:
    kinds = list(zip(data["split"], data["basis"], strict=True))
    marks = []
    for kind, role in _BAR_ROLES.items():
        rows = np.array([one == kind for one in kinds], dtype=bool) & np.isfinite(r)
        marks.append(boxes(role, x[rows] - _BAR / 2, 0, x[rows] + _BAR / 2, r[rows], token=token[rows]))
    return marks


def _strip(role: str, groups: pd.DataFrame) -> Mark:
    return boxes(role, groups["left"] - 0.15, 0, groups["right"] + 0.15, groups["chance"])


def _channels(about: dict) -> str:
    counts = about["n_channels"]
    if len(set(counts.values())) == 1:
        return plural(next(iter(counts.values())), "channel")
    return " and ".join(f"{thousands(n)} ({region})" for region, n in counts.items()) + " channels"
