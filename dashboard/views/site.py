"""One site and its match: how alike, on which images, in which layers, and how special among all units."""

from collections.abc import Mapping

import pandas as pd

from dashboard.figures import site_rail
from dashboard.figures.keys import keys_html
from dashboard.results import Chosen, Results
from dashboard.runs import OpenRun
from dashboard.unit_fields import sight_of
from dashboard.views import beside, favourites, site_cards
from dashboard.views.card import Card, Look, head
from dashboard.views.explorers import UnitExplorer
from dashboard.views.markup import Markup, tag
from dashboard.views.page import Page, area, panel
from dashboard.views.site_header import header


class SitePage(Page):
    """The page of one site, or of two of anything side by side."""

    name = "site"
    _menu_key: tuple = ()
    _menu_html = Markup("")
    rail = tag(
        "nav",
        area("rail-head", class_="head"),
        tag(
            "div",
            area("rail-state"),
            tag("div", data_slot="rail"),
            class_="list",
            data_scroll=True,
            tabindex="0",
            role="group",
            aria_label="Sites",
        ),
        class_="rail",
        aria_label="Sites",
    )
    layout = tag(
        "div",
        rail,
        tag(
            "main",
            area("header"),
            area("compare"),
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

    @classmethod
    def variant_for(cls, chosen: Chosen, results: Results) -> str:
        """Two columns where a second site or network is chosen."""
        return beside.BESIDE if chosen.beside is not None else ""

    def skeleton(self) -> Markup:
        """Return rail and panels of one site, or of two."""
        return beside.layout(self.rail) if self.variant else self.layout

    def make_cards(self) -> list[Card]:
        """Rail, and the figures of one site or of two."""
        rail = site_cards.rail(self.choose)
        if self.variant:
            first, *others = beside.cards(self.results, self.choose)
            return [first, rail, *others]
        others = [site_cards.layers(self.choose), site_cards.units()]
        explorer = UnitExplorer(self.results, self.choose, self.refresh)
        return [site_cards.scatter(self.choose), rail, *others, explorer]

    def first(self, chosen: Chosen) -> Mapping[str, object]:
        """Header line of one site."""
        return {} if self.variant else {"header": header(chosen)}

    def areas(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Head of the rail, header line, favourites and the selected image."""
        always = {
            "rail-head": rail_head(self.cards["rail"], look),
            "compare": self._menu(chosen),
        }
        if self.variant:
            return always | beside.areas(self.cards, chosen, look, self.results)
        data, sight = self.cards["responses"].data, sight_of(chosen)
        return always | {
            **self.first(chosen),
            "favourites-head": favourites.favourites_head(data, chosen, look),
            "favourites": favourites.favourites(data, chosen, look, sight),
            "stimulus-head": favourites.selected_head(chosen),
            "stimulus": favourites.selected(data, chosen, look, sight),
        }

    def _menu(self, chosen: Chosen) -> Markup:
        """Return the menu of what to compare with, made once for all sites of a region."""
        runs = self.results.runs(chosen.run.recording)
        key = (chosen.run.digest, chosen.region, tuple(run.version for run in runs))
        if key != self._menu_key:
            self._menu_key, self._menu_html = key, beside.menu(chosen, self.results)
        return self._menu_html

    def table(self, name: str, chosen: Chosen) -> pd.DataFrame | None:
        """Return the data of a figure; the favourites are part of those of the scatter."""
        return super().table(name.replace("favourites", "responses"), chosen)

    def shown_by(self, name: str, chosen: Chosen) -> Chosen:
        """Return the choice of the side that a panel stands on."""
        is_second = self.variant and name.endswith(beside.SUFFIX[1])
        return beside.sides(chosen)[1] if is_second else chosen

    def sources(self, name: str, chosen: Chosen) -> tuple[list[OpenRun], list[str]]:
        """Return run and region of the side that a panel stands on."""
        return [self.shown_by(name, chosen).run], [chosen.region]


def rail_head(card: Card, look: Look) -> Markup:
    """Return region, number of sites and keys above the rail."""
    count = site_rail.caption(card.data)
    keys = Markup(keys_html(site_rail.KEYS, look.colours))
    return head("rail", count, "", help_text=site_rail.HELP, keys=keys, exports=("svg", "pdf", "png", "csv"))
