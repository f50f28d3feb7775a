"""In which layers are the matches of a region, and how good is the best unit of each layer?"""

from collections.abc import Mapping

from dashboard.figures.wording import fixed, known_of, plural
from dashboard.results import Chosen
from dashboard.views.card import Card, Look
from dashboard.views.figure_card import FigureCard
from dashboard.views.frame import stat, title_line
from dashboard.views.markup import Markup, tag
from dashboard.views.page import Page, area, panel


class LayersPage(Page):
    """The page of figures 6, S7, S8 and S9."""

    name = "layers"
    layout = tag(
        "div",
        tag(
            "main",
            area("header"),
            tag("div", panel("layers"), panel("layers_median"), class_="row halves tall"),
            tag("div", panel("layer_by_layer"), panel("layers_best"), class_="row halves"),
            tag("div", panel("layers_depth"), class_="row depth"),
            area("footer", style="margin-top:auto"),
            class_="content",
        ),
        class_="page",
        data_page="layers",
    )

    def make_cards(self) -> list[Card]:
        """Sites by layer, the medians, the chosen region's layers with chance, and all networks."""
        to_site, to_layer = self.chooser("site"), self.chooser("layer")
        return [
            FigureCard("layers", self.results, on_tap=to_site),
            FigureCard("layers_median", self.results, on_tap=to_layer),
            FigureCard("layer_by_layer", self.results, on_tap=to_layer),
            FigureCard("layers_best", self.results, on_tap=self.choose_network),
            FigureCard("layers_depth", self.results, on_tap=to_site),
        ]

    def areas(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Header line."""
        return {"header": header(chosen)}


def header(chosen: Chosen) -> Markup:
    """Return the header line: the layer that is most like the region, and how many of its sites match there."""
    run, layer = chosen.run, chosen.run.layer_like(chosen.region)
    sites = run.sites(chosen.region)
    here = sum(run.layer_of(site, 0) == layer for site in sites.index)
    found = run.neural_correlation.sel(region=chosen.region, layer=layer)
    place = run.layers.index(layer)
    n_known = int(sites["r"].notna().sum())
    return tag(
        "header",
        title_line("Layers", chosen),
        stat(f"{chosen.region}-like layer", layer, f"{place + 1} of {plural(len(run.layers), 'layer')}", kind="name"),
        stat(
            "r, median of its best units",
            fixed(float(found["correlation"])),
            known_of(n_known, len(sites), "site"),
            kind="strong",
        ),
        stat("held-out r", fixed(float(found["held_out"])), "", kind="strong"),
        stat("matches in it", str(here), f"of {plural(n_known, 'site')}"),
        stat("chance, median", fixed(float(found["chance_median"])), "best of the layer"),
        class_="header",
    )
