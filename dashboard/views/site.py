"""One site and its match: how alike, on which images, in which layers, and how special among all units."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from dashboard.figures import layer_profile, responses, site_rail, unit_distribution
from dashboard.figures.keys import keys_html
from dashboard.figures.wording import fixed, short, tick
from dashboard.results import Chosen
from dashboard.views import favourites
from dashboard.views.card import Card, Look, head
from dashboard.views.explorers import UnitExplorer
from dashboard.views.frame import ceiling_note, folds_note, no_match, stat
from dashboard.views.markup import Markup, joined, tag
from dashboard.views.page import Page, area, panel


class SitePage(Page):
    """The page of one site."""

    name = "site"
    layout = tag(
        "div",
        tag(
            "nav",
            area("rail-head", class_="head"),
            tag("div", tag("div", data_slot="rail"), class_="list", data_scroll=True, tabindex="0", aria_label="Sites"),
            class_="rail",
            aria_label="Sites",
        ),
        tag(
            "main",
            area("header"),
            tag(
                "div",
                panel("responses"),
                panel("favourites", body=area("favourites")),
                panel("stimulus", class_="image-card", body=area("stimulus")),
                class_="row site-1",
            ),
            tag("div", panel("layers"), panel("units"), class_="row site-2"),
            tag("div", panel("unit_correlations"), class_="row explore"),
            area("footer", style="margin-top:auto"),
            class_="content",
        ),
        class_="page with-rail",
        data_page="site",
    )

    def make_cards(self) -> list[Card]:
        """Rail, scatter, layers, all units."""
        return [
            Card(
                "rail",
                site_rail,
                lambda c, _: site_rail.data(
                    c.run.dataset("matches"),
                    c.run.dataset("recording"),
                    c.run.null,
                    c.run.dataset("reliability") if c.run.has("reliability") else None,
                    region=c.region,
                ),
                lambda d, c, _: site_rail.describe(d, site=c.site, regions=c.run.regions),
                depends=("region",),
                marks=("site",),
                on_tap=lambda site: self.choose(site=str(site)),
                width=site_rail.WIDTH_PX,
                is_stretched=False,
            ),
            Card(
                "responses",
                responses,
                lambda c, look: responses.data(
                    c.run.dataset("recording"),
                    c.run.dataset("matches"),
                    c.run.dataset("match_responses"),
                    c.site,
                    rank=c.rank,
                    n_favourites=look.n_favourites,
                ),
                lambda d, c, look: responses.describe(
                    d,
                    stimulus=c.shown_stimulus,
                    thumb_base=f"img/{c.run.digest}",
                    network=look.colours["network"],
                    regions=c.run.regions,
                ),
                depends=("site", "rank"),
                marks=("shown_stimulus",),
                on_tap=lambda stimulus: self.choose(stimulus=str(stimulus)),
                width=432,
                height=416,
            ),
            Card(
                "layers",
                layer_profile,
                lambda c, _: layer_profile.data(
                    c.run.dataset("layer_profile"), c.run.null, c.run.dataset("recording"), c.site
                ),
                lambda d, c, _: layer_profile.describe(d, layer=c.shown_layer, regions=c.run.regions),
                depends=("site",),
                marks=("shown_layer",),
                on_tap=lambda layer: self.choose(layer=str(layer)),
                height=190,
            ),
            Card(
                "units",
                unit_distribution,
                lambda c, _: unit_distribution.data(
                    c.run.dataset("unit_counts"),
                    c.run.dataset("matches"),
                    c.run.null,
                    c.run.dataset("recording"),
                    c.run.dataset("layers"),
                    c.site,
                    rank=c.rank,
                ),
                lambda d, c, look: unit_distribution.describe(
                    d, network=look.colours["network"], regions=c.run.regions
                ),
                depends=("site", "rank"),
                height=190,
            ),
            UnitExplorer(self.results, self.choose, self.refresh),
        ]

    def areas(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Head of the rail, header line, favourites and the selected image."""
        data = self.cards["responses"].data
        return {
            "rail-head": rail_head(self.cards["rail"], look),
            "header": header(chosen),
            "favourites-head": favourites.favourites_head(data),
            "favourites": favourites.favourites(data, chosen, look),
            "stimulus-head": favourites.selected_head(chosen),
            "stimulus": favourites.selected(data, chosen),
        }

    def table(self, name: str, chosen: Chosen) -> pd.DataFrame | None:
        """Return the data of a figure; the favourites are part of those of the scatter."""
        return super().table("responses" if name == "favourites" else name, chosen)


def rail_head(card: Card, look: Look) -> Markup:
    """Return region, number of sites and keys above the rail."""
    count = site_rail.caption(card.data)
    keys = Markup(keys_html(site_rail.KEYS, look.colours))
    return head("rail", count, "", help_text=site_rail.HELP, keys=keys, exports=("svg", "pdf", "png", "csv"))


def header(chosen: Chosen) -> Markup:
    """Return the header line of a site: who it is, its numbers, and the unit that is shown."""
    run, rank = chosen.run, chosen.rank
    match = run.dataset("matches").sel(site=chosen.site).isel(rank=rank)
    sites = run.sites(chosen.region)
    r, held_out = float(match["correlation"]), float(match["held_out"])
    best, best_held_out, _ = run.chance(chosen.region)
    place = list(sites.index).index(chosen.site) + 1
    which = "match" if rank == 0 else f"runner-up {rank}"
    stats = [
        stat("r, selected and scored on all images", fixed(r), "" if rank == 0 else which, kind="strong"),
        stat("held-out r", fixed(held_out), folds_note(run), kind="strong"),
        ceiling_note(run, float(sites.loc[chosen.site, "noise_ceiling"])),
        stat("chance, 95%", fixed(best), f"best of {short(run.n_units)}"),
        tag("dl", layer_note(chosen), class_="stat") if chosen.layer else None,
        doubt(r, held_out, best, best_held_out),
    ]
    return tag(
        "header",
        tag(
            "div",
            tag("h1", chosen.site, title=chosen.site),
            tag("p", tag("span", chosen.region, class_="region"), f" · {place} of {len(sites)} by r", class_="quiet"),
            class_="who",
        ),
        stats,
        evidence(r, held_out, float(sites.loc[chosen.site, "noise_ceiling"]), best, best_held_out),
        tag("div", unit_stat(chosen, which), class_="last"),
        class_="header",
    )


def layer_note(chosen: Chosen) -> Markup:
    """Return r and held-out r of the best unit of the chosen layer."""
    profile = chosen.run.dataset("layer_profile").sel(site=chosen.site, layer=chosen.layer)
    numbers = f"{fixed(float(profile['correlation']))} · {fixed(float(profile['held_out']))}"
    return joined(
        [
            tag("dt", "best in ", chosen.layer, class_="cut", style="max-width:160px", title=chosen.layer),
            tag("dd", tag("span", numbers, class_="n"), "held-out"),
        ]
    )


def unit_stat(chosen: Chosen, which: str) -> Markup:
    """Return layer, map and position of the unit that is shown."""
    match = chosen.run.dataset("matches").sel(site=chosen.site).isel(rank=chosen.rank)
    layer = str(match["layer"].item())
    if not layer:
        return stat("matched unit", "n/a", no_match(chosen))
    shape = chosen.run.dataset("layers").sel(layer=layer)
    height, width = int(shape["height"]), int(shape["width"])
    where = f"map {int(match['channel'])}"
    if height * width > 1:
        where += f" · position ({int(match['y'])}, {int(match['x'])}) of {height}×{width}"
    told = [where, " · sparse" if match["status"].item() == "sparse" else "", " · tied" if bool(match["tied"]) else ""]
    return stat("matched unit" if chosen.rank == 0 else which, layer, "".join(told), kind="name")


def doubt(r: float, held_out: float, best: float, best_held_out: float) -> Markup | None:
    """Return a chip where r or held-out r is within what shuffled images give."""
    weak = [name for name, value, limit in (("r", r, best), ("held-out r", held_out, best_held_out)) if value <= limit]
    verb = "is" if len(weak) == 1 else "are"
    return tag("span", f"{' and '.join(weak)} {verb} within chance", class_="chip") if weak else None


def evidence(r: float, held_out: float, ceiling: float, best: float, best_held_out: float) -> Markup:
    """Return all of a site's numbers on one axis from 0 to 1, for windows that have the room."""
    width, left = 300, 12

    def at(value: float) -> float:
        return round(left + (width - 2 * left) * min(max(value, -0.04), 1), 1)

    def zone(end: float, colour: str) -> Markup | None:
        return tag("rect", x=at(0), y=8, width=max(at(end) - at(0), 0), height=22, fill=colour) if end > 0 else None

    ticks = [tag("text", tick(value), x=at(value), y=46, text_anchor="middle") for value in (0, 0.25, 0.5, 0.75, 1)]
    marks = [
        zone(best, "var(--us-band)"),
        zone(best_held_out, "var(--us-band2)"),
        tag("path", d=f"M{at(0)} 30.5H{at(1)}", stroke="var(--us-axis)"),
        ticks,
    ]
    is_low = ceiling < 0.8
    if np.isfinite(ceiling):
        marks += [
            tag("path", d=f"M{at(ceiling)} 8V30", stroke="var(--us-ink)", stroke_width=1.5),
            tag(
                "text", "ceiling", x=at(ceiling) + (5 if is_low else -5), y=16, text_anchor="start" if is_low else "end"
            ),
        ]
    if np.isfinite(held_out) and np.isfinite(r):
        marks.append(tag("path", d=f"M{at(held_out)} 22H{at(r)}", stroke="var(--region)", stroke_opacity=".55"))
    if np.isfinite(held_out):
        marks.append(
            tag(
                "circle",
                cx=at(held_out),
                cy=22,
                r=3.8,
                fill="var(--us-paper)",
                stroke="var(--region)",
                stroke_width=1.5,
            )
        )
    if np.isfinite(r):
        marks.append(tag("circle", cx=at(r), cy=22, r=4, fill="var(--region)"))
    if best > 0.12:
        marks.append(tag("text", "chance", x=at(0) + 5, y=18))
    told = f"r {fixed(r)}, held-out r {fixed(held_out)}, noise ceiling {fixed(ceiling)}, chance {fixed(best)}"
    return tag("svg", marks, class_="evidence", width=width, height=50, role="img", aria_label=told)
