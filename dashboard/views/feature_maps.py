"""Which feature maps of the region's layer do sites see, where, and which has no site validated?"""

from collections.abc import Mapping

from dashboard.figures.wording import plural
from dashboard.results import Chosen
from dashboard.views.card import Card, Look
from dashboard.views.figure_card import FigureCard
from dashboard.views.frame import stat, title_line
from dashboard.views.markup import Markup, tag
from dashboard.views.page import Page, area, panel


class FeatureMapsPage(Page):
    """The page of figures 8, S11 and S13."""

    name = "feature-maps"
    layout = tag(
        "div",
        tag(
            "main",
            area("header"),
            tag(
                "div",
                tag(
                    "div",
                    panel("feature_maps"),
                    panel("validated_maps"),
                    panel("validated_maps_sites"),
                    class_="map-figures",
                ),
                tag("div", panel("feature_maps_positions"), panel("validation_stimuli"), class_="map-side"),
                class_="row map-1",
            ),
            area("footer", style="margin-top:auto"),
            class_="content",
        ),
        class_="page",
        data_page="feature-maps",
    )

    def make_cards(self) -> list[Card]:
        """Sites per map, best r of every map, sites above thresholds, positions, images that would test maps."""
        to_map = self.chooser("feature_map")
        return [
            FigureCard("feature_maps", self.results, on_tap=to_map),
            FigureCard("validated_maps", self.results, on_tap=to_map),
            FigureCard("validated_maps_sites", self.results, on_tap=to_map),
            FigureCard("feature_maps_positions", self.results),
            FigureCard("validation_stimuli", self.results, on_tap=to_map),
        ]

    def areas(self, chosen: Chosen, look: Look) -> Mapping[str, object]:
        """Header line."""
        return {"header": header(chosen)}


def header(chosen: Chosen) -> Markup:
    """Return the header line: the region's layer and its maps."""
    layer = chosen.run.layer_like(chosen.region)
    return tag(
        "header",
        title_line("Feature maps", chosen),
        stat(f"{chosen.region}-like layer", layer, plural(len(chosen.run.maps_of(chosen.region)), "map"), kind="name"),
        class_="header",
    )
