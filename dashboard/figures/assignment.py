"""What does it cost when no two sites may have the same unit? The match of each site by itself, and one-to-one."""

import numpy as np
import pandas as pd
import xarray as xr

from dashboard.figures import chance
from dashboard.figures.keys import Key
from dashboard.figures.marks import Axes, Drawing, Hit, boxes, labels, line, points, segments
from dashboard.figures.placement import name_ticks
from dashboard.figures.scales import r_ticks
from dashboard.figures.wording import fixed, known_of, plural
from dashboard.theme import region_token

TITLE = "One unit for each site"
HELP = """**What it shows.** Every site of the region, the best match first: r of its best unit (filled), and in the
network's colour the r of the unit that it gets when every unit may serve one site only. A ring marks sites that share
their best unit with another site. Open dots are held out.

**How it is computed.** Units are assigned so that the sum of r over the sites is as large as can be. Candidates are the
100 best units of all sites; with up to 100 sites this loses nothing. The held-out r assigns on some images and scores
on the others, so it can differ where the units over all images do not.

**Chance.** The pale strip is for filled dots: what the best of all units reaches with shuffled images, in 95% of
shuffles. The darker strip is for open dots.

*Not in Arend et al. 2018, where sites may share a unit.*"""
KEYS = (
    Key("dot", "best unit, r"),
    Key("open", "held-out"),
    Key("dot", "one-to-one, where it differs, r", "network"),
    Key("open", "held-out", "network"),
    Key("ring", "shares its best unit", "network"),
    Key("box", "chance, r", "band"),
    Key("box", "chance, held-out", "band2"),
)
_SITE = ("greedy", "one_to_one", "greedy_held_out", "one_to_one_held_out", "rank", "n_sharing", "n_sharing_map")
_REGION = ("n_sites", "n_matched", "n_assigned", "n_distinct", "n_shared", "n_shared_map", "n_changed", "is_exact")
_NOTES = 0.36
_SAME = 1e-9


def data(assignment: xr.Dataset, null: xr.Dataset, region: str) -> pd.DataFrame:
    """Return one row a site of the region, best r first.

    Columns: ``site``, ``greedy``, ``one_to_one`` (r) with ``_held_out``, ``rank`` of the assigned unit (-1: beyond the
    site's ranks, or none), ``n_sharing``, ``n_sharing_map``, ``chance``, ``chance_held_out``. ``attrs``: region, the
    counts of the analysis, and its medians.
    """
    here = assignment.isel(site=np.flatnonzero(assignment["region_of_site"].values == region))
    frame = pd.DataFrame({"site": here["site"].values.astype(object)} | {name: here[name].values for name in _SITE})
    frame["chance"], frame["chance_held_out"] = chance.best_of_all(null, region), chance.held_out(null, region)
    frame = frame.sort_values("greedy", ascending=False, kind="stable", na_position="last", ignore_index=True)
    one = assignment.sel(region=region)
    frame.attrs = {"region": region, **{name: one[name].item() for name in _REGION}}
    frame.attrs |= {f"median_{name}": float(one[f"median_{name}"]) for name in _SITE[:4]}
    return frame


def describe(
    data: pd.DataFrame,
    *,
    site: str | None = None,
    network: str = "network1",
    regions: tuple[str, ...] = (),
    width: int = 940,
) -> Drawing:
    """Describe the sites from left to right; ``site`` is selected, ``width`` in px decides how many ids fit."""
    n_sites = len(data)
    x = np.arange(n_sites, dtype=float)
    names = data["site"].to_numpy()
    greedy, single, greedy_out, single_out = (data[name].to_numpy(dtype=float) for name in _SITE[:4])
    changed = (data["rank"].to_numpy() != 0) & np.isfinite(single)
    changed_out = np.abs(single_out - greedy_out) > _SAME
    shared = data["n_sharing"].to_numpy() > 1
    left, right = -1.0, max(n_sites, 1) + 0.0
    low, high = _limits(greedy, single, greedy_out, single_out)
    limit, held_out_limit = (data[name].iloc[0] if n_sites else np.nan for name in ("chance", "chance_held_out"))
    at = np.flatnonzero(names == site)
    room = _NOTES * (high - low)
    region = region_token(data.attrs["region"], regions)
    return Drawing(
        [
            boxes("Chance", left, 0, right, limit),
            boxes("ChanceHeldOut", left, 0, right, held_out_limit),
            line("Zero", [left, right], [0, 0]),
            segments("ToHeldOut", x[changed], greedy[changed], x[changed], single[changed]),
            points("HeldOutSmall", x, greedy_out),
            points("NetworkLayerHeldOutDense", x[changed_out], single_out[changed_out]),
            points("MatchDense", x, greedy),
            points("NetworkLayerDense", x[changed], single[changed]),
            points("UnitFavourite", x[shared], greedy[shared]),
            points("SelectionHalo", x[at], greedy[at]),
            points("Selection", x[at], greedy[at]),
            labels("NoteInk", left + 0.4, high + 0.82 * room, _sharing(data.attrs)),
            labels("Note", left + 0.4, high + 0.48 * room, _cost(data.attrs)),
            boxes(
                "Hit",
                x - 0.5,
                low,
                x + 0.5,
                high,
                key=names,
                greedy=_written(greedy, greedy_out),
                single=_written(single, single_out),
                sharing=data["n_sharing"].to_numpy(),
            ),
        ],
        Axes(
            (left, right),
            (low, high + room),
            name_ticks(names, width - 70),
            [at for at in r_ticks(low, high, most=6) if at[0] <= high],
            "Site, by r",
            "r",
            left=46,
            right=10,
            bottom=44,
        ),
        {"region": region, "network": network},
        Hit("Hit", _TOOLTIP),
    )


def caption(data: pd.DataFrame) -> str:
    """Say how many sites there are, and whether the assignment is the best there is."""
    about = data.attrs
    sites = known_of(about["n_matched"], about["n_sites"], f"{about['region']} site")
    exact = "the best assignment" if about["is_exact"] else "a lower bound: more sites than ranks"
    n_left = about["n_matched"] - about["n_assigned"]
    return f"{sites}, {exact}" + (f", no unit left for {plural(n_left, 'site')}" if n_left else "")


_TOOLTIP = (
    "<div style='font:400 12px/16px var(--us-font);color:var(--us-ink);max-width:240px;overflow-wrap:anywhere'>"
    "<b>@key</b><br>best unit: @greedy<br>one-to-one: @single<br>sites with this best unit: @sharing</div>"
)


def _limits(*values: np.ndarray) -> tuple[float, float]:
    every = np.concatenate(values)
    every = every[np.isfinite(every)]
    low = float(np.floor(np.min(every, initial=0) / 0.1) * 0.1)
    return low, float(np.ceil(np.max(every, initial=0.3) / 0.1 - 1e-9) * 0.1)


def _sharing(about: dict) -> str:
    return (
        f"{about['n_shared']} of {plural(about['n_matched'], 'site')} share their best unit with another, "
        f"{about['n_shared_map']} its feature map; {plural(about['n_distinct'], 'different unit')}"
    )


def _cost(about: dict) -> str:
    text = f"one-to-one, {plural(about['n_changed'], 'site')} with another unit: median r {_change(about, '')}"
    if np.isnan(about["median_greedy_held_out"]):
        return text
    return f"{text}, held-out r {_change(about, '_held_out')}"


def _change(about: dict, score: str) -> str:
    before, after = (about[f"median_{name}{score}"] for name in ("greedy", "one_to_one"))
    return f"{fixed(before, 3)} to {fixed(after, 3)}"


def _written(r: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    return np.array([f"r {fixed(a)}, held-out {fixed(b)}" for a, b in zip(r, held_out, strict=True)], dtype=object)
