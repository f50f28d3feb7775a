"""What does one feature map do? Its best unit, the images that drive it, and the sites that it explains."""

from typing import Any

import numpy as np
import pandas as pd

from dashboard.figures import validation_stimuli
from dashboard.figures.wording import elided, fixed, plural
from dashboard.results import Chosen
from dashboard.views.card import head
from dashboard.views.markup import Markup, joined, tag
from dashboard.views.missing import refused
from dashboard.views.unit_images import Cut, favourites, field_of, images, row_of

GROUPS = ("feature_maps", "layer_matches")
HELP = """**What it shows.** The selected feature map: the sites whose best unit of the layer lies in it, first those
whose match in the whole network it is, then those that another layer matches better; then the sites that it explains
best although another map of the layer explains them better. The images are those that drive the unit most. Round ones
show what lies in the unit's field; where no field was computed, the whole image.

**How it is computed.** r: Pearson's r of the best position of the map with the site, over all images. Held-out r is
that of the best unit of the layer, chosen on some images and scored on the others: it may be another unit. The field
is the unit's gradient at images that drive it, 2.8 SD to each side of its centre.

**Chance.** A map is validated only where its best r passes the threshold for all maps, positions and sites: compare
with it, not with the chance of one unit.

*After figures 8 and S13 of Arend et al. 2018.*"""
OWN, BEST = "Match of these sites: r, held-out r, favourite images", "Its best unit, with favourite images"
N_IMAGES, N_PICTURED, N_OTHERS = 6, 3, 6


def sites_of(chosen: Chosen, best: pd.DataFrame) -> pd.DataFrame:
    """Return what the selected map gives for each site of the region, the highest r first.

    ``best`` is the best unit of the region's layer for each site, as ``feature_maps_positions.matches`` gives it.

    Columns: ``site``, ``r``, ``y``, ``x`` (best position of the map), ``is_best_of_layer``, ``held_out`` (of the layer;
    NaN unless the map holds its best unit), ``is_match`` (of the whole network), and of the site's match ``layer``,
    ``channel``, ``match_r``.
    """
    run, layer, channel = chosen.run, chosen.run.layer_like(chosen.region), int(chosen.shown_map)
    sites = list(run.sites(chosen.region).index)
    stored = run.dataset("feature_maps")
    row = np.flatnonzero((stored["channel"].values == channel) & (stored["layer"].values == layer))[0]
    match = run.dataset("matches")
    of_map, of_match = (pd.Index(data["site"].values).get_indexer(sites) for data in (stored, match))
    frame = pd.DataFrame(
        {
            "site": np.array(sites, dtype=object),
            "r": stored["correlation"].values[row, of_map].astype(float),
            **{name: stored[name].values[row, of_map].astype(int) for name in ("y", "x")},
            "layer": match["layer"].values[of_match, 0].astype(object),
            "channel": match["channel"].values[of_match, 0].astype(int),
            "match_r": match["correlation"].values[of_match, 0].astype(float),
        }
    )
    best = best[best["channel"] == channel].set_index("site")
    frame["is_best_of_layer"] = frame["site"].isin(best.index)
    frame["held_out"] = best["held_out"].reindex(frame["site"]).to_numpy()
    frame["is_match"] = (frame["layer"] == layer) & (frame["channel"] == channel)
    return frame[frame["r"].notna()].sort_values("r", ascending=False, kind="stable", ignore_index=True)


def map_head(chosen: Chosen, sites: pd.DataFrame | None) -> Markup:
    """Return the head of the panel: which map, and how many sites it matches."""
    if sites is None:
        return head("map", "Selected map", "", help_text=HELP, exports=())
    count = int(sites["is_best_of_layer"].sum())
    told = f"best of {chosen.run.layer_like(chosen.region)} for {plural(count, 'site')}" if count else "matches no site"
    return head("map", f"Map {chosen.shown_map}", told, help_text=HELP, exports=("csv",))


def map_body(chosen: Chosen, sites: pd.DataFrame | None, judged: pd.DataFrame | None) -> Markup:
    """Return what is known of the map; ``judged`` is the data of the validated maps, where they were computed."""
    if sites is None:
        return refused("This run tells no r of single feature maps; match the network again to have them.")
    if sites.empty:
        return tag("p", "No unit of this map has an r: its units are constant.", class_="empty")
    own = sites[sites["is_match"]]
    elsewhere = sites[sites["is_best_of_layer"] & ~sites["is_match"]]
    others = sites[~sites["is_best_of_layer"] & ~sites["is_match"]]
    n_others = max(N_OTHERS - len(elsewhere), 2)
    after = "Explained best after those" if len(own) + len(elsewhere) else "Sites that it explains best"
    return joined(
        [
            _verdict(chosen, judged),
            _label(OWN if len(own) else BEST),
            tag("div", [_pictured(row, chosen) for row in (own if len(own) else sites[:1])[:N_PICTURED].itertuples()]),
            _listed(None, own[N_PICTURED:], chosen),
            _listed("Best in this layer, matched better elsewhere", elsewhere, chosen),
            _listed(after, others[:n_others], chosen),
        ]
    )


def _listed(label: str | None, sites: pd.DataFrame, chosen: Chosen) -> list[Markup] | None:
    """Return rows of sites under a label; nothing where there are none."""
    if sites.empty:
        return None
    return [*([_label(label)] if label else []), _rows(sites, chosen)]


def _verdict(chosen: Chosen, judged: pd.DataFrame | None) -> Markup | None:
    """Say whether the map is validated, by which unit and site, and against which chance."""
    if judged is None:
        return None
    row = judged[judged["channel"] == int(chosen.shown_map)].iloc[0]
    if row["status"] == "no unit":
        return None
    sign = ">" if row["status"] == "validated" else "≤"
    return tag(
        "p",
        tag("b", "Validated" if row["status"] == "validated" else "Not validated"),
        f": best r {fixed(row['best'])} {sign} {fixed(judged.attrs['threshold'])}, chance for the best of all maps",
        class_="verdict quiet",
    )


def _pictured(row: Any, chosen: Chosen) -> Markup:
    """Return a site with the favourite images of the map's unit for it."""
    at = (chosen.run.layer_like(chosen.region), int(chosen.shown_map), row.y, row.x)
    field = field_of(chosen.run, row.site, *at) if row.is_match else None
    told = _images(chosen, at, field)
    held_out = f" · {fixed(row.held_out)}" if np.isfinite(row.held_out) else ""
    return tag(
        "div",
        tag(
            "button",
            tag("b", row.site, class_="cut", title=row.site),
            tag("span", f"r {fixed(row.r)}{held_out}", class_="quiet"),
            tag("span", f"({row.y}, {row.x})" if _has_places(chosen) else "", class_="quiet"),
            **_selects(row.site, chosen),
            class_="who-site",
        ),
        told,
        class_="pictured",
    )


def _images(chosen: Chosen, at: tuple[str, int, int, int], field: Cut | None) -> Markup:
    """Return the favourite images of a unit, from wherever the run tells them; else say that it does not."""
    unit = row_of(chosen.run, *at)
    if unit is not None:
        return favourites(chosen, unit, N_IMAGES, field)
    if chosen.run.has("validation_stimuli"):
        listed = validation_stimuli.data(chosen.run.dataset("validation_stimuli"), chosen.region)
        names = ("layer", "feature_map", "y", "x")
        is_it = np.logical_and.reduce([listed[name].to_numpy() == value for name, value in zip(names, at, strict=True)])
        shown = listed[is_it & (listed["kind"] == "favourite").to_numpy()]
        if len(shown):
            return images(chosen, list(map(str, shown["stimulus"])), [float(z) for z in shown["z"]])
    told = "Responses of this unit are not stored: it is among the best units of no site."
    return tag("p", told, class_="quiet")


def _rows(sites: pd.DataFrame, chosen: Chosen) -> Markup:
    layer, has_places = chosen.run.layer_like(chosen.region), _has_places(chosen)
    has_held_out = bool(sites["held_out"].notna().any())
    names = ["site", "r", *(["held-out"] if has_held_out else []), "y, x", "its match in the network"]
    body = [
        tag(
            "tr",
            tag("td", tag("button", row.site, title=row.site), class_="t"),
            tag("td", fixed(row.r)),
            tag("td", fixed(row.held_out), class_="weak") if has_held_out else None,
            tag("td", f"({row.y}, {row.x})" if has_places else ""),
            tag("td", _match_of(row, layer), class_="weak"),
            **_selects(row.site, chosen),
            aria_selected="true" if row.site == chosen.site else "false",
        )
        for row in sites.itertuples()
    ]
    heads = [tag("th", name, scope="col", class_="t" if name == "site" else None) for name in names]
    return tag(
        "table", tag("thead", tag("tr", heads)), tag("tbody", body), class_="ranks site-rows", aria_label="Sites"
    )


def _match_of(row: Any, layer: str) -> str:
    if row.is_match:
        return "this map"
    if not row.layer:
        return "no match"
    where = "" if row.layer == layer else elided(str(row.layer), 18) + " "
    return f"{where}map {row.channel}, {fixed(row.match_r)}"


def _has_places(chosen: Chosen) -> bool:
    """Say whether units of the layer have a position; those of a dense layer have none."""
    shape = chosen.run.dataset("layers").sel(layer=chosen.run.layer_like(chosen.region))
    return int(shape["height"]) * int(shape["width"]) > 1


def _selects(site: str, chosen: Chosen) -> dict[str, str]:
    return {"data_do": "select", "data_site": site, "data_feature_map": chosen.shown_map}


def _label(text: str) -> Markup:
    return tag("p", text, class_="fav-label quiet")
