"""Which are the best units of a site? The table of ranks, and how alike the units are."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dashboard.figures.wording import fixed, plural, tick
from dashboard.results import Chosen
from dashboard.views.headers import no_match
from dashboard.views.markup import Markup, joined, tag

HELP = """**What it shows.** The units with the highest r with this site, best first. Rank 0 is the match, all
others are its runner-ups. A row selects its unit, here and on the page of the site.

**How it is computed.** r: chosen and scored on all images. Half A and half B: r of the same unit in each half of the
images, both of which had a say in its choice. Held-out r of a rank: the unit that holds this rank among the images of
selection, scored on the images that were left out, mean over folds; it need not be the unit of this row. In the bar a
filled dot is r, the thin line runs between the halves, an open dot is the held-out r. Sparse: the unit leaves its most
frequent value on fewer than five images. Tied: r differs by less than 0.000002 from a neighbour's.

**How chance reads.** Compare r with the best of all units with shuffled images, the held-out values with zero.

*Figure 7 of Arend et al. 2018 counts these units.*"""
ALIKE_HELP = """**What it shows.** From which layers and feature maps the best units come, and how close they are to
the match.

**How it is computed.** Counts over the ranks of the table. Where many units of one map are as good as the match, the
match is one of a family; where the maps are many, several features fit the site equally well. Effective rank: exp of
the entropy of the eigenvalues of the units' correlation matrix, from 1 (copies of one unit) to their number (Roy and
Vetterli 2007); it is that of the analysis redundancy.

**How chance reads.** Units that are best by chance agree little between the halves of the images.

*Figure S10 of Arend et al. 2018 asks the same of single sites.*"""
HALVES = ("half_A", "half_B")
NEAR = 0.05
"""A runner-up within this of the match's r is counted as nearly as good."""
_BAR_PX, _BAR_HEIGHT = 92, 23


def ranking(chosen: Chosen) -> pd.DataFrame:
    """Return one row a rank that holds a unit, with its r in each half of the images where there are two."""
    matches = chosen.run.dataset("matches").sel(site=chosen.site)
    names = ("layer", "channel", "y", "x", "correlation", "held_out", "status", "tied")
    table = pd.DataFrame({name: matches[name].values for name in names})
    table.insert(0, "rank", np.arange(len(table)))
    is_unit = np.isfinite(table["correlation"].to_numpy())
    table = table[is_unit].assign(**_in_halves(chosen, matches["match_unit"].values[is_unit]))
    return table


def _in_halves(chosen: Chosen, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return r of units of ``match_responses`` with the site in each half of the images; nothing for other folds."""
    run = chosen.run
    if run.n_folds != 2 or not len(rows) or (rows < 0).any():
        return {}
    stored = run.dataset("match_responses")
    recording = run.dataset("recording")["response"].sel(site=chosen.site)
    fold = run.dataset("folds")["fold"].sel(stimulus=stored["stimulus"]).values
    response = recording.sel(stimulus=stored["stimulus"]).values
    activation = stored["activation"].values[rows].astype(float)
    return {
        name: _correlations(activation[:, here], response[here])
        for name, here in ((half, np.isfinite(response) & (fold == i)) for i, half in enumerate(HALVES))
    }


def _correlations(units: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Return Pearson's r of each row with the response; NaN where one of them never varies."""
    if response.size < 3:
        return np.full(len(units), np.nan)
    a, b = units - units.mean(axis=1, keepdims=True), response - response.mean()
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum())
    return np.divide(a @ b, scale, out=np.full(len(units), np.nan), where=scale > 0)


def rows(table: pd.DataFrame, chosen: Chosen) -> Markup:
    """Return the table; the row of the chosen rank is marked."""
    halves = [name for name in HALVES if name in table]
    low, high = _bar_limits(table, halves)
    scale = tag(
        "span", tag("span", tick(low)), tag("span", tick(high)), style="display:flex;justify-content:space-between"
    )
    heads = [
        _head("rank", "t"),
        _head("layer", "t"),
        _head("map"),
        _head("y, x"),
        _head("r"),
        *[_head(name.replace("_", " ")) for name in halves],
        _head("held-out r"),
        tag("th", tag("span", "flags", class_="hidden-label"), scope="col"),
        tag(
            "th",
            scale,
            class_="bar-cell",
            scope="col",
            aria_label=f"r, halves and held-out r, from {low:g} to {high:g}",
        ),
    ]
    body = [_row(row, halves, chosen, (low, high)) for row in table.to_dict("records")]
    return tag(
        "table",
        tag("thead", tag("tr", heads)),
        tag("tbody", body),
        class_="ranks",
        role="grid",
        aria_label=f"Best units of {chosen.site}",
    )


def alike(table: pd.DataFrame, chosen: Chosen) -> Markup:
    """Return how the units spread over layers and maps, and how close they are to the match."""
    if table.empty:
        return tag("p", f"No match: {no_match(chosen)}.", class_="empty")
    counts = table["layer"].value_counts()
    layers = [name for name in chosen.run.layers if name in counts.index]
    first = table.iloc[0]
    maps = table[["layer", "channel"]].drop_duplicates()
    same = int(((table["layer"] == first["layer"]) & (table["channel"] == first["channel"])).sum())
    shown = sorted(layers, key=lambda name: -counts[name])[:5]
    facts = [
        (f"Units within {NEAR} of the match", near_units(table)),
        ("Distinct feature maps", len(maps)),
        ("Of the same map as the match", same - 1),
        ("Tied with a neighbour", int(table["tied"].sum())),
        ("r in half A against half B, over the ranks", fixed(_agreement(table))),
        _effective_rank(chosen),
    ]
    return joined(
        [
            tag("p", f"Layers of the {len(table)}", class_="quiet"),
            tag(
                "div", [_part(name, int(counts[name]), i, len(layers)) for i, name in enumerate(layers)], class_="bars"
            ),
            tag(
                "div",
                [tag("span", f"{name} {counts[name]}", class_="cut") for name in layers if name in shown],
                class_="bar-names",
            ),
            tag("table", [_fact(*fact) for fact in facts], class_="facts"),
        ]
    )


def _agreement(table: pd.DataFrame) -> float:
    """Return the correlation over ranks of r in one half with r in the other; NaN without halves."""
    known = table[list(HALVES)].dropna() if set(HALVES) <= set(table.columns) else pd.DataFrame()
    is_known = len(known) > 2 and bool((known.std() > 0).all())
    return float(np.corrcoef(known.to_numpy().T)[0, 1]) if is_known else np.nan


def _effective_rank(chosen: Chosen) -> tuple[str, object]:
    """Return of how many independent units the ranked ones do the work, or the command that would tell."""
    label = "Effective rank"
    if not chosen.run.has("redundancy"):
        return label, "not computed"
    found = chosen.run.dataset("redundancy").sel(site=chosen.site)
    return label, f"{fixed(float(found['effective_rank']), 1)} of {int(found['n_ranked'])}"


def near_units(table: pd.DataFrame) -> int:
    """Return how many runner-ups are nearly as good as the match."""
    r = table["correlation"].to_numpy()
    return int((r[1:] >= r[0] - NEAR).sum()) if len(r) else 0


def more(table: pd.DataFrame) -> Markup:
    """Return the line below the table: how to step."""
    return tag(
        "div",
        f"{plural(len(table), 'unit')}; scroll, or ",
        tag("kbd", "←"),
        " ",
        tag("kbd", "→"),
        " to step",
        class_="note",
    )


def _row(row: dict, halves: Sequence[str], chosen: Chosen, limits: tuple[float, float]) -> Markup:
    rank = int(row["rank"])
    flags = [name for name, is_so in (("sparse", row["status"] == "sparse"), ("tied", bool(row["tied"]))) if is_so]
    return tag(
        "tr",
        tag("td", tag("button", str(rank), aria_label=f"Rank {rank}"), class_="t weak"),
        tag("td", str(row["layer"]), class_="t", title=str(row["layer"])),
        tag("td", int(row["channel"])),
        tag("td", f"({int(row['y'])}, {int(row['x'])})"),
        tag("td", fixed(row["correlation"], 3)),
        [tag("td", fixed(row[name], 3), class_="weak") for name in halves],
        tag("td", fixed(row["held_out"], 3)),
        tag("td", ", ".join(flags), class_="weak t"),
        tag("td", _bar(row["correlation"], [row[name] for name in halves], row["held_out"], limits), class_="bar-cell"),
        data_do="select",
        data_rank=rank,
        data_site=chosen.site,
        aria_selected="true" if rank == chosen.rank else "false",
    )


def _bar(r: float, halves: Sequence[float], held_out: float, limits: tuple[float, float]) -> Markup:
    """Return r as a dot, a thin line between the halves, and the held-out r as an open dot."""
    middle = _BAR_HEIGHT / 2

    def at(value: float) -> float:
        return round(5 + (_BAR_PX - 10) * (value - limits[0]) / (limits[1] - limits[0]), 1)

    known = [held_out] if np.isfinite(held_out) else []
    ends = [at(value) for value in [*(value for value in halves if np.isfinite(value)), r]]
    line = tag("line", x1=min(ends), x2=max(ends), y1=middle, y2=middle, stroke="var(--region)", stroke_opacity=".55")
    opens = [
        tag("circle", cx=at(value), cy=middle, r=2.6, fill="var(--us-paper)", stroke="var(--region)", stroke_width=1.1)
        for value in known
    ]
    dot = tag("circle", cx=at(r), cy=middle, r=3, fill="var(--region)")
    return tag("svg", line, opens, dot, width=_BAR_PX, height=_BAR_HEIGHT, aria_hidden="true")


def _bar_limits(table: pd.DataFrame, halves: Sequence[str]) -> tuple[float, float]:
    values = table[["correlation", "held_out", *halves]].to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    return float(np.floor(values.min() * 10 - 1e-9) / 10), float(np.ceil(values.max() * 10 + 1e-9) / 10)


def _part(layer: str, count: int, position: int, n_layers: int) -> Markup:
    depth = 0.35 + 0.65 * (position / max(n_layers - 1, 1))
    return tag("span", style=f"flex:{count};opacity:{depth:.2f}", title=f"{layer}: {count}")


def _fact(label: str, value: object) -> Markup:
    return tag("tr", tag("th", label, scope="row"), tag("td", value, class_="v"))


def _head(label: str, kind: str | None = None) -> Markup:
    return tag("th", label, class_=kind, scope="col")
