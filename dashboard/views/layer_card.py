"""What does one layer do? Its size, how well its best units match the region, and the sites whose match it holds."""

import numpy as np
import pandas as pd

from dashboard.figures.wording import fixed, known_of, plural, thousands
from dashboard.results import Chosen
from dashboard.views.card import head
from dashboard.views.markup import Markup, joined, tag

HELP = """**What it shows.** The selected layer: its size, the median over the sites of the best r in it, and the sites
whose match in the whole network lies in it. Where there is none, the sites that it matches best.

**How it is computed.** Pearson's r of every unit of the layer with every site, over all images; the largest wins. The
held-out r chooses the unit on some images and scores it on the others. A site of the list is chosen by a tap.

**Chance.** Compare the median r with the median that shuffled images reach in the same layer, and with the same layer
of the untrained network. A layer with more units also gets more matches by chance.

*After figures 6 and S9 of Arend et al. 2018.*"""
N_BEST = 6


def sites_of(chosen: Chosen) -> pd.DataFrame:
    """Return the best unit of the selected layer for each site of the region, the highest r first.

    Columns: ``site``, ``r``, ``held_out``, ``channel``, ``y``, ``x``, ``is_match`` (of the whole network), and of the
    site's match ``layer`` and ``match_r``.
    """
    run, layer = chosen.run, chosen.shown_layer
    sites = list(run.sites(chosen.region).index)
    profile, match = run.dataset("layer_profile").sel(layer=layer, site=sites), run.dataset("matches").sel(site=sites)
    shape = run.dataset("layers").sel(layer=layer)
    unit, area = profile["unit"].values, int(shape["height"]) * int(shape["width"])
    match = match.isel(rank=0)
    frame = pd.DataFrame(
        {
            "site": np.array(sites, dtype=object),
            "r": profile["correlation"].values,
            "held_out": profile["held_out"].values,
            "channel": unit // area,
            "y": unit % area // int(shape["width"]),
            "x": unit % area % int(shape["width"]),
            "is_match": match["layer"].values == layer,
            "layer": match["layer"].values.astype(object),
            "match_r": match["correlation"].values,
        }
    )
    return frame[frame["r"].notna()].sort_values("r", ascending=False, kind="stable", ignore_index=True)


def layer_head(chosen: Chosen) -> Markup:
    """Return the head of the panel: which layer, and its place in the network."""
    layer, layers = chosen.shown_layer, chosen.run.layers
    if not layer:
        return head("layer", "Selected layer", "", help_text=HELP, exports=())
    depth = float(chosen.run.dataset("layers")["depth"].sel(layer=layer))
    told = f"{layers.index(layer) + 1} of {plural(len(layers), 'layer')}, depth {fixed(depth)}"
    return head("layer", layer, told, help_text=HELP, exports=("csv",))


def layer_body(chosen: Chosen, profile: pd.DataFrame) -> Markup:
    """Return the numbers of the layer and its sites; ``profile`` is the data of the figure layer by layer."""
    if not chosen.shown_layer:
        return tag("p", "Tap a layer.", class_="empty")
    sites = sites_of(chosen)
    matched = sites[sites["is_match"]]
    shown = matched if len(matched) else sites.head(N_BEST)
    n_sites = len(chosen.run.sites(chosen.region))
    label = (
        f"Match of {plural(len(matched), chosen.region + ' site')}"
        if len(matched)
        else f"No {chosen.region} site has its match here; it matches best"
    )
    is_like = chosen.shown_layer == chosen.run.layer_like(chosen.region)
    return joined(
        [
            tag("table", [_fact(*fact) for fact in _facts(chosen, profile, len(matched), n_sites)], class_="facts"),
            tag("button", "Open its feature maps", data_do="select", data_page="feature-maps", class_="link")
            if is_like
            else None,
            tag("p", label, class_="fav-label quiet"),
            _rows(shown, chosen),
        ]
    )


def _facts(chosen: Chosen, profile: pd.DataFrame, n_matched: int, n_sites: int) -> list[tuple[object, ...]]:
    shape = chosen.run.dataset("layers").sel(layer=chosen.shown_layer)
    row = profile[profile["layer"] == chosen.shown_layer].iloc[0]
    height, width = int(shape["height"]), int(shape["width"])
    size = f"{thousands(int(shape['channels']))} maps of {height} × {width}" if height * width > 1 else "dense"
    place = int((profile["correlation"] > row["correlation"]).sum()) + 1
    known = known_of(profile.attrs["n_known"], profile.attrs["n_sites"], "site")
    facts: list[tuple[object, ...]] = [
        (f"Units, {shape['kind'].item()}", size, thousands(int(shape["units"]))),
        (f"r, median of {known}", _quartiles(row), tag("b", fixed(row["correlation"]), class_="region")),
        ("Held-out r, median", "", tag("b", fixed(row["held_out"]), class_="region")),
        ("Place among the layers", "by median r", f"{place} of {len(profile)}"),
        ("Chance", "median, shuffled images", fixed(row["chance_median"])),
        ("Matches of the region", "in the whole network", f"{n_matched} of {n_sites}"),
    ]
    if np.isfinite(row["control"]):
        facts.insert(5, ("Untrained network", "median r, same layer", fixed(row["control"])))
    return facts


def _quartiles(row: pd.Series) -> str:
    return f"quartiles {fixed(row['quartile_low'])} to {fixed(row['quartile_high'])}"


def _rows(sites: pd.DataFrame, chosen: Chosen) -> Markup:
    heads = [tag("th", name, scope="col", class_=kind) for name, kind in _HEADS]
    body = [
        tag(
            "tr",
            tag("td", tag("button", row.site, title=row.site), class_="t"),
            tag("td", fixed(row.r)),
            tag("td", fixed(row.held_out), class_="weak"),
            tag("td", f"map {row.channel}"),
            tag("td", f"({row.y}, {row.x})", class_="weak"),
            data_do="select",
            data_site=row.site,
            data_layer=chosen.shown_layer,
            aria_selected="true" if row.site == chosen.site else "false",
        )
        for row in sites.itertuples()
    ]
    table = tag(
        "table", tag("thead", tag("tr", heads)), tag("tbody", body), class_="ranks site-rows", aria_label="Sites"
    )
    return table if len(sites) else tag("p", "No site has an r in this layer.", class_="empty")


_HEADS = (("site", "t"), ("r", None), ("held-out", None), ("best unit", None), ("y, x", None))


def _fact(label: object, note: object, value: object) -> Markup:
    return tag("tr", tag("th", label, scope="row"), tag("td", note, class_="v quiet"), tag("td", value, class_="v"))
